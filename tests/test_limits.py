"""Limits: all are published, and the error of a request that exceeds one names it."""
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from movieserver.data import collections
from movieserver.resources import Resources
from tests.client import Response, Api
from tests.factories import collection, movies, registration
from tests.test_collections import created, many
from tests.wire import exchange

Excess = Callable[[Api, int], Awaitable[Response]]


def leaves(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, int]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name} ")
        else:
            yield f"{path}{name}", value


def posted(path: str, body: Callable[[int], Any]) -> Excess:
    """A POST with a body made from the limit."""
    return lambda api, bound: api.post(path, body(bound))


def listed(path: str) -> Excess:
    return lambda api, bound: api.get(f"{path}?limit={bound}")


def named(length: int) -> dict[str, Any]:
    return registration(username=registration()["username"].ljust(length, "x"))


def movie(**given: Any) -> dict[str, Any]:
    return collection(movies=movies(1, **given))


async def added(api: Api, bound: int) -> Response:
    """Add movies to a collection that can hold one more."""
    path = f"/collection/{await created(api, movies=many(9_999))}/movies/"
    return await api.post(path, movies(bound - 9_999))


async def keyed(api: Api, bound: int) -> Response:
    return await api.post("/collection/", collection(), headers={"Idempotency-Key": "k" * bound})


async def lent(api: Api, bound: int) -> Response:
    return await api.post(f"/collection/{await created(api)}/share/", {"expires_in_days": bound})


async def padded(api: Api, bound: int) -> Response:
    body = json.dumps({**collection(), "ignored": ""}).encode()
    return await api.post("/collection/", raw=body[:-2] + b"x" * (bound - len(body)) + body[-2:])


def imported(kind: str, head: str, line: Callable[[int], str]) -> Excess:
    """An import of so many lines."""
    async def excess(api: Api, bound: int) -> Response:
        text = head + "".join(map(line, range(bound)))
        return await api.post("/import/", raw=text.encode(), headers={"Content-Type": kind})

    return excess


async def nested(api: Api, bound: int) -> Response:
    return await api.post("/collection/", raw=b'{"title": "x", "ignored": %s%s}' % (b"[" * bound, b"]" * bound))


def with_genres(number: int) -> dict[str, Any]:
    """A collection with `number` different genres, 100 per movie."""
    named = [f"g{genre}" for genre in range(number)]
    groups = [",".join(named[start:start + 100]) for start in range(0, number, 100)]
    return collection(movies=[movie | {"genres": genres} for movie, genres in zip(movies(len(groups)), groups)])


EXCESSES: dict[str, Excess] = {
    "body bytes": padded,
    "body nesting": nested,
    "registration username_characters": posted("/register/", named),
    "collection title_characters": posted("/collection/", lambda n: collection(title="t" * n)),
    "collection movies": posted("/collection/", lambda n: collection(movies=many(n))),
    "collection genres": posted("/collection/", with_genres),
    "movie title_characters": posted("/collection/", lambda n: movie(title="t" * n)),
    "movie description_characters": posted("/collection/", lambda n: movie(description="d" * n)),
    "movie genres": posted("/collection/", lambda n: movie(genres=",".join(map(str, range(n))))),
    "movie year_at_most": posted("/collection/", lambda n: movie(year=n)),
    "movie poster_characters": posted("/collection/", lambda n: movie(poster="https://x/".ljust(n, "p"))),
    "movie ids": posted("/collection/", lambda n: movie(ids={f"id{number}": "x" for number in range(n)})),
    "movie id_characters": posted("/collection/", lambda n: movie(ids={"x" * n: "x", "imdb": "x" * n})),
    "movie note_characters": posted("/collection/", lambda n: movie(note="n" * n)),
    "movie genres_characters": posted("/collection/", lambda n: movie(genres="g" * n)),
    "personal_tokens name_characters": posted("/tokens/", lambda n: {"name": "n" * n, "scope": "read"}),
    "personal_tokens days": posted("/tokens/", lambda n: {"name": "n", "scope": "read", "expires_in_days": n}),
    "pages /collection/ limit": listed("/collection/"),
    "pages /movies/<uuid>/collections/ limit": listed("/movies/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/collections/"),
    "pages /genres/ limit": listed("/genres/"),
    "import lines": imported("text/csv", "Title,Year\n", lambda number: f"M{number % 9},1931\n"),
    "import collections": imported("application/x-ndjson", "", lambda number: f'{{"title":"t{number}"}}\n'),
    "pages /changes/ limit": listed("/changes/"),
    "idempotency_key characters": keyed,
    "share days": lent,
}
OTHERS = {  # these have tests of their own
    "headers bytes", "headers fields", "query arguments", "registration password_characters_at_least", "pages bytes",
    "collection bytes",
    "personal_tokens tokens", "registration window_seconds", "registration from_an_address",
    "pages /collection/ default", "pages /movies/<uuid>/collections/ default", "pages /genres/ default",
    "login window_seconds", "login wrong_passwords_for_an_account",
    "login wrong_passwords_for_an_account_under_attack", "login wrong_passwords_from_an_address",
    "pages /changes/ default", "changes wait_seconds", "changes kept_days", "at_once waiting", "at_once waiting_of_all",
    "at_once body_bytes", "at_once body_bytes_of_all", "at_once answer_bytes", "at_once answer_bytes_of_all",
    "idempotency_key kept_seconds", "movie year_at_least", "export bytes", "export collections",
    "import errors", "tokens access_seconds", "tokens refresh_seconds",
}


