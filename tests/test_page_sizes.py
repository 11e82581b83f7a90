"""Large rows are read alone: the size of a batch is limited, however much its users have stored."""
from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import BYTES, register_type

from movieserver.data.collections import PAGE_BYTES
from movieserver.embedded.postgres import Postgres
from movieserver.postgres.database import MAX_BATCH
from movieserver.postgres.statements import array, load_statements
from movieserver.resources import Resources
from movieserver.schemas.requests import MAX_BYTES
from movieserver.serving import memory_limits
from tests.client import Api
from tests.conftest import SignUp
from tests.statements import noted
from tests.test_collections import created, walk

LARGE_BYTES = 256 * 1024  # as sql/collections.sql has it
pytestmark = pytest.mark.gen_test(timeout=60)
Row = tuple[Any, ...]


def long_movies(count: int, length: int = 10_000) -> list[dict[str, str]]:
    return [
        {"uuid": str(uuid.uuid4()), "title": f"movie {number}", "description": "é" * length, "genres": "Drama"}
        for number in range(count)]


async def stored(api: Api, movies: list[dict[str, str]]) -> str:
    """The uuid of a collection that was sent without escapes: two bytes for each é."""
    raw = json.dumps({"title": "large", "movies": movies}, ensure_ascii=False).encode()
    collection_uuid: str = (await api.post("/collection/", raw=raw)).json["collection_uuid"]
    return collection_uuid


def ask(postgres: Postgres, name: str, **lists: list[object]) -> list[Row]:
    """The rows of a batched statement, run as the server does, not alone."""
    with closing(psycopg2.connect(postgres.url)) as session, session.cursor() as cursor:
        register_type(BYTES, cursor)
        statement = load_statements()[name]
        for part in statement.parts:
            cursor.execute(part.prepare)
        cursor.execute(statement.execute, {**{key: array(values) for key, values in lists.items()}, "alone": False})
        return cursor.fetchall()


def pages(postgres: Postgres, user_ids: list[str], limits: list[int], movies: bool = True) -> list[Row]:
    """Pages of those users, in one statement."""
    nothing: list[object] = [None] * len(limits)
    return sorted(ask(
        postgres, "collections.list_page", user_id=[*user_ids], limit=[*limits], movies=[movies] * len(limits),
        after_microseconds=nothing, after_uuid=nothing))


def size(rows: list[Row]) -> int:
    """The bytes of all texts in rows."""
    return sum(len(value) for row in rows for value in row if isinstance(value, bytes))


def user_id(api: Api, resources: Resources) -> str:
    found: str = resources.tokens.verify(str(api.token))[0]
    return found


async def test_a_batch_of_large_pages_is_small(alice: Api, resources: Resources, postgres: Postgres) -> None:
    """32 reads of 200 movies with long texts (4 MB) that differ only in their limit."""
    given = long_movies(200)
    collection_uuid = await stored(alice, given)
    owner = user_id(alice, resources)
    rows = pages(postgres, [owner] * MAX_BATCH, list(range(1, MAX_BATCH + 1)))
    assert [row[0] for row in rows] == list(range(1, MAX_BATCH + 1))
    assert [row[1] for row in rows] == [None] * MAX_BATCH
    assert size(rows) < MAX_BATCH * LARGE_BYTES
    one = ask(
        postgres, "collections.get", user_id=[owner] * MAX_BATCH, collection_uuid=[collection_uuid] * MAX_BATCH)
    assert (len(one), {row[1] for row in one}) == (MAX_BATCH, {None})
    assert size(one) < MAX_BATCH * LARGE_BYTES


