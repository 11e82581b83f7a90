"""Accounts: register, log in, refresh, log out."""
from __future__ import annotations

import asyncio
import base64
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from movieserver import passwords
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests.client import Answer, Api, pointers
from tests.conftest import SECRET, make_settings
from tests.factories import registration
from tests.third_party import ThirdParty

CLAIMS = {"iss": "movieserver", "typ": "access", "jti": "x", "iat": 1}


def assert_tokens(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert set(answer.json) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["expires_in"] == 15 * 60
    assert answer.headers["Cache-Control"] == "no-store"


def assert_unauthenticated(answer: Answer) -> None:
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_register_gives_a_token_that_works(api: Api) -> None:
    answer = await api.post("/register/", registration())
    assert_tokens(answer, 201)
    assert (await api.signed(answer.json["access_token"]).get("/collection/")).status == 200


async def test_login_gives_the_same_keys(api: Api) -> None:
    pair = registration()
    await api.post("/register/", pair)
    answer = await api.post("/login/", pair)
    assert_tokens(answer, 200)
    assert (await api.signed(answer.json["access_token"]).get("/collection/")).status == 200


async def test_any_mistake_in_the_pair_is_one_answer(api: Api) -> None:
    pair = registration()
    await api.post("/register/", pair)
    wrong = [
        {**pair, "password": "not the password"}, {**pair, "password": ""}, {**pair, "password": "x" * 300},
        {**pair, "username": "nobody of that name"}, {**pair, "username": ""}, {**pair, "username": "x" * 200},
        {**pair, "password": pair["password"] + " "}, {**pair, "password": pair["password"].swapcase()},
    ]
    answers = [await api.post("/login/", body) for body in wrong]
    for answer in answers:
        assert_unauthenticated(answer)
        assert {**answer.json, "request_id": ""} == {**answers[0].json, "request_id": ""}


@pytest.mark.parametrize("username", ["x", "é" * 150, "山田 太郎", "a b", "<script>'\";--"])
async def test_names_of_1_to_150_characters(api: Api, username: str) -> None:
    name = username + registration()["username"] if len(username) < 100 else username
    answer = await api.post("/register/", registration(username=name))
    assert answer.status == 201


@pytest.mark.parametrize("password", ["8letters", "p" * 200, "ü" * 150, "🎬" * 75, "p" * 5000])
async def test_passwords_of_any_length_from_8(api: Api, password: str) -> None:
    pair = registration(password=password)
    assert (await api.post("/register/", pair)).status == 201
    assert (await api.post("/login/", pair)).status == 200
    assert_unauthenticated(await api.post("/login/", {**pair, "password": password[:-1]}))
    assert_unauthenticated(await api.post("/login/", {**pair, "password": password[:-1] + "?"}))


@pytest.mark.parametrize("body, at_fault", [
    ({}, ["/username", "/password"]),
    ({"username": "", "password": "long enough"}, ["/username"]),
    ({"username": "n" * 151, "password": "7 chars"}, ["/username", "/password"]),
    ({"username": 7, "password": ["p"]}, ["/username", "/password"]),
    ({"username": "nul\0", "password": "nul\0nul\0nul"}, ["/username", "/password"]),
    ({"username": None, "password": None}, ["/username", "/password"]),
])
async def test_what_register_refuses(api: Api, body: dict[str, Any], at_fault: list[str]) -> None:
    answer = await api.post("/register/", body)
    assert answer.status == 400
    assert pointers(answer) == at_fault


@pytest.mark.parametrize("first, second", [
    ("Alice", "alice"), ("ALICE", "aLiCe"), ("Straße", "STRASSE"), ("café", "cafe\u0301"), ("ｗｉｄｅ", "wide"),
])
async def test_a_name_is_unique_without_regard_to_case_and_form(api: Api, first: str, second: str) -> None:
    suffix = registration()["username"]
    assert (await api.post("/register/", registration(username=first + suffix))).status == 201
    assert (await api.post("/register/", registration(username=second + suffix))).status == 409


async def test_of_two_registrations_at_once_one_gets_the_name(api: Api) -> None:
    pair = registration()
    answers = await asyncio.gather(*[api.post("/register/", pair) for _ in range(8)])
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7


async def test_refresh_gives_a_new_pair_and_spends_the_old(api: Api) -> None:
    first = (await api.post("/register/", registration())).json
    answer = await api.post("/refresh/", {"refresh_token": first["refresh_token"]})
    assert_tokens(answer, 200)
    assert answer.json["refresh_token"] != first["refresh_token"]
    assert answer.json["access_token"] != first["access_token"]
    assert (await api.signed(answer.json["access_token"]).get("/collection/")).status == 200
    assert_unauthenticated(await api.post("/refresh/", {"refresh_token": first["refresh_token"]}))
    assert (await api.post("/refresh/", {"refresh_token": answer.json["refresh_token"]})).status == 200


async def test_one_token_refreshed_many_times_at_once_is_spent_once(api: Api) -> None:
    token = (await api.post("/register/", registration())).json["refresh_token"]
    answers = await asyncio.gather(*[api.post("/refresh/", {"refresh_token": token}) for _ in range(20)])
    assert sorted(answer.status for answer in answers) == [200] + [401] * 19


async def test_logout_ends_that_login_and_no_other(api: Api) -> None:
    pair = registration()
    first = (await api.post("/register/", pair)).json["refresh_token"]
    second = (await api.post("/login/", pair)).json["refresh_token"]
    answer = await api.post("/logout/", {"refresh_token": first})
    assert answer.status == 200
    assert list(answer.json) == ["message"]
    assert_unauthenticated(await api.post("/refresh/", {"refresh_token": first}))
    assert (await api.post("/refresh/", {"refresh_token": second})).status == 200


async def test_logout_with_a_spent_token_ends_the_login_too(api: Api) -> None:
    first = (await api.post("/register/", registration())).json["refresh_token"]
    second = (await api.post("/refresh/", {"refresh_token": first})).json["refresh_token"]
    assert (await api.post("/logout/", {"refresh_token": first})).status == 200
    assert_unauthenticated(await api.post("/refresh/", {"refresh_token": second}))


async def test_refresh_and_logout_at_once(api: Api) -> None:
    for _ in range(10):
        token = (await api.post("/register/", registration())).json["refresh_token"]
        refreshed, logged_out = await asyncio.gather(
            *[api.post(path, {"refresh_token": token}) for path in ("/refresh/", "/logout/")])
        assert logged_out.status == 200
        if refreshed.status == 200:
            assert_unauthenticated(await api.post("/refresh/", {"refresh_token": refreshed.json["refresh_token"]}))


async def test_tokens_have_one_spelling(api: Api) -> None:
    tokens = (await api.post("/register/", registration())).json
    access, refresh = tokens["access_token"], tokens["refresh_token"]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    following = letters[letters.index(access[-1]) ^ 1]
    for other in (access + "=", access + "==", access[:-1] + following):
        assert_unauthenticated(await api.signed(other).get("/collection/"))
    body = refresh.rstrip("=")
    for other in (body, body[:-1] + letters[letters.index(body[-1]) ^ 1] + "==", refresh + "="):
        assert_unauthenticated(await api.post("/refresh/", {"refresh_token": other}))
    assert (await api.post("/refresh/", {"refresh_token": refresh})).status == 200


async def test_a_name_of_a_hundred_thousand_marks_holds_nobody(api: Api) -> None:
    for name in ("\u0301\u0316" * 400_000, "\ufdfa" * 1_000_000):
        assert_unauthenticated(await api.post("/login/", {"username": name, "password": "x"}))


async def test_more_passwords_than_can_be_hashed_in_good_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MOST_WAITING", 3)
    answers = await asyncio.gather(*[api.post("/login/", registration()) for _ in range(30)])
    assert {answer.status for answer in answers} == {401, 503}
    for answer in answers:
        assert answer.status == 401 or answer.headers["Retry-After"]
    assert (await api.post("/login/", registration())).status == 401


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a priority of its own")
async def test_hashing_gives_way_to_everything_else(api: Api) -> None:
    assert (await api.post("/register/", registration())).status == 201
    hashing = [thread for thread in threading.enumerate() if thread.name.startswith("bcrypt")]
    assert hashing
    for thread in hashing:
        assert os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) == max(passwords.NICENESS, os.nice(0))
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == os.nice(0)


