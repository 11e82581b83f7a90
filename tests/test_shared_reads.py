"""Reads that come together share a statement, and nobody notices but by the clock."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from movieserver.postgres import database as module
from movieserver.postgres.database import Database, DatabaseUnavailable, open_database
from movieserver.embedded.postgres import Postgres
from movieserver.errors import InternalError
from movieserver.resources import Resources
from tests.client import Api
from tests.conftest import SignUp
from tests.factories import movies
from tests.test_collections import created

pytestmark = pytest.mark.usefixtures("io_loop")

ASKED = "FROM unnest(%(value)s::integer[], %(apart)s::boolean[]) WITH ORDINALITY AS asked (value, apart, place)"
STATEMENTS = {
    "values": f"SELECT place, value, pg_current_xact_id()::text, count(*) OVER () {ASKED}",
    "odd": f"SELECT place, value {ASKED} WHERE value %% 2 = 1 ORDER BY place DESC",
    "divided": f"SELECT place, 12 / value {ASKED}",
    "large": f"SELECT place, CASE WHEN apart OR value < 10 THEN value END, count(*) OVER () {ASKED}",
    "slow": f"SELECT place, value {ASKED}, pg_sleep(0.2)",
    "dies": f"SELECT place, pg_terminate_backend(pg_backend_pid()) {ASKED}",
}


@asynccontextmanager
async def pool(postgres: Postgres) -> AsyncIterator[Database]:
    async with open_database(postgres.url, 2) as database:
        database.statements.update(STATEMENTS)
        yield database


async def answers(database: Database, name: str, *values: int) -> list[Any]:
    """What each who asks for a value gets, or the error."""
    return await asyncio.gather(
        *[database.read_shared(name, value=value) for value in values], return_exceptions=True)


async def test_who_comes_together_shares_a_statement(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        rows = await answers(database, "values", *range(100))
        assert [row[0] for row in rows] == [*range(100)]
        assert len({row[1] for row in rows}) == -(-100 // module.MOST_TOGETHER)
        assert max(row[2] for row in rows) == module.MOST_TOGETHER
        later = await answers(database, "values", 1, 1, 1, 2)
        assert [row[0] for row in later] == [1, 1, 1, 2]
        assert {row[2] for row in later} == {2}  # equal questions are one
        assert {row[1] for row in later}.isdisjoint(row[1] for row in rows)  # and nothing is kept for the next


async def test_everybody_gets_the_row_of_their_place(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        assert await answers(database, "odd", *range(5)) == [None, (1,), None, (3,), None]


async def test_what_fails_for_one_fails_for_nobody_else(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        first, second, third = await answers(database, "divided", 3, 0, 4)
        assert (first, third) == ((4,), (3,))
        assert isinstance(second, InternalError)


async def test_what_is_large_is_made_apart(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        assert await answers(database, "large", 1, 50, 2) == [(1, 3), (50, 1), (2, 3)]


async def test_who_goes_away_takes_nothing_from_the_others(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        leaving, *staying = [asyncio.create_task(database.read_shared("slow", value=value)) for value in (2, 1, 2)]
        await asyncio.sleep(0)
        leaving.cancel()
        assert await asyncio.gather(*staying) == [(1,), (2,)]
        assert leaving.cancelled()


async def test_a_lost_connection_is_told_to_all(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        assert all(isinstance(answer, DatabaseUnavailable) for answer in await answers(database, "dies", 1, 2, 3))
        assert await answers(database, "odd", 1) == [(1,)]


async def test_each_sees_their_own(sign_up: SignUp) -> None:
    """Also in one statement: whose token it is decides, for the list and for a collection that is somebody else's."""
    people = [await sign_up() for _ in range(10)]
    own = [await created(api, title=f"of {number}", movies=movies(number % 3)) for number, api in enumerate(people)]
    pages = await asyncio.gather(*[api.get("/collection/") for api in people for _ in range(3)])
    for number, page in enumerate(pages):
        assert [one["uuid"] for one in page.json["data"]["collections"]] == [own[number // 3]]
        assert page.json["data"]["collections"][0]["title"] == f"of {number // 3}"
    asked = await asyncio.gather(*[api.get(f"/collection/{uuid}/") for api in people for uuid in own])
    for number, answer in enumerate(asked):
        mine = number % len(own) == number // len(own)
        assert answer.status == (200 if mine else 404)
        assert not mine or answer.json["title"] == f"of {number % len(own)}"


async def test_large_and_small_at_once(alice: Api, sign_up: SignUp, resources: Resources) -> None:
    """A large collection and a page with much in it are whole, and none of them is made in a statement of many."""
    bob = await sign_up()
    large, small = movies(300, description="d" * 500), movies(2)
    paths = {await created(alice, movies=large): large, await created(bob, movies=small): small}
    long = await created(alice, movies=[], description="d" * 100_000)
    apart: list[str] = []
    run = resources.database.run

    async def noted(name: str, parameters: dict[str, Any], tries: int) -> Any:
        apart.append(str(parameters["apart"]))
        return await run(name, parameters, tries)

    resources.database.run = noted  # type: ignore[method-assign]
    one, other, described, page, bobs = await asyncio.gather(
        *[api.get(f"/collection/{uuid}/") for api, uuid in zip((alice, bob), paths)],
        alice.get(f"/collection/{long}/"), alice.get("/collection/"), bob.get("/collection/"))
    assert [one.json["movies"], other.json["movies"]] == [large, small]
    assert described.json["description"] == "d" * 100_000
    assert [len(each["movies"]) for each in page.json["data"]["collections"]] == [0, 300]
    assert [len(each["movies"]) for each in bobs.json["data"]["collections"]] == [2]
    assert apart.count('{"True"}') == 3
