"""Passwords: which are refused, what a refusal reveals, and the cost of hashes."""
from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import bcrypt
import pytest

from movieserver.accounts import common_passwords, passwords
from movieserver.accounts.passwords import Passwords
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.postgres.statements import Statement
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests.client import Api, assert_unauthenticated, but_request_id, pointers
from tests.conftest import make_settings
from tests.factories import registration
from tests.third_party import ThirdParty

Stored = Callable[[dict[str, Any], int], Awaitable[None]]
ROUNDS = 9
FORMS: tuple[Literal["NFC"], Literal["NFD"]] = ("NFC", "NFD")
HASH = "SELECT password_hash FROM users WHERE username = %(username)s"
STORE = "UPDATE users SET password_hash = %(stored)s WHERE username = %(username)s RETURNING user_id::text"


@pytest.mark.parametrize("password", [
    "password", "12345678", "qwertyuiop", "PASSWORD1", "iLoveYou", "ｐａｓｓｗｏｒｄ", "trustno1", "football", "sunshine",
])
async def test_the_most_common_passwords_are_refused_with_the_reason(api: Api, password: str) -> None:
    """ASVS 5.0 6.2.4: at registration and at a change, in any letter case and Unicode form."""
    response = await api.post("/register/", registration(password=password))
    assert response.status == 400
    assert pointers(response) == ["/password"]
    assert "common" in response.json["errors"][0]["detail"]
    pair = registration()
    user = api.signed((await api.post("/register/", pair)).json["access_token"])
    changed = await user.put("/password/", {"old_password": pair["password"], "new_password": password})
    assert changed.status == 400
    assert pointers(changed) == ["/new_password"]
    assert (await api.post("/login/", pair)).status == 200


async def test_thousands_of_common_passwords_are_refused(api: Api) -> None:
    """ASVS 5.0 6.2.4: at least the 3000 most common ones that are long enough."""
    assert len(common_passwords.COMMON) >= 3000
    assert min(map(len, common_passwords.COMMON)) >= 8
    for password in sorted(common_passwords.COMMON)[::500]:
        assert (await api.post("/register/", registration(password=password))).status == 400


@pytest.mark.parametrize("password", [
    "correct horse", "aaaaaaaaaaab", " " * 8, "12345678 ", "пароль-пароль", "ALLUPPERCASE-", "no digits here", "p" * 64,
])
async def test_passwords_of_any_composition_are_accepted(api: Api, password: str) -> None:
    """ASVS 5.0 6.2.5, 6.2.8 and 6.2.9: any characters are allowed, and all of them count."""
    pair = registration(password=password)
    assert (await api.post("/register/", pair)).status == 201
    assert (await api.post("/login/", pair)).status == 200
    assert_unauthenticated(await api.post("/login/", {**pair, "password": password[:-1]}))
    assert_unauthenticated(await api.post("/login/", {**pair, "password": f"{password} "}))


@pytest.mark.parametrize("password", ["pässwörtér", "한국어비밀번호들", "ﾊﾟｽﾜｰﾄﾞﾊﾟｽ", "Å\u0323ngström", "à\u0328-la-carte"])
async def test_a_password_is_compared_in_nfc(api: Api, password: str) -> None:
    """RFC 8265 section 4.2: keyboards compose characters differently; in every call that takes a password."""
    composed, decomposed = (unicodedata.normalize(form, password) for form in ("NFC", "NFD"))
    for old, new in ((composed, decomposed), (decomposed, composed)):
        pair = registration(password=old)
        user = api.signed((await api.post("/register/", pair)).json["access_token"])
        assert (await api.post("/login/", {**pair, "password": new})).status == 200
        assert_unauthenticated(await api.post("/login/", {**pair, "password": password[:-1] + "?"}))
        change = {"old_password": new, "new_password": new + "2"}
        assert (await user.put("/password/", change)).status == 200
        assert (await user.delete("/account/", body={"password": old + "2"})).status == 200


async def test_compatibility_characters_make_another_password(api: Api) -> None:
    """RFC 8265 section 4.2: they differ in NFC, unlike in NFKC."""
    pair = registration(password="ﬁnal-ｗｏｒｄ")
    assert (await api.post("/register/", pair)).status == 201
    assert_unauthenticated(await api.post("/login/", {**pair, "password": "final-word"}))


@pytest.mark.parametrize("password, count", [
    ("éàüöçñå", 7), (unicodedata.normalize("NFD", "éàüöçñå"), 7), ("한국어비밀번", 6), ("1234567", 7)])
async def test_a_short_password_is_counted_in_nfc(api: Api, password: str, count: int) -> None:
    """ASVS 5.0 6.2.1: eight characters, in any Unicode form."""
    for form in FORMS:
        response = await api.post("/register/", registration(password=unicodedata.normalize(form, password)))
        assert response.status == 400
        assert response.json["errors"] == [{
            "pointer": "/password", "detail": f"A password must have at least 8 characters; this one has {count}"}]
    for form in FORMS:
        longer = unicodedata.normalize(form, password + "é" * (8 - count))
        assert (await api.post("/register/", registration(password=longer))).status == 201


@pytest.mark.parametrize("password", ["p" * 200, "é" * 200, "ü" * 150, "🎬" * 75, "漢" * 100, "p" * 5000])
async def test_every_character_of_a_long_password_counts(api: Api, password: str) -> None:
    """ASVS 5.0 6.2.9: bcrypt alone would ignore what follows the 72nd byte."""
    for form in FORMS:
        sent = unicodedata.normalize(form, password)
        pair = registration(password=sent)
        assert (await api.post("/register/", pair)).status == 201
        assert (await api.post("/login/", pair)).status == 200
        for other in (sent[:-1], sent[:-1] + "?", "?" + sent[1:], sent + "p"):
            assert_unauthenticated(await api.post("/login/", {**pair, "password": other}))


