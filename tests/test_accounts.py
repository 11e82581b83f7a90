"""Accounts: register and log in."""
from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Any

import pytest

from movieserver.accounts import passwords
from tests.client import Api, assert_tokens, assert_unauthenticated, but_request_id, pointers
from tests.factories import registration


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
        assert but_request_id(answer) == but_request_id(answers[0])


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
    ("ﬁn", "FIN"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("ǅ", "ǆ"), ("Å", "\u212b"), ("\u1e9e", "ss"), ("İ", "i\u0307"),
])
async def test_a_name_is_unique_without_regard_to_case_and_form(api: Api, first: str, second: str) -> None:
    """RFC 8265 section 3.3: names are compared after width mapping, case folding and normalisation."""
    suffix = registration()["username"]
    assert (await api.post("/register/", registration(username=first + suffix))).status == 201
    assert (await api.post("/register/", registration(username=second + suffix))).status == 409


async def test_of_two_registrations_at_once_one_gets_the_name(api: Api) -> None:
    """ASVS 5.0 15.4.2: checking and taking are one step, also between two spellings."""
    for count in (2, 8):
        pair = registration()
        names = (pair["username"], pair["username"].upper())
        answers = await asyncio.gather(*[
            api.post("/register/", {**pair, "username": names[number % 2]}) for number in range(count)])
        assert sorted(answer.status for answer in answers) == [201] + [409] * (count - 1)


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
