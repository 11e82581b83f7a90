"""Wrong passwords are slowed down, per account and per address, and nobody is kept out for long."""
from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tornado.platform.asyncio import AsyncIOLoop

from movieserver.accounts import login_attempts
from movieserver.redis import client
from movieserver.accounts.login_attempts import (
    ACCOUNT_FAILURES, PAIR_FAILURES, PAIR_FAILURES_UNDER_ATTACK, WINDOW_SECONDS
)
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.postgres.statements import Statement
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests.client import Answer, Api, assert_unauthenticated, but_request_id
from tests.conftest import make_settings
from tests.factories import collection, registration
from tests.proxy import Proxy, proxy
from tests.third_party import ThirdParty

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
Pair = dict[str, Any]


@pytest.fixture
def settings(postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
    """This machine is a proxy that is believed: tests come from wherever they say."""
    return make_settings(postgres.url, redis.url, third_party.url, trusted_proxies="127.0.0.1,::1")


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> float:
    """A minute in little."""
    monkeypatch.setattr(login_attempts, "WINDOW_SECONDS", 4.0)
    return 4.0


async def login(api: Api, pair: Pair, address: str = HOME, **given: Any) -> Answer:
    """POST /login/ from an address."""
    return await api.post("/login/", {**pair, **given}, headers={"X-Forwarded-For": address})


async def fail(api: Api, pair: Pair, address: str = HOME) -> Answer:
    """A login with a wrong password."""
    return await login(api, pair, address, password="not the password")


async def somebody(api: Api) -> Pair:
    """Somebody who has registered."""
    pair = registration()
    assert (await api.post("/register/", pair)).status == 201
    return pair


@asynccontextmanager
async def going_on(*attacks: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Attacks that go on until the end."""
    tasks = [asyncio.create_task(attack) for attack in attacks]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def assert_slowed(answer: Answer) -> int:
    """429, and in how many seconds a try is real."""
    assert answer.status == 429
    assert answer.json["code"] == "too_many_attempts"
    assert f"{login_attempts.PAIR_FAILURES} in " in answer.json["detail"]
    seconds = int(answer.headers["Retry-After"])
    assert 1 <= seconds <= WINDOW_SECONDS
    return seconds


async def test_wrong_passwords_are_slowed_down(api: Api) -> None:
    """ASVS 5.0 6.3.1; also the right one is then not tried: an attacker would learn that it is right."""
    pair = await somebody(api)
    for _ in range(PAIR_FAILURES):
        assert_unauthenticated(await fail(api, pair))
    for _ in range(3):
        assert_slowed(await fail(api, pair))
    assert_slowed(await login(api, pair))
    assert (await login(api, await somebody(api))).status == 200


async def test_an_account_that_does_not_exist_is_slowed_down_alike(api: Api) -> None:
    """ASVS 5.0 6.3.8; however a name is written, it is one account."""
    heard = []
    for pair in (await somebody(api), registration()):
        answers = [
            await fail(api, {**pair, "username": name})
            for _ in range(PAIR_FAILURES // 2 + 1) for name in (pair["username"], pair["username"].upper())
        ]
        heard.append([(answer.status, answer.json["code"]) for answer in answers])
    assert heard[0] == heard[1]
    assert heard[0][-1] == (429, "too_many_attempts")


async def test_a_try_after_just_that_long_is_a_real_one(api: Api, short_window: float) -> None:
    """RFC 9110 section 10.2.3, RFC 6585 section 4: Retry-After is true, whatever was tried meanwhile."""
    pair = await somebody(api)
    while (answer := await fail(api, pair)).status == 401:
        pass
    wait = asyncio.create_task(asyncio.sleep(assert_slowed(answer)))
    while not wait.done():
        await asyncio.sleep(0.05)
        answer = await fail(api, pair) if answer.status == 429 else answer
    assert (await login(api, pair)).status == 200


async def test_nobody_locks_another_out_from_elsewhere(api: Api, short_window: float) -> None:
    """ASVS 5.0 6.1.1, no malicious account lockout: the owner gets in at once, while an attacker goes on for ever."""
    pair = await somebody(api)

    async def hammer() -> None:
        while True:
            await asyncio.gather(*[fail(api, pair, ELSEWHERE) for _ in range(5)])

    async with going_on(hammer()):
        while (await fail(api, pair, ELSEWHERE)).status != 429:
            pass
        for _ in range(20):
            assert (await login(api, pair)).status == 200


async def test_one_who_mistypes_during_an_attack_gets_in_within_a_window(api: Api, short_window: float) -> None:
    """ASVS 5.0 6.1.1: also an account under attack from everywhere is kept from nobody for longer than a window."""
    pair = await somebody(api)

    async def hammer(number: int) -> None:
        while True:
            await fail(api, pair, f"203.0.113.{number}")

    async with going_on(*[hammer(number) for number in range(20)]):
        for _ in range(PAIR_FAILURES):
            assert (await fail(api, pair)).status in (401, 429)
        answer = await login(api, pair)
        await asyncio.sleep(assert_slowed(answer))
        assert (await login(api, pair)).status == 200


async def test_an_account_under_attack_leaves_fewer_tries_to_each_address(api: Api) -> None:
    """ASVS 5.0 6.3.1: the account, however many addresses an attacker has."""
    pair = await somebody(api)
    for number in range(ACCOUNT_FAILURES):
        assert_unauthenticated(await fail(api, pair, f"203.0.113.{number}"))
    assert PAIR_FAILURES_UNDER_ATTACK < PAIR_FAILURES
    for _ in range(PAIR_FAILURES_UNDER_ATTACK):
        assert_unauthenticated(await fail(api, pair))
    assert_slowed(await fail(api, pair))
    assert (await login(api, pair, ELSEWHERE)).status == 200
    for _ in range(PAIR_FAILURES):
        assert_unauthenticated(await fail(api, await somebody(api)))


async def test_an_address_that_tries_many_accounts_is_slowed_down(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASVS 5.0 6.3.1: credential stuffing has one try an account."""
    monkeypatch.setattr(login_attempts, "ADDRESS_FAILURES", 12)
    for _ in range(12):
        assert_unauthenticated(await login(api, registration()))
    assert_slowed(await login(api, registration()))
    pair = await somebody(api)
    assert_slowed(await login(api, pair))
    assert (await login(api, pair, ELSEWHERE)).status == 200


async def test_a_burst_has_no_more_tries(api: Api) -> None:
    """ASVS 5.0 6.3.1: a try counts from its beginning, not from its failure."""
    pair = await somebody(api)
    answers = await asyncio.gather(*[fail(api, pair) for _ in range(60)])
    assert sorted(answer.status for answer in answers) == [401] * PAIR_FAILURES + [429] * (60 - PAIR_FAILURES)


async def test_successes_slow_nobody_down(api: Api) -> None:
    """ASVS 5.0 6.1.1: many right passwords at once wait for each other at most."""
    pair = await somebody(api)
    answers = await asyncio.gather(*[login(api, pair) for _ in range(50)])
    assert {answer.status for answer in answers} == {200}


async def test_successes_of_one_address_slow_nobody_down(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASVS 5.0 6.1.1: what was no failure is given back."""
    monkeypatch.setattr(login_attempts, "ADDRESS_FAILURES", 3)
    pairs = [await somebody(api) for _ in range(10)]
    assert {answer.status for answer in await asyncio.gather(*[login(api, pair) for pair in pairs])} == {200}
    for _ in range(3):
        assert_unauthenticated(await login(api, registration()))
    assert_slowed(await login(api, registration()))


async def test_who_waits_too_long_for_a_place_is_told_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110 section 15.6.4: a server that is too busy to try says so; it is nobody's failure."""
    pair = await somebody(api)
    monkeypatch.setattr(login_attempts, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(login_attempts, "PAIR_FAILURES", 1)
    answers = await asyncio.gather(*[login(api, pair) for _ in range(20)])
    assert {answer.status for answer in answers} == {200, 503}
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status == 503)
    assert (await login(api, pair)).status == 200


async def test_a_success_makes_up_for_failures(api: Api) -> None:
    """ASVS 5.0 6.1.1: who knows the password has mistyped it."""
    pair = await somebody(api)
    for _ in range(3):
        for _ in range(PAIR_FAILURES - 1):
            assert_unauthenticated(await fail(api, pair))
        assert (await login(api, pair)).status == 200


async def test_what_fails_for_another_reason_is_no_failure(
    api: Api, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASVS 5.0 6.1.1: neither a database that is away nor a body at fault slows anybody down."""
    pair = await somebody(api)
    with monkeypatch.context() as patch:
        patch.setitem(resources.database.statements, "users.find", Statement("SELECT FROM nowhere"))
        for _ in range(2 * PAIR_FAILURES):
            assert (await login(api, pair)).status == 503
            assert (await login(api, {"username": pair["username"]})).status == 400
    assert_unauthenticated(await fail(api, pair))
    assert (await login(api, pair)).status == 200


@pytest.mark.parametrize("method, path, body", [
    ("PUT", "/password/", {"old_password": "wrong", "new_password": "another good one"}),
    ("DELETE", "/account/", {"password": "wrong"}),
])
async def test_a_password_is_guessed_nowhere_else(api: Api, method: str, path: str, body: dict[str, str]) -> None:
    """ASVS 5.0 6.3.4: wherever a password is asked for, a wrong one counts, and for the same account."""
    pair = registration()
    caller = api.signed((await api.post("/register/", pair)).json["access_token"])
    for _ in range(PAIR_FAILURES):
        assert (await caller.call(method, path, body, headers={"X-Forwarded-For": HOME})).status == 403
    assert_slowed(await caller.call(method, path, body, headers={"X-Forwarded-For": HOME}))
    assert_slowed(await login(api, pair))
    assert (await caller.post("/collection/", collection(), headers={"X-Forwarded-For": HOME})).status == 201


async def test_redis_learns_no_names_and_no_addresses(api: Api, resources: Resources) -> None:
    """ASVS 5.0 14.2: what is counted is counted under a keyed digest."""
    pair = await somebody(api)
    await fail(api, pair)
    redis = resources.counter._redis
    keys = await redis.keys(f"{login_attempts.PREFIX}*")
    assert len(keys) == 3
    for key in keys:
        assert HOME not in key and pair["username"] not in key
        assert 0 < await redis.pttl(key) <= WINDOW_SECONDS * 1000


class TestWithoutRedis:
    @pytest.fixture
    def settings(self, postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, own_redis.url, third_party.url)

    async def test_logins_work(self, api: Api, own_redis: Redis) -> None:
        """ASVS 5.0 16.5.2: a service that is away takes nothing else down with it; nobody is slowed down then."""
        pair = await somebody(api)
        own_redis.stop()
        for _ in range(2 * PAIR_FAILURES):
            assert_unauthenticated(await fail(api, pair))
            assert (await login(api, pair)).status == 200

    async def test_redis_that_goes_away_during_a_login(
        self, api: Api, own_redis: Redis, resources: Resources
    ) -> None:
        """ASVS 5.0 16.5.2: nor does it while it is counted."""
        pair = await somebody(api)
        check = resources.passwords._check

        def stop(digest: bytes, stored: bytes) -> bool:
            own_redis.stop()
            return check(digest, stored)

        resources.passwords._check = stop  # type: ignore[method-assign]
        assert (await login(api, pair)).status == 200


async def test_a_place_is_given_back_also_when_redis_did_not_hear_of_it_at_first(
    api: Api, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASVS 5.0 6.1.1: what was lost for a moment holds up nobody for longer than that moment."""
    monkeypatch.setattr(login_attempts, "PAIR_FAILURES", 1)
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0.1)
    pair = await somebody(api)
    check = resources.passwords._check

    def away(digest: bytes, stored: bytes) -> bool:
        resources.attempts._calls._away_until = time.monotonic() + 0.3
        return check(digest, stored)

    with monkeypatch.context() as patch:
        patch.setattr(resources.passwords, "_check", away)
        assert (await login(api, pair)).status == 200
    assert (await login(api, pair)).status == 200
    while resources.attempts._ending:
        await asyncio.sleep(0.05)
    assert await resources.counter._redis.keys(f"{login_attempts.PREFIX}*") == []


class TestWithRedisThatSwallowsEverything:
    @pytest.fixture
    def between(self, io_loop: AsyncIOLoop, own_redis: Redis) -> Iterator[Proxy]:
        stack = AsyncExitStack()
        yield io_loop.run_sync(lambda: stack.enter_async_context(proxy(own_redis.url)))
        io_loop.run_sync(stack.aclose)

    @pytest.fixture
    def settings(self, postgres: Postgres, between: Proxy, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, f"redis://127.0.0.1:{between.port}", third_party.url)

    async def test_nobody_waits_twice(self, api: Api, between: Proxy, resources: Resources) -> None:
        """ASVS 5.0 16.5.2: the count has learnt that Redis does not answer, so the login does not ask it."""
        pair = await somebody(api)
        between.black_hole = True
        assert (await login(api, pair)).status == 200
        assert not resources.attempts._calls.away
        assert_unauthenticated(await fail(api, pair))
        assert not resources.attempts._calls.away


PROXIES = "127.0.0.1, ::1, 10.0.0.0/8, fd00::/8"
SAME = [
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.1", "203.0.113.5, 192.0.2.1"),  # what the client says of itself is on the left
    ("192.0.2.1", "192.0.2.1, 10.3.2.1, fd00::7"),
    ("192.0.2.1", " 192.0.2.1 ,10.3.2.1"),
    ("192.0.2.1", "192.0.2.1:4711"),
    ("192.0.2.1", "::ffff:192.0.2.1"),
    ("192.0.2.1", "[::ffff:192.0.2.1]:4711"),
    ("2001:db8:1:2::3", "2001:DB8:1:2:ffff:ffff:ffff:ffff"),
    ("2001:db8:1:2::3", "[2001:db8:1:2::4]:4711"),
    ("2001:db8:1:2::3", "[2001:db8:1:2::5]"),
    ("", "unknown"),
    ("", "192.0.2.1, unknown"),  # nobody knows who wrote what is left of it
    ("", "192.0.2.1, "),
    ("", "_hidden, 1.2.3, 999.1.1.1, ::g"),
    ("10.0.0.9", "192.0.2.1, what, 10.0.0.9"),
]
DIFFERENT = [
    ("192.0.2.1", "192.0.2.2"),
    ("192.0.2.1", "192.0.2.1, 192.0.2.2"),
    ("192.0.2.1", ""),
    ("2001:db8:1:2::3", "2001:db8:1:3::3"),
    ("10.0.0.9", "10.0.0.8"),
]


class TestBehindProxies:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, trusted_proxies=PROXIES)

    @pytest.mark.parametrize("one, other", SAME)
    async def test_one_address(self, api: Api, one: str, other: str) -> None:
        """ASVS 5.0 4.1.3: the right-most address that is no proxy of ours is the client's, and nothing else is."""
        pair = registration()
        for _ in range(PAIR_FAILURES):
            assert_unauthenticated(await fail(api, pair, one))
        assert_slowed(await fail(api, pair, other))

    @pytest.mark.parametrize("one, other", DIFFERENT)
    async def test_two_addresses(self, api: Api, one: str, other: str) -> None:
        """ASVS 5.0 4.1.3."""
        pair = registration()
        for _ in range(PAIR_FAILURES):
            assert_unauthenticated(await fail(api, pair, one))
        assert_unauthenticated(await fail(api, pair, other))
        assert_slowed(await fail(api, pair, one))

    @pytest.mark.parametrize("said, scheme", [
        ("https", "https"), ("HTTPS", "https"), ("http", "http"), ("http, https", "https"), ("javascript", "http"),
        ("", "http"), ("https://evil", "http"),
    ])
    async def test_links_have_the_scheme_that_the_proxy_names(self, api: Api, said: str, scheme: str) -> None:
        """ASVS 5.0 4.1.3."""
        caller = api.signed((await api.post("/register/", registration())).json["access_token"])
        for _ in range(2):
            await caller.post("/collection/", collection())
        answer = await caller.get("/collection/?limit=1", headers={"X-Forwarded-Proto": said})
        assert answer.json["next"].startswith(f"{scheme}://")


class TestWithoutProxies:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url)

    async def test_what_a_client_says_of_its_address_is_not_believed(self, api: Api) -> None:
        """ASVS 5.0 4.1.3."""
        pair = registration()
        for number in range(PAIR_FAILURES):
            assert_unauthenticated(await fail(api, pair, f"192.0.2.{number}"))
        assert_slowed(await fail(api, pair, "198.51.100.1"))

    async def test_nor_what_it_says_of_the_scheme(self, api: Api) -> None:
        """ASVS 5.0 4.1.3."""
        caller = api.signed((await api.post("/register/", registration())).json["access_token"])
        for _ in range(2):
            await caller.post("/collection/", collection())
        answer = await caller.get("/collection/?limit=1", headers={"X-Forwarded-Proto": "https"})
        assert answer.json["next"].startswith("http://")


async def test_every_refusal_of_a_password_is_one_answer(api: Api) -> None:
    """ASVS 5.0 6.3.8."""
    pair = await somebody(api)
    answers = [await login(api, pair, password=word) for word in ("not the password", "", "x" * 300)]
    answers += [await login(api, registration()), await login(api, {**pair, "username": ""})]
    for answer in answers:
        assert_unauthenticated(answer)
        assert but_request_id(answer) == but_request_id(answers[0])
        assert set(answer.headers) == set(answers[0].headers)
