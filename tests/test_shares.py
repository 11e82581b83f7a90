"""Share links: anyone who has one can read the collection, and nothing else of its owner, until it ends."""
from __future__ import annotations

import asyncio
import json
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from movieserver.accounts.share_tokens import ShareTokens
from movieserver.embedded.postgres import Postgres
from movieserver.resources import Resources
from movieserver.schemas.requests import MAX_SHARE_DAYS
from tests import record
from tests.client import Response, Api
from tests.conftest import SECRET
from tests.factories import collection, movies
from tests.test_collections import created
from tests.test_migrations import run

OTHER = "another signing key of sixty-four bytes and more, as the one above has them too"


async def shared(alice: Api, uuid: str, body: Any = None) -> Response:
    response = await alice.post(f"/collection/{uuid}/share/", body)
    assert response.status in (200, 201), response.json
    return response


def path_of(share: Response) -> str:
    return f"/shared/{share.json['token']}/"


async def test_anyone_with_the_link_can_read_the_collection(alice: Api, api: Api) -> None:
    """And nothing of the owner: no uuid but those of the movies, no moment but that of the last change."""
    given = collection()
    uuid = await created(alice, **given)
    share = await shared(alice, uuid)
    assert share.status == 201
    assert share.json == {
        "url": f"{api.base_url}{path_of(share)}", "token": share.json["token"], "expires_at": None}
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", share.json["token"])  # 192 bits
    read = await api.get(share.json["url"])
    assert read.status == 200
    updated_at = (await alice.get(f"/collection/{uuid}/")).json["updated_at"]
    assert read.json == {
        "title": given["title"], "description": given["description"], "updated_at": updated_at,
        "movies": given["movies"]}
    assert read.headers["X-Robots-Tag"] == "noindex"
    assert read.headers["Cache-Control"] == "no-cache"
    assert alice.user_id.encode() not in read.body and uuid.encode() not in read.body
    assert (await api.get(share.json["url"], headers={"If-None-Match": read.headers["ETag"]})).status == 304
    await alice.put(f"/collection/{uuid}/", {"title": "new"})
    again = await api.get(share.json["url"], headers={"If-None-Match": read.headers["ETag"]})
    assert (again.status, again.json["title"]) == (200, "new")


async def test_a_valid_share_keeps_its_link(alice: Api) -> None:
    uuid = await created(alice)
    first = await shared(alice, uuid, {"expires_in_days": 7})
    for body in (None, {}, {"expires_in_days": None}, {"expires_in_days": 30}):
        again = await shared(alice, uuid, body)
        assert (again.status, again.json) == (200, first.json)
    ends = datetime.fromisoformat(first.json["expires_at"])
    assert timedelta(days=6.9) < ends - datetime.now(UTC) < timedelta(days=7.1)


async def test_concurrent_shares_create_one_link(alice: Api) -> None:
    uuid = await created(alice)
    responses = await asyncio.gather(*[shared(alice, uuid) for _ in range(10)])
    assert sorted(response.status for response in responses) == [200] * 9 + [201]
    assert len({response.json["token"] for response in responses}) == 1


async def test_an_ended_link_stops_at_once_and_the_next_one_differs(alice: Api, api: Api) -> None:
    uuid = await created(alice)
    first = await shared(alice, uuid)
    assert (await alice.delete(f"/collection/{uuid}/share/")).status == 200
    assert (await alice.delete(f"/collection/{uuid}/share/")).status == 404
    second = await shared(alice, uuid)
    assert second.status == 201
    assert [(await api.get(path_of(share))).status for share in (first, second)] == [404, 200]


async def test_every_link_that_does_not_work_is_the_same_404(alice: Api, api: Api, postgres: Postgres) -> None:
    """Unknown, ended, expired, of a deleted collection."""
    uuids = [await created(alice) for _ in range(3)]
    ended, expired, gone = [path_of(await shared(alice, uuid, {"expires_in_days": 1})) for uuid in uuids]
    await alice.delete(f"/collection/{uuids[0]}/share/")
    expire(postgres, uuids[1])
    await alice.delete(f"/collection/{uuids[2]}/")
    bodies = set()
    for path in (ended, expired, gone, f"/shared/{'A' * 32}/", "/shared/x/", "/shared/%00/", "/shared/%FF/"):
        response = await api.get(path, headers={"X-Request-ID": "one"})
        assert response.status == 404
        assert response.headers["X-Robots-Tag"] == "noindex"
        bodies.add(response.body)
    assert len(bodies) == 1
    assert (await alice.delete(f"/collection/{uuids[1]}/share/")).status == 404
    renewed = await shared(alice, uuids[1])
    assert (renewed.status, path_of(renewed) != expired) == (201, True)


def expire(postgres: Postgres, uuid: str) -> None:
    run(postgres.url, f"UPDATE collections SET shared_until = now() WHERE collection_uuid = '{uuid}'")


