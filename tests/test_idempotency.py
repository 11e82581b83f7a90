"""Idempotency-Key: a POST that is sent again is carried out once and gets the same response, whatever happens."""
from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any

import psycopg2
import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.resources import Resources
from tests.client import Response, Api
from tests.conftest import SECRET, SignUp, temporary_folder
from tests.factories import collection, movies, registration
from tests.test_collections import created, many
from tests.test_migrations import run
from tests.test_run import serving

SAME = ("Location", "ETag", "Content-Type")


def keyed(key: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": key or str(uuid.uuid4())}


def stated(response: Response) -> tuple[Any, ...]:
    """What a response says about the result."""
    return response.status, response.body, *(response.headers.get(name) for name in SAME)


async def count(api: Api) -> int:
    total: int = (await api.get("/collection/?movies=false")).json["count"]
    return total


@contextmanager
def locked(postgres: Postgres, statement: str, *values: str) -> Iterator[None]:
    """A transaction that holds row locks during the block."""
    connection = psycopg2.connect(postgres.url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            assert cursor.rowcount == 1
        yield
    finally:
        connection.close()


async def waiting(postgres: Postgres, number: int = 1) -> None:
    """Wait until `number` statements wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while run(postgres.url, query) != (number,):
        await asyncio.sleep(0.01)


async def test_a_collection_is_created_once(alice: Api) -> None:
    body, headers = collection(), keyed()
    first = await alice.post("/collection/", body, headers=headers)
    assert first.status == 201
    for path in ("/collection/", "/collections", "/collection"):
        assert stated(await alice.post(path, body, headers=headers)) == stated(first)
    assert await count(alice) == 1
    assert (await alice.get(first.headers["Location"])).json["movies"] == body["movies"]


async def test_movies_are_added_once(alice: Api) -> None:
    path = f"/collection/{await created(alice, movies=[])}/"
    given, headers = movies(3), keyed()
    first = await alice.post(f"{path}movies/", given, headers=headers)
    await alice.delete(f"{path}movies/{given[0]['uuid']}/")
    for spelling in (path, path.upper().replace("COLLECTION", "collections")):
        assert stated(await alice.post(f"{spelling}movies/", given, headers=headers)) == stated(first)
    assert (await alice.get(path)).json["movies"] == given[1:]
    again = await alice.post(f"{path}movies/", given)
    assert (again.json["added"], again.json["existing"]) == (1, 2)


async def test_the_stored_response_outlives_the_collection(alice: Api) -> None:
    body, headers, more = collection(), keyed(), keyed()
    first = await alice.post("/collection/", body, headers=headers)
    path = first.headers["Location"]
    given = movies(2)
    added = await alice.post(f"{path}movies/", given, headers=more | {"If-Match": first.headers["ETag"]})
    again = await alice.post(f"{path}movies/", given, headers=more | {"If-Match": first.headers["ETag"]})
    assert stated(again) == stated(added)
    assert added.status == 200
    await alice.delete(path)
    assert stated(await alice.post("/collection/", body, headers=headers)) == stated(first)
    assert stated(await alice.post(f"{path}movies/", given, headers=more)) == stated(added)
    assert await count(alice) == 0


async def test_a_key_for_another_request_is_422(alice: Api) -> None:
    body, headers = collection(), keyed()
    first = await alice.post("/collection/", body, headers=headers)
    path = first.headers["Location"]
    others = [("/collection/", collection()), ("/collection/", {**body, "more": 1}), (f"{path}movies/", movies(1))]
    for address, other in others:
        response = await alice.post(address, other, headers=headers)
        assert (response.status, response.json["code"]) == (422, "idempotency_key_reused")
    assert stated(await alice.post("/collection/", body, headers=headers)) == stated(first)
    assert await count(alice) == 1
    assert (await alice.get(path)).json["movies"] == body["movies"]


SPELLINGS: list[Callable[[Any], bytes]] = [
    lambda body: json.dumps(body, indent=1).encode(),
    lambda body: json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
    lambda body: json.dumps(body, sort_keys=True).encode(),
    lambda body: b"\xef\xbb\xbf" + json.dumps(body).encode(),
    lambda body: json.dumps(body, ensure_ascii=False).replace("/", "\\/").replace("d", "\\u0064").encode(),
    lambda body: json.dumps(body)[:-1].encode() + b', "title": %s}' % json.dumps(body["title"]).encode(),
]
BODY: dict[str, Any] = {
    "title": "Dune / Дюна", "description": "d", "movies": [
        {"uuid": "57baf4f4-c9ef-4197-9e4f-acf04eae5b4d", "title": "Dune", "genres": ["Drama", "d/e"], "stars": 1.5}]}


@pytest.mark.parametrize("spell", SPELLINGS)
async def test_the_same_json_value_is_the_same_request(alice: Api, spell: Callable[[Any], bytes]) -> None:
    """Key order, white space, escapes and a byte order mark do not make another request."""
    headers = keyed()
    first = await alice.post("/collection/", BODY, headers=headers)
    assert first.status == 201
    assert stated(await alice.post("/collection/", raw=spell(BODY), headers=headers)) == stated(first)
    assert await count(alice) == 1


@pytest.mark.parametrize("change", [
    {"title": "Dune / Дюна "}, {"title": "dune / Дюна"}, {"description": None}, {"more": 1}, {"movies": []},
    {"movies": [*BODY["movies"], {**BODY["movies"][0], "uuid": str(uuid.uuid4())}]},
    {"movies": [{**BODY["movies"][0], "genres": "Drama,d/e"}]}, {"movies": [{**BODY["movies"][0], "stars": 1.25}]},
])
async def test_another_json_value_is_another_request(alice: Api, change: dict[str, Any]) -> None:
    """Even if both would store the same."""
    headers = keyed()
    assert (await alice.post("/collection/", BODY, headers=headers)).status == 201
    response = await alice.post("/collection/", BODY | change, headers=headers)
    assert (response.status, response.json["code"]) == (422, "idempotency_key_reused")
    assert await count(alice) == 1


async def test_numbers_of_any_size_are_part_of_the_value(alice: Api) -> None:
    """In an ignored key, which is part of the JSON value."""
    for number in (b"1e999", b"-0.0", b"9" * 4000, b"1" + b"0" * 400 + b".5", b"1e-999"):
        headers, raw = keyed(), b'{"title": "t", "ignored": %s}' % number
        first = await alice.post("/collection/", raw=raw, headers=headers)
        assert first.status == 201, number
        assert stated(await alice.post("/collection/", raw=raw, headers=headers)) == stated(first)
        assert (await alice.post("/collection/", raw=raw[:-1] + b" }", headers=headers)).status == 201


@pytest.mark.parametrize("number, spelling, same", [
    (b"1", b"1.0", True), (b"10", b"1e1", True), (b"100", b"1E+2", True), (b"0", b"-0.0", True),
    (b"1.5", b"15e-1", True), (b"1", b"1.5", False), (b"1", b'"1"', False), (b"1.0", b"true", False),
    (b"9007199254740993", b"9007199254740992", False),
])
async def test_a_number_has_several_spellings(alice: Api, number: bytes, spelling: bytes, same: bool) -> None:
    """RFC 8259 section 6: 1.0 is the number 1."""
    headers = keyed()
    for value, status in ((number, 201), (spelling, 201 if same else 422)):
        raw = b'{"title": "t", "ignored": {"deep": [%s]}}' % value
        assert (await alice.post("/collection/", raw=raw, headers=headers)).status == status


async def test_the_order_of_a_list_is_part_of_the_value(alice: Api) -> None:
    path, given, headers = f"/collection/{await created(alice, movies=[])}/movies/", movies(2), keyed()
    assert (await alice.post(path, given, headers=headers)).status == 200
    assert (await alice.post(path, given[::-1], headers=headers)).status == 422
    again = [dict(reversed(movie.items())) for movie in given]
    assert (await alice.post(path, again, headers=headers)).json["added"] == 2


async def test_one_movie_list_for_two_collections_is_two_requests(alice: Api) -> None:
    one, other = [f"/collection/{await created(alice, movies=[])}/movies/" for _ in range(2)]
    given, headers = movies(1), keyed()
    assert (await alice.post(one, given, headers=headers)).status == 200
    assert (await alice.post(other, given, headers=headers)).status == 422


async def test_keys_are_per_user(alice: Api, sign_up: SignUp) -> None:
    bob = await sign_up()
    body, headers = collection(), keyed()
    mine, his = [await client.post("/collection/", body, headers=headers) for client in (alice, bob)]
    assert (mine.status, his.status) == (201, 201)
    assert mine.json != his.json
    assert (await bob.get(mine.headers["Location"])).status == 404


async def test_without_a_key_every_request_is_carried_out(alice: Api) -> None:
    body = collection()
    for _ in range(3):
        assert (await alice.post("/collection/", body)).status == 201
    assert await count(alice) == 3


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "a\tb"])
async def test_a_malformed_key_is_400(alice: Api, key: str) -> None:
    path = f"/collection/{await created(alice)}/movies/"
    for address, body in (("/collection/", collection()), (path, movies(1)), ("/collection/x/movies/", movies(1))):
        response = await alice.post(address, body, headers={"Idempotency-Key": key})
        assert response.status == 400
        assert "Idempotency-Key must be 1 to 255 " in response.json["detail"]
    assert await count(alice) == 1


@pytest.mark.parametrize("key", ["x", "~" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "%s", "a,b'c\\"])
async def test_a_key_may_have_any_visible_characters(alice: Api, key: str) -> None:
    body = collection()
    first = await alice.post("/collection/", body, headers=keyed(key))
    assert stated(await alice.post("/collection/", body, headers=keyed(key))) == stated(first)
    assert await count(alice) == 1


async def test_refused_requests_are_not_stored(alice: Api) -> None:
    headers, body = keyed(), collection()
    full = f"/collection/{await created(alice, movies=many(10_000))}/"
    refused = [
        ("/collection/", {"title": ""}, 400), (f"/collection/{uuid.uuid4()}/movies/", movies(1), 404),
        (f"{full}movies/", movies(1), 409),
    ]
    for path, bad, status in refused:
        assert (await alice.post(path, bad, headers=headers)).status == status
    small = f"/collection/{await created(alice)}/movies/"
    assert (await alice.post(small, movies(1), headers=headers | {"If-Match": '"x"'})).status == 412
    assert (await alice.post("/collection/", body, headers=headers)).status == 201


async def test_a_creation_that_is_still_running_is_409(alice: Api, postgres: Postgres, resources: Resources) -> None:
    assert alice.token
    user_id, body, headers = resources.tokens.verify(alice.token).user_id, collection(), keyed()
    with locked(postgres, "SELECT FROM users WHERE user_id = %s FOR UPDATE", user_id):
        running = asyncio.ensure_future(alice.post("/collection/", body, headers=headers))
        await waiting(postgres)
        for second in (body, collection()):
            response = await alice.post("/collection/", second, headers=headers)
            assert (response.status, response.json["code"]) == (409, "idempotency_key_in_use")
            assert int(response.headers["Retry-After"]) >= 1
        assert not running.done()
    assert (await running).status == 201
    assert stated(await alice.post("/collection/", body, headers=headers)) == stated(await running)
    assert await count(alice) == 1


async def test_an_addition_that_is_still_running_is_409(alice: Api, postgres: Postgres) -> None:
    collection_uuid = await created(alice, movies=[])
    path, given, headers = f"/collection/{collection_uuid}/movies/", movies(2), keyed()
    with locked(postgres, "SELECT FROM collections WHERE collection_uuid = %s FOR UPDATE", collection_uuid):
        running = asyncio.ensure_future(alice.post(path, given, headers=headers))
        await waiting(postgres)
        for address, body in ((path, given), ("/collection/", collection())):
            response = await alice.post(address, body, headers=headers)
            assert (response.status, response.json["code"]) == (409, "idempotency_key_in_use")
            assert response.headers["Retry-After"]
        assert not running.done()
    assert (await running).json["added"] == 2
    assert stated(await alice.post(path, given, headers=headers)) == stated(await running)


async def test_a_failed_request_frees_its_key(alice: Api, postgres: Postgres) -> None:
    collection_uuid = await created(alice, movies=[])
    path, given, headers = f"/collection/{collection_uuid}/movies/", movies(2), keyed()
    with locked(postgres, "SELECT FROM collections WHERE collection_uuid = %s FOR UPDATE", collection_uuid):
        running = asyncio.ensure_future(alice.post(path, given, headers=headers))
        await waiting(postgres)
        run(postgres.url, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        assert (await running).status == 503
    assert (await alice.post(path, given, headers=headers)).json["added"] == 2


async def test_a_key_is_stored_for_a_day(alice: Api, postgres: Postgres, resources: Resources) -> None:
    assert alice.token
    user_id = resources.tokens.verify(alice.token).user_id
    path = f"/collection/{await created(alice, movies=[])}/movies/"
    keys, body, given = [keyed() for _ in range(3)], collection(), movies(1)

    def age(hours: float) -> None:
        run(postgres.url, f"UPDATE idempotency_keys SET created_at = created_at - interval '{hours} hours' "
                          f"WHERE user_id = '{user_id}'")

    def stored() -> object:
        return run(postgres.url, f"SELECT count(*) FROM idempotency_keys WHERE user_id = '{user_id}'")

    firsts = [await alice.post("/collection/", body, headers=key) for key in keys]
    age(23.9)
    for first, key in zip(firsts, keys):
        assert stated(await alice.post("/collection/", body, headers=key)) == stated(first)
    age(0.2)
    assert (await alice.post(path, given)).status == 200
    assert stored() == (3,)
    again = await alice.post("/collection/", body, headers=keys[0])
    assert again.json != firsts[0].json
    assert stored() == (1,)
    assert stated(await alice.post("/collection/", body, headers=keys[0])) == stated(again)
    age(24.1)
    assert (await alice.post("/collection/", collection(), headers=keys[0])).status == 201
    age(24.1)
    assert (await alice.post(path, given, headers=keys[0])).json["existing"] == 1
    await alice.post(path, given, headers=keys[1])
    assert stored() == (2,)
    age(24.1)
    await alice.post(path, given, headers=keyed())
    assert stored() == (1,)


async def test_concurrent_requests_with_the_same_key(alice: Api) -> None:
    path = f"/collection/{await created(alice, movies=[])}/"
    for number in range(10):
        for address, body in (("/collection/", collection()), (f"{path}movies/", movies(2))):
            headers = keyed()
            responses = await asyncio.gather(*[alice.post(address, body, headers=headers) for _ in range(8)])
            done = [stated(response) for response in responses if response.status in (200, 201)]
            assert len(set(done)) == 1
            conflicts = [response for response in responses if response.status >= 400]
            assert all(response.json["code"] == "idempotency_key_in_use" for response in conflicts)
            assert stated(await alice.post(address, body, headers=headers)) == done[0]
        assert await count(alice) == number + 2
        assert len((await alice.get(path)).json["movies"]) == 2 * (number + 1)


async def test_concurrent_requests_with_one_key_and_two_bodies(alice: Api) -> None:
    for number in range(10):
        headers, bodies = keyed(), [collection(), collection()]
        responses = await asyncio.gather(*[alice.post("/collection/", body, headers=headers) for body in bodies * 3])
        assert {response.status for response in responses} <= {201, 409, 422}
        assert len({stated(response) for response in responses if response.status == 201}) == 1
        assert await count(alice) == number + 1


async def test_concurrent_deletion_of_expired_keys(alice: Api, postgres: Postgres) -> None:
    keys, body = [keyed() for _ in range(6)], collection(movies=many(500))
    for number in range(5):
        responses = await asyncio.gather(*[alice.post("/collection/", body, headers=key) for key in keys])
        assert {response.status for response in responses} == {201}
        run(postgres.url, "UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
        assert await count(alice) == 6 * (number + 1)


def kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_killed_server_does_nothing_twice(postgres: Postgres, redis: Redis) -> None:
    settings = {
        "DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "MOVIE_API_URL": "http://127.0.0.1:1/",
        "JWT_SECRET": SECRET,
    }
    keys: dict[str, dict[str, Any]] = {str(uuid.uuid4()): collection() for _ in range(60)}
    created_by_key: dict[str, str] = {}
    with temporary_folder() as folder:
        token = None
        for _ in range(4):
            with serving(folder / "data", **settings) as server:
                token = token or server.call("POST", "/register/", registration())[1]["access_token"]
                killer = threading.Timer(random.uniform(0.02, 0.15), kill, [server.family()])
                killer.start()
                try:
                    for key, body in keys.items():
                        status, result = server.call("POST", "/collection/", body, token, {"Idempotency-Key": key})
                        assert status == 201
                        assert created_by_key.setdefault(key, result["collection_uuid"]) == result["collection_uuid"]
                except (OSError, HTTPException):
                    pass
                killer.join()
                server.process.wait()
        with serving(folder / "data", **settings) as server:
            for key, body in keys.items():
                status, result = server.call("POST", "/collection/", body, token, {"Idempotency-Key": key})
                while status == 409:
                    time.sleep(0.05)
                    status, result = server.call("POST", "/collection/", body, token, {"Idempotency-Key": key})
                assert created_by_key.setdefault(key, result["collection_uuid"]) == result["collection_uuid"]
            assert server.call("GET", "/collection/?movies=false", token=token)[1]["count"] == len(keys)
