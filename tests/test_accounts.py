"""Accounts: register and log in, user names, and the limits on registrations."""
from __future__ import annotations

import asyncio
import os
import sys
import threading
import unicodedata
from typing import Any

import pytest

from movieserver.accounts import passwords, registration_limit
from movieserver.accounts.registration_limit import RegistrationLimit
from movieserver.accounts.usernames import username_fault, username_key
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.redis.client import PATIENT_SECONDS, open_redis
from movieserver.settings import Settings
from tests.client import Response, Api, assert_tokens, assert_unauthenticated, but_request_id, pointers
from tests.conftest import make_settings
from tests.factories import registration
from tests.third_party import ThirdParty

CHARACTERS = [  # all of Unicode that is assigned, but for surrogates
    character for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) not in ("Cn", "Co", "Cs")]
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


async def test_register_gives_a_token_that_works(api: Api) -> None:
    response = await api.post("/register/", registration())
    assert_tokens(response, 201)
    assert (await api.signed(response.json["access_token"]).get("/collection/")).status == 200


async def test_login_gives_the_same_keys(api: Api) -> None:
    pair = registration()
    await api.post("/register/", pair)
    response = await api.post("/login/", pair)
    assert_tokens(response, 200)
    assert (await api.signed(response.json["access_token"]).get("/collection/")).status == 200


async def test_wrong_user_and_wrong_password_get_the_same_401(api: Api) -> None:
    pair = registration()
    await api.post("/register/", pair)
    wrong = [
        {**pair, "password": "not the password"}, {**pair, "password": ""}, {**pair, "password": "x" * 300},
        {**pair, "username": "nobody of that name"}, {**pair, "username": ""}, {**pair, "username": "x" * 200},
        {**pair, "password": pair["password"] + " "}, {**pair, "password": pair["password"].swapcase()},
        {**pair, "username": "   "}, {**pair, "username": pair["username"] + "\u200b"}, registration(),
    ]
    responses = [await api.post("/login/", body) for body in wrong]
    for response in responses:
        assert_unauthenticated(response)
        assert but_request_id(response) == but_request_id(responses[0])


@pytest.mark.parametrize("length", [1, 150])
def test_the_length_of_a_name_is_counted_in_nfc(length: int) -> None:
    for character in ("x", "é", "e\u0301", "ᾂ", "🎬", "漢"):
        assert username_fault(character * length) is None
        assert username_fault(unicodedata.normalize("NFD", character) * length) is None


@pytest.mark.parametrize("begin", [
    "", "é" * 113, "e\u0301" * 113, "ﬁ" * 113, "山田 太郎", "a b", "<script>'\";--", "\u0301", "´", "⠀", "❤\ufe0f", "한국어",
    "שלום", "नमस्ते", "a\u00a0", "a\u3000", "\ue000", "\uffff",
])
async def test_valid_user_names(api: Api, begin: str) -> None:
    """Spaces of every kind may stand inside; the name logs in however it is composed."""
    pair = registration(username=begin + registration()["username"])
    assert (await api.post("/register/", pair)).status == 201
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, pair["username"])
        assert (await api.post("/login/", {**pair, "username": name})).status == 200
        assert (await api.post("/register/", {**pair, "username": name})).status == 409


