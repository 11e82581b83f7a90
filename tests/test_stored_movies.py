"""Movies are returned in the order and with the bytes in which they were sent, and timestamps in one form."""
from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.resources import Resources
from tests.client import Api
from tests.counts import assert_exact
from tests.factories import registration
from tests.test_collections import created, many
from tests.test_migrations import run

TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
TIMESTAMP_KEYS = ("created_at", "updated_at", "refreshed_at", "expires_at")
TEXTS = [
    "plain", "Amélie — 千と千尋 🎬", "\u2028\u2029\u200b\ufeff\u00ad", '\\ " / </script> {"a": [1]}', "\b\f\n\r\t",
    "".join(map(chr, range(1, 0x20))), "\x7f\x80\x9f", "\U0010ffff\ue000\ufdd0\uffff", "e\u0301 é", "%s %(x)s %% $1 {}",
    "[[[", "]]]", "][", "[", "]", "],[", "{}", "null", " ", "\\u0001 \\\\u0041 \\", "'; DROP TABLE users; --",
    "\u202eright to left", "0" * 500,
]


def movie(text: str, **given: Any) -> dict[str, Any]:
    return {"uuid": str(uuid.uuid4()), "title": text, "description": text, "genres": text} | given


def sent(value: object) -> bytes:
    """JSON as the server writes it: without spaces or unnecessary escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def post(api: Api, path: str, value: object) -> str:
    response = await api.post(path, raw=sent(value))
    assert response.status in (200, 201), response.json
    return response.headers.get("Location", path)


async def assert_bytes(api: Api, path: str, movies: list[dict[str, Any]]) -> None:
    """Check that the movies of a collection are the sent bytes in every response."""
    for address in (path, "/collection/"):
        assert b'"movies":%s' % sent(movies) in (await api.get(address)).body


async def test_movies_are_the_bytes_that_were_sent(alice: Api, postgres: Postgres) -> None:
    """With every call that writes movies."""
    given = [movie(text) for text in TEXTS]
    path = await post(alice, "/collection/", {"title": "t", "movies": given})
    await assert_bytes(alice, path, given)
    more = [movie(text) for text in TEXTS[::-1]]
    await post(alice, f"{path}movies/", more)
    await assert_bytes(alice, path, given + more)
    for gone in (given[0], more[-1], given[7], more[10]):
        assert (await alice.delete(f"{path}movies/{gone['uuid']}/")).status == 200
    left = [one for one in given + more if one not in (given[0], more[-1], given[7], more[10])]
    await assert_bytes(alice, path, left)
    assert (await alice.put(f"{path}order/", [one["uuid"] for one in left[::-1]])).status == 200
    await assert_bytes(alice, path, left[::-1])
    assert (await alice.put(path, raw=sent({"movies": left[3:20]}))).status == 200
    await assert_bytes(alice, path, left[3:20])
    assert_exact(postgres.url, alice)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
async def test_the_first_and_the_last_movie_of_a_list(alice: Api, text: str) -> None:
    """A list of one movie grows and shrinks; brackets in texts do not matter."""
    first, second = movie(text), movie(text)
    path = await post(alice, "/collection/", {"title": "t", "movies": []})
    for one, expected in ((first, [first]), (second, [first, second])):
        await post(alice, f"{path}movies/", one)
        await assert_bytes(alice, path, expected)
    for one, expected in ((first, [second]), (second, [])):
        assert (await alice.delete(f"{path}movies/{one['uuid']}/")).status == 200
        await assert_bytes(alice, path, expected)
    await post(alice, f"{path}movies/", [first, second])
    await assert_bytes(alice, path, [first, second])


async def test_long_texts_are_whole(alice: Api) -> None:
    """A description of 10,000 characters of four bytes; and a collection's of megabytes, alone and in the list."""
    given = [movie("t", description=character * 10_000) for character in "a🎬é\n\x01\\"]
    path = await post(alice, "/collection/", {"title": "t", "description": "ü\x01" * 1_000_000, "movies": given})
    await assert_bytes(alice, path, given)
    assert (await alice.get(path)).json["description"] == "ü\x01" * 1_000_000


