"""The provider tmdb: The Movie Database's API, version 3, as its reference documents it."""
from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests.client import Api
from tests.conftest import make_settings
from tests.third_party import ThirdParty, ThirdPartyHandler, hang, page

TOKEN = "tmdb-read-access-token"
GENRES = {"genres": [{"id": 18, "name": "Drama"}, {"id": 878, "name": "Science Fiction"}, {"id": 27, "name": "Horror"}]}
MOVIES = [
    {
        "adult": False, "backdrop_path": "/x.jpg", "genre_ids": [18, 878, 4711], "id": 593, "original_language": "ru",
        "original_title": "Солярис", "overview": "A psychologist is sent to a station.", "popularity": 20.1,
        "poster_path": "/solaris.jpg", "release_date": "1972-03-20", "title": "Solaris", "video": False,
        "vote_average": 7.8, "vote_count": 1500,
    },
    {"genre_ids": [], "id": 2, "overview": None, "title": "Ariel"},
]


def tmdb(found: dict[str, Any], seen: list[str]) -> Any:
    """A third party that responds as TMDB documents it."""

    async def behave(handler: ThirdPartyHandler) -> None:
        seen.append(handler.request.uri or "")
        if handler.request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return await page({"success": False, "status_code": 7, "status_message": "Invalid API key"}, 401)(handler)
        path = handler.request.path
        number = int(handler.get_query_argument("page", "1"))
        if path.endswith("/genre/movie/list"):
            return await page(GENRES)(handler)
        assert path.endswith(("/discover/movie", "/search/movie"))
        await page({"page": number, "results": MOVIES, "total_pages": 40000, "total_results": 800000, **found})(handler)

    return behave


