"""Failed login attempts are limited per account and per address, and no user is locked out for long."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tornado.platform.asyncio import AsyncIOLoop

from movieserver.accounts import login_attempts
from movieserver.accounts.login_attempts import (
    ACCOUNT_FAILURES, PAIR_FAILURES, PAIR_FAILURES_UNDER_ATTACK, WINDOW_SECONDS, LoginAttempts
)
from movieserver.accounts.passwords import Passwords
from movieserver.data import users
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.errors import DatabaseUnavailable, TooManyAttempts, Unauthenticated
from movieserver.redis import client
from movieserver.redis.client import PATIENT_SECONDS, open_redis
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests.client import Response, Api, assert_unauthenticated, but_request_id
from tests.conftest import make_settings
from tests.factories import collection, registration
from tests.proxy import Proxy, proxy
from tests.third_party import ThirdParty

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
Pair = dict[str, Any]


@pytest.fixture
def settings(postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
    """This machine is a trusted proxy, so tests choose the address that they come from."""
    return make_settings(postgres.url, redis.url, third_party.url, trusted_proxies="127.0.0.1,::1")


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> float:
    """A short window."""
    monkeypatch.setattr(login_attempts, "WINDOW_SECONDS", 4.0)
    return 4.0


async def login(api: Api, pair: Pair, address: str = HOME, **given: Any) -> Response:
    """POST /login/ from an address."""
    return await api.post("/login/", {**pair, **given}, headers={"X-Forwarded-For": address})


async def fail(api: Api, pair: Pair, address: str = HOME) -> Response:
    """A login with a wrong password."""
    return await login(api, pair, address, password="not the password")


async def new_user(api: Api) -> Pair:
    """The user name and password of a new user."""
    pair = registration()
    assert (await api.post("/register/", pair)).status == 201
    return pair


@asynccontextmanager
async def under_way(*attacks: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Attacks that go on until the end of the block."""
    tasks = [asyncio.create_task(attack) for attack in attacks]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def assert_slowed(response: Response) -> int:
    """429; returns the seconds until the next attempt."""
    assert response.status == 429
    assert response.json["code"] == "too_many_attempts"
    assert f"{login_attempts.PAIR_FAILURES} in " in response.json["detail"]
    seconds = int(response.headers["Retry-After"])
    assert 1 <= seconds <= WINDOW_SECONDS
    return seconds


async def test_wrong_passwords_are_slowed_down(api: Api) -> None:
    """ASVS 5.0 6.3.1; the right password is refused too, or an attacker would learn that it is right."""
    pair = await new_user(api)
    for _ in range(PAIR_FAILURES):
        assert_unauthenticated(await fail(api, pair))
    for _ in range(3):
        assert_slowed(await fail(api, pair))
    assert_slowed(await login(api, pair))
    assert (await login(api, await new_user(api))).status == 200