async def test_lists_and_collections_say_whether_they_are_shared(alice: Api, postgres: Postgres) -> None:
    """Each under a tag of its own, which names the same version for a change."""
    uuid, other = await created(alice), await created(alice)
    path = f"/collection/{uuid}/"
    await shared(alice, uuid)
    tags = set()
    for said in (True, False, True, False):
        read, page = await alice.get(path), await alice.get("/collection/")
        assert read.json["shared"] is said
        assert {one["uuid"]: one["shared"] for one in page.json["data"]["collections"]} == {uuid: said, other: False}
        assert (await alice.get(path, headers={"If-Match": read.headers["ETag"]})).status == 200
        assert (await alice.get(path, headers={"If-None-Match": read.headers["ETag"]})).status == 304
        tags |= {read.headers["ETag"], page.headers["ETag"]}
        if len(tags) == 2:
            await alice.delete(f"{path}share/")
        elif said:
            expire(postgres, uuid)
        else:
            tags_of_two = len(tags)
            await shared(alice, uuid)
    assert tags_of_two == len(tags) == 4
    await shared(alice, uuid)
    tag = (await alice.get(path)).headers["ETag"]
    assert (await alice.put(path, {"title": "x"}, headers={"If-Match": tag})).status == 200
    assert (await alice.put(path, {"title": "y"}, headers={"If-Match": tag})).status == 412
    assert (await alice.put(path, {"title": "z"}, headers={"If-None-Match": tag})).status == 200


async def test_sharing_is_no_change(alice: Api) -> None:
    uuid = await created(alice)
    since = (await alice.get("/changes/")).json["next"]
    before = (await alice.get(f"/collection/{uuid}/")).json
    await shared(alice, uuid)
    assert (await alice.get(f"/collection/{uuid}/")).json == before | {"shared": True}
    await alice.delete(f"/collection/{uuid}/share/")
    assert (await alice.get(f"/changes/?since={since}")).json["changes"] == []


async def test_notes_stay_with_the_owner(alice: Api, api: Api, postgres: Postgres) -> None:
    given = movies(2, title='a "note": here')
    uuid = await created(alice, movies=given)
    noted = json.dumps([{**given[0], "note": "mine alone"}, given[1]], separators=(",", ":"))
    with closing(psycopg2.connect(postgres.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("UPDATE collections SET movies = %s WHERE collection_uuid = %s", (noted, uuid))
    response = await api.get(path_of(await shared(alice, uuid)))
    assert b"mine alone" not in response.body
    assert json.loads(response.body)["movies"] == given


async def test_without_notes_the_movies_are_the_stored_text(alice: Api, api: Api) -> None:
    given = [{**each, "year": 1990, "ids": {"zz": "1", "note": "2", "a": "3"}} for each in movies(3, title='" ü \\ "')]
    noted = await created(alice, movies=[{**each, "note": "mine"} for each in given])
    plain = await created(alice, movies=given)
    owners = (await alice.get(f"/collection/{plain}/")).body
    for uuid in (noted, plain):
        read = await api.get(path_of(await shared(alice, uuid)))
        assert read.body.partition(b'"movies":')[2] == owners.partition(b'"movies":')[2]


@pytest.mark.parametrize("days", [0, -1, MAX_SHARE_DAYS + 1, 1.5, "7", True, []])
async def test_an_invalid_number_of_days_is_400(alice: Api, days: object) -> None:
    response = await alice.post(f"/collection/{await created(alice)}/share/", {"expires_in_days": days})
    assert [error["pointer"] for error in response.json["errors"]] == ["/expires_in_days"]


async def test_a_copy_of_the_database_gives_no_access(alice: Api, postgres: Postgres) -> None:
    """ASVS 5.0 11.4.1: neither the token nor what it is made of alone is stored."""
    uuid = await created(alice)
    token = (await shared(alice, uuid)).json["token"]
    with closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT collections::text, share_nonce, share_digest FROM collections WHERE collection_uuid = %s", (uuid,))
        [(text, nonce, digest)] = cursor.fetchall()
    assert token not in text and token.encode().hex() not in text
    assert ShareTokens([OTHER]).find(bytes(nonce), bytes(digest)) is None
    assert ShareTokens([OTHER, SECRET]).find(bytes(nonce), bytes(digest)) is not None


async def test_a_share_is_replaced_only_if_its_key_is_lost(alice: Api, api: Api, resources: Resources) -> None:
    uuid = await created(alice)
    first = await shared(alice, uuid)
    resources.share_tokens = ShareTokens([OTHER, SECRET])
    assert (await shared(alice, uuid)).json == first.json
    resources.share_tokens = ShareTokens([OTHER])
    assert (await api.get(path_of(first))).status == 200
    second = await shared(alice, uuid)
    assert second.status == 201
    assert [(await api.get(path_of(share))).status for share in (first, second)] == [404, 200]


async def test_no_token_is_logged(alice: Api, api: Api) -> None:
    """ASVS 5.0 16.2.5: a link is as good as a password for what it shows."""
    path = path_of(await shared(alice, await created(alice)))
    start = record.position()
    for method in ("GET", "HEAD", "OPTIONS", "POST"):
        await api.call(method, path)
    log = record.logged(start)
    assert '"route": "/shared/{share_token}/"' in log
    assert path.split("/")[2] not in log
