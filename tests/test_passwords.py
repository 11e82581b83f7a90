"""Passwords: what is refused, what a refusal tells, and the cost of their hashes."""
from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import bcrypt
import pytest

from movieserver.accounts import common_passwords, login_attempts, passwords
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.accounts.passwords import Passwords
from movieserver.postgres.statements import Statement
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests.client import Api, assert_unauthenticated, but_request_id, pointers
from tests.conftest import make_settings
from tests.factories import registration
from tests.third_party import ThirdParty

Stored = Callable[[dict[str, Any], int], Awaitable[None]]
ROUNDS = 9
HASH = "SELECT password_hash FROM users WHERE username = %(username)s"
KEEP = "UPDATE users SET password_hash = %(kept)s WHERE username = %(username)s RETURNING user_id::text"


@pytest.mark.parametrize("password", [
    "password", "12345678", "qwertyuiop", "PASSWORD1", "iLoveYou", "ｐａｓｓｗｏｒｄ", "trustno1", "football", "sunshine",
])
async def test_the_most_common_passwords_are_refused_with_the_reason(api: Api, password: str) -> None:
    """ASVS 5.0 6.2.4: at registration and at a change, in whatever letters they are written."""
    answer = await api.post("/register/", registration(password=password))
    assert answer.status == 400
    assert pointers(answer) == ["/password"]
    assert "common" in answer.json["errors"][0]["detail"]
    pair = registration()
    caller = api.signed((await api.post("/register/", pair)).json["access_token"])
    changed = await caller.put("/password/", {"old_password": pair["password"], "new_password": password})
    assert changed.status == 400
    assert pointers(changed) == ["/new_password"]
    assert (await api.post("/login/", pair)).status == 200


async def test_there_are_a_few_thousand_of_them(api: Api) -> None:
    """ASVS 5.0 6.2.4: at least the 3000 most common ones that are long enough."""
    assert len(common_passwords.COMMON) >= 3000
    assert min(map(len, common_passwords.COMMON)) >= 8
    for password in sorted(common_passwords.COMMON)[::500]:
        assert (await api.post("/register/", registration(password=password))).status == 400


@pytest.mark.parametrize("password", [
    "correct horse", "aaaaaaaaaaab", " " * 8, "12345678 ", "пароль-пароль", "ALLUPPERCASE-", "no digits here", "p" * 64,
])
async def test_passwords_of_any_composition_are_accepted(api: Api, password: str) -> None:
    """ASVS 5.0 6.2.5, 6.2.8 and 6.2.9: of any characters, and exactly as they were given."""
    pair = registration(password=password)
    assert (await api.post("/register/", pair)).status == 201
    assert (await api.post("/login/", pair)).status == 200
    assert_unauthenticated(await api.post("/login/", {**pair, "password": password[:-1]}))
    assert_unauthenticated(await api.post("/login/", {**pair, "password": f"{password} "}))


