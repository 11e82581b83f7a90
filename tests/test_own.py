"""No user can access what another one owns: tries every route of the table, including later ones."""
from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg2
import pytest

from movieserver.app import ROUTES
from movieserver.embedded.postgres import Postgres
from movieserver.resources import Resources
from tests.client import Response, Api, assert_unauthenticated
from tests.conftest import SignUp
from tests.factories import collection, movies

# a write without effect may increase the change_number of its own user
PARAMETER = re.compile(r"{\w+}")
LINK = "/shared/{share_token}/"  # open to anyone who has it
OWNED = [route for route in ROUTES if PARAMETER.search(route.template) and route.template != LINK]
PROTECTED = [route for route in ROUTES if route.protected]
ROWS = """
SELECT json_build_array(
    (SELECT json_agg(to_jsonb(users) - 'change_number' ORDER BY user_id) FROM users
        WHERE user_id = ANY(%(ids)s::uuid[])),
    (SELECT json_agg(sessions ORDER BY session_uuid) FROM sessions WHERE user_id = ANY(%(ids)s::uuid[])),
    (SELECT json_agg(personal_tokens ORDER BY token_uuid) FROM personal_tokens WHERE user_id = ANY(%(ids)s::uuid[])),
    (SELECT json_agg(collections ORDER BY collection_uuid) FROM collections WHERE user_id = ANY(%(ids)s::uuid[])),
    (SELECT json_agg(deleted_collections ORDER BY collection_uuid) FROM deleted_collections
        WHERE user_id = ANY(%(ids)s::uuid[])),
    (SELECT json_agg(user_genres ORDER BY user_id, genre) FROM user_genres WHERE user_id = ANY(%(ids)s::uuid[])),
    (SELECT json_agg(idempotency_keys ORDER BY key) FROM idempotency_keys WHERE user_id = ANY(%(ids)s::uuid[])))::text
"""


async def a_collection(owner: Api) -> list[str]:
    """The uuid of a new collection of this user."""
    return [(await owner.post("/collection/", collection())).json["collection_uuid"]]


async def a_shared_collection(owner: Api) -> list[str]:
    """The uuid of a collection of this user that a link shows."""
    uuids = await a_collection(owner)
    await owner.post(f"/collection/{uuids[0]}/share/")
    return uuids


async def a_movie(owner: Api) -> list[str]:
    """The uuid of a movie in a collection of this user."""
    given = collection()
    await owner.post("/collection/", given)
    return [given["movies"][0]["uuid"]]


async def a_movie_in_a_collection(owner: Api) -> list[str]:
    """The uuids of a collection of this user and of a movie in it."""
    given = collection()
    uuid: str = (await owner.post("/collection/", given)).json["collection_uuid"]
    return [uuid, given["movies"][0]["uuid"]]


async def a_session(owner: Api) -> list[str]:
    """The uuid of a login of this user."""
    return [(await owner.get("/sessions/")).json["data"][0]["uuid"]]


async def a_personal_token(owner: Api) -> list[str]:
    """The uuid of a personal token of this user."""
    return [(await owner.post("/tokens/", {"name": "mine", "scope": "read"})).json["uuid"]]


MAKERS: dict[str, Callable[[Api], Awaitable[list[str]]]] = {
    **{f"/{name}/{{collection_uuid}}/{tail}": maker for name in ("collection", "collections") for tail, maker in (
        ("", a_collection), ("movies/", a_collection), ("share/", a_shared_collection), ("order/", a_collection),
        ("export/", a_collection),
        ("movies/{movie_uuid}/", a_movie_in_a_collection))},
    "/sessions/{session_uuid}/": a_session,
    "/tokens/{token_uuid}/": a_personal_token,
    "/movies/{movie_uuid}/collections/": a_movie,
}
MOVIE = movies(1)[0]
BODIES: dict[str, Any] = {"PUT": {"title": "Mine", "movies": []}, "PATCH": {"title": "Mine"}, "POST": MOVIE}
# 200 for every user: a movie may be in none of the user's collections
NOT_THERE = {"/movies/{movie_uuid}/collections/": 200}


def address(route: Any, uuids: list[str]) -> str:
    """The path of a route with these uuids for its parameters."""
    left = iter(uuids)
    return PARAMETER.sub(lambda parameter: next(left), route.template)


def rows(postgres: Postgres, ids: list[str]) -> object:
    """Everything that users own, as the database has it."""
    with closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute(ROWS, {"ids": ids})
        return cursor.fetchone()


def seen(response: Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """All of a response but its date; the client sets the request id."""
    headers = [(name, value) for name, value in response.headers.get_all() if name != "Date"]
    return response.status, sorted(headers), response.body


@pytest.mark.parametrize("route", OWNED, ids=lambda route: str(route.template))
async def test_foreign_uuids_are_like_unknown_ones(
    sign_up: SignUp, resources: Resources, postgres: Postgres, route: Any
) -> None:
    """ASVS 5.0 8.2.2: the same bytes as for a random uuid, and nothing changes."""
    owner, other = await sign_up(), await sign_up()
    theirs = await MAKERS[route.template](owner)
    ids = [resources.tokens.verify(str(each.token)).user_id for each in (owner, other)]
    before = rows(postgres, ids)
    for method in route.handler_class.verbs:
        responses = [
            await other.call(
                method, address(route, uuids), BODIES.get(method), headers={"X-Request-ID": "one"})
            for uuids in ([str(uuid4()) for _ in theirs], theirs, [uuid.upper() for uuid in theirs])
        ]
        assert seen(responses[0]) == seen(responses[1]) == seen(responses[2])
        assert responses[0].status == (204 if method == "OPTIONS" else NOT_THERE.get(route.template, 404))
    assert rows(postgres, ids) == before
    assert await MAKERS[route.template](owner)


@pytest.mark.parametrize("route", PROTECTED, ids=lambda route: str(route.template))
async def test_what_is_protected_needs_a_token(api: Api, route: Any) -> None:
    """ASVS 5.0 8.2.1 and 8.3.1: each verb of each protected route."""
    path = PARAMETER.sub(str(uuid4()), route.template)
    for method in route.handler_class.verbs:
        response = await api.call(method, path, BODIES.get(method))
        if method == "OPTIONS":
            assert response.status == 204
        else:
            assert_unauthenticated(response)


def test_every_route_with_a_uuid_is_in_this_file() -> None:
    assert len(ROUTES) == len({route.template for route in ROUTES})
    assert {route.template for route in OWNED} == set(MAKERS)
