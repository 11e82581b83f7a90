"""The demo catalogue: pages, a search, and failures on demand."""
from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.platform.asyncio import AsyncIOLoop

from movieserver.embedded.catalogue import Faults, listen, make_catalogue
from movieserver.embedded.films import listing
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.settings import Settings
from tests.client import Api
from tests.conftest import make_settings


@pytest.fixture
def url(io_loop: AsyncIOLoop) -> Iterator[str]:
    """A catalogue with the user `demo` and the password `word`."""
    listening, address = listen()
    assert address.endswith("/movies/?query={query}")
    server = HTTPServer(make_catalogue("demo", "word"))
    server.add_socket(listening)
    yield address.partition("?")[0]
    server.stop()
    io_loop.run_sync(server.close_all_connections)


async def ask(url: str, password: str = "word", **given: Any) -> HTTPResponse:
    return await AsyncHTTPClient().fetch(
        url, auth_username="demo", auth_password=password, raise_error=False, request_timeout=0.5, **given)


def test_films_are_valid_movies() -> None:
    films = listing()
    assert len(films) >= 60
    assert len({film["uuid"] for film in films}) == len({film["title"] for film in films}) == len(films)
    casablanca = next(film for film in films if film["title"] == "Casablanca")
    assert casablanca["uuid"] == "96423732-cda8-59bd-84e6-71128c54391f"
    for film in films:
        assert set(film) == {"title", "description", "genres", "uuid", "year", "ids"}
        assert uuid.UUID(film["uuid"]).version == 5
        assert all(genre == genre.strip() and genre for genre in film["genres"].split(","))
        assert 1900 < film["year"] < 2030 and film["description"].startswith(f"{film['year']}. ")
        assert re.fullmatch(r"tt\d{7}", film["ids"]["imdb"])
    assert len({film["ids"]["imdb"] for film in films}) == len(films)
    assert casablanca["description"].startswith("1942. ")


def titles(found: Any) -> list[str]:
    return [film["title"] for film in found]


async def test_a_search(url: str) -> None:
    for words, expected in (
        ("solaris", ["Solaris"]), ("GODFATHER", ["The Godfather"]), ("1931", ["City Lights", "M"]),
        ("western 1956", ["The Searchers"]), ("8½", ["8½"]), ("solaris western", []),
    ):
        found = json.loads((await ask(f"{url}?{urlencode({'query': words})}")).body)
        assert (found["count"], found["next"], found["previous"]) == (len(expected), None, None)
        assert titles(found["results"]) == expected
    found = json.loads((await ask(f"{url}?query=drama&page=2")).body)
    assert "query=drama" in found["next"] and "query=drama" in found["previous"]
    assert all("Drama" in film["genres"] for film in found["results"])


async def test_pages(url: str) -> None:
    link, films, pages = url, [], 0
    while link:
        response = json.loads((await ask(link)).body)
        assert set(response) == {"count", "next", "previous", "results"}
        assert response["count"] == len(listing())
        assert (response["previous"] is None) == (pages == 0)
        films += response["results"]
        link, pages = response["next"], pages + 1
    assert films == listing()
    assert pages == -(-len(films) // 10)


@pytest.mark.parametrize("page", ["0", "x", "999", "-1", "9" * 30])
async def test_invalid_pages_are_404(url: str, page: str) -> None:
    assert (await ask(f"{url}?page={page}")).code == 404


async def test_credentials(url: str) -> None:
    assert (await ask(url, "wrong")).code == 401
    assert (await AsyncHTTPClient().fetch(url, raise_error=False)).code == 401


async def test_faults_can_be_set(url: str) -> None:
    faults = url.replace("/movies/", "/faults/")
    await ask(faults, method="PUT", body=json.dumps({"errors": 1}))
    assert (await ask(url)).code == 500
    for fault in ("hangs", "halves"):
        await ask(faults, method="PUT", body=json.dumps({fault: 1}))
        with pytest.raises((HTTPClientError, OSError)):
            await ask(url)
    await ask(faults, method="PUT", body="{}")
    assert json.loads((await ask(faults)).body) == {"errors": 0, "hangs": 0, "halves": 0}
    assert (await ask(url)).code == 200


def test_shares() -> None:
    drawn = [Faults(errors=0.3, hangs=0.1, halves=0.2).draw() for _ in range(10_000)]
    for name, share in (("errors", 0.3), ("hangs", 0.1), ("halves", 0.2), (None, 0.4)):
        assert abs(drawn.count(name) / 10_000 - share) < 0.05


@pytest.mark.usefixtures("app")
class TestBehindTheServer:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, url: str) -> Settings:
        return make_settings(
            postgres.url, redis.url, url + "?query={query}", movie_api_username="demo", movie_api_password="word")

    async def test_all_pages_through_the_server(self, alice: Api) -> None:
        link, films = "/movies/", []
        while link:
            response = (await alice.get(link)).json
            films += response["data"]
            link = response["next"]
        assert films == listing()
        assert (await alice.get("/movies/?page=8")).status == 404

    async def test_a_search_through_the_server(self, alice: Api) -> None:
        assert titles((await alice.get("/movies/?query=solaris")).json["data"]) == ["Solaris"]
        response = await alice.get("/movies/?query=science%20fiction")
        found, more = titles(response.json["data"]), (await alice.get(response.json["next"])).json
        assert len(found) == 10 and more["data"] and not set(found) & set(titles(more["data"]))
        assert (await alice.get("/movies/?query=no%20such%20film%20at%20all")).json["data"] == []
        assert (await alice.get("/movies/?query=%20")).status == 400

    async def test_a_failing_catalogue_causes_errors_but_no_wrong_pages(self, alice: Api, url: str) -> None:
        faults = url.replace("/movies/", "/faults/")
        await ask(faults, method="PUT", body=json.dumps({"errors": 0.4, "halves": 0.2}))
        responses = await asyncio.gather(*[alice.get("/movies/?page=2") for _ in range(40)])
        for response in responses:
            assert response.status in (200, 502, 503, 504)
            assert response.status != 200 or response.json["data"] == listing()[10:20]
        assert 200 in {response.status for response in responses}
