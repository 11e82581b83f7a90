"""The request count: exact, shared by all processes, and complete after an outage of Redis."""
from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.redis import request_counter
from movieserver.redis.client import open_redis
from movieserver.redis.request_counter import Number, RequestCounter, open_counter
from movieserver.settings import Settings
from tests.client import Api
from tests.conftest import SECRET, make_settings
from tests.factories import collection
from tests.proxy import Proxy, proxy
from tests.test_run import Server, serving
from tests.third_party import ThirdParty


@pytest.fixture
def settings(postgres: Any, own_redis: Redis, third_party: ThirdParty) -> Settings:
    """A server on a Redis that the test may stop."""
    return make_settings(postgres.url, own_redis.url, third_party.url)


async def count(api: Api) -> int:
    response = await api.get("/request-count/")
    assert response.status == 200
    assert list(response.json) == ["requests"]
    requests: int = response.json["requests"]
    return requests


async def until_count(api: Api) -> int:
    """The count, as soon as it can be read."""
    while (response := await api.get("/request-count/")).status == 503:
        await asyncio.sleep(0.01)
    requests: int = response.json["requests"]
    return requests


async def test_the_counting_request_counts(api: Api) -> None:
    assert [await count(api) for _ in range(3)] == [1, 2, 3]


async def test_every_request_counts(api: Api) -> None:
    calls = [
        ("GET", "/nowhere"), ("GET", "/"), ("FOO", "/collection/"), ("FOO", "/nowhere"), ("TRACE", "/movies/"),
        ("GET", "/collection/"), ("GET", "/collection/%ff/"), ("GET", "/%ff"), ("POST", "/register/"),
        ("DELETE", "/movies/"), ("HEAD", "/request-count/"), ("OPTIONS", "/register/"), ("GET", "/movies/?page=x"),
        ("GET", "/nowhere?%ff=%ff"), ("POST", "/nowhere"), ("POST", "/request-count/"), ("GET", "/request-count"),
    ]
    before = await count(api)
    for done, (method, path) in enumerate(calls, 1):
        await api.call(method, path)
        assert await count(api) == before + 2 * done, (method, path)


@pytest.mark.parametrize("headers", [
    {"Content-Type": "multipart/form-data"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "nonsense"},
])
async def test_requests_with_unreadable_bodies_count(alice: Api, headers: dict[str, str]) -> None:
    before = await count(alice)
    response = await alice.post("/collection/", raw=b"\xff%ff=--x", headers=headers)
    assert response.status == 415
    assert await count(alice) == before + 2