@pytest.fixture
def settings(postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
    return make_settings(
        postgres.url, redis.url, third_party.url, movie_api_kind="tmdb", movie_api_token=TOKEN,
        movie_api_username=None, movie_api_password=None)


@pytest.fixture
def seen(third_party: ThirdParty) -> list[str]:
    seen: list[str] = []
    third_party.behaviour = tmdb({}, seen)
    return seen


async def test_a_page(alice: Api, seen: list[str]) -> None:
    response = await alice.get("/movies/?page=2")
    assert response.status == 200
    assert response.json == {
        "count": 800000, "next": f"{alice.base_url}/movies/?page=3", "previous": f"{alice.base_url}/movies/?page=1",
        "data": [
            {"title": "Solaris", "description": "A psychologist is sent to a station.",
             "genres": "Drama,Science Fiction", "uuid": str(uuid.uuid5(
                 uuid.NAMESPACE_URL, "https://www.themoviedb.org/movie/593")), "year": 1972,
             "poster": "https://image.tmdb.org/t/p/w342/solaris.jpg", "ids": {"tmdb": "593"}},
            {"title": "Ariel", "description": "", "genres": "", "uuid": str(uuid.uuid5(
                uuid.NAMESPACE_URL, "https://www.themoviedb.org/movie/2")), "ids": {"tmdb": "2"}},
        ],
    }
    assert sorted(uri.rpartition("/list")[2] for uri in seen) == ["", "/discover/movie?page=2"]


async def test_listed_movies_can_be_collected(alice: Api, seen: list[str]) -> None:
    movies = (await alice.get("/movies/")).json["data"]
    response = await alice.post("/collection/", {"title": "from TMDB", "movies": movies})
    assert (await alice.get(response.headers["Location"])).json["movies"] == movies


async def test_a_listed_movie_has_the_uuid_that_is_computed_from_its_ids(alice: Api, seen: list[str]) -> None:
    """One rule gives both the uuid, so what was imported is what is listed."""
    solaris = (await alice.get("/movies/")).json["data"][0]
    bare = {"title": "Solaris", "ids": {"imdb": "tt0069293", "tmdb": "593"}}
    answer = await alice.post("/collection/", {"title": "t", "movies": [bare]})
    [stored] = (await alice.get(answer.headers["Location"])).json["movies"]
    assert stored["uuid"] == solaris["uuid"]


@pytest.mark.parametrize("odd", [
    {"release_date": None, "poster_path": None}, {"release_date": "", "poster_path": ""},
    {"release_date": "soon", "poster_path": "x.jpg"}, {"release_date": "0001-01-01", "poster_path": "/a b.jpg"},
    {"release_date": 1.5, "poster_path": 7}, {"release_date": "2101-01-01", "poster_path": "/" + "x" * 2000},
])
async def test_an_invalid_date_or_poster_is_omitted(alice: Api, third_party: ThirdParty, odd: dict[str, Any]) -> None:
    third_party.behaviour = tmdb({"results": [MOVIES[0] | odd]}, [])
    [movie] = (await alice.get("/movies/")).json["data"]
    assert set(movie) == {"title", "description", "genres", "uuid", "ids"}
    assert (await alice.post("/collection/", {"title": "t", "movies": [movie]})).status == 201


async def test_genre_names_are_fetched_once(alice: Api, seen: list[str]) -> None:
    for _ in range(3):
        await alice.get("/movies/")
    assert sum("genre" in uri for uri in seen) == 1


async def test_a_search(alice: Api, seen: list[str]) -> None:
    response = await alice.get("/movies/?query=solaris%20%26%20co&page=2")
    assert any(uri.endswith("/search/movie?query=solaris+%26+co&page=2") for uri in seen)
    assert response.json["next"] == f"{alice.base_url}/movies/?page=3&query=solaris+%26+co"
    assert (await alice.get(response.json["previous"])).status == 200
    requested = len(seen)
    assert (await alice.get("/movies/?query=%20")).status == 400
    assert len(seen) == requested


async def test_a_hanging_tmdb_opens_the_breaker_at_once(
    alice: Api, third_party: ThirdParty, resources: Resources
) -> None:
    resources.movie_api.upstream.seconds = 0.4
    third_party.behaviour = hang
    responses = await asyncio.gather(*[alice.get(f"/movies/?page={number}") for number in range(1, 60)])
    assert {response.status for response in responses} <= {503, 504}
    third_party.calls.clear()
    assert (await alice.get("/movies/?page=60")).status == 503
    assert third_party.calls == []


async def test_pages_go_to_500(alice: Api, seen: list[str]) -> None:
    response = await alice.get("/movies/?page=500")
    assert (response.status, response.json["next"]) == (200, None)
    requested = len(seen)
    for number in ("501", "9" * 30):
        assert (await alice.get(f"/movies/?page={number}")).status == 404
    assert len(seen) == requested


async def test_past_the_end(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = tmdb({"results": [], "total_pages": 3, "total_results": 50}, [])
    assert (await alice.get("/movies/?page=4")).status == 404
    third_party.behaviour = tmdb({"results": [], "total_pages": 0, "total_results": 0}, [])
    response = await alice.get("/movies/?query=nothing%20at%20all")
    assert response.json == {"count": 0, "next": None, "previous": None, "data": []}


@pytest.mark.parametrize("found", [
    {"results": None}, {"results": [{"id": "x"}]}, {"page": 7}, {"results": [], "total_results": True},
])
async def test_invalid_responses(alice: Api, third_party: ThirdParty, found: dict[str, Any]) -> None:
    third_party.behaviour = tmdb(found, [])
    assert (await alice.get("/movies/")).status == 502


@pytest.mark.parametrize("odd", ["many", None, True, -1, 1.5, [], {}])
async def test_invalid_totals_do_not_spoil_a_page(alice: Api, third_party: ThirdParty, odd: object) -> None:
    third_party.behaviour = tmdb({"total_pages": odd, "total_results": odd}, [])
    answer = await alice.get("/movies/?page=2")
    assert (answer.status, answer.json["count"], len(answer.json["data"])) == (200, len(MOVIES), len(MOVIES))
    assert answer.json["next"].endswith("?page=3")
    third_party.behaviour = tmdb({"total_pages": odd, "total_results": 40, "results": []}, [])
    assert (await alice.get("/movies/?page=3")).json["next"] is None


async def test_a_refused_key(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page({"success": False, "status_message": "theirs"}, status=401)
    response = await alice.get("/movies/")
    assert response.status == 502
    assert b"theirs" not in response.body and TOKEN.encode() not in response.body


class TestAPlainProviderThatNamesItsSearch:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url + "?key=a%20b&search={query}&x=1")

    async def test_search_by_the_parameter_in_the_address(self, alice: Api, third_party: ThirdParty) -> None:
        third_party.behaviour = page({"count": 0, "next": "x", "previous": None, "results": []})
        response = await alice.get("/movies/?query=%7Bquery%7D%20%26%20co%2B&page=2")
        assert response.json["next"] == f"{alice.base_url}/movies/?page=3&query=%7Bquery%7D+%26+co%2B"
        assert (await alice.get("/movies/")).status == 200
        assert third_party.calls == [
            {"key": "a b", "search": "{query} & co+", "x": "1", "page": "2"}, {"key": "a b", "x": "1", "page": "1"}]
        assert (await alice.get("/movies/?query=")).status == 400


class TestThePlainProvider:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url)

    async def test_an_address_without_a_search_parameter(self, alice: Api, third_party: ThirdParty) -> None:
        response = await alice.get("/movies/?query=solaris")
        assert response.status == 400
        assert third_party.calls == []