@pytest.mark.parametrize("raw", [b"pass\\u0000word", b"pass\\ud800word", b"pass\xffword", b"\\udc00\\ud800 password"])
async def test_a_password_that_is_not_a_text_is_400(api: Api, raw: bytes) -> None:
    """RFC 8259 section 8: a NUL, a lone surrogate and invalid UTF-8, at registration and at login."""
    for path in ("/register/", "/login/"):
        body = b'{"username": "%s", "password": "%s"}' % (registration()["username"].encode(), raw)
        assert (await api.post(path, raw=body)).status == 400


async def test_a_password_of_a_million_marks_does_not_block_the_process(api: Api) -> None:
    """Normalizing them would take hours, and exceed the time limit of this test."""
    pair = registration(password="\u0301\u0316" * 500_000)
    assert (await api.post("/register/", pair)).status == 201
    assert (await api.post("/login/", pair)).status == 200


def counted(function: Callable[[bytes, bytes], Any], rounds: list[int]) -> Callable[[bytes, bytes], Any]:
    """A function of bcrypt that records its rounds, which are 2**cost."""

    def call(password: bytes, salt: bytes) -> Any:
        rounds.append(2 ** int(salt.split(b"$")[2]))
        return function(password, salt)

    return call


class TestAtAHigherCost:

    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, bcrypt_rounds=ROUNDS)

    @pytest.fixture
    def stored(self, resources: Resources) -> Stored:
        """Store the hash of a password at another cost, as if BCRYPT_ROUNDS had been changed."""
        resources.database.statements.update(hash=Statement(HASH), store=Statement(STORE))

        async def make(pair: dict[str, Any], rounds: int) -> None:
            stored = bcrypt.hashpw(passwords.digest(pair["password"]), bcrypt.gensalt(rounds)).decode()
            assert await resources.database.write("store", username=pair["username"], stored=stored)

        return make

    async def test_every_refusal_takes_the_same_rounds(
        self, api: Api, stored: Stored, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ASVS 5.0 6.3.8: one status, one body, and equally many rounds of bcrypt, also for a hash of a lower cost."""
        user, older = registration(), registration()
        for pair in (user, older):
            await api.post("/register/", pair)
        await stored(older, ROUNDS - 3)
        rounds: list[int] = []
        for name in ("hashpw", "checkpw"):
            monkeypatch.setattr(bcrypt, name, counted(getattr(bcrypt, name), rounds))
        wrong = [
            registration(), {**user, "password": "not the password"}, {**user, "password": ""},
            {**user, "password": "é" * 150}, {**older, "password": "not the password"},
        ]
        problems = []
        for body in wrong:
            rounds.clear()
            response = await api.post("/login/", body)
            assert_unauthenticated(response)
            assert sum(rounds) == 2 ** ROUNDS
            problems.append(but_request_id(response))
        assert all(problem == problems[0] for problem in problems)

    async def test_a_hash_of_a_lower_cost_is_renewed_at_the_next_login(
        self, api: Api, resources: Resources, stored: Stored
    ) -> None:
        """ASVS 5.0 11.4.2: work factors follow the hardware, for users who registered long ago too."""
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
        """ASVS 5.0 11.4.2: a lower setting weakens no hash."""
        pair = registration()
        await api.post("/register/", pair)
        await stored(pair, ROUNDS + 1)
        assert (await api.post("/login/", pair)).status == 200
        assert f"${ROUNDS + 1:02}$" in await self.hash(resources, pair)

    async def test_concurrent_logins_renew_a_hash_and_all_succeed(
        self, api: Api, resources: Resources, stored: Stored
    ) -> None:
        """ASVS 5.0 11.4.2: a login succeeds even if another one has renewed the hash."""
        pair = registration()
        await api.post("/register/", pair)
        await stored(pair, 4)
        responses = await asyncio.gather(*[api.post("/login/", pair) for _ in range(8)])
        assert {response.status for response in responses} == {200}
        assert f"${ROUNDS:02}$" in await self.hash(resources, pair)

    async def test_a_renewal_during_a_password_change(self, api: Api, resources: Resources, stored: Stored) -> None:
        """ASVS 5.0 6.2.3: the old password does not come back."""
        for _ in range(3):
            pair = registration()
            user = api.signed((await api.post("/register/", pair)).json["access_token"])
            await stored(pair, 4)
            change = {"old_password": pair["password"], "new_password": "another good one"}
            changed, *_ = await asyncio.gather(
                user.put("/password/", change), *[api.post("/login/", pair) for _ in range(3)])
            assert changed.status == 200
            assert_unauthenticated(await api.post("/login/", pair))
            assert (await api.post("/login/", {**pair, "password": "another good one"})).status == 200

    async def test_a_login_succeeds_when_there_is_no_time_for_a_renewal(
        self, api: Api, resources: Resources, stored: Stored, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ASVS 5.0 16.5.2: the next login renews it."""
        pair = registration()
        await api.post("/register/", pair)
        await stored(pair, 4)

        async def busy(self: Passwords, password: str, **_: bool) -> str:
            raise passwords.TooManyLogins

        monkeypatch.setattr(Passwords, "hash", busy)
        assert (await api.post("/login/", pair)).status == 200
        assert "$04$" in await self.hash(resources, pair)

    @staticmethod
    async def hash(resources: Resources, pair: dict[str, Any]) -> str:
        row = await resources.database.read("hash", username=pair["username"])
        assert row is not None
        return str(row[0])