class TestWithOtherLifetimes:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(
            postgres.url, redis.url, third_party.url, access_token_minutes=0.5, refresh_token_days=1 / 86400)

    async def test_lifetimes_are_kept(self, api: Api) -> None:
        tokens = (await api.post("/register/", registration())).json
        assert tokens["expires_in"] == 30
        claims = jwt.decode(tokens["access_token"], SECRET, ["HS256"], issuer="movieserver")
        assert claims["exp"] - claims["iat"] in (30, 31)
        await asyncio.sleep(1.1)
        assert_unauthenticated(await api.post("/refresh/", {"refresh_token": tokens["refresh_token"]}))

    async def test_sessions_that_ran_out_are_swept(self, api: Api, resources: Resources) -> None:
        pair = registration()
        await api.post("/register/", pair)
        await asyncio.sleep(1.1)
        tokens = (await api.post("/login/", pair)).json
        user_id = jwt.decode(tokens["access_token"], SECRET, ["HS256"], issuer="movieserver")["sub"]
        resources.database._statements["count"] = "SELECT count(*) FROM sessions WHERE user_id = %(user_id)s"
        assert await resources.database.read("count", user_id=user_id) == (1,)


@pytest.mark.parametrize("token", ["", "x", "é", "a" * 64, "=" * 64, base64.urlsafe_b64encode(bytes(64)).decode()])
async def test_tokens_that_never_were(api: Api, token: str) -> None:
    assert_unauthenticated(await api.post("/refresh/", {"refresh_token": token}))
    assert (await api.post("/logout/", {"refresh_token": token})).status == 200