async def test_unknown_accounts_are_slowed_down_like_others(api: Api) -> None:
    """ASVS 5.0 6.3.8; all spellings of a name are one account."""
    results = []
    for pair in (await new_user(api), registration()):
        responses = [
            await fail(api, {**pair, "username": name})
            for _ in range(PAIR_FAILURES // 2 + 1) for name in (pair["username"], pair["username"].upper())
        ]
        results.append([(response.status, response.json["code"]) for response in responses])
    assert results[0] == results[1]
    assert results[0][-1] == (429, "too_many_attempts")


async def test_an_attempt_after_retry_after_succeeds(api: Api, short_window: float) -> None:
    """RFC 9110 section 10.2.3, RFC 6585 section 4: Retry-After is right, regardless of attempts in the meantime."""
    pair = await new_user(api)
    while (response := await fail(api, pair)).status == 401:
        pass
    wait = asyncio.create_task(asyncio.sleep(assert_slowed(response)))
    while not wait.done():
        await asyncio.sleep(0.05)
        response = await fail(api, pair) if response.status == 429 else response
    assert (await login(api, pair)).status == 200


async def test_other_addresses_do_not_lock_a_user_out(api: Api, short_window: float) -> None:
    """ASVS 5.0 6.1.1, no malicious account lockout: the owner can log in during an attack."""
    pair = await new_user(api)

    async def hammer() -> None:
        while True:
            await asyncio.gather(*[fail(api, pair, ELSEWHERE) for _ in range(5)])

    async with under_way(hammer()):
        while (await fail(api, pair, ELSEWHERE)).status != 429:
            pass
        for _ in range(20):
            assert (await login(api, pair)).status == 200


async def test_an_owner_can_log_in_during_an_attack(api: Api, short_window: float) -> None:
    """ASVS 5.0 6.1.1: an attack from many addresses locks the owner out for one window at most."""
    pair = await new_user(api)

    async def hammer(number: int) -> None:
        while True:
            await fail(api, pair, f"203.0.113.{number}")

    async with under_way(*[hammer(number) for number in range(20)]):
        for _ in range(PAIR_FAILURES):
            assert (await fail(api, pair)).status in (401, 429)
        response = await login(api, pair)
        await asyncio.sleep(assert_slowed(response))
        assert (await login(api, pair)).status == 200


async def test_an_account_under_attack_leaves_fewer_attempts_to_each_address(api: Api) -> None:
    """ASVS 5.0 6.3.1: the limit is per account, however many addresses an attacker has."""
    pair = await new_user(api)
    for number in range(ACCOUNT_FAILURES):
        assert_unauthenticated(await fail(api, pair, f"203.0.113.{number}"))
    assert PAIR_FAILURES_UNDER_ATTACK < PAIR_FAILURES
    for _ in range(PAIR_FAILURES_UNDER_ATTACK):
        assert_unauthenticated(await fail(api, pair))
    assert_slowed(await fail(api, pair))
    assert (await login(api, pair, ELSEWHERE)).status == 200
    for _ in range(PAIR_FAILURES):
        assert_unauthenticated(await fail(api, await new_user(api)))


async def test_an_address_that_attacks_many_accounts_is_slowed_down(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASVS 5.0 6.3.1: credential stuffing needs one attempt per account."""
    monkeypatch.setattr(login_attempts, "ADDRESS_FAILURES", 12)
    for _ in range(12):
        assert_unauthenticated(await login(api, registration()))
    assert_slowed(await login(api, registration()))
    pair = await new_user(api)
    assert_slowed(await login(api, pair))
    assert (await login(api, pair, ELSEWHERE)).status == 200


async def test_concurrent_attempts_do_not_exceed_the_limit(api: Api) -> None:
    """ASVS 5.0 6.3.1: concurrent wrong passwords learn no more than consecutive ones."""
    pair = await new_user(api)
    number = login_attempts.MAX_CHECKING
    responses = await asyncio.gather(*[fail(api, pair) for _ in range(number)])
    assert sorted(response.status for response in responses) == (
        [401] * PAIR_FAILURES + [429] * (number - PAIR_FAILURES))


async def test_an_account_leaves_a_part_of_the_queue_to_others(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASVS 5.0 2.4.1: concurrent attempts of one account and address do not fill the queue of password hashes."""
    monkeypatch.setattr(login_attempts, "MAX_CHECKING", 3)
    pair, other = await new_user(api), await new_user(api)
    *responses, last = await asyncio.gather(*[login(api, pair) for _ in range(20)], login(api, other))
    refused = [response for response in responses if response.status != 200]
    assert {response.json["code"] for response in refused} == {"too_many_logins"} and len(refused) < 20
    assert last.status == 200
    assert (await login(api, pair)).status == 200


async def test_successes_are_not_limited(api: Api) -> None:
    """ASVS 5.0 6.1.1: concurrent right passwords are no failures."""
    pair = await new_user(api)
    responses = await asyncio.gather(*[login(api, pair) for _ in range(50)])
    assert {response.status for response in responses} == {200}


async def test_successes_of_one_address_are_not_limited(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASVS 5.0 6.1.1: the address of a success keeps all of its attempts."""
    monkeypatch.setattr(login_attempts, "ADDRESS_FAILURES", 3)
    pairs = [await new_user(api) for _ in range(10)]
    assert {response.status for response in await asyncio.gather(*[login(api, pair) for pair in pairs])} == {200}
    for _ in range(3):
        assert_unauthenticated(await login(api, registration()))
    assert_slowed(await login(api, registration()))


async def test_a_right_password_beyond_the_limit_is_not_revealed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASVS 5.0 6.3.1: a guess that began before the limit was reached gets the response of the others."""
    pair = await new_user(api)
    verify, let = Passwords.verify, asyncio.Event()

    async def late(self: Passwords, password: str, stored: str | None) -> bool:
        if password == pair["password"]:
            await let.wait()
        return await verify(self, password, stored)

    monkeypatch.setattr(Passwords, "verify", late)
    right = asyncio.create_task(login(api, pair))
    while (await fail(api, pair)).status == 401:
        pass
    let.set()
    assert_slowed(await right)


async def test_a_success_clears_the_failures(api: Api) -> None:
    """ASVS 5.0 6.1.1: a user who knows the password has only mistyped it before."""
    pair = await new_user(api)
    for _ in range(3):
        for _ in range(PAIR_FAILURES - 1):
            assert_unauthenticated(await fail(api, pair))
        assert (await login(api, pair)).status == 200


async def outage(*_: object, **__: object) -> None:
    raise DatabaseUnavailable


async def test_only_a_wrong_password_is_a_failed_attempt(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASVS 5.0 6.1.1: a database outage or an invalid body is not a failed attempt."""
    pair = await new_user(api)
    with monkeypatch.context() as patch:
        patch.setattr(users, "find", outage)
        for _ in range(2 * PAIR_FAILURES):
            assert (await login(api, pair)).status == 503
            assert (await login(api, {"username": pair["username"]})).status == 400
    assert_unauthenticated(await fail(api, pair))
    assert (await login(api, pair)).status == 200


@pytest.mark.parametrize("method, path, body", [
    ("PUT", "/password/", {"old_password": "wrong", "new_password": "another good one"}),
    ("DELETE", "/account/", {"password": "wrong"}),
])
async def test_every_password_check_is_limited(api: Api, method: str, path: str, body: dict[str, str]) -> None:
    """ASVS 5.0 6.3.4: a wrong password counts in every call that checks one."""
    pair = registration()
    user = api.signed((await api.post("/register/", pair)).json["access_token"])
    for _ in range(PAIR_FAILURES):
        assert (await user.call(method, path, body, headers={"X-Forwarded-For": HOME})).status == 403
    assert_slowed(await user.call(method, path, body, headers={"X-Forwarded-For": HOME}))
    assert_slowed(await login(api, pair))
    assert (await user.post("/collection/", collection(), headers={"X-Forwarded-For": HOME})).status == 201


async def test_redis_stores_no_names_and_no_addresses(api: Api, redis: Redis) -> None:
    """ASVS 5.0 14.2: attempts are counted under a keyed digest."""
    pair = await new_user(api)
    await fail(api, pair)
    async with open_redis(redis.url, PATIENT_SECONDS) as connected:
        keys = await connected.keys(f"{login_attempts.PREFIX}*")
        assert len(keys) == 3
        for key in keys:
            assert HOME not in key and pair["username"] not in key
            assert 0 < await connected.pttl(key) <= WINDOW_SECONDS * 1000


class TestWithoutRedis:
    @pytest.fixture
    def settings(self, postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, own_redis.url, third_party.url)

    async def test_logins_work(self, api: Api, own_redis: Redis) -> None:
        """ASVS 5.0 16.5.2: logins work while Redis is unavailable, without a limit."""
        pair = await new_user(api)
        own_redis.stop()
        for _ in range(2 * PAIR_FAILURES):
            assert_unauthenticated(await fail(api, pair))
            assert (await login(api, pair)).status == 200


async def test_an_outage_that_begins_during_an_attempt(own_redis: Redis) -> None:
    """ASVS 5.0 16.5.2: the attempt ends as usual."""
    async with open_redis(own_redis.url, PATIENT_SECONDS) as redis:
        attempts = LoginAttempts(redis, b"key")
        async with attempts.attempt(b"account", HOME):
            own_redis.stop()
        with pytest.raises(Unauthenticated):
            async with attempts.attempt(b"account", HOME):
                raise Unauthenticated


async def test_a_short_outage_makes_no_attempt_free(own_redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASVS 5.0 6.3.1: a failure that Redis could not count at once is counted when it is back."""
    monkeypatch.setattr(login_attempts, "PAIR_FAILURES", 1)
    async with proxy(own_redis.url) as between, open_redis(
            f"redis://127.0.0.1:{between.port}", PATIENT_SECONDS) as redis:
        attempts = LoginAttempts(redis, b"key")
        with pytest.raises(Unauthenticated):
            async with attempts.attempt(b"account", HOME):
                between.refuse = True
                between.cut()
                asyncio.get_running_loop().call_later(client.PAUSE_SECONDS / 2, setattr, between, "refuse", False)
                raise Unauthenticated
        with pytest.raises(TooManyAttempts):
            async with attempts.attempt(b"account", HOME):
                raise AssertionError


class TestWithRedisThatDoesNotReply:
    @pytest.fixture
    def between(self, io_loop: AsyncIOLoop, own_redis: Redis) -> Iterator[Proxy]:
        stack = AsyncExitStack()
        yield io_loop.run_sync(lambda: stack.enter_async_context(proxy(own_redis.url)))
        io_loop.run_sync(stack.aclose)

    @pytest.fixture
    def settings(self, postgres: Postgres, between: Proxy, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, f"redis://127.0.0.1:{between.port}", third_party.url)

    async def test_no_request_waits_for_redis_twice(self, api: Api, between: Proxy, resources: Resources) -> None:
        """ASVS 5.0 16.5.2: after the request counter, the login does not wait for Redis again."""
        pair = await new_user(api)
        between.black_hole = True
        assert (await login(api, pair)).status == 200
        assert_unauthenticated(await fail(api, pair))
        assert resources.counter.unavailable and not resources.login_attempts.unavailable


PROXIES = "127.0.0.1, ::1, 10.0.0.0/8, fd00::/8"
SAME = [
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.1", "203.0.113.5, 192.0.2.1"),  # the client's own entry is on the left
    ("192.0.2.1", "192.0.2.1, 10.3.2.1, fd00::7"),
    ("192.0.2.1", " 192.0.2.1 ,10.3.2.1"),
    ("192.0.2.1", "192.0.2.1:4711"),
    ("192.0.2.1", "::ffff:192.0.2.1"),
    ("192.0.2.1", "[::ffff:192.0.2.1]:4711"),
    ("2001:db8:1:2::3", "2001:DB8:1:2:ffff:ffff:ffff:ffff"),
    ("2001:db8:1:2::3", "[2001:db8:1:2::4]:4711"),
    ("2001:db8:1:2::3", "[2001:db8:1:2::5]"),
    ("", "unknown"),
    ("", "192.0.2.1, unknown"),  # everything to its left is untrusted
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
        """ASVS 5.0 4.1.3: the client's address is the right-most one that is not a trusted proxy."""
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

    @pytest.mark.parametrize("forwarded, scheme", [
        ("https", "https"), ("HTTPS", "https"), ("http", "http"), ("http, https", "https"), ("javascript", "http"),
        ("", "http"), ("https://evil", "http"),
    ])
    async def test_links_have_the_scheme_of_the_proxy(self, api: Api, forwarded: str, scheme: str) -> None:
        """ASVS 5.0 4.1.3."""
        user = api.signed((await api.post("/register/", registration())).json["access_token"])
        for _ in range(2):
            await user.post("/collection/", collection())
        response = await user.get("/collection/?limit=1", headers={"X-Forwarded-Proto": forwarded})
        assert response.json["next"].startswith(f"{scheme}://")


class TestWithoutProxies:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url)

    async def test_a_forged_client_address_is_ignored(self, api: Api) -> None:
        """ASVS 5.0 4.1.3."""
        pair = registration()
        for number in range(PAIR_FAILURES):
            assert_unauthenticated(await fail(api, pair, f"192.0.2.{number}"))
        assert_slowed(await fail(api, pair, "198.51.100.1"))

    async def test_a_forged_scheme_is_ignored(self, api: Api) -> None:
        """ASVS 5.0 4.1.3."""
        user = api.signed((await api.post("/register/", registration())).json["access_token"])
        for _ in range(2):
            await user.post("/collection/", collection())
        response = await user.get("/collection/?limit=1", headers={"X-Forwarded-Proto": "https"})
        assert response.json["next"].startswith("http://")


async def test_every_refused_password_gets_the_same_response(api: Api) -> None:
    """ASVS 5.0 6.3.8."""
    pair = await new_user(api)
    responses = [await login(api, pair, password=word) for word in ("not the password", "", "x" * 300)]
    responses += [await login(api, registration()), await login(api, {**pair, "username": ""})]
    for response in responses:
        assert_unauthenticated(response)
        assert but_request_id(response) == but_request_id(responses[0])
        assert set(response.headers) == set(responses[0].headers)