async def test_concurrent_large_pages_are_complete(
    alice: Api, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP: no batch returns more than its bytes, and a large page is the only one of its statement."""
    monkeypatch.setattr(memory_limits, "RESPONSE_BYTES_PER_USER", 2**30)
    monkeypatch.setattr(memory_limits, "RESPONSE_BYTES", 2**30)
    given = long_movies(200)
    path = f"/collection/{await stored(alice, given)}/"
    statements = noted(resources.database)
    responses = await asyncio.gather(
        *[alice.get(f"/collection/?limit={limit}") for limit in range(1, MAX_BATCH + 1)], alice.get(path))
    assert {response.status for response in responses} == {200}
    for response in responses[:-1]:
        assert [one["movies"] for one in response.json["data"]["collections"]] == [given]
    assert responses[-1].json["movies"] == given
    assert sum(each.parameters["alone"] is True for each in statements) == MAX_BATCH + 1
    for each in statements:
        assert len(each.rows) == 1 if each.parameters["alone"] else size(each.rows) < MAX_BATCH * LARGE_BYTES


async def test_a_page_is_batched_up_to_its_exact_size(
    alice: Api, sign_up: SignUp, resources: Resources, postgres: Postgres
) -> None:
    """The bytes of description and movies as they are stored; without movies, of the description alone."""
    bob, carol = await sign_up(), await sign_up()
    small = await created(alice, description="", movies=[])
    for api, length in ((alice, LARGE_BYTES - 2), (bob, LARGE_BYTES - 1)):  # and two for the brackets of no movies
        await created(api, description="d" * length, movies=[])
    await created(carol, description="", movies=long_movies(20))
    owners = [user_id(api, resources) for api in (alice, bob, carol)]
    first = [row[1] is None for row in pages(postgres, owners, [1, 1, 1])]
    assert first == [False, True, True]
    both = [row[1] is None for row in pages(postgres, owners, [2, 2, 2])]  # the small one has two bytes, too
    assert both == [True, True, True]
    bare = [row[1] is None for row in pages(postgres, owners, [2, 2, 2], movies=False)]
    assert bare == [False, False, False]
    assert small in [one["uuid"] for one in (await alice.get("/collection/?limit=2")).json["data"]["collections"]]


async def test_one_large_page_does_not_split_its_batch(
    alice: Api, sign_up: SignUp, resources: Resources, postgres: Postgres
) -> None:
    bob = await sign_up()
    await stored(alice, long_movies(200))
    his = await created(bob, title="small", movies=long_movies(1))
    rows = pages(postgres, [user_id(api, resources) for api in (bob, alice, bob)], [1, 1, 1])
    assert [row[1] is None for row in rows] == [False, True, False]
    assert all(his.encode() in row[1] for row in (rows[0], rows[2]))


async def test_a_page_ends_with_the_collection_that_brings_it_to_its_size(alice: Api) -> None:
    """16 MiB by exact size: 64 collections of a 64th come to it, one byte less in each lets one more follow."""
    each = PAGE_BYTES // 64
    for length, expected in ((each - 2, 64), (each - 3, 65)):
        path_of = [await created(alice, description="d" * length, movies=[]) for _ in range(66)]
        response = await alice.get("/collection/?limit=100")
        assert len(response.json["data"]["collections"]) == expected
        walked = [one["uuid"] for one in await walk(alice, "limit=100")]
        assert walked == path_of[::-1]
        bare = (await alice.get("/collection/?limit=100&movies=false")).json["data"]["collections"]
        assert len(bare) == expected + (expected == 64)
        for one in path_of:
            await alice.delete(f"/collection/{one}/")


async def test_paging_over_large_collections_gives_each_once(alice: Api) -> None:
    """With a limit that the size does not reach, and one that it does."""
    sizes = [7_000_000, 100, 7_900_000, 300_000, 7_900_000, 7_900_000, 0]
    uuids = [await created(alice, description="d" * length, movies=[]) for length in sizes]
    for limit in (1, 3, 100):
        assert [one["uuid"] for one in await walk(alice, f"limit={limit}")] == uuids[::-1]
        page = (await alice.get(f"/collection/?limit={limit}")).json
        assert page["count"] == len(uuids)
        assert sum(len(one["description"]) for one in page["data"]["collections"]) < PAGE_BYTES + MAX_BYTES