@pytest.mark.parametrize("username, detail", [
    ("", "A user name must have 1 to 150 characters; this one has 0"),
    ("n" * 151, "A user name must have 1 to 150 characters; this one has 151"),
    ("e\u0301" * 151, "A user name must have 1 to 150 characters; this one has 151"),
    ("   ", "A user name must not begin with a space: remove U+0020 SPACE"),
    (" bob", "A user name must not begin with a space: remove U+0020 SPACE"),
    ("bob ", "A user name must not end with a space: remove U+0020 SPACE"),
    ("\u00a0bob", "A user name must not begin with a space: remove U+00A0 NO-BREAK SPACE"),
    ("bob\u3000", "A user name must not end with a space: remove U+3000 IDEOGRAPHIC SPACE"),
    ("bob\u202f", "A user name must not end with a space: remove U+202F NARROW NO-BREAK SPACE"),
    ("bob\t", "A user name must not contain control characters: remove U+0009 at index 3"),
    ("\nbob", "A user name must not contain control characters: remove U+000A at index 0"),
    ("b\x7fob", "A user name must not contain control characters: remove U+007F at index 1"),
    ("b\x85ob", "A user name must not contain control characters: remove U+0085 at index 1"),
    ("bob\u200b", "A user name must not contain format characters: remove U+200B ZERO WIDTH SPACE at index 3"),
    ("b\u200dob", "A user name must not contain format characters: remove U+200D ZERO WIDTH JOINER at index 1"),
    ("b\u200cob", "A user name must not contain format characters: remove U+200C ZERO WIDTH NON-JOINER at index 1"),
    ("bo\u00adb", "A user name must not contain format characters: remove U+00AD SOFT HYPHEN at index 2"),
    ("\u202ebob", "A user name must not contain format characters: remove U+202E RIGHT-TO-LEFT OVERRIDE at index 0"),
    ("שלום\u200f", "A user name must not contain format characters: remove U+200F RIGHT-TO-LEFT MARK at index 4"),
    ("\ufeffbob",
     "A user name must not contain format characters: remove U+FEFF ZERO WIDTH NO-BREAK SPACE at index 0"),
    ("bob\U000e0041",
     "A user name must not contain format characters: remove U+E0041 TAG LATIN CAPITAL LETTER A at index 3"),
    ("\u115f", "A user name must contain at least one visible character"),
    ("\ufe0f\u034f", "A user name must contain at least one visible character"),
    ("\u3164", "A user name must contain at least one visible character"),
    ("\uffa0\u115f", "A user name must contain at least one visible character"),
    ("\u034f bob", "A user name must not begin with a space: remove U+0020 SPACE"),
    ("bob \u3164", "A user name must not end with a space: remove U+0020 SPACE"),
    ("a\u2028b", "A user name must not contain format characters: remove U+2028 LINE SEPARATOR at index 1"),
])
async def test_invalid_user_names(api: Api, username: str, detail: str) -> None:
    """RFC 8265 section 3: no user can take a name that looks like another user's."""
    response = await api.post("/register/", registration(username=username))
    assert response.status == 400
    assert response.json["errors"] == [{"pointer": "/username", "detail": detail}]


@pytest.mark.parametrize("raw", [b"bob\\ud800", b"\\udc00bob", b"bob\xff", b"\xed\xa0\x80bob", b"bob\\u0000"])
async def test_a_name_that_is_not_a_text_is_400(api: Api, raw: bytes) -> None:
    """RFC 8259 section 8: a lone surrogate, invalid UTF-8 and a NUL, at registration and at login."""
    for path in ("/register/", "/login/"):
        assert (await api.post(path, raw=b'{"username": "%s", "password": "long enough"}' % raw)).status == 400


def test_every_control_and_format_character_is_refused() -> None:
    """The Unicode categories Cc and Cf, and spaces at either end, in all of Unicode."""
    for character in CHARACTERS:
        if unicodedata.category(character) == "Lo" and ord(character) > 0x2FFF:
            continue  # a hundred thousand ideographs
        refused = unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character != "\0"
        assert bool(username_fault(f"a{character}b")) == refused, ascii(character)
        for name in (character + "b", "b" + character):
            assert bool(username_fault(name)) == (refused or character.isspace()), ascii(character)


def test_all_unicode_forms_of_a_name_are_the_same_name() -> None:
    """NFKC and case folding, in all of Unicode, except for U+0131 (dotless i)."""
    for character in CHARACTERS:
        spellings = {unicodedata.normalize(form, character) for form in ("NFC", "NFD", "NFKC", "NFKD")}
        spellings |= {character.lower(), character.casefold()}
        if character != "ı":
            spellings |= {character.upper(), character.title()}
        key = username_key(f"a{character}b") if spellings != {character} else b""
        for spelling in spellings - {character}:
            assert username_key(f"a{spelling}b") == key, ascii(character)


@pytest.mark.parametrize("around", [" ", "  ", "\t", "\n", "\u00a0", "\u3000", "\u2009", "\u2028", " \u3000\t"])
async def test_login_ignores_spaces_around_the_name(api: Api, around: str) -> None:
    """Keyboards add them when they complete a word."""
    pair = registration()
    await api.post("/register/", pair)
    for name in (around + pair["username"], pair["username"] + around, around + pair["username"].upper() + around):
        assert (await api.post("/login/", {**pair, "username": name})).status == 200


