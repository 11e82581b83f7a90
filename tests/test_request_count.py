"""The request count: exact, shared, kept while Redis is away."""
from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.platform.asyncio import AsyncIOLoop

from movieserver.redis import request_counter
from movieserver.redis.request_counter import RequestCounter, open_counter
from movieserver.embedded.redis import Redis
from movieserver.settings import Settings
from tests.client import Api
from tests.conftest import make_settings
from tests.factories import collection
from tests.third_party import ThirdParty


@pytest.fixture
def settings(postgres: Any, own_redis: Redis, third_party: ThirdParty) -> Settings:
    """The server over a Redis that the test may stop."""
    return make_settings(postgres.url, own_redis.url, third_party.url)


async def count(api: Api) -> int:
    answer = await api.get("/request-count/")
    assert answer.status == 200
    assert list(answer.json) == ["requests"]
    requests: int = answer.json["requests"]
    return requests


async def until_count(api: Api) -> int:
    """The count, as soon as it is to be had."""
    while (answer := await api.get("/request-count/")).status == 503:
        await asyncio.sleep(0.01)
    requests: int = answer.json["requests"]
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
async def test_bodies_that_cannot_be_read_count(alice: Api, headers: dict[str, str]) -> None:
    before = await count(alice)
    answer = await alice.post("/collection/", raw=b"\xff%ff=--x", headers=headers)
    assert answer.status == 415
    assert await count(alice) == before + 2


