"""The cache of movie pages and the circuit breaker."""
from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.errors import UpstreamFault
from movieserver.redis.client import open_redis
from movieserver.resources import Resources, open_resources
from movieserver.serving.request import MovieServer
from movieserver.settings import Settings
from movieserver.third_party import client, movies as api
from movieserver.third_party.movies import MovieApi
from movieserver.third_party.provider import load_page
from tests.client import Response, Api
from tests.conftest import make_settings
from tests.test_movies import MOVIE, listing
from tests.third_party import ThirdParty, ThirdPartyHandler, hang, page


pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def settings(postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
    """Pages are fresh for a minute."""
    return make_settings(postgres.url, own_redis.url, third_party.url, movie_cache_seconds=60)


@pytest.fixture
def movies(resources: Resources) -> MovieApi:
    return resources.movie_api


def assert_page(response: Response) -> None:
    assert response.status == 200
    assert response.json["data"] == [MOVIE]


def grow_old(movies: MovieApi, seconds: float) -> None:
    """Make every cached page `seconds` older."""
    get = movies.cache.get

    async def older(key: str) -> str | None:
        stored = load_page(await get(key) or "")
        return replace(stored, fetched=stored.fetched - seconds).dump() if stored else None

    movies.cache.get = older  # type: ignore[method-assign]


async def slowly(handler: ThirdPartyHandler) -> None:
    await asyncio.sleep(0.2)
    await page(listing())(handler)


async def test_a_fresh_page_is_not_fetched_again(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(listing())
    for _ in range(3):
        response = await alice.get("/movies/")
        assert_page(response)
        assert response.headers["Cache-Control"] == "private, max-age=60"
        assert 0 <= int(response.headers["Age"]) < 60
    assert len(third_party.calls) == 1
    assert_page(await alice.get("/movies/?page=2"))
    assert len(third_party.calls) == 2


async def test_a_hundred_clients_of_an_uncached_page_make_one_call(
    alice: Api, app: MovieServer, third_party: ThirdParty
) -> None:
    async def when_all_wait(handler: ThirdPartyHandler) -> None:
        while len(app.active) < 100:
            await asyncio.sleep(0.01)
        await slowly(handler)

    third_party.behaviour = when_all_wait
    for response in await asyncio.gather(*[alice.get("/movies/") for _ in range(100)]):
        assert_page(response)
    assert len(third_party.calls) == 1


async def test_a_burst_does_not_disable_the_cache(movies: MovieApi, third_party: ThirdParty) -> None:
    third_party.behaviour = slowly
    listed = await asyncio.gather(*[movies.page(1) for _ in range(500)])
    assert {each.movies for each in listed} == {json.dumps([MOVIE], ensure_ascii=False)}
    await asyncio.gather(*[movies.page(1) for _ in range(500)])
    assert not movies.cache.unavailable
    assert len(third_party.calls) == 1


async def test_redis_that_was_away_for_a_moment_leaves_no_lock(
    alice: Api, third_party: ThirdParty, movies: MovieApi, own_redis: Redis
) -> None:
    released = asyncio.Event()

    async def held(handler: ThirdPartyHandler) -> None:
        await released.wait()
        await page(listing())(handler)

    third_party.behaviour = held
    asking = asyncio.ensure_future(alice.get("/movies/"))
    while not third_party.calls:
        await asyncio.sleep(0.01)
    async with open_redis(own_redis.url, 5) as redis:
        await redis.client_pause(600)
        while not movies.cache.unavailable:
            await movies.cache.get("any key")
        await redis.ping()
        released.set()
        assert_page(await asking)
        assert await redis.keys("movieserver:*") == []


async def test_a_deleted_page_is_no_longer_served(
    alice: Api, third_party: ThirdParty, movies: MovieApi
) -> None:
    third_party.behaviour = page(listing())
    assert_page(await alice.get("/movies/?page=9"))
    grow_old(movies, 100)
    third_party.behaviour = page(b"", status=404)
    while (await alice.get("/movies/?page=9")).status == 200:
        await asyncio.sleep(0.01)
    assert (await alice.get("/movies/?page=9")).status == 404


@pytest.mark.parametrize("text", [
    '{"version": 2}', "[1, true, true]\n[]", "[1, true, true, true]\n[]", "[1, true, true, true]", "x\n[]", "\n", "null"
])
async def test_a_text_of_another_version_is_ignored(
    alice: Api, third_party: ThirdParty, own_redis: Redis, text: str
) -> None:
    third_party.behaviour = page(listing())
    assert_page(await alice.get("/movies/"))
    async with open_redis(own_redis.url) as redis:
        for key in await redis.keys("movieserver:page:*"):
            await redis.set(key, text, ex=1000)
    assert_page(await alice.get("/movies/"))
    assert len(third_party.calls) == 2


async def test_clients_of_several_processes_make_one_call(settings: Settings, third_party: ThirdParty) -> None:
    third_party.behaviour = slowly
    async with open_resources(settings) as first, open_resources(settings) as second:
        listed = await asyncio.gather(*[each.movie_api.page(1) for _ in range(50) for each in (first, second)])
    assert {each.movies for each in listed} == {json.dumps([MOVIE], ensure_ascii=False)}
    assert len(third_party.calls) == 1


async def test_another_process_fetches_when_one_fails(settings: Settings, third_party: ThirdParty) -> None:
    third_party.behaviour = page(b"not JSON")
    async with open_resources(settings) as first, open_resources(settings) as second:
        both = await asyncio.gather(*[each.movie_api.page(1) for each in (first, second)], return_exceptions=True)
    assert [type(error) for error in both] == [UpstreamFault] * 2
    assert len(third_party.calls) == 2


async def test_a_stale_page_is_served_and_refreshed_in_the_background(
    alice: Api, third_party: ThirdParty, movies: MovieApi
) -> None:
    third_party.behaviour = page(listing())
    assert_page(await alice.get("/movies/"))
    grow_old(movies, 1000)
    released = asyncio.Event()

    async def newer(handler: ThirdPartyHandler) -> None:
        await released.wait()
        await page(listing(count=7))(handler)

    third_party.behaviour = newer
    for _ in range(5):
        response = await alice.get("/movies/")
        assert_page(response)
        assert int(response.headers["Age"]) >= 1000 > 60
    while len(third_party.calls) < 2:
        await asyncio.sleep(0.01)
    released.set()
    while (await alice.get("/movies/")).json["count"] != 7:
        await asyncio.sleep(0.01)
    assert third_party.calls[:2] == [{"page": "1"}] * 2


@pytest.mark.parametrize("away", [hang, page(b"", status=500), page(b"not JSON"), page(b"", status=401)])
async def test_a_stale_page_is_served_while_the_third_party_is_away(
    alice: Api, third_party: ThirdParty, movies: MovieApi, away: Any
) -> None:
    movies.upstream.seconds = 0.3
    third_party.behaviour = page(listing())
    assert_page(await alice.get("/movies/"))
    grow_old(movies, 5000)
    third_party.behaviour = away
    for _ in range(10):
        response = await alice.get("/movies/")
        assert_page(response)
        assert int(response.headers["Age"]) >= 5000


async def test_errors_are_not_cached(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(b"not JSON")
    assert (await alice.get("/movies/")).status == 502
    third_party.behaviour = page(b"", status=404)
    assert (await alice.get("/movies/?page=9")).status == 404
    third_party.behaviour = page(listing())
    assert_page(await alice.get("/movies/"))
    assert_page(await alice.get("/movies/?page=9"))


async def test_without_redis_pages_are_served_and_not_cached(
    alice: Api, third_party: ThirdParty, own_redis: Redis
) -> None:
    third_party.behaviour = page(listing())
    own_redis.stop()
    for _ in range(3):
        assert_page(await alice.get("/movies/"))
    assert len(third_party.calls) == 3
    third_party.behaviour = slowly
    for response in await asyncio.gather(*[alice.get("/movies/") for _ in range(30)]):
        assert_page(response)
    assert len(third_party.calls) == 4
    own_redis.start()
    own_redis.wait_ready()


async def test_a_fresh_page_that_was_read_from_redis_is_not_read_again(
    alice: Api, third_party: ThirdParty, own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "MAX_REMEMBERED", 1)
    third_party.behaviour = page(listing())
    for number in (1, 1, 2, 2):
        assert_page(await alice.get(f"/movies/?page={number}"))
    own_redis.stop()
    for _ in range(3):
        response = await alice.get("/movies/?page=2")
        assert_page(response)
        assert 0 <= int(response.headers["Age"]) < 60
    assert third_party.calls == [{"page": "1"}, {"page": "2"}]
    assert_page(await alice.get("/movies/?page=1"))
    assert third_party.calls == [{"page": "1"}, {"page": "2"}, {"page": "1"}]
    own_redis.start()
    own_redis.wait_ready()


async def test_a_page_is_cached_for_a_day(own_redis: Redis, resources: Resources) -> None:
    cache = resources.movie_api.cache
    await cache.put("key", "text é", 86400)
    assert await cache.get("key") == "text é"
    async with open_redis(own_redis.url) as redis:
        assert 86000 < await redis.ttl("movieserver:page:{key}") <= 86400
    assert await cache.get("other") is None


class TestSearches:
    @pytest.fixture
    def settings(self, postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(
            postgres.url, own_redis.url, f"{third_party.url}?search={{query}}", movie_cache_seconds=60)

    async def test_a_search_is_cached_for_ten_minutes(
        self, alice: Api, third_party: ThirdParty, own_redis: Redis
    ) -> None:
        """Any number of texts can be searched for, and their pages would fill Redis."""
        third_party.behaviour = page(listing())
        for _ in range(2):
            response = await alice.get("/movies/?query=metropolis")
            assert_page(response)
            assert 0 <= int(response.headers["Age"]) < 60
        assert len(third_party.calls) == 1
        async with open_redis(own_redis.url) as redis:
            [key] = await redis.keys("movieserver:page:*")
            assert 590 < await redis.ttl(key) <= 600


async def test_cached_pages_are_served_during_retry_after(
    alice: Api, third_party: ThirdParty, movies: MovieApi
) -> None:
    third_party.behaviour = page(listing())
    assert_page(await alice.get("/movies/"))
    grow_old(movies, 100)
    third_party.behaviour = page(b"", status=429, Retry_After="600")
    assert (await alice.get("/movies/?page=2")).status == 503
    third_party.calls.clear()
    for _ in range(3):
        assert_page(await alice.get("/movies/"))
        response = await alice.get("/movies/?page=3")
        assert (response.status, int(response.headers["Retry-After"]) > 500) == (503, True)
    assert third_party.calls == []


async def broken(alice: Api, third_party: ThirdParty, movies: MovieApi) -> None:
    """Let the third party fail until the breaker opens."""
    movies.upstream.seconds = 0.3
    third_party.behaviour = page(b"", status=500)
    for number in range(client.BREAKING_FAILURES):
        assert (await alice.get(f"/movies/?page={number + 1}")).status in (503, 504)
    third_party.calls.clear()


async def test_the_breaker_stops_calls_and_one_probe_closes_it(
    alice: Api, third_party: ThirdParty, movies: MovieApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "OPEN_SECONDS", 60)
    await broken(alice, third_party, movies)
    for response in await asyncio.gather(*[alice.get(f"/movies/?page={number}") for number in range(1, 30)]):
        assert response.status == 503
        assert int(response.headers["Retry-After"]) >= 1
    assert third_party.calls == []
    for path in ("/collection/", "/request-count/", "/readyz"):
        assert (await alice.get(path)).status == 200
    released = asyncio.Event()

    async def probed(handler: ThirdPartyHandler) -> None:
        await released.wait()
        await page(listing())(handler)

    third_party.behaviour = probed
    monkeypatch.setattr(client, "OPEN_SECONDS", 0)
    movies.upstream.seconds = 5
    asking = asyncio.ensure_future(alice.get("/movies/"))
    while not third_party.calls:
        await asyncio.sleep(0.01)
    assert {response.status for response in await asyncio.gather(
        *[alice.get(f"/movies/?page={number}") for number in range(2, 9)])} == {503}
    assert len(third_party.calls) == 1
    released.set()
    assert_page(await asking)
    assert_page(await alice.get("/movies/?page=3"))


async def test_a_failed_probe_opens_the_breaker_again(
    alice: Api, third_party: ThirdParty, movies: MovieApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "OPEN_SECONDS", 0)
    await broken(alice, third_party, movies)
    assert (await alice.get("/movies/")).status in (503, 504)
    assert third_party.calls
    monkeypatch.setattr(client, "OPEN_SECONDS", 60)
    third_party.calls.clear()
    assert (await alice.get("/movies/")).status == 503
    assert third_party.calls == []


async def test_cached_pages_are_served_while_the_breaker_is_open(
    alice: Api, third_party: ThirdParty, movies: MovieApi
) -> None:
    third_party.behaviour = page(listing())
    assert_page(await alice.get("/movies/?page=40"))
    grow_old(movies, 100)
    await broken(alice, third_party, movies)
    assert_page(await alice.get("/movies/?page=40"))
    assert (await alice.get("/movies/?page=41")).status == 503
    assert third_party.calls == []


async def test_the_number_of_waiting_clients_is_limited(
    alice: Api, third_party: ThirdParty, movies: MovieApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_WAITING", 5)
    movies.upstream.seconds = 1
    third_party.behaviour = hang
    responses = await asyncio.gather(*[alice.get(f"/movies/?page={number}") for number in range(1, 41)])
    assert sorted({response.status for response in responses}) == [503, 504]
    assert sum(response.status == 504 for response in responses) <= 5