class TestAtAHigherCost:
    """The cost of a hash outweighs everything else that a login does."""

    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, bcrypt_rounds=ROUNDS)

    @pytest.fixture
    def stored(self, resources: Resources) -> Stored:
        """Have somebody's hash made at another cost, as it was before the setting was changed."""
        resources.database.statements.update(hash=Statement(HASH), keep=Statement(KEEP))

        async def make(pair: dict[str, Any], rounds: int) -> None:
            kept = bcrypt.hashpw(passwords._digest(pair["password"]), bcrypt.gensalt(rounds)).decode()
            assert await resources.database.write("keep", username=pair["username"], kept=kept)

        return make

    async def test_every_refusal_takes_the_same_time(
        self, api: Api, stored: Stored, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ASVS 5.0 6.3.8: one status, one body, one distribution of times, also for a hash of another cost."""
        for most in ("PAIR_FAILURES", "ACCOUNT_FAILURES", "ADDRESS_FAILURES"):
            monkeypatch.setattr(login_attempts, most, 1000)
        somebody, older = registration(), registration()
        for pair in (somebody, older):
            await api.post("/register/", pair)
        await stored(older, ROUNDS - 3)
        kinds: dict[str, Callable[[], dict[str, Any]]] = {
            "unknown user": registration,
            "wrong password": lambda: {**somebody, "password": "not the password"},
            "empty password": lambda: {**somebody, "password": ""},
            "300 bytes": lambda: {**somebody, "password": "é" * 150},
            "older hash": lambda: {**older, "password": "not the password"},
        }
        took: dict[str, list[float]] = {kind: [] for kind in kinds}
        heard = []
        for _ in range(25):
            for kind, body in kinds.items():
                began = time.perf_counter()
                answer = await api.post("/login/", body())
                took[kind].append(time.perf_counter() - began)
                assert_unauthenticated(answer)
                heard.append(but_request_id(answer))
        assert all(said == heard[0] for said in heard)
        for share in (0.25, 0.5, 0.75):
            places = {kind: statistics.quantiles(times, n=100)[int(100 * share)] for kind, times in took.items()}
            assert max(places.values()) < 2 * min(places.values()), places

    async def test_a_hash_of_a_lower_cost_is_renewed_at_the_next_login(
        self, api: Api, resources: Resources, stored: Stored
    ) -> None:
        """ASVS 5.0 11.4.2: work factors follow the hardware, for those who registered long ago too."""
        pair = registration()
        await api.post("/register/", pair)
        await stored(pair, 4)
        assert_unauthenticated(await api.post("/login/", {**pair, "password": "not the password"}))
        assert "$04$" in (await self.hash(resources, pair))
        assert (await api.post("/login/", pair)).status == 200
        renewed = await self.hash(resources, pair)
        assert f"${ROUNDS:02}$" in renewed
        assert (await api.post("/login/", pair)).status == 200
        assert await self.hash(resources, pair) == renewed
        assert_unauthenticated(await api.post("/login/", {**pair, "password": "not the password"}))

    async def test_a_hash_of_a_higher_cost_is_kept(self, api: Api, resources: Resources, stored: Stored) -> None:
        """ASVS 5.0 11.4.2: a lower setting weakens nobody."""
        pair = registration()
        await api.post("/register/", pair)
        await stored(pair, ROUNDS + 1)
        assert (await api.post("/login/", pair)).status == 200
        assert f"${ROUNDS + 1:02}$" in await self.hash(resources, pair)

    async def test_many_logins_at_once_renew_it_and_all_of_them_work(
        self, api: Api, resources: Resources, stored: Stored
    ) -> None:
        """ASVS 5.0 11.4.2: one who finds it renewed meanwhile is not thrown out for it."""
        pair = registration()
        await api.post("/register/", pair)
        await stored(pair, 4)
        answers = await asyncio.gather(*[api.post("/login/", pair) for _ in range(8)])
        assert {answer.status for answer in answers} == {200}
        assert f"${ROUNDS:02}$" in await self.hash(resources, pair)

    async def test_a_renewal_and_a_change_at_once(self, api: Api, resources: Resources, stored: Stored) -> None:
        """ASVS 5.0 6.2.3: the old password does not come back."""
        for _ in range(3):
            pair = registration()
            caller = api.signed((await api.post("/register/", pair)).json["access_token"])
            await stored(pair, 4)
            change = {"old_password": pair["password"], "new_password": "another good one"}
            changed, *_ = await asyncio.gather(
                caller.put("/password/", change), *[api.post("/login/", pair) for _ in range(3)])
            assert changed.status == 200
            assert_unauthenticated(await api.post("/login/", pair))
            assert (await api.post("/login/", {**pair, "password": "another good one"})).status == 200

    async def test_a_login_goes_on_when_there_is_no_time_for_a_renewal(
        self, api: Api, resources: Resources, stored: Stored, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ASVS 5.0 16.5.2: the next login will do."""
        pair = registration()
        await api.post("/register/", pair)
        await stored(pair, 4)

        async def busy(self: Passwords, password: str) -> str:
            raise passwords.TooManyLogins(1)

        monkeypatch.setattr(Passwords, "hash", busy)
        assert (await api.post("/login/", pair)).status == 200
        assert "$04$" in await self.hash(resources, pair)

    @staticmethod
    async def hash(resources: Resources, pair: dict[str, Any]) -> str:
        row = await resources.database.read("hash", username=pair["username"])
        assert row is not None
        return str(row[0])