@pytest.mark.parametrize("path", ["/healthz", "/readyz/", "/healthz/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "FOO", "POST"])
async def test_what_operators_ask_does_not_count(api: Api, path: str, method: str) -> None:
    before = await count(api)
    await api.call(method, path)
    assert await count(api) == before + 1


async def test_a_reset(api: Api) -> None:
    await count(api)
    for _ in range(2):
        answer = await api.post("/request-count/reset/")
        assert answer.status == 200
        assert answer.json == {"message": "Request count reset successfully"}
        assert await count(api) == 1
    assert (await api.get("/request-count/reset/")).status == 405


async def test_requests_at_once(api: Api) -> None:
    before = await count(api)
    for _ in range(5):
        await asyncio.gather(*[api.get("/nowhere") for _ in range(50)])
    assert await count(api) == before + 251


async def test_requests_at_once_share_commands(own_redis: Redis, io_loop: AsyncIOLoop) -> None:
    async with open_counter(own_redis.url) as one:
        before = int((await one._redis.info("commandstats"))["cmdstat_evalsha"]["calls"]) if await one.count() else 0
        totals = await asyncio.gather(*[one.count() for _ in range(1000)])
        after = int((await one._redis.info("commandstats"))["cmdstat_evalsha"]["calls"])
    assert max(total or 0 for total in totals) == 1001
    assert after - before < 10


async def test_several_counters_are_one_count(own_redis: Redis) -> None:
    async with open_counter(own_redis.url) as one, open_counter(own_redis.url) as other:
        await asyncio.gather(*[each.count() for _ in range(500) for each in (one, other)])
        assert await one.count() == 1001
        await other.reset()
        assert await one.count() == 1


async def test_a_count_survives_redis(api: Api, own_redis: Redis) -> None:
    assert [await count(api) for _ in range(2)] == [1, 2]
    own_redis.stop()
    own_redis.launch()
    own_redis.wait_ready()
    assert await until_count(api) > 2


async def test_without_redis_the_rest_goes_on_and_nothing_is_lost(alice: Api, own_redis: Redis) -> None:
    before = await count(alice)
    own_redis.stop()
    assert (await alice.post("/collection/", collection())).status == 201
    for _ in range(20):
        assert (await alice.get("/collection/")).status == 200
    refused = [await alice.get("/request-count/"), await alice.post("/request-count/reset/")]
    for answer in refused:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
    own_redis.launch()
    own_redis.wait_ready()
    asked = 0
    while (answer := await alice.get("/request-count/")).status == 503:
        asked += 1
        await asyncio.sleep(0.01)
    total = answer.json["requests"]
    assert total <= before + 21 + 2 + asked + 1
    assert await count(alice) == before + 21 + 2 + asked + 2


async def test_without_redis_nobody_waits_twice(api: Api, own_redis: Redis) -> None:
    own_redis.stop()
    await api.get("/nowhere")
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(100):
        await api.get("/nowhere")
    assert loop.time() - began < 100 * request_counter.WAIT_SECONDS
    own_redis.launch()
    own_redis.wait_ready()
    assert await until_count(api) > 100


@asynccontextmanager
async def unreliable(url: str) -> AsyncIterator[tuple[RequestCounter, list[bool]]]:
    """A counter and a list: each True in it is a command carried out whose reply is lost, each False one not sent."""
    async with open_counter(url) as one:
        fates: list[bool] = []
        add: Any = one._add

        async def fickle(*given: Any) -> Any:
            if not fates:
                return await add(*given)
            if fates.pop(0):
                await add(*given)
            raise ConnectionResetError("the reply was lost")

        one._add = fickle  # type: ignore[assignment]
        yield one, fates


async def delivered(one: RequestCounter) -> None:
    while one._away or one._open.size:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("fates", [[True], [False], [True, True, True], [False, True, False]])
async def test_a_lost_reply_is_not_counted_twice(own_redis: Redis, fates: list[bool]) -> None:
    async with unreliable(own_redis.url) as (one, lost):
        assert await one.count() == 1
        lost += fates
        assert await one.count() is None
        await delivered(one)
        assert await one.count() == 3


@pytest.mark.parametrize("fates", [[True], [False], [False, True]])
async def test_a_reset_is_not_undone_by_what_was_counted_before(own_redis: Redis, fates: list[bool]) -> None:
    async with unreliable(own_redis.url) as (one, lost), open_counter(own_redis.url) as other:
        assert await one.count() == 1
        lost += [*fates, False, False]
        assert [await one.count() for _ in range(5)] == [None] * 5
        await other.reset()
        await delivered(one)
        assert await other.count() == 1
        assert await one.count() == 2


async def test_what_was_counted_after_a_reset_elsewhere_counts(own_redis: Redis) -> None:
    async with open_counter(own_redis.url) as one, open_counter(own_redis.url) as other:
        assert await one.count() == 1
        await other.reset()
        assert [await one.count(), await other.count()] == [1, 2]


async def test_the_end_delivers_what_is_left(own_redis: Redis) -> None:
    async with unreliable(own_redis.url) as (one, lost):
        lost += [False, True]
        assert [await one.count() for _ in range(7)] == [None] * 7
    async with open_counter(own_redis.url) as other:
        assert await other.count() == 8


async def test_an_outage_after_a_reset_takes_nothing(own_redis: Redis) -> None:
    async with unreliable(own_redis.url) as (one, lost), open_counter(own_redis.url) as other:
        for resetting in (one, other):
            assert await one.count() is not None
            await resetting.reset()
            lost += [False, True]
            assert [await one.count() for _ in range(20)] == [None] * 20
            await delivered(one)
            assert await one.count() == 21


async def test_what_was_counted_after_a_reset_in_the_same_outage_counts(own_redis: Redis) -> None:
    async with unreliable(own_redis.url) as (one, lost), open_counter(own_redis.url) as other:
        assert await one.count() == 1
        lost += [False] * 4
        assert [await one.count() for _ in range(5)] == [None] * 5
        await asyncio.sleep(0.02)
        await other.reset()
        await asyncio.sleep(0.02)
        assert [await one.count() for _ in range(3)] == [None] * 3
        await delivered(one)
        assert await other.count() == 4


async def test_a_late_copy_of_an_old_batch_is_not_counted(own_redis: Redis) -> None:
    async with open_counter(own_redis.url) as one:
        assert [await one.count() for _ in range(3)] == [1, 2, 3]
        for old in (1, 2, 3):
            await one._add(keys=[request_counter.COUNT, one._batch_key], args=[old, 60, 9e15, 9e15, 1])
        assert await one.count() == 4


async def test_a_long_outage_takes_little_memory_and_loses_nothing(own_redis: Redis) -> None:
    async with unreliable(own_redis.url) as (one, lost):
        assert await one.count() == 1
        lost += [False] * 2
        assert await one.count() is None
        one._open._resolution = 0
        for _ in range(20_000):
            assert await one.count() is None
        assert len(one._open.moments) <= request_counter.MOST_MOMENTS
        await delivered(one)
        assert await one.count() == 20_003


async def test_a_process_that_was_busy_does_not_take_redis_for_away(own_redis: Redis) -> None:
    async with open_counter(own_redis.url) as one:
        assert await one.count() == 1
        for expected in (2, 3):
            counting = asyncio.create_task(one.count())
            await asyncio.sleep(0)
            time.sleep(2 * request_counter.WAIT_SECONDS)
            assert await counting == expected


class TestWithAResetToken:
    """COUNTER_RESET_TOKEN is what a reset must carry."""

    @pytest.fixture
    def settings(self, postgres: Any, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, own_redis.url, third_party.url, counter_reset_token="let-me")

    async def test_only_the_token_resets(self, api: Api, alice: Api) -> None:
        for wrong in (api, alice, api.signed("let-me-not")):
            answer = await wrong.post("/request-count/reset/")
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert await count(api) > 3
        assert (await api.signed("let-me").post("/request-count/reset/")).status == 200
        assert await count(api) == 1
