"""Batched reads: concurrent reads share a statement, which clients do not notice."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.errors import DatabaseUnavailable, InternalError
from movieserver.postgres.database import EARLY_BATCH, MAX_BATCH, MAX_RUNNING, Database, open_database
from movieserver.postgres.statements import Statement
from movieserver.resources import Resources
from tests.client import Api
from tests.conftest import SignUp
from tests.factories import movies
from tests.statements import noted
from tests.test_collections import created

pytestmark = pytest.mark.usefixtures("io_loop")

REQUESTS = "FROM unnest(%(value)s::integer[]) WITH ORDINALITY AS request (value, index)"
STATEMENTS = {name: Statement(text) for name, text in {
    "values": f"SELECT index, value, pg_current_xact_id()::text, count(*) OVER (), %(alone)s::boolean {REQUESTS}",
    "odd": f"SELECT index, value {REQUESTS} WHERE value %% 2 = 1 ORDER BY index DESC",
    "divided": f"SELECT index, 12 / value {REQUESTS}",
    "large": f"SELECT index, CASE WHEN %(alone)s OR value < 10 THEN value END, count(*) OVER () {REQUESTS}",
    "slow": f"SELECT index, value {REQUESTS}, pg_sleep(0.2)",
    "dies": f"SELECT index, pg_terminate_backend(pg_backend_pid()) {REQUESTS}",
}.items()}


@asynccontextmanager
async def opened(postgres: Postgres) -> AsyncIterator[Database]:
    async with open_database(postgres.url, 2, statements=dict(STATEMENTS)) as database:
        yield database


async def results(database: Database, name: str, *values: int) -> list[Any]:
    """The row of each read, or its error."""
    return await asyncio.gather(
        *[database.read_batched(name, value=value) for value in values], return_exceptions=True)


async def test_concurrent_reads_share_a_statement(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        count = MAX_RUNNING * EARLY_BATCH + 2 * MAX_BATCH
        rows = await results(database, "values", *range(count))
        assert [row[0] for row in rows] == [*range(count)]
        sizes = {row[1]: row[2] for row in rows}  # of each statement
        assert sorted(sizes.values()) == [EARLY_BATCH] * MAX_RUNNING + [MAX_BATCH] * 2
        assert {row[3] for row in rows} == {False}
        later = await results(database, "values", 1, 1, 1, 2)
        assert [row[0] for row in later] == [1, 1, 1, 2]
        assert {row[2] for row in later} == {4}  # equal reads are not merged
        assert {row[1] for row in later}.isdisjoint(row[1] for row in rows)  # and no row is cached


async def test_reads_are_batched_while_others_run(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        statements, reads = noted(database), list[asyncio.Task[Any]]()
        for value in range(10):
            reads.append(asyncio.create_task(database.read_batched("slow", value=value)))
            for _ in range(3):  # iterations of the event loop: each read arrives alone, while the first one takes 0.2 s
                await asyncio.sleep(0)
        assert await asyncio.gather(*reads) == [(value,) for value in range(10)]
        assert [statement.parameters["value"] for statement in statements] == [
            *[[value] for value in range(MAX_RUNNING)], [*range(MAX_RUNNING, 10)]]


async def test_reads_fail_on_close(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        statements, reads = noted(database), list[asyncio.Task[Any]]()
        for value in range(MAX_RUNNING + 1):
            reads.append(asyncio.create_task(database.read_batched("slow", value=value)))
            for _ in range(3):
                await asyncio.sleep(0)
        await database.close()
        errors = await asyncio.gather(*reads, return_exceptions=True)
        assert [isinstance(error, DatabaseUnavailable) for error in errors] == [True] * (MAX_RUNNING + 1)
        assert len(statements) == MAX_RUNNING
        assert not database.pool.idle


async def test_different_statements_are_not_batched_together(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        statements = noted(database)
        reads = [("odd", 1), ("divided", 2), ("odd", 3)]
        rows = await asyncio.gather(*[database.read_batched(name, value=value) for name, value in reads])
        assert rows == [(1,), (6,), (3,)]
        assert [(each.name, each.parameters) for each in statements] == [
            ("odd", {"value": [1, 3], "alone": False}), ("divided", {"value": [2], "alone": False})]


async def test_each_read_gets_the_row_of_its_index(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        assert await results(database, "odd", *range(5)) == [None, (1,), None, (3,), None]


async def test_one_bad_read_does_not_fail_its_batch(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        first, second, third = await results(database, "divided", 3, 0, 4)
        assert (first, third) == ((4,), (3,))
        assert isinstance(second, InternalError)


async def test_a_large_row_is_read_alone(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        statements = noted(database)
        assert await results(database, "large", 1, 50, 2, 60) == [(1, 4), (50, 1), (2, 4), (60, 1)]
        assert [each.parameters for each in statements] == [
            {"value": [1, 50, 2, 60], "alone": False}, {"value": [50], "alone": True}, {"value": [60], "alone": True}]


async def test_a_cancelled_read_does_not_affect_its_batch(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        leaving, *staying = [asyncio.create_task(database.read_batched("slow", value=value)) for value in (2, 1, 2)]
        await asyncio.sleep(0)
        leaving.cancel()
        assert await asyncio.gather(*staying) == [(1,), (2,)]
        assert leaving.cancelled()


async def test_a_lost_connection_is_reported_to_all(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        assert all(isinstance(result, DatabaseUnavailable) for result in await results(database, "dies", 1, 2, 3))
        assert await results(database, "odd", 1) == [(1,)]


async def test_each_user_sees_their_own(sign_up: SignUp) -> None:
    """Also in a shared statement, for lists and for single collections."""
    people = [await sign_up() for _ in range(10)]
    own = [await created(api, title=f"of {number}", movies=movies(number % 3)) for number, api in enumerate(people)]
    pages = await asyncio.gather(*[api.get("/collection/") for api in people for _ in range(3)])
    for number, page in enumerate(pages):
        assert [one["uuid"] for one in page.json["data"]["collections"]] == [own[number // 3]]
        assert page.json["data"]["collections"][0]["title"] == f"of {number // 3}"
    responses = await asyncio.gather(*[api.get(f"/collection/{uuid}/") for api in people for uuid in own])
    for number, response in enumerate(responses):
        mine = number % len(own) == number // len(own)
        assert response.status == (200 if mine else 404)
        assert not mine or response.json["title"] == f"of {number % len(own)}"


async def test_large_and_small_reads_are_batched_correctly(alice: Api, sign_up: SignUp, resources: Resources) -> None:
    """A large collection and a large page are whole, and neither comes from a batch."""
    bob = await sign_up()
    large, small = movies(600, description="d" * 500), movies(2)
    paths = {await created(alice, movies=large): large, await created(bob, movies=small): small}
    long = await created(alice, movies=[], description="d" * 300_000)
    statements = noted(resources.database)
    one, other, described, page, bobs = await asyncio.gather(
        *[api.get(f"/collection/{uuid}/") for api, uuid in zip((alice, bob), paths)],
        alice.get(f"/collection/{long}/"), alice.get("/collection/"), bob.get("/collection/"))
    assert [one.json["movies"], other.json["movies"]] == [large, small]
    assert described.json["description"] == "d" * 300_000
    assert [len(each["movies"]) for each in page.json["data"]["collections"]] == [0, 600]
    assert [len(each["movies"]) for each in bobs.json["data"]["collections"]] == [2]
    assert sorted(each.name for each in statements if each.parameters["alone"]) == [
        "collections.get", "collections.get", "collections.list_page"]
