"""Single movies: added, removed, reordered, found."""
from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.postgres.statements import load_statements
from movieserver.resources import Resources
from tests.client import Response, Api, pointers
from tests.conftest import SignUp
from tests.factories import movies
from tests.statements import noted
from tests.test_collections import created, many
from tests.test_migrations import run
from tests.test_plans import assert_reads_own_rows, planning


async def path_of(api: Api, given: list[dict[str, Any]]) -> str:
    return f"/collection/{await created(api, movies=given)}/"


async def held(api: Api, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get(path)).json["movies"]
    return found


def uuids(given: list[dict[str, Any]]) -> list[str]:
    return [movie["uuid"] for movie in given]


def items(added: list[dict[str, Any]], existing: list[dict[str, Any]]) -> list[dict[str, str]]:
    results = {**dict.fromkeys(uuids(added), "added"), **dict.fromkeys(uuids(existing), "existing")}
    return [{"uuid": uuid_, "result": result} for uuid_, result in results.items()]


async def test_one_movie_is_added_at_the_end(alice: Api) -> None:
    given, one = movies(3), movies(1)
    path = await path_of(alice, given)
    response = await alice.post(f"{path}movies/", one[0])
    assert response.status == 200
    assert response.json == {"added": 1, "existing": 0, "items": items(one, [])}
    assert await held(alice, path) == given + one


@pytest.mark.parametrize("wrapped", [True, False])
async def test_many_movies_are_added_in_order(alice: Api, wrapped: bool) -> None:
    given, more = movies(3), movies(20)
    path = await path_of(alice, given)
    response = await alice.post(f"{path}movies/", {"movies": more} if wrapped else more)
    assert response.json == {"added": 20, "existing": 0, "items": items(more, [])}
    assert await held(alice, path) == given + more


async def test_existing_movies_do_not_change(alice: Api) -> None:
    given, more = movies(3), movies(2)
    path = await path_of(alice, given)
    again = {**given[1], "title": "another title", "uuid": given[1]["uuid"].upper()}
    response = await alice.post(f"{path}movies/", {"movies": [more[0], again, more[1]]})
    assert (response.json["added"], response.json["existing"]) == (2, 1)
    assert response.json["items"] == [
        {"uuid": more[0]["uuid"], "result": "added"}, {"uuid": given[1]["uuid"], "result": "existing"},
        {"uuid": more[1]["uuid"], "result": "added"},
    ]
    assert await held(alice, path) == given + more
    assert (await alice.post(f"{path}movies/", more)).json == {"added": 0, "existing": 2, "items": items([], more)}
    assert (await alice.post(f"{path}movies/", [])).json == {"added": 0, "existing": 0, "items": []}
    assert await held(alice, path) == given + more


async def test_every_invalid_field_is_listed_and_nothing_is_added(alice: Api) -> None:
    given = movies(1)
    path = await path_of(alice, given)
    good, bad = movies(2)
    cases: list[tuple[Any, list[str]]] = [
        ({**bad, "title": ""}, ["/title"]), ({"title": "x"}, ["/uuid"]), ({}, ["/uuid", "/title"]),
        ([good, {**bad, "uuid": "x", "title": 1}], ["/1/uuid", "/1/title"]), ([good, None], ["/1"]),
        ({"movies": [good, {**bad, "genres": 7}]}, ["/movies/1/genres"]), ({"movies": None}, ["/movies"]),
        ({"movies": [good, bad, good]}, ["/movies/2/uuid"]),
        ([good, good, {**bad, "title": ""}], ["/1/uuid", "/2/title"]),
        ({**good, "movies": [bad, {}]}, ["/movies/1/uuid", "/movies/1/title"]), (7, [""]), ("x", [""]), (None, [""]),
    ]
    for body, at_fault in cases:
        response = await alice.post(f"{path}movies/", raw=json.dumps(body).encode())
        assert (response.status, pointers(response)) == (400, at_fault), body
        assert "AddedMovies" not in str(response.json)
    assert await held(alice, path) == given


async def test_a_collection_has_a_maximum_size(alice: Api) -> None:
    given = many(9_998)
    path = await path_of(alice, given)
    before = await alice.get(path)
    response = await alice.post(f"{path}movies/", movies(3))
    assert (response.status, response.json["code"]) == (409, "collection_full")
    assert "10000" in response.json["detail"]
    after = await alice.get(path)
    assert (after.body, after.headers["ETag"]) == (before.body, before.headers["ETag"])
    more = movies(2)
    response = await alice.post(f"{path}movies/", given[:5] + more)
    assert (response.json["added"], response.json["existing"]) == (2, 5)
    assert (await alice.post(f"{path}movies/", movies(1))).status == 409
    assert (await alice.post(f"{path}movies/", given)).json["existing"] == 9_998
    response = await alice.post(f"{path}movies/", many(10_001))
    assert (response.status, pointers(response)) == (400, [""])
    assert "10000" in response.json["errors"][0]["detail"]
    assert await held(alice, path) == given + more


