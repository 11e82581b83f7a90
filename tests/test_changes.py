"""Following the changes of a user's collections: their order, cursors, waiting, and what is there after a crash."""
from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from movieserver.data import changes as data
from movieserver.data.changes import Position
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.handlers import changes as handlers
from movieserver.postgres.statements import load_statements
from movieserver.redis import changes as signals
from movieserver.resources import Resources
from movieserver.serving.http_server import Server
from movieserver.settings import Settings
from tests.client import Response, Api
from tests.conftest import SignUp, make_settings
from tests.factories import collection, movies
from tests.test_collections import created
from tests.test_metrics import measured, seen
from tests.test_migrations import run
from tests.third_party import ThirdParty
from tests.wire import until

NOBODY = str(uuid.UUID(int=0))


@pytest.fixture
def settings(postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
    """A Redis of its own, which tests stop."""
    return make_settings(postgres.url, own_redis.url, third_party.url)


async def page(api: Api, since: str | None = None, **query: object) -> dict[str, Any]:
    """A page of changes."""
    parts = [f"{name}={value}" for name, value in ({"since": since} if since else {}).items()]
    parts += [f"{name}={value}" for name, value in query.items()]
    response = await api.get(f"/changes/?{'&'.join(parts)}")
    assert response.status == 200, response.json
    body: dict[str, Any] = response.json
    return body


def listed(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(change["collection_uuid"], change["change"]) for change in body["changes"]]


async def walk(api: Api, since: str | None = None, limit: int = 2) -> tuple[list[tuple[str, str]], str]:
    """All changes behind a cursor, and the cursor behind them."""
    found: list[tuple[str, str]] = []
    while True:
        body = await page(api, since, limit=limit)
        found, since = found + listed(body), str(body["next"])
        if not body["more"]:
            return found, since


async def waiting(api: Api, since: str, seconds: int = 30) -> asyncio.Task[Response]:
    """A request that waits for a change."""
    before = await count_waiting(api)
    task = asyncio.create_task(api.get(f"/changes/?since={since}&wait={seconds}"))
    await seen(api, before + 1, "changes_waiting")
    return task


async def count_waiting(api: Api) -> float:
    return (await measured(api)).of("changes_waiting")


async def test_every_kind_of_write_is_a_change(alice: Api) -> None:
    """Each change has the version of the collection after it."""
    since = (await page(alice))["next"]
    one = await created(alice)
    path = f"/collection/{one}/"
    extra, more = movies(2)
    writes: list[Callable[[], Any]] = [
        lambda: alice.put(path, {"title": "new"}),
        lambda: alice.put(path, {"movies": [extra]}),
        lambda: alice.post(f"{path}movies/", more),
        lambda: alice.put(f"{path}order/", [more["uuid"], extra["uuid"]]),
        lambda: alice.delete(f"{path}movies/{more['uuid']}/"),
    ]
    assert listed(await page(alice, since)) == [(one, "created")]
    for write in writes:
        body = await page(alice, since)
        since = body["next"]
        response = await write()
        assert response.status == 200
        after = await page(alice, since)
        assert listed(after) == [(one, "updated")]
        read = await alice.get(path)
        assert after["changes"][0]["version"] == read.version == response.version
        assert after["changes"][0]["at"] == read.json["updated_at"]
    since = (await page(alice, since))["next"]
    assert (await alice.delete(path)).status == 200
    gone = await page(alice, since)
    assert listed(gone) == [(one, "deleted")]
    assert gone["changes"][0]["version"] == read.version
    assert listed(await page(alice, gone["next"])) == []


async def test_changes_come_in_their_order_and_each_collection_once(alice: Api) -> None:
    uuids = [await created(alice) for _ in range(5)]
    start = (await walk(alice))[1]
    await alice.put(f"/collection/{uuids[3]}/", {"title": "a"})
    await alice.delete(f"/collection/{uuids[1]}/")
    await alice.put(f"/collection/{uuids[0]}/", {"title": "b"})
    await alice.put(f"/collection/{uuids[3]}/", {"title": "c"})
    late = await created(alice)
    await alice.put(f"/collection/{late}/", {"title": "d"})
    for limit in (1, 2, 100):
        assert (await walk(alice, start, limit))[0] == [
            (uuids[1], "deleted"), (uuids[0], "updated"), (uuids[3], "updated"), (late, "created")]
    assert [uuid for uuid, _ in (await walk(alice))[0]] == [uuids[2], uuids[4], uuids[1], uuids[0], uuids[3], late]


async def test_a_write_that_changes_nothing_is_no_change(alice: Api) -> None:
    given, key, extra = collection(), {"Idempotency-Key": "once"}, movies(1)[0]
    one = (await alice.post("/collection/", given, headers=key)).json["collection_uuid"]
    path = f"/collection/{one}/"
    await alice.post(f"{path}movies/", extra, headers={"Idempotency-Key": "add"})
    since = (await page(alice))["next"]
    old = {"If-Match": '"old"'}
    for response, status in (
        (await alice.post("/collection/", given, headers=key), 201),
        (await alice.post("/collection/", collection(), headers=key), 422),
        (await alice.post(f"{path}movies/", extra, headers={"Idempotency-Key": "add"}), 200),
        (await alice.put(path, {"title": "x"}, headers=old), 412),
        (await alice.delete(path, headers=old), 412),
        (await alice.delete(f"{path}movies/{uuid.uuid4()}/"), 404),
        (await alice.put(f"{path}order/", []), 409),
        (await alice.delete(f"/collection/{uuid.uuid4()}/"), 404),
    ):
        assert response.status == status
    assert listed(await page(alice, since)) == []


async def test_changes_of_other_users_are_not_listed(alice: Api, sign_up: SignUp) -> None:
    bob = await sign_up()
    await created(alice)
    body = await page(alice)
    assert listed(await page(bob)) == []
    assert (await bob.get(f"/changes/?since={body['next']}")).status == 410  # no position of his
    gone = await created(alice)
    await alice.delete(f"/collection/{gone}/")
    assert listed(await page(bob)) == []


async def test_a_deleted_collection_may_be_imported_again(alice: Api, postgres: Postgres) -> None:
    """An import may bring back a uuid."""
    one, other = await created(alice), await created(alice)
    since = (await page(alice))["next"]
    await alice.delete(f"/collection/{one}/")
    run(postgres.url, f"UPDATE collections SET collection_uuid = '{one}' WHERE collection_uuid = '{other}'")
    assert (one, "deleted") not in listed(await page(alice, since))
    assert (await alice.delete(f"/collection/{one}/")).status == 200
    assert listed(await page(alice, since)) == [(one, "deleted")]


@pytest.mark.parametrize("query", [
    "since=", "since=x", f"since={'A' * 44}", f"since={'é' * 44}", "wait=-1", "wait=31", "wait=x", "limit=0",
    "limit=1001", "wait=1&wait=1", f"since={Position(1, NOBODY, 2**53 - 1)}&since=x",
])
async def test_invalid_parameters_are_400(alice: Api, query: str) -> None:
    assert (await alice.get(f"/changes/?{query}")).status == 400


async def test_a_cursor_that_is_too_old_or_from_another_database_is_410(alice: Api, postgres: Postgres) -> None:
    """A position that was never reached belongs to a database before it was restored from a backup."""
    await created(alice)
    now = int(time.time() * 1_000_000)
    day = 86400 * 1_000_000
    for days, status in ((data.CURSOR_DAYS - 0.01, 200), (data.CURSOR_DAYS + 0.01, 410)):
        response = await alice.get(f"/changes/?since={Position(0, NOBODY, now - int(days * day))}")
        assert response.status == status
    assert response.json["code"] == "cursor_expired" and str(data.CURSOR_DAYS) in response.json["detail"]
    assert (await alice.get(f"/changes/?since={Position(1, NOBODY, now)}")).status == 200
    assert (await alice.get(f"/changes/?since={Position(2, NOBODY, now)}")).status == 410


async def test_a_client_that_pages_for_too_long_gets_410(alice: Api) -> None:
    """While pages are left, a cursor is as old as the first page."""
    for _ in range(2):
        await created(alice)
    first = await page(alice, limit=1)
    began = Position.parse(first["next"])
    assert first["more"] and began
    second = await page(alice, str(began._replace(seen=began.seen - 1)), limit=1)
    assert not second["more"]
    behind = Position.parse(second["next"])
    assert behind and behind.seen > began.seen
    await created(alice)
    third = Position.parse((await page(alice, str(began._replace(seen=1_000_000 + began.seen)), limit=1))["next"])
    assert third and third.seen == 1_000_000 + began.seen


async def test_new_deletions_remove_old_ones(alice: Api, postgres: Postgres) -> None:
    """Each deletion removes ten at most."""
    for _ in range(12):
        await alice.delete(f"/collection/{await created(alice)}/")
    mine = f"WHERE user_id = '{alice.user_id}'"
    age = "deleted_at = now() - interval '{} hours'"
    run(postgres.url, f"UPDATE deleted_collections SET {age.format(24 * 91 - 1)} {mine}")
    await alice.delete(f"/collection/{await created(alice)}/")
    assert run(postgres.url, f"SELECT count(*) FROM deleted_collections {mine}") == (13,)
    run(postgres.url, f"UPDATE deleted_collections SET {age.format(24 * 91 + 1)} {mine}")
    for left in (4, 2):  # the new one is among them
        await alice.delete(f"/collection/{await created(alice)}/")
        assert run(postgres.url, f"SELECT count(*) FROM deleted_collections {mine}") == (left,)


async def test_collections_without_a_change_number_come_first(alice: Api, postgres: Postgres) -> None:
    """Collections from before the migration, or written by the previous version, have the number 0."""
    late = await created(alice)
    old = sorted([await created(alice) for _ in range(4)])
    run(postgres.url, "UPDATE collections SET created_number = 0, change_number = 0 "
        f"WHERE collection_uuid = ANY('{{{','.join(old)}}}')")
    for limit in (1, 3, 100):
        assert (await walk(alice, limit=limit))[0] == [
            (uuid, "created" if limit == 100 or uuid == late or number < limit else "updated")
            for number, uuid in enumerate([*old, late])]


def test_every_statement_that_changes_a_collection_numbers_the_change() -> None:
    for name, statement in load_statements().items():
        words = ("INSERT INTO collections (", "UPDATE collections\n", "DELETE FROM collections ")
        if any(word in statement.text for word in words) and not name.startswith("shares."):
            assert "UPDATE users SET change_number = change_number + 1" in statement.text, name
            assert statement.text.count("change_number") > 3, name


async def test_a_change_wakes_waiting_requests(alice: Api, sign_up: SignUp, resources: Resources) -> None:
    """A waiting request holds no connection to the database, and changes of other users do not wake it."""
    bob = await sign_up()
    await until(lambda: resources.changes.subscribed)
    since = (await page(alice))["next"]
    asked = await waiting(alice, since)
    await seen(alice, 0, "pool_in_use")
    await created(bob)
    one = await created(alice)
    response = await asked
    assert response.status == 200 and listed(response.json) == [(one, "created")]
    assert await count_waiting(alice) == 0
    assert listed(await page(alice, since, wait=30)) == [(one, "created")]


@pytest.mark.parametrize("method", ["put", "patch", "delete", "add", "remove", "order"])
async def test_every_write_wakes_waiting_requests(alice: Api, resources: Resources, method: str) -> None:
    given = collection()
    path = f"/collection/{await created(alice, **given)}/"
    uuids = [movie["uuid"] for movie in given["movies"]]
    await until(lambda: resources.changes.subscribed)
    asked = await waiting(alice, (await page(alice))["next"])
    verb, address, body = {
        "put": ("PUT", path, {"title": "x"}), "patch": ("PATCH", path, {"title": "x"}),
        "delete": ("DELETE", path, None), "add": ("POST", f"{path}movies/", movies(1)[0]),
        "order": ("PUT", f"{path}order/", uuids[::-1]),
        "remove": ("DELETE", f"{path}movies/{uuids[0]}/", None),
    }[method]
    assert (await alice.call(verb, address, body)).status == 200
    assert len((await asked).json["changes"]) == 1


async def test_an_empty_page_keeps_its_tag(alice: Api) -> None:
    await alice.post("/collection/", collection())
    cursor = (await alice.get("/changes/")).json["next"]
    first = await alice.get(f"/changes/?since={cursor}")
    assert first.json == {"changes": [], "next": cursor, "more": False}
    headers = {"If-None-Match": first.headers["ETag"]}
    assert (await alice.get(f"/changes/?since={cursor}", headers=headers)).status == 304
    position = Position.parse(cursor)
    assert position
    for moment in (position.seen - data.STEADY, position.seen + data.DAY):  # too old; of a clock that was ahead
        page = await alice.get(f"/changes/?since={position._replace(seen=moment)}")
        following = Position.parse(page.json["next"])
        assert following and position.seen <= following.seen < position.seen + data.DAY
    await alice.post("/collection/", collection())
    assert (await alice.get(f"/changes/?since={cursor}", headers=headers)).status == 200


async def test_an_empty_page_after_the_wait(alice: Api) -> None:
    body = await page(alice, wait=1)
    assert (body["changes"], body["more"]) == ([], False)
    assert listed(await page(alice, body["next"])) == []


async def test_without_redis_waiting_requests_poll(
    alice: Api, resources: Resources, own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes neither wait nor fail. When Redis is back, changes wake requests again."""
    monkeypatch.setattr(signals, "RETRY_SECONDS", 0.05)
    await until(lambda: resources.changes.subscribed)
    asked = await waiting(alice, (await page(alice))["next"])
    own_redis.stop()
    await until(lambda: not resources.changes.subscribed)
    one = await created(alice)
    assert listed((await asked).json) == [(one, "created")]
    own_redis.start()
    own_redis.wait_ready()
    await until(lambda: resources.changes.subscribed)
    monkeypatch.setattr(signals, "POLL_SECONDS", 60)
    asked = await waiting(alice, (await page(alice))["next"])
    await alice.delete(f"/collection/{one}/")
    assert listed((await asked).json) == [(one, "deleted")]


async def test_a_silent_redis_is_away(
    alice: Api, resources: Resources, own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis keeps the connection open and does not reply."""
    monkeypatch.setattr(signals, "SILENT_SECONDS", 0.2)
    await until(lambda: resources.changes.subscribed)
    assert own_redis.process
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    try:
        await until(lambda: not resources.changes.subscribed)
    finally:
        os.kill(own_redis.process.pid, signal.SIGCONT)


async def test_too_many_requests_do_not_wait(alice: Api, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are per user and in all."""
    monkeypatch.setattr(signals, "MAX_WAITING", signals.MAX_WAITING_OF_USER + 1)
    bob, carol = await sign_up(), await sign_up()
    since = (await page(alice))["next"]
    asked = [await waiting(alice, since) for _ in range(signals.MAX_WAITING_OF_USER)]
    assert listed(await page(alice, since, wait=30)) == []
    asked.append(await waiting(bob, since))
    assert listed(await page(carol, since, wait=30)) == []
    for user in (alice, bob):
        await created(user)
    responses = await asyncio.gather(*asked)
    assert all(len(response.json["changes"]) == 1 for response in responses)


async def test_a_closed_connection_ends_the_wait(alice: Api) -> None:
    """Also if the client closes only its half of the connection."""
    host, port = alice.base_url.removeprefix("http://").split(":")
    request = f"GET /changes/?wait=30 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n\r\n".encode()
    for half in (False, True):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        await seen(alice, 1, "changes_waiting")
        writer.write_eof() if half else writer.close()
        await seen(alice, 0, "changes_waiting")
        assert not half or b'"changes": []' in await reader.read()
        writer.close()
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request * 2)
    writer.write_eof()
    assert (await reader.read()).count(b'"changes": []') == 2
    writer.close()


async def test_shutdown_ends_the_wait(alice: Api, http_server: Server) -> None:
    asked = await waiting(alice, (await page(alice))["next"])
    draining = asyncio.create_task(http_server.drain())
    assert (await asked).json["changes"] == []
    assert (await asked).headers["Connection"] == "close"
    await draining


async def test_limits_are_published(alice: Api) -> None:
    limits = (await alice.get("/limits/")).json
    assert limits["changes"] == {"wait_seconds": handlers.MAX_WAIT, "kept_days": data.CURSOR_DAYS}
    assert limits["at_once"]["waiting"] == signals.MAX_WAITING_OF_USER
    assert limits["at_once"]["waiting_of_all"] == signals.MAX_WAITING
    for _ in range(limits["pages"]["/changes/"]["default"] + 1):
        await created(alice, movies=[])
    body = await page(alice)
    assert (len(body["changes"]), body["more"]) == (limits["pages"]["/changes/"]["default"], True)