@pytest.mark.parametrize("path", ["/healthz", "/readyz/", "/healthz/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "FOO", "POST"])
async def test_health_checks_do_not_count(api: Api, path: str, method: str) -> None:
    before = await count(api)
    await api.call(method, path)
    assert await count(api) == before + 1


async def test_a_reset(api: Api) -> None:
    await count(api)
    for _ in range(2):
        response = await api.post("/request-count/reset/")
        assert response.status == 200
        assert response.json == {"message": "Request count reset successfully"}
        assert await count(api) == 1
    assert (await api.get("/request-count/reset/")).status == 405


async def test_concurrent_requests_count(api: Api) -> None:
    before = await count(api)
    for _ in range(5):
        await asyncio.gather(*[api.get("/nowhere") for _ in range(50)])
    assert await count(api) == before + 251


async def test_concurrent_readers_get_different_numbers(api: Api) -> None:
    before = await count(api)
    numbers = await asyncio.gather(*[count(api) for _ in range(100)])
    assert sorted(numbers) == list(range(before + 1, before + 101))


@asynccontextmanager
async def running(folder: Path, postgres: Postgres, redis: Redis, processes: int) -> AsyncIterator[Server]:
    """A server started with run.py."""
    settings = {
        "DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "JWT_SECRET": SECRET,
        "MOVIE_API_URL": "http://127.0.0.1:1/", "PROCESSES": str(processes),
    }
    with ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, serving(folder / "data", **settings))


async def test_concurrent_readers_of_two_processes_get_different_numbers(
    postgres: Postgres, own_redis: Redis, tmp_path: Path
) -> None:
    async with running(tmp_path, postgres, own_redis, processes=2) as server:
        client = AsyncHTTPClient(force_instance=True, max_clients=100)
        responses = await asyncio.gather(*[client.fetch(server.url + "/request-count/") for _ in range(100)])
        assert sorted(json.loads(response.body)["requests"] for response in responses) == list(range(1, 101))
        client.close()


async def commands(client: Any) -> int:
    """The number of scripts that Redis has run."""
    statistics = await client.info("commandstats")
    return int(statistics.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def test_concurrent_requests_share_commands(own_redis: Redis) -> None:
    async with open_counter(own_redis.url) as one, open_redis(own_redis.url) as client:
        assert await one.count() == 1
        before = await commands(client)
        assert await asyncio.gather(*[one.count() for _ in range(1000)]) == list(range(2, 1002))
        assert await commands(client) - before < 10


async def test_several_counters_are_one_count(own_redis: Redis) -> None:
    async with open_counter(own_redis.url) as one, open_counter(own_redis.url) as other:
        numbers = await asyncio.gather(*[each.count() for _ in range(500) for each in (one, other)])
        assert set(numbers) == set(range(1, 1001))
        await other.reset()
        assert await one.count() == 1


async def test_a_count_survives_redis(api: Api, own_redis: Redis) -> None:
    assert [await count(api) for _ in range(2)] == [1, 2]
    own_redis.stop()
    own_redis.start()
    own_redis.wait_ready()
    assert await until_count(api) > 2


async def test_requests_without_redis_are_counted_later(alice: Api, own_redis: Redis) -> None:
    before = await count(alice)
    own_redis.stop()
    assert (await alice.post("/collection/", collection())).status == 201
    for _ in range(20):
        assert (await alice.get("/collection/")).status == 200
    for refused in (await alice.get("/request-count/"), await alice.post("/request-count/reset/")):
        assert refused.status == 503
        assert int(refused.headers["Retry-After"]) >= 1
    own_redis.start()
    own_redis.wait_ready()
    reads = 1
    while (response := await alice.get("/request-count/")).status == 503:
        reads += 1
        await asyncio.sleep(0.01)
    assert response.json["requests"] <= before + 23 + reads
    assert await count(alice) == before + 23 + reads + 1


@asynccontextmanager
async def behind_proxy(url: str) -> AsyncIterator[tuple[RequestCounter, Proxy]]:
    """A counter, and the proxy between it and Redis."""
    async with proxy(url) as between, open_counter(f"redis://127.0.0.1:{between.port}") as one:
        assert await one.count() == 1
        yield one, between


def refuse(between: Proxy) -> None:
    """Take Redis away."""
    between.refuse = True
    between.cut()


async def settled(one: RequestCounter) -> None:
    """Wait until Redis is back and has counted all requests."""
    while one.unavailable or one.backlog:
        await asyncio.sleep(0.01)


OUTAGES = ["refuse", "lose_replies", "black_hole"]  # not sent; carried out but not confirmed; carried out late


@asynccontextmanager
async def outage(between: Proxy, name: str) -> AsyncIterator[None]:
    """An outage of Redis."""
    setattr(between, name, True)
    if name == "refuse":
        between.cut()
    yield
    setattr(between, name, False)


@pytest.mark.parametrize("name", OUTAGES)
async def test_requests_during_an_outage_count_once(own_redis: Redis, name: str) -> None:
    async with behind_proxy(own_redis.url) as (one, between):
        async with outage(between, name):
            assert [await one.count() for _ in range(5)] == [None] * 5
            assert one.backlog == 5
        await settled(one)
        assert await one.count() == 7


@pytest.mark.parametrize("name", OUTAGES)
async def test_requests_from_before_a_reset_are_not_counted_after_it(own_redis: Redis, name: str) -> None:
    async with behind_proxy(own_redis.url) as (one, between), open_counter(own_redis.url) as other:
        async with outage(between, name):
            assert [await one.count() for _ in range(5)] == [None] * 5
            await other.reset()
        await settled(one)
        assert await other.count() == 1
        assert await one.count() == 2


async def test_requests_that_wait_during_a_reset_count_after_it(own_redis: Redis) -> None:
    async with open_counter(own_redis.url) as one, open_counter(own_redis.url) as other:
        for _ in range(3):
            assert await one.count() == 1
            await other.reset()
            assert await asyncio.gather(*[one.count() for _ in range(10)]) == list(range(1, 11))
            assert await other.count() == 11
            await other.reset()


async def test_requests_after_a_processs_own_reset_count(own_redis: Redis) -> None:
    async with behind_proxy(own_redis.url) as (one, between), open_counter(own_redis.url) as other:
        for _ in range(3):
            async with outage(between, "refuse"):
                assert [await one.count() for _ in range(5)] == [None] * 5
            await one.reset()
            for _ in range(20):
                await one.count()
            await settled(one)
            assert await other.count() == 21


async def test_a_process_that_starts_without_redis_counts_later(own_redis: Redis) -> None:
    async with open_counter(own_redis.url) as other:
        await other.reset()
        async with proxy(own_redis.url) as between:
            refuse(between)
            async with open_counter(f"redis://127.0.0.1:{between.port}") as one:
                assert [await one.count() for _ in range(5)] == [None] * 5
                between.refuse = False
                await settled(one)
                assert await other.count() == 6


@asynccontextmanager
async def lost_reply(one: RequestCounter, between: Proxy, redis: Redis) -> AsyncIterator[Number]:
    """The number of a request that Redis counts, but whose reply is lost."""
    async with open_redis(redis.url) as client:
        before, between.delay = await commands(client), 0.05
        number = one.count()
        while await commands(client) == before:
            await asyncio.sleep(0)
        yield number
        between.delay = 0
        between.cut()


async def test_a_number_that_is_sent_again_is_still_the_same(own_redis: Redis) -> None:
    async with behind_proxy(own_redis.url) as (one, between), open_counter(own_redis.url) as other:
        assert await other.count() == 2
        async with lost_reply(one, between, own_redis) as number:
            assert await other.count() == 4
        assert await number == 3
        assert await one.count() == 5


async def test_a_request_that_waits_is_counted_again_after_a_reset(own_redis: Redis) -> None:
    async with behind_proxy(own_redis.url) as (one, between), open_counter(own_redis.url) as other:
        assert await other.count() == 2
        async with lost_reply(one, between, own_redis) as number:
            await other.reset()
        assert await number == 1
        assert await other.count() == 2


async def test_only_one_request_waits_for_a_silent_redis(own_redis: Redis) -> None:
    async with behind_proxy(own_redis.url) as (one, between):
        between.black_hole = True
        waiting = [one.count() for _ in range(10)]
        assert not any(each.done() for each in waiting)
        assert await asyncio.gather(*waiting) == [None] * 10
        assert one.unavailable
        assert all(one.count().done() for _ in range(1000))
        between.black_hole = False
        await settled(one)
        assert await one.count() == 1012


@pytest.mark.parametrize("turns", range(10))
async def test_a_blocked_process_does_not_report_an_outage(own_redis: Redis, turns: int) -> None:
    async with open_counter(own_redis.url) as one:
        assert await one.count() == 1
        number = one.count()
        for _ in range(turns):
            await asyncio.sleep(0)
        time.sleep(2 * request_counter.WAIT_SECONDS)
        assert await number == 2


async def test_pending_requests_are_delivered_at_shutdown(own_redis: Redis) -> None:
    async with behind_proxy(own_redis.url) as (one, between):
        refuse(between)
        assert [await one.count() for _ in range(7)] == [None] * 7
        between.refuse = False
    async with open_counter(own_redis.url) as other:
        assert await other.count() == 9


async def test_a_counter_can_be_closed_at_any_moment(own_redis: Redis) -> None:
    for turns in range(100):
        before = asyncio.all_tasks()
        async with open_counter(own_redis.url):
            for _ in range(turns % 12):
                await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before


async def test_the_number_of_lost_requests_is_logged_at_shutdown(
    postgres: Postgres, own_redis: Redis, tmp_path: Path
) -> None:
    async with running(tmp_path, postgres, own_redis, processes=1) as server:
        assert server.count() == 1
        own_redis.stop()
        for _ in range(5):
            assert server.call("GET", "/nowhere")[0] == 404
        assert await asyncio.to_thread(server.stop) == 0
        lines = map(json.loads, server.log.read_text(encoding="utf-8").splitlines())
        lost = [(line["level"], line["count"]) for line in lines if line["event"] == "requests not counted"]
        assert lost == [("error", 5)]


class TestWithAResetToken:
    """A reset requires COUNTER_RESET_TOKEN."""

    @pytest.fixture
    def settings(self, postgres: Any, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, own_redis.url, third_party.url, counter_reset_token="let-me")

    async def test_only_the_token_resets(self, api: Api, alice: Api) -> None:
        for wrong in (api, alice, api.signed("let-me-not")):
            response = await wrong.post("/request-count/reset/")
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert "needs the reset token" in response.json["detail"]
        assert await count(api) > 3
        assert (await api.signed("let-me").post("/request-count/reset/")).status == 200
        assert await count(api) == 1
