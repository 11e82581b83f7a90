"""The demo catalogue: the API of the plain provider, and failures on request."""
from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

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
    """A catalogue with the user name `demo` and the password `word`."""
    listening, address = listen()
    server = HTTPServer(make_catalogue("demo", "word"))
    server.add_socket(listening)
    yield address
    server.stop()
    io_loop.run_sync(server.close_all_connections)


async def fetch(url: str, password: str = "word", **options: Any) -> HTTPResponse:
    return await AsyncHTTPClient().fetch(
        url, auth_username="demo", auth_password=password, raise_error=False, request_timeout=0.5, **options)


def test_films_have_unique_titles_and_stable_uuids() -> None:
    films = listing()
    assert len(films) >= 60
    assert len({film["uuid"] for film in films}) == len({film["title"] for film in films}) == len(films)
    casablanca = next(film for film in films if film["title"] == "Casablanca")
    assert casablanca["uuid"] == "96423732-cda8-59bd-84e6-71128c54391f"
    for film in films:
        assert set(film) == {"title", "description", "genres", "uuid"}
        assert uuid.UUID(film["uuid"]).version == 5
        assert all(genre == genre.strip() and genre for genre in film["genres"].split(","))


async def test_the_links_lead_through_all_films(url: str) -> None:
    link, films, pages = url, [], 0
    while link:
        page = json.loads((await fetch(link)).body)
        assert set(page) == {"count", "next", "previous", "results"}
        assert page["count"] == len(listing())
        assert (page["previous"] is None) == (pages == 0)
        films += page["results"]
        link, pages = page["next"], pages + 1
    assert films == listing()
    assert pages == -(-len(films) // 10)


@pytest.mark.parametrize("page", ["0", "x", "999", "-1", "9" * 30])
async def test_a_page_that_does_not_exist_is_404(url: str, page: str) -> None:
    assert (await fetch(f"{url}?page={page}")).code == 404


async def test_wrong_or_missing_credentials_are_401(url: str) -> None:
    assert (await fetch(url, "wrong")).code == 401
    assert (await AsyncHTTPClient().fetch(url, raise_error=False)).code == 401


async def test_requested_faults_happen(url: str) -> None:
    faults = url.replace("/movies/", "/faults/")
    await fetch(faults, method="PUT", body=json.dumps({"errors": 1}))
    assert (await fetch(url)).code == 500
    for fault in ("hangs", "halves"):
        await fetch(faults, method="PUT", body=json.dumps({fault: 1}))
        with pytest.raises((HTTPClientError, OSError)):
            await fetch(url)
    await fetch(faults, method="PUT", body="{}")
    assert json.loads((await fetch(faults)).body) == {"errors": 0, "hangs": 0, "halves": 0}
    assert (await fetch(url)).code == 200


def test_faults_happen_as_often_as_requested() -> None:
    drawn = [Faults(errors=0.3, hangs=0.1, halves=0.2).draw() for _ in range(10_000)]
    for name, share in (("errors", 0.3), ("hangs", 0.1), ("halves", 0.2), (None, 0.4)):
        assert abs(drawn.count(name) / 10_000 - share) < 0.05


class TestBehindTheServer:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, url: str) -> Settings:
        return make_settings(
            postgres.url, redis.url, url, movie_api_username="demo", movie_api_password="word")

    async def test_all_pages_through_the_server(self, alice: Api) -> None:
        link, films = "/movies/", []
        while link:
            page = (await alice.get(link)).json
            films += page["data"]
            link = page["next"]
        assert films == listing()
        assert (await alice.get("/movies/?page=8")).status == 404

    async def test_a_catalogue_that_often_fails_causes_errors_but_no_wrong_pages(self, alice: Api, url: str) -> None:
        faults = url.replace("/movies/", "/faults/")
        await fetch(faults, method="PUT", body=json.dumps({"errors": 0.4, "halves": 0.2}))
        responses = await asyncio.gather(*[alice.get("/movies/?page=2") for _ in range(40)])
        for response in responses:
            assert response.status in (200, 502, 503, 504)
            assert response.status != 200 or response.json["data"] == listing()[10:20]
        assert 200 in {response.status for response in responses}