async def test_other_json_spellings_are_the_same_values(alice: Api) -> None:
    """Escapes, spaces and unknown keys are not stored; the values are."""
    given = [movie(text) for text in TEXTS]
    raw = json.dumps({"title": "t", "movies": [dict(reversed([*one.items(), ("x", 1)])) for one in given]}, indent=3)
    path = (await alice.post("/collection/", raw=raw.encode())).headers["Location"]
    await assert_bytes(alice, path, given)


async def test_missing_texts_are_blank(alice: Api) -> None:
    bare: dict[str, Any] = {"uuid": str(uuid.uuid4()), "title": "bare"}
    given = [bare, bare | {"description": None, "genres": None}, bare | {"genres": []}, bare | {"genres": ["a", "b"]}]
    for one in given:
        one |= {"uuid": str(uuid.uuid4())}
    path = await post(alice, "/collection/", {"title": "t", "movies": given})
    shown = [one | {"description": "", "genres": "a,b" if one.get("genres") else ""} for one in given]
    assert (await alice.get(path)).json["movies"] == shown


async def test_movies_may_be_null_in_no_body(alice: Api) -> None:
    """Absent means an empty list on create, and no change on update."""
    path = await post(alice, "/collection/", {"title": "t"})
    await assert_bytes(alice, path, [])
    given = [movie("x")]
    await alice.put(path, {"movies": given})
    await alice.put(path, {"title": "other"})
    await assert_bytes(alice, path, given)
    for method, address in (("POST", "/collection/"), ("PUT", path), ("PATCH", path), ("POST", f"{path}movies/")):
        response = await alice.call(method, address, {"title": "t", "movies": None})
        assert response.status == 400
        assert response.json["errors"][0]["pointer"] == "/movies"


async def test_ten_thousand_movies_keep_their_order(alice: Api) -> None:
    given = many(10_000)
    path = f"/collection/{await created(alice, movies=given)}/"
    assert (await alice.get(path)).json["movies"] == given
    assert (await alice.delete(f"{path}movies/{given[5_000]['uuid']}/")).status == 200
    assert (await alice.get(path)).json["movies"] == given[:5_000] + given[5_001:]


def moments(value: Any) -> list[str]:
    """Every timestamp in a response."""
    if isinstance(value, list):
        return [moment for item in value for moment in moments(item)]
    if isinstance(value, dict):
        own = [value[key] for key in TIMESTAMP_KEYS if value.get(key)]
        return own + [moment for item in value.values() for moment in moments(item)]
    return []


@pytest.mark.parametrize("stored, shown", [
    ("2026-01-01 00:00:00+00", "2026-01-01T00:00:00.000000Z"),
    ("2026-06-01 12:30:00+02", "2026-06-01T10:30:00.000000Z"),
    ("2026-01-01 23:59:59.1+00", "2026-01-01T23:59:59.100000Z"),
    ("2000-02-29 01:02:03.000001Z", "2000-02-29T01:02:03.000001Z"),
    ("1999-12-31 23:59:59.999999-01", "2000-01-01T00:59:59.999999Z"),
])
async def test_timestamps_have_six_digits_and_are_utc(
    alice: Api, postgres: Postgres, resources: Resources, stored: str, shown: str
) -> None:
    path = await post(alice, "/collection/", {"title": "t"})
    user_id = resources.tokens.verify(str(alice.token))[0]
    run(postgres.url, f"UPDATE collections SET created_at = '{stored}', updated_at = '{stored}' "
                      f"WHERE user_id = '{user_id}'")
    run(postgres.url, f"UPDATE sessions SET created_at = '{stored}', refreshed_at = '{stored}' "
                      f"WHERE user_id = '{user_id}'")
    for address in (path, "/collection/", "/collection/?movies=false", "/sessions/"):
        found = moments((await alice.get(address)).json)
        assert found[:2] == [shown, shown]
        assert all(map(TIMESTAMP.match, found))


async def test_all_timestamps_have_the_same_form(api: Api) -> None:
    tokens = (await api.post("/register/", registration())).json
    client = api.signed(tokens["access_token"])
    await api.post("/refresh/", {"refresh_token": tokens["refresh_token"]})
    for number in range(10):
        path = await post(client, "/collection/", {"title": f"{number}"})
        await client.put(path, {"title": "other"})
    for address, count in ((path, 2), ("/collection/", 20), ("/collection/?movies=false", 20), ("/sessions/", 3)):
        found = moments((await client.get(address)).json)
        assert len(found) == count
        assert all(map(TIMESTAMP.match, found)), found
