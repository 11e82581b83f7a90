"""Concurrent requests for the same collection: the outcome is that of one order of the two, and each client learns the
result of its own. (test_idempotency.py has concurrent requests with the same key.)"""
from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from movieserver.embedded.postgres import Postgres
from tests.client import Response, Api
from tests.counts import assert_exact
from tests.factories import movies
from tests.test_collection_movies import held, path_of, uuids
from tests.test_collections import many
from tests.test_migrations import run

MEETINGS = 25
pytestmark = pytest.mark.gen_test(timeout=60)


async def meet(*calls: Any) -> list[Response]:
    """Make the calls concurrently, starting in random order; their responses."""
    order = random.sample(range(len(calls)), len(calls))
    responses = dict(zip(order, await asyncio.gather(*[calls[place] for place in order])))
    return [responses[place] for place in range(len(calls))]


def statuses(responses: list[Response]) -> list[int]:
    return [response.status for response in responses]


async def test_one_of_two_edits_of_a_version_is_refused(alice: Api) -> None:
    path = await path_of(alice, [])
    for _ in range(MEETINGS):
        seen = {"If-Match": (await alice.get(path)).headers["ETag"]}
        bodies = [{"title": "one", "movies": movies(3)}, {"title": "two", "movies": movies(2)}]
        responses = await meet(*[alice.put(path, body, headers=seen) for body in bodies])
        assert sorted(statuses(responses)) == [200, 412]
        winner = responses.index(next(response for response in responses if response.status == 200))
        after = await alice.get(path)
        assert {"title": after.json["title"], "movies": after.json["movies"]} == bodies[winner]
        assert after.version == responses[winner].version


async def test_no_edit_is_lost(alice: Api) -> None:
    path = await path_of(alice, [])
    await alice.put(path, {"description": "0"})

    async def editor() -> None:
        for _ in range(10):
            status = 412
            while status == 412:
                seen = await alice.get(path)
                change = {"description": str(int(seen.json["description"]) + 1)}
                status = (await alice.put(path, change, headers={"If-Match": seen.headers["ETag"]})).status
            assert status == 200

    await asyncio.gather(*[editor() for _ in range(5)])
    assert (await alice.get(path)).json["description"] == "50"


async def test_concurrent_deletion_and_edit(alice: Api) -> None:
    outcomes = set()
    for _ in range(MEETINGS):
        path = await path_of(alice, movies(2))
        seen = {"If-Match": (await alice.get(path)).headers["ETag"]}
        deleted, edited = await meet(
            alice.delete(path, headers=seen), alice.put(path, {"title": "kept", "movies": movies(5)}, headers=seen))
        outcomes.add((deleted.status, edited.status))
        after = await alice.get(path)
        if deleted.status == 200:
            assert (edited.status, after.status) == (404, 404)
        else:
            assert (deleted.status, edited.status, after.json["title"]) == (412, 200, "kept")
    assert outcomes <= {(200, 404), (412, 200)}


async def test_concurrent_deletion_and_every_other_call(alice: Api, postgres: Postgres) -> None:
    for _ in range(MEETINGS):
        given, more = movies(3), movies(2)
        path = await path_of(alice, given)
        deleted, *others = await meet(
            alice.delete(path), alice.post(f"{path}movies/", more), alice.put(f"{path}order/", uuids(given)[::-1]),
            alice.delete(f"{path}movies/{given[0]['uuid']}/"), alice.put(path, {"movies": more}))
        assert deleted.status == 200
        assert set(statuses(others)) <= {200, 404, 409}
        assert (await alice.get(path)).status == 404
        collection_uuid = path.split("/")[2]
        assert run(
            postgres.url, f"SELECT count(*) FROM collections WHERE collection_uuid = '{collection_uuid}'") == (0,)
        assert_exact(postgres.url, alice)


async def test_concurrent_reorder_and_removal(alice: Api) -> None:
    for _ in range(MEETINGS):
        given = movies(20)
        path, gone = await path_of(alice, given), random.choice(given)
        order = given[::-1]
        reordered, removed = await meet(
            alice.put(f"{path}order/", uuids(order)), alice.delete(f"{path}movies/{gone['uuid']}/"))
        assert removed.status == 200
        base = order if reordered.status == 200 else given
        assert await held(alice, path) == [movie for movie in base if movie != gone]
        if reordered.status != 200:
            assert reordered.json["code"] == "order_mismatch"
            [error] = reordered.json["errors"]
            assert error["pointer"] == f"/{order.index(gone)}"
            assert gone["uuid"] in error["detail"]


