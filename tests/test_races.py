"""Concurrent writes of one user: they wait for each other, and none fails, is lost or is applied in part."""
from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.settings import Settings
from tests.chaos import TORN
from tests.client import Response, Api
from tests.conftest import SignUp, make_settings
from tests.counts import assert_exact
from tests.factories import collection, movies, registration
from tests.test_collection_movies import uuids
from tests.test_collections import created
from tests.test_genre_counts import assert_counted, everything
from tests.test_idempotency import keyed
from tests.test_migrations import run
from tests.test_two_clients import meet, statuses
from tests.third_party import ThirdParty

CLIENTS, CALLS, LARGE_AT_ONCE = 16, 12, 4
GENRES = ["Drama", "drama", "DRAMA", "Comedy,Drama", "War, war ,WAR", "Straße", "STRASSE", ""]
LARGE = [{"title": "large", "description": "d" * 10_000, "genres": f"large {number % 50}"} for number in range(50)]
ROWS = " + ".join(
    f"(SELECT count(*) FROM {table} WHERE user_id = '%(user_id)s')"
    for table in (
        "users", "sessions", "spent_refresh_tokens", "collections", "user_genres", "idempotency_keys",
        "personal_tokens"))

pytestmark = pytest.mark.gen_test(timeout=120)


@pytest.fixture
def settings(postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
    """A connection for each client, so that all of them run at the same time in PostgreSQL."""
    return make_settings(postgres.url, redis.url, third_party.url, database_pool_size=CLIENTS)


@pytest.fixture(autouse=True)
def _no_deadlock(postgres: Postgres) -> Iterator[None]:
    """Nor any other error of PostgreSQL."""
    def errors() -> list[str]:
        return [line for line in postgres.log.read_text(encoding="utf-8").splitlines() if "ERROR:" in line]

    before = len(errors())
    yield
    assert errors()[before:] == []


class Race:
    """Writes of one user; `responses` has the name and the response of each."""

    def __init__(self, api: Api, pair: dict[str, Any], refresh_tokens: list[str], chance: random.Random) -> None:
        self.api = api
        self.pair = pair
        self.responses: list[tuple[str, Response]] = []
        self._refresh_tokens = refresh_tokens
        self._chance = chance
        self._collections: dict[str, list[dict[str, Any]]] = {}  # the movies of each path, if known
        self._keyed: list[tuple[str, Any, dict[str, str]]] = []  # requests with a key, to be sent again
        self._repeated: set[str] = set()  # their keys, of those that were
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)  # so that the others run beside them

    @property
    def calls(self) -> dict[str, Callable[[], Awaitable[Response]]]:
        """The calls by name."""
        return {
            "create": self.create, "create keyed": self.create_keyed, "create large": self.create_large,
            "add": self.add, "add keyed": self.add_keyed, "add large": self.add_large, "repeat": self.repeat,
            "update": self.update, "replace": self.replace, "remove": self.remove, "reorder": self.reorder,
            "delete": self.delete, "refresh": self.refresh, "log out": self.log_out, "list": self.list_all,
        }

    async def client(self) -> None:
        """Make `number` calls, one after the other."""
        calls = self.calls
        for _ in range(CALLS):
            await self.call(name := self._chance.choice(list(calls)), calls[name])

    async def call(self, name: str, call: Callable[[], Awaitable[Response]]) -> None:
        self.responses.append((name, await call()))

    def movies(self, count: int = 3) -> list[dict[str, Any]]:
        return [movie | {"genres": self._chance.choice(GENRES)} for movie in movies(count)]

    def path(self) -> str:
        """A collection that exists or existed."""
        return self._chance.choice(list(self._collections) or [f"/collection/{uuid.uuid4()}/"])

    async def create(self) -> Response:
        return await self._create(self.movies())

    async def create_keyed(self) -> Response:
        return await self._send_keyed("/collection/", collection(movies=self.movies()))

    async def create_large(self) -> Response:
        async with self._large:
            return await self._create(large())

    async def _create(self, given: list[dict[str, Any]]) -> Response:
        response = await self.api.post("/collection/", collection(movies=given))
        if response.status == 201:
            self._collections[response.headers["Location"]] = given
        return response

    async def add(self) -> Response:
        return await self.api.post(f"{self.path()}movies/", self.movies())

    async def add_keyed(self) -> Response:
        return await self._send_keyed(f"{self.path()}movies/", self.movies())

    async def _send_keyed(self, path: str, body: Any) -> Response:
        headers = keyed()
        self._keyed.append((path, body, headers))
        response = await self.api.post(path, body, headers=headers)
        assert response.status != 409 or headers["Idempotency-Key"] in self._repeated  # only if a repetition is running
        return response

    async def add_large(self) -> Response:
        async with self._large:
            return await self.api.post(f"{self.path()}movies/", large())

    async def repeat(self) -> Response:
        """Repeat a request with a key, possibly while it is running."""
        if not self._keyed:
            return await self.create_keyed()
        path, body, headers = self._chance.choice(self._keyed)
        self._repeated.add(headers["Idempotency-Key"])
        return await self.api.post(path, body, headers=headers)

    async def update(self) -> Response:
        return await self.api.put(self.path(), {"title": f"title {self._chance.random()}"})

    async def replace(self) -> Response:
        path, given = self.path(), self.movies(5)
        response = await self.api.put(path, {"movies": given})
        if response.status == 200:
            self._collections[path] = given
        return response

    async def remove(self) -> Response:
        path = self.path()
        known = uuids(self._collections.get(path, [])) or [str(uuid.uuid4())]
        return await self.api.delete(f"{path}movies/{self._chance.choice(known)}/")

    async def reorder(self) -> Response:
        path = self.path()
        return await self.api.put(f"{path}order/", uuids(self._collections.get(path, []))[::-1])

    async def delete(self) -> Response:
        return await self.api.delete(self.path())

    async def refresh(self) -> Response:
        token = self._chance.choice(self._refresh_tokens)
        response = await self.api.post("/refresh/", {"refresh_token": token})
        if response.status == 200:
            self._refresh_tokens.append(response.json["refresh_token"])
        return response

    async def log_out(self) -> Response:
        return await self.api.post("/logout/", {"refresh_token": self._chance.choice(self._refresh_tokens)})

    async def list_all(self) -> Response:
        return await self.api.get("/collection/?movies=false")

    async def change_password(self) -> Response:
        new = f"password {self._chance.random()}"
        response = await self.api.put("/password/", {"old_password": self.pair["password"], "new_password": new})
        if response.status == 200:
            self.pair["password"] = new
        return response

    async def delete_account(self) -> Response:
        return await self.api.delete("/account/")