async def published(api: Api) -> dict[str, int]:
    response = await api.get("/limits/")
    assert response.status == 200
    assert response.headers["Cache-Control"] == "public, max-age=3600"
    return dict(leaves(response.json))


async def test_every_limit_is_tested(api: Api) -> None:
    assert set(await published(api)) == set(EXCESSES) | OTHERS


@pytest.mark.parametrize("name", EXCESSES)
async def test_errors_name_the_exceeded_limit(alice: Api, name: str) -> None:
    bound = (await published(alice))[name]
    excess = EXCESSES[name]
    within = await excess(alice, bound - (name == "body nesting"))  # the body itself is one level
    assert within.status in (200, 201), within.json
    beyond = await excess(alice, bound + 1)
    assert beyond.status in (400, 413)
    details = [beyond.json["detail"], *(error["detail"] for error in beyond.json.get("errors", []))]
    assert any(str(bound) in detail.replace(" after validation", "") for detail in details)


async def test_a_full_collection_names_its_limit(alice: Api) -> None:
    bound = (await published(alice))["collection movies"]
    assert (await added(alice, bound)).status == 200
    beyond = await added(alice, bound + 1)
    assert beyond.status == 409
    assert str(bound) in beyond.json["detail"]


async def test_a_collection_cannot_become_too_large_to_be_read(alice: Api) -> None:
    bound = (await published(alice))["collection bytes"]
    uuid = await created(alice, movies=[])
    parts = [movies(700, description="d" * 10_000) for _ in range(3)]
    assert [(await alice.post(f"/collection/{uuid}/movies/", part)).status for part in parts] == [200, 200, 409]
    beyond = await alice.post(f"/collection/{uuid}/movies/", parts[2])
    assert beyond.json["code"] == "collection_full" and str(bound) in beyond.json["detail"]
    assert (await alice.post(f"/collection/{uuid}/movies/", parts[0])).json["existing"] == 700
    line = json.dumps({"uuid": uuid, "title": "x", "movies": parts[2]})
    imported = await alice.post("/import/", raw=line.encode(), headers={"Content-Type": "application/x-ndjson"})
    assert imported.json["added"] == 0 and str(bound) in imported.json["errors"][0]["detail"]
    assert len((await alice.get(f"/collection/{uuid}/")).json["movies"]) == 1_400


async def test_a_short_password_names_its_limit(api: Api) -> None:
    least = (await published(api))["registration password_characters_at_least"]
    assert (await api.post("/register/", registration(password="pässwörter"[:least]))).status == 201
    response = await api.post("/register/", registration(password="p" * (least - 1)))
    assert response.status == 400
    assert str(least) in response.json["errors"][0]["detail"]


async def test_pages_have_their_default_size(alice: Api) -> None:
    bounds = await published(alice)
    default = bounds["pages /collection/ default"]
    assert bounds["pages /movies/<uuid>/collections/ default"] == default
    genres = [f"genre {number}" for number in range(bounds["pages /genres/ default"] + 1)]
    one, *more = [movie | {"genres": genre} for movie, genre in zip(movies(len(genres)), genres)]
    for _ in range(default + 1):
        await created(alice, movies=[one, *more])
    assert len((await alice.get("/collection/?movies=false")).json["data"]["collections"]) == default
    assert len((await alice.get(f"/movies/{one['uuid']}/collections/")).json["collections"]) == default
    assert len((await alice.get("/genres/")).json["genres"]) == bounds["pages /genres/ default"]


async def test_token_lifetimes(api: Api, resources: Resources) -> None:
    bounds = await published(api)
    assert bounds["tokens access_seconds"] == (await api.post("/register/", registration())).json["expires_in"]
    assert bounds["tokens refresh_seconds"] == resources.tokens.refresh_seconds
    assert bounds["pages bytes"] == collections.PAGE_BYTES


async def test_headers_are_limited(api: Api) -> None:
    bounds = await published(api)
    size, fields = bounds["headers bytes"], bounds["headers fields"]
    line = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: %s\r\n%s\r\n"
    for padding, more, status in (
        (size - len(line) + 4, 0, 200), (size - len(line) + 5, 0, 431), (10 * size, 0, 431), (1, 0, 200),
        (1, fields - 3, 200), (1, fields - 2, 431),
    ):
        (response,) = await exchange(api, line % (b"x" * padding, b"A: b\r\n" * more))
        assert response.status == status
        assert status == 200 or all(str(bound) in json.loads(response.body)["detail"] for bound in (size, fields))


async def test_query_arguments_are_limited(api: Api) -> None:
    bound = (await published(api))["query arguments"]
    assert (await api.get("/healthz?" + "&".join(["a=1"] * bound))).status == 200
    response = await api.get("/healthz?" + "&".join(["a=1"] * (bound + 1)))
    assert response.status == 400
    assert str(bound) in response.json["detail"]