async def test_a_movie_is_removed(alice: Api) -> None:
    given = movies(4)
    path = await path_of(alice, given)
    response = await alice.delete(f"{path}movies/{given[1]['uuid'].upper()}/")
    assert (response.status, response.json) == (200, {"message": "Movie removed successfully"})
    assert await held(alice, path) == [given[0], *given[2:]]
    assert (await alice.delete(f"{path}movies/{given[1]['uuid']}/")).status == 404
    more = movies(1)
    await alice.post(f"{path}movies/", more)
    await alice.post(f"{path}movies/", given[1])
    assert await held(alice, path) == [given[0], *given[2:], *more, given[1]]


@pytest.mark.parametrize("wrapped", [True, False])
async def test_movies_are_reordered(alice: Api, wrapped: bool) -> None:
    given = movies(30)
    path = await path_of(alice, given)
    for order in (given[::-1], given[10:] + given[:10], given):
        response = await alice.put(f"{path}order/", {"movies": uuids(order)} if wrapped else uuids(order))
        assert (response.status, response.json) == (200, {"message": "Collection reordered successfully"})
        assert await held(alice, path) == order
    empty = await path_of(alice, [])
    assert (await alice.put(f"{empty}order/", [])).status == 200


async def test_an_order_must_list_every_movie_once(alice: Api) -> None:
    given, others = movies(4), movies(2)
    path = await path_of(alice, given)
    a, b, c, d = uuids(given)
    x, y = uuids(others)
    for order, at_fault in (
        ([a, b, c], [""]), ([], [""] * 4), ([a, b, c, d, x], ["/4"]), ([x, d, y, a], ["/0", "/2", "", ""]),
    ):
        response = await alice.put(f"{path}order/", order)
        assert (response.status, response.json["code"], pointers(response)) == (409, "order_mismatch", at_fault)
        named = [error["detail"] for error in response.json["errors"]]
        for missing in {a, b, c, d} - set(order):
            assert any(missing in detail for detail in named)
    response = await alice.put(f"{path}order/", {"movies": [a, x]})
    assert pointers(response) == ["/movies/1", "/movies", "/movies", "/movies"]
    assert await held(alice, path) == given


async def test_invalid_orders(alice: Api) -> None:
    given = movies(2)
    path = await path_of(alice, given)
    a, b = uuids(given)
    cases: list[tuple[Any, list[str]]] = [
        ([a, b, a.upper()], ["/2"]), ([a, "x", 7, None], ["/1", "/2", "/3"]), ({"movies": [a, b, b]}, ["/movies/2"]),
        ({"movies": [a, "x", a]}, ["/movies/1", "/movies/2"]), ({}, ["/movies"]), (7, [""]), ("x", [""]),
        ([str(uuid.uuid4()) for _ in range(10_001)], [""]), ({"pointer": "/x", "movies": 7}, ["/movies"]),
    ]
    for body, at_fault in cases:
        response = await alice.put(f"{path}order/", body)
        assert (response.status, pointers(response)) == (400, at_fault)
    assert await held(alice, path) == given


async def test_ten_thousand_movies_are_added_and_reordered(alice: Api) -> None:
    given = many(10_000)
    path = await path_of(alice, [])
    assert (await alice.post(f"{path}movies/", given)).json["added"] == 10_000
    assert (await alice.put(f"{path}order/", uuids(given)[::-1])).status == 200
    assert await held(alice, path) == given[::-1]
    response = await alice.put(f"{path}order/", uuids(many(10_000)))
    assert (response.status, len(response.json["errors"])) == (409, 20_000)


async def test_every_change_has_a_version_and_accepts_if_match(alice: Api) -> None:
    given = movies(3)
    path = await path_of(alice, given)
    one = movies(1)[0]
    calls: list[tuple[str, str, Any]] = [
        ("POST", f"{path}movies/", one), ("PUT", f"{path}order/", uuids([one, *given])),
        ("DELETE", f"{path}movies/{one['uuid']}/", None),
    ]
    for method, address, body in calls:
        before = await alice.get(path)
        assert (await alice.call(method, address, body, headers={"If-Match": '"x"'})).status == 412
        assert (await alice.call(method, address, body, headers={"If-None-Match": "*"})).status == 412
        assert (await alice.call(method, address, body, headers={"If-Match": "x"})).status == 400
        assert (await alice.get(path)).body == before.body
        response = await alice.call(method, address, body, headers={"If-Match": before.headers["ETag"]})
        after = await alice.get(path)
        assert response.status == 200
        assert response.version == after.version != before.version
        assert after.json["updated_at"] > before.json["updated_at"]