def large() -> list[dict[str, Any]]:
    """About half a megabyte of movies."""
    return [{"uuid": str(uuid.uuid4()), **movie} for movie in LARGE]


# the allowed statuses of each call; 401 and 404 if something was deleted
EXPECTED = {
    "create": {201}, "create keyed": {201, 409}, "create large": {201}, "add": {200, 404},
    "add keyed": {200, 404, 409}, "add large": {200, 404}, "repeat": {200, 201, 404, 409},
    "update": {200, 404}, "replace": {200, 404},
    "remove": {200, 404}, "reorder": {200, 404, 409}, "delete": {200, 404}, "refresh": {200, 401}, "log out": {200},
    "list": {200}, "change password": {200, 401, 409}, "delete account": {200},
}
GONE = {"create": {401}, "create keyed": {401}, "create large": {401}, "repeat": {401}}  # or without an account


async def starting(api: Api, chance: random.Random) -> Race:
    """A user with several logins."""
    pair = registration()
    first = await api.post("/register/", pair)
    others = [await api.post("/login/", pair) for _ in range(4)]
    tokens = [response.json["refresh_token"] for response in (first, *others)]
    return Race(api.signed(first.json["access_token"]), pair, tokens, chance)


def seeded() -> random.Random:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    return random.Random(seed)


def assert_nothing_torn(postgres: Postgres, user: Api) -> None:
    assert_exact(postgres.url, user)
    assert run(postgres.url, f"{TORN} AND user_id = '{user.user_id}'") is None


def assert_gone(postgres: Postgres, user: Api) -> None:
    assert run(postgres.url, "SELECT " + ROWS % {"user_id": user.user_id}) == (0,)


@pytest.mark.parametrize("round_number", range(3))
async def test_concurrent_writes_of_every_kind(api: Api, postgres: Postgres, round_number: int) -> None:
    race = await starting(api, seeded())
    await asyncio.gather(
        *[race.client() for _ in range(CLIENTS)],
        *[race.call("change password", race.change_password) for _ in range(2)])
    for name, response in race.responses:
        assert response.status in EXPECTED[name], (name, response.status, response.json)
    assert_nothing_torn(postgres, race.api)
    await assert_counted(race.api)
    made = {response.json["collection_uuid"] for name, response in race.responses if response.status == 201}
    deleted = [name for name, response in race.responses if name == "delete" and response.status == 200]
    found = await everything(race.api)
    assert {one["uuid"] for one in found} <= made
    assert len(found) == len(made) - len(deleted)
    for one in found:
        assert one["movie_count"] == len(one["movies"]) == len({*uuids(one["movies"])})


@pytest.mark.parametrize("round_number", range(5))
async def test_an_account_is_deleted_during_writes_of_every_kind(
    api: Api, postgres: Postgres, round_number: int
) -> None:
    chance = seeded()
    race = await starting(api, chance)
    after = chance.randrange(CLIENTS * CALLS // 2)

    async def end() -> None:
        while len(race.responses) < after:
            await asyncio.sleep(0)
        await race.call("delete account", race.delete_account)

    await asyncio.gather(*[race.client() for _ in range(CLIENTS)], end())
    for name, response in race.responses:
        assert response.status in EXPECTED[name] | GONE.get(name, set()), (name, response.status, response.json)
    assert_gone(postgres, race.api)


@pytest.mark.parametrize("key", [True, False])
async def test_creates_during_deletion_of_the_account(sign_up: SignUp, postgres: Postgres, key: bool) -> None:
    """A create either comes first and is deleted with the account, or finds no user."""
    for _ in range(30):
        leaving = await sign_up()
        creates = [
            leaving.post("/collection/", collection(), headers=keyed() if key else None) for _ in range(6)]
        deleted, *responses = await meet(leaving.delete("/account/"), *creates)
        assert deleted.status == 200
        assert set(statuses(responses)) <= {201, 401}
        assert_gone(postgres, leaving)


@pytest.mark.parametrize("key", [True, False])
async def test_additions_during_deletion_of_the_account(sign_up: SignUp, postgres: Postgres, key: bool) -> None:
    """An addition either comes first and is deleted with the account, or finds no collection."""
    for _ in range(30):
        leaving = await sign_up()
        path = f"/collection/{await created(leaving)}/movies/"
        additions = [leaving.post(path, movies(2), headers=keyed() if key else None) for _ in range(6)]
        deleted, *responses = await meet(leaving.delete("/account/"), *additions)
        assert deleted.status == 200
        assert set(statuses(responses)) <= {200, 404}
        assert_gone(postgres, leaving)