@pytest.mark.parametrize("path", ["/refresh/", "/logout/"])
async def test_a_refresh_token_is_a_text(api: Api, path: str) -> None:
    bodies: list[Any] = [{}, {"refresh_token": 1}, {"refresh_token": None}, []]
    for body in bodies:
        assert (await api.post(path, body)).status == 400


async def test_a_refresh_token_is_no_access_token(api: Api) -> None:
    tokens = (await api.post("/register/", registration())).json
    assert_unauthenticated(await api.signed(tokens["refresh_token"]).get("/collection/"))
    assert_unauthenticated(await api.post("/refresh/", {"refresh_token": tokens["access_token"]}))


def forged(key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    now = time.time()
    every = {**CLAIMS, "sub": "0b5ee8a8-95c3-4ba9-b9a5-d9c0cf3a4f04", "exp": now + 60, **claims}
    return jwt.encode({name: value for name, value in every.items() if value is not None}, key, algorithm)


async def test_a_token_of_ours_is_what_forged_makes(api: Api) -> None:
    assert (await api.signed(forged()).get("/collection/")).status == 200


NOT_IN_FORCE: dict[str, Callable[[], str | None]] = {
    "missing": lambda: None,
    "empty": lambda: "",
    "scheme alone": lambda: "Bearer",
    "scheme and space": lambda: "Bearer ",
    "no JWT": lambda: "Bearer x",
    "JWT of rubbish": lambda: "Bearer a.b.c",
    "two tokens": lambda: f"Bearer {forged()} {forged()}",
    "another scheme": lambda: f"Token {forged()}",
    "no scheme": forged,
    "cut short": lambda: f"Bearer {forged()[:-2]}",
    "another key": lambda: f"Bearer {forged(key='another signing key, of thirty-two bytes or more')}",
    "expired": lambda: f"Bearer {forged(exp=time.time() - 1)}",
    "without exp": lambda: f"Bearer {forged(exp=None)}",
    "another type": lambda: f"Bearer {forged(typ='refresh')}",
    "without type": lambda: f"Bearer {forged(typ=None)}",
    "another issuer": lambda: f"Bearer {forged(iss='somebody')}",
    "without subject": lambda: f"Bearer {forged(sub=None)}",
    "subject of another kind": lambda: f"Bearer {forged(sub='1')}",
    "another algorithm": lambda: f"Bearer {forged(algorithm='HS512')}",
    "no algorithm": lambda: f"Bearer {forged(algorithm='none', key='')}",
}


@pytest.mark.parametrize("case", NOT_IN_FORCE)
@pytest.mark.parametrize("path", ["/movies/", "/collection/", "/collection/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/"])
async def test_protected_calls_need_a_token_in_force(api: Api, case: str, path: str) -> None:
    header = NOT_IN_FORCE[case]()
    assert_unauthenticated(await api.get(path, headers={} if header is None else {"Authorization": header}))


async def test_the_scheme_is_read_without_regard_to_case(api: Api) -> None:
    assert (await api.get("/collection/", headers={"Authorization": f"bearer {forged()}"})).status == 200