@pytest.mark.parametrize("between", [" ", "\u200b", "\u00a0"])
async def test_login_ignores_nothing_inside_the_name(api: Api, between: str) -> None:
    pair = registration()
    await api.post("/register/", pair)
    assert_unauthenticated(await api.post("/login/", {**pair, "username": pair["username"].replace("-", between)}))


@pytest.mark.parametrize("body, at_fault", [
    ({}, ["/username", "/password"]),
    ({"username": "", "password": "long enough"}, ["/username"]),
    ({"username": "n" * 151, "password": "7 chars"}, ["/username", "/password"]),
    ({"username": 7, "password": ["p"]}, ["/username", "/password"]),
    ({"username": "nul\0", "password": "nul\0nul\0nul"}, ["/username", "/password"]),
    ({"username": None, "password": None}, ["/username", "/password"]),
])
async def test_invalid_registrations(api: Api, body: dict[str, Any], at_fault: list[str]) -> None:
    response = await api.post("/register/", body)
    assert response.status == 400
    assert pointers(response) == at_fault


@pytest.mark.parametrize("first, second", [
    ("Alice", "alice"), ("ALICE", "aLiCe"), ("Straße", "STRASSE"), ("café", "cafe\u0301"), ("ｗｉｄｅ", "wide"),
    ("ﬁn", "FIN"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("ǅ", "ǆ"), ("Å", "\u212b"), ("\u1e9e", "ss"), ("İ", "i\u0307"),
    ("ᾷ", "ᾼ\u0342"), ("a\u00a0b", "a b"), ("q\u0307\u0323", "q\u0323\u0307"), ("한", "\u1112\u1161\u11ab"), ("㎏", "kg"),
    ("x\ufe0f", "x"), ("x\u034f", "x"), ("x\u3164", "x"), ("x\U000e0100", "x"),
])
async def test_names_are_unique_ignoring_case_and_unicode_form(api: Api, first: str, second: str) -> None:
    """RFC 8265 section 3.3: names are compared after width mapping, case folding and normalisation."""
    suffix = registration()["username"]
    assert (await api.post("/register/", registration(username=first + suffix))).status == 201
    assert (await api.post("/register/", registration(username=second + suffix))).status == 409


async def test_one_of_two_concurrent_registrations_gets_the_name(api: Api) -> None:
    """ASVS 5.0 15.4.2: checking and taking a name is one step, also with two spellings."""
    for count in (2, 8):
        pair = registration()
        names = (pair["username"], pair["username"].upper())
        responses = await asyncio.gather(*[
            api.post("/register/", {**pair, "username": names[number % 2]}) for number in range(count)])
        assert sorted(response.status for response in responses) == [201] + [409] * (count - 1)


async def test_a_name_of_a_million_marks_does_not_block_the_process(api: Api) -> None:
    for name in ("\u0301\u0316" * 400_000, "\ufdfa" * 1_000_000):
        assert_unauthenticated(await api.post("/login/", {"username": name, "password": "x"}))


async def test_a_full_hashing_queue_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING", 3)
    responses = await asyncio.gather(*[api.post("/login/", registration()) for _ in range(30)])
    assert {response.status for response in responses} == {401, 503}
    for response in responses:
        assert response.status == 401 or response.headers["Retry-After"]
    assert (await api.post("/login/", registration())).status == 401


class TestAFloodOfRegistrations:
    """This machine is a trusted proxy, so tests choose the address that they come from."""

    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(
            postgres.url, redis.url, third_party.url, trusted_proxies="127.0.0.1,::1", bcrypt_rounds=8)

    @staticmethod
    async def register(api: Api, address: str = HOME, **given: Any) -> Response:
        return await api.post("/register/", registration(**given), headers={"X-Forwarded-For": address})

    async def test_an_address_may_register_100_users_a_minute(self, api: Api) -> None:
        """RFC 6585 section 4, ASVS 5.0 2.4.1: the limits are published."""
        published = (await api.get("/limits/")).json["registration"]
        assert (published["from_an_address"], published["window_seconds"]) == (100, 60)
        responses = [await self.register(api, password="short") for _ in range(5)]
        assert {response.status for response in responses} == {400}  # these do not count
        for _ in range(11):
            responses = await asyncio.gather(*[self.register(api, username="the same name") for _ in range(9)])
            assert {response.status for response in responses} <= {201, 409}  # these do
        assert (await self.register(api)).status == 201
        response = await self.register(api)
        assert response.status == 429
        assert response.json["code"] == "too_many_registrations"
        seconds = int(response.headers["Retry-After"])
        assert 1 <= seconds <= 60
        assert response.json["detail"] == (
            "Too many registrations from this IP address: at most 100 are allowed within 60 seconds. "
            f"Try again in {seconds} seconds.")
        assert (await self.register(api, ELSEWHERE)).status == 201

    async def test_concurrent_registrations_do_not_exceed_the_limit(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(registration_limit, "MAX_REGISTRATIONS", 10)
        responses = await asyncio.gather(*[self.register(api) for _ in range(30)])
        assert sorted(response.status for response in responses) == [201] * 10 + [429] * 20

    async def test_the_window_ends_after_retry_after(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        """RFC 9110 section 10.2.3: regardless of requests in the meantime."""
        monkeypatch.setattr(registration_limit, "WINDOW_SECONDS", 2.0)
        monkeypatch.setattr(registration_limit, "MAX_REGISTRATIONS", 1)
        while (response := await self.register(api)).status == 201:
            pass
        wait = asyncio.create_task(asyncio.sleep(int(response.headers["Retry-After"])))
        while not wait.done() and response.status == 429:
            await asyncio.sleep(0.05)
            response = await self.register(api)
        assert response.status == 201 or (await self.register(api)).status == 201

    async def test_some_slots_of_the_queue_are_reserved_for_logins(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ASVS 5.0 2.4.1: more registrations than the queue takes, from many addresses: no login is 503."""
        monkeypatch.setattr(passwords, "MAX_WAITING", 10)
        pair = registration()
        assert (await api.post("/register/", pair)).status == 201
        flood = [asyncio.create_task(self.register(api, f"203.0.113.{number}")) for number in range(80)]
        while not all(task.done() for task in flood):
            assert {response.status for response in await asyncio.gather(
                *[api.post("/login/", pair) for _ in range(4)])} == {200}
        statuses = {(await task).status for task in flood}
        assert statuses == {201, 503}

    async def test_a_registration_without_a_slot_has_retry_after(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """RFC 9110 section 15.6.4."""
        monkeypatch.setattr(passwords, "MAX_WAITING", 0)
        response = await self.register(api)
        assert response.status == 503
        assert response.json["code"] == "too_many_logins"
        assert int(response.headers["Retry-After"]) > 0

    async def test_redis_stores_no_addresses(self, api: Api, redis: Redis) -> None:
        """ASVS 5.0 14.2: registrations are counted under a keyed digest, for a minute."""
        await self.register(api)
        async with open_redis(redis.url, PATIENT_SECONDS) as connected:
            keys = await connected.keys(f"{registration_limit.PREFIX}*")
            assert len(keys) == 1 and HOME not in keys[0]
            assert 0 < await connected.pttl(keys[0]) <= 60_000


async def test_processes_share_the_count_of_registrations(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASVS 5.0 2.4.1: all processes share the limit."""
    monkeypatch.setattr(registration_limit, "MAX_REGISTRATIONS", 2)
    async with open_redis(redis.url, PATIENT_SECONDS) as first, open_redis(redis.url, PATIENT_SECONDS) as second:
        one, other = RegistrationLimit(first, b"key"), RegistrationLimit(second, b"key")
        await one.count(HOME)
        await other.count(HOME)
        for limit in (one, other):
            with pytest.raises(registration_limit.TooManyRegistrations):
                await limit.count(HOME)
            await limit.count(ELSEWHERE)


class TestWithoutRedis:
    @pytest.fixture
    def settings(self, postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, own_redis.url, third_party.url)

    async def test_registrations_are_not_limited(
        self, api: Api, own_redis: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ASVS 5.0 16.5.2: users can register and log in while Redis is unavailable."""
        monkeypatch.setattr(registration_limit, "MAX_REGISTRATIONS", 1)
        assert (await api.post("/register/", registration())).status == 201
        assert (await api.post("/register/", registration())).status == 429
        own_redis.stop()
        for _ in range(5):
            assert (await api.post("/register/", registration())).status == 201


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a priority of its own")
async def test_hashing_has_low_priority(api: Api) -> None:
    assert (await api.post("/register/", registration())).status == 201
    hashing = [thread for thread in threading.enumerate() if thread.name.startswith("bcrypt")]
    assert hashing
    for thread in hashing:
        assert os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) == max(passwords.NICENESS, os.nice(0))
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == os.nice(0)