async def test_collections_of_other_users_are_404(alice: Api, sign_up: SignUp) -> None:
    given = movies(3)
    mine = await path_of(alice, given)
    bob = await sign_up()
    own = await path_of(bob, movies(1))
    strange = [mine, f"/collection/{uuid.uuid4()}/", "/collection/x/", f"/collections/{uuid.uuid4()}/"]
    taken = f"movies/{given[0]['uuid']}/"
    calls = [("POST", "movies/", movies(1)), ("PUT", "order/", uuids(given)), ("DELETE", taken, None)]
    for method, tail, body in calls:
        for headers in ({}, {"If-Match": '"x"'}):
            responses = [await bob.call(method, path + tail, body, headers=headers) for path in strange]
            for path in (own + taken, f"{own}movies/x/") if method == "DELETE" else ():
                responses.append(await bob.call(method, path, headers=headers))
            assert {response.status for response in responses} == {404}
            assert len({json.dumps({**response.json, "request_id": ""}) for response in responses}) == 1
    assert await held(alice, mine) == given


async def holding(api: Api, movie: dict[str, Any], query: str = "") -> Response:
    response = await api.get(f"/movies/{movie['uuid']}/collections/{query}")
    assert response.status == 200
    assert set(response.json) == {"collections", "count", "next"}
    return response


async def test_the_collections_of_a_movie(alice: Api, sign_up: SignUp) -> None:
    bob = await sign_up()
    one, other = movies(2)
    await created(bob, movies=[one])
    first = await created(alice, title="first", movies=[one])
    await created(alice, movies=[other])
    second = await created(alice, title="second", movies=[other, one])
    response = await holding(alice, {"uuid": one["uuid"].upper()})
    assert response.json == {
        "collections": [{"uuid": second, "title": "second"}, {"uuid": first, "title": "first"}], "count": 2,
        "next": None,
    }
    assert (await holding(alice, movies(1)[0])).json == {"collections": [], "count": 0, "next": None}
    await alice.delete(f"/collection/{second}/movies/{one['uuid']}/")
    assert (await holding(alice, one)).json["count"] == 1
    tag = response.headers["ETag"]
    changed = await alice.get(f"/movies/{one['uuid']}/collections/", headers={"If-None-Match": tag})
    assert changed.status == 200
    again = await alice.get(f"/movies/{one['uuid']}/collections", headers={"If-None-Match": changed.headers["ETag"]})
    assert again.status == 304


async def test_paging_through_the_collections_of_a_movie(alice: Api) -> None:
    one = movies(1)
    expected = [await created(alice, movies=one) for _ in range(7)][::-1]
    walked, link = [], f"/movies/{one[0]['uuid']}/collections/?limit=3"
    while link:
        response = await alice.get(link)
        assert response.json["count"] == 7
        walked += [entry["uuid"] for entry in response.json["collections"]]
        link = response.json["next"]
        assert response.headers.get("Link") == (f'<{link}>; rel="next"' if link else None)
    assert walked == expected


async def test_invalid_movie_uuids(alice: Api) -> None:
    for segment in ("x", "%00", "57baf4f4", "%ff"):
        assert (await alice.get(f"/movies/{segment}/collections/")).status == 404
    one = movies(1)[0]
    for query in ("limit=0", "limit=101", "limit=x", "cursor=x", "cursor="):
        assert (await alice.get(f"/movies/{one['uuid']}/collections/?{query}")).status == 400


async def test_finding_a_movie_reads_only_rows_of_the_user(alice: Api, sign_up: SignUp, postgres: Postgres) -> None:
    """Through the index that begins with user_id; no row of another user is read."""
    for owner in (alice, await sign_up(), await sign_up()):
        for _ in range(3):
            await created(owner, movies=many(200))
    run(postgres.url, "ANALYZE collections")
    name = "collection_movies.list_containing"
    with planning(postgres.url) as planner:
        scans = planner.scans(name, load_statements()[name])
    assert [scan["Index Cond"] for scan in scans] == ["(user_id = $1)"]
    assert_reads_own_rows(name, scans)


async def test_each_call_is_one_message_to_postgresql(alice: Api, resources: Resources) -> None:
    given = movies(2)
    path = await path_of(alice, given)
    statements = noted(resources.database)
    more = movies(1)
    await alice.post(f"{path}movies/", more)
    await alice.put(f"{path}order/", uuids(more + given))
    await alice.delete(f"{path}movies/{more[0]['uuid']}/")
    await holding(alice, given[0])
    assert [each.name for each in statements] == [
        f"collection_movies.{name}" for name in ("add", "reorder", "remove", "list_containing")]


async def test_concurrent_additions_are_all_kept(alice: Api) -> None:
    path = await path_of(alice, [])
    given = [movies(5) for _ in range(8)]
    responses = await asyncio.gather(*[alice.post(f"{path}movies/", five) for five in given])
    assert [response.json["added"] for response in responses] == [5] * 8
    found = await held(alice, path)
    assert sorted(uuids(found)) == sorted(uuids(sum(given, [])))
    for five in given:
        place = found.index(five[0])
        assert found[place:place + 5] == five