async def test_concurrent_reorder_and_addition(alice: Api) -> None:
    for _ in range(MEETINGS):
        given, more = movies(10), movies(2)
        path = await path_of(alice, given)
        reordered, added = await meet(
            alice.put(f"{path}order/", uuids(given)[::-1]), alice.post(f"{path}movies/", more))
        assert (added.status, added.json["added"]) == (200, 2)
        if reordered.status == 200:
            assert await held(alice, path) == given[::-1] + more
        else:
            assert (reordered.status, [error["pointer"] for error in reordered.json["errors"]]) == (409, ["", ""])
            assert await held(alice, path) == given + more


async def test_concurrent_reorders(alice: Api) -> None:
    given = movies(30)
    path = await path_of(alice, given)
    for _ in range(MEETINGS):
        orders = [random.sample(given, len(given)) for _ in range(3)]
        responses = await meet(*[alice.put(f"{path}order/", uuids(order)) for order in orders])
        assert statuses(responses) == [200, 200, 200]
        assert len({response.version for response in responses}) == 3
        after = await alice.get(path)
        [last] = [order for order, response in zip(orders, responses) if response.version == after.version]
        assert after.json["movies"] == last


async def test_concurrent_additions_at_the_limit(alice: Api) -> None:
    given = many(9_990)
    path = await path_of(alice, given)
    for _ in range(5):
        sets = [movies(6), movies(7)]
        responses = await meet(*[alice.post(f"{path}movies/", more) for more in sets])
        assert sorted(statuses(responses)) == [200, 409]
        full = next(response for response in responses if response.status == 409)
        assert full.json["code"] == "collection_full"
        added = sets[statuses(responses).index(200)]
        assert await held(alice, path) == given + added
        for movie in added:
            await alice.delete(f"{path}movies/{movie['uuid']}/")


async def test_concurrent_identical_additions(alice: Api) -> None:
    path, expected = await path_of(alice, []), []
    for _ in range(MEETINGS):
        more = movies(4)
        responses = await meet(*[alice.post(f"{path}movies/", more) for _ in range(3)])
        assert sorted(response.json["added"] for response in responses) == [0, 0, 4]
        assert sorted(response.json["existing"] for response in responses) == [0, 4, 4]
        expected += more
        assert await held(alice, path) == expected


async def test_concurrent_addition_and_new_list(alice: Api) -> None:
    for _ in range(MEETINGS):
        path, new, more = await path_of(alice, movies(3)), movies(5), movies(2)
        responses = await meet(alice.put(path, {"movies": new}), alice.post(f"{path}movies/", more))
        assert statuses(responses) == [200, 200]
        assert await held(alice, path) in (new, new + more)


async def test_concurrent_identical_removals(alice: Api) -> None:
    given = movies(MEETINGS)
    path = await path_of(alice, given)
    for place, movie in enumerate(given):
        responses = await meet(*[alice.delete(f"{path}movies/{movie['uuid']}/") for _ in range(2)])
        assert sorted(statuses(responses)) == [200, 404]
        assert await held(alice, path) == given[place + 1:]


async def test_an_entity_tag_always_belongs_to_the_same_text(alice: Api) -> None:
    given = movies(5)
    path = await path_of(alice, given)
    seen: dict[str, bytes] = {}
    over = asyncio.Event()

    async def reader(address: str) -> int:
        known = '"x"'
        while not over.is_set():
            response = await alice.get(address, headers={"If-None-Match": known})
            known = response.headers["ETag"]
            if response.status == 200:
                assert seen.setdefault(address + known, response.body) == response.body
            else:
                assert (response.status, address + known in seen) == (304, True)
        return len(seen)

    async def writer() -> None:
        for number in range(30):
            await alice.put(path, {"title": f"title {number % 3}"})
            await alice.put(f"{path}order/", uuids(random.sample(given, len(given))))

    readers = [asyncio.ensure_future(reader(address)) for address in (path, path, "/collection/", "/collection/")]
    await asyncio.gather(writer(), writer())
    over.set()
    assert min(await asyncio.gather(*readers)) > 2
