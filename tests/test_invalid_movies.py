"""Invalid entries of the third party: none spoils its page, and every listed movie can be stored."""
from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.formats import movie_uuid
from movieserver.settings import Settings
from movieserver.third_party import tmdb
from movieserver.third_party.provider import MAX_NUMBER
from tests.client import Api
from tests.conftest import make_settings
from tests.test_metrics import measured
from tests.test_movies import MOVIE, listing
from tests.third_party import Behaviour, ThirdParty, ThirdPartyHandler, in_turn, page

UUID = MOVIE["uuid"]
OTHER = {**MOVIE, "title": "Other", "uuid": "7a3cd2a1-2f4c-4a3e-9a5d-111111111111"}
ABSENT = object()


def entry(**fields: object) -> dict[str, Any]:
    """A movie with other fields, or without those that are ABSENT."""
    return {name: value for name, value in {**MOVIE, **fields}.items() if value is not ABSENT}


async def shown(alice: Api, third_party: ThirdParty, *entries: object) -> list[dict[str, Any]]:
    """The movies of a page with these entries; checks that a collection stores them unchanged."""
    third_party.behaviour = page(listing(results=list(entries)))
    response = await alice.get("/movies/")
    assert response.status == 200
    assert response.json["count"] == 45466
    await assert_storable(alice, response.json["data"])
    found: list[dict[str, Any]] = response.json["data"]
    return found


async def assert_storable(alice: Api, movies: list[dict[str, Any]]) -> None:
    response = await alice.post("/collection/", {"title": "as shown", "movies": movies})
    assert response.status == 201, response.json
    assert (await alice.get(response.headers["Location"])).json["movies"] == movies


@pytest.mark.parametrize("spelling", [
    UUID.upper(), UUID.replace("-", ""), "{" + UUID + "}", "{" + UUID.upper().replace("-", "") + "}",
    f"urn:uuid:{UUID}", f"URN:UUID:{UUID.upper()}", f" {UUID}\n",
])
async def test_a_uuid_is_shown_in_its_canonical_spelling(alice: Api, third_party: ThirdParty, spelling: str) -> None:
    assert await shown(alice, third_party, entry(uuid=spelling)) == [MOVIE]


@pytest.mark.parametrize("field, value, expected", [
    ("description", None, ""), ("description", ABSENT, ""), ("description", 7, "7"), ("description", ["x"], ""),
    ("description", {"en": "x"}, ""), ("description", True, ""), ("description", 1.5, ""),
    ("description", "é" * 12_000, "é" * 10_000), ("description", "😀" * 10_001, "😀" * 10_000),
    ("description", "a\0b", "ab"), ("description", "a\ud800b\udfffc", "abc"), ("description", "\ud83d\ude00", "😀"),
    ("title", "x" * 501, "x" * 500), ("title", "Nul\0l", "Null"), ("title", "\udc00Lone", "Lone"),
    ("title", 1917, "1917"),
    ("genres", None, ""), ("genres", ABSENT, ""), ("genres", 18, ""), ("genres", [18, 35], ""), ("genres", {}, ""),
    ("genres", True, ""), ("genres", "Drama, Comedy", "Drama, Comedy"), ("genres", ["Drama", "Comedy"], "Drama,Comedy"),
    ("genres", [{"id": 18, "name": "Drama"}, {"name": None}, {}, {"name": "War"}], "Drama,War"),
    ("genres", {"name": "Drama"}, "Drama"), ("genres", ["Drama", None, 7, " ", "", ["x"], "War"], "Drama,War"),
    ("genres", ["Action, Adventure", "War"], "Action, Adventure,War"), ("genres", "Dra\0ma,\ud800War", "Drama,War"),
    ("genres", [f"g{number}" for number in range(150)], ",".join(f"g{number}" for number in range(100))),
    ("genres", ",".join(f"g{number}" for number in range(150)), ",".join(f"g{number}" for number in range(100))),
    ("genres", ["a" * 6000, "b" * 6000, "c" * 3999], "a" * 6000 + "," + "c" * 3999), ("genres", "x" * 10_001, ""),
])
async def test_an_invalid_field_is_repaired_or_blank(
    alice: Api, third_party: ThirdParty, field: str, value: object, expected: str
) -> None:
    assert await shown(alice, third_party, entry(**{field: value}), OTHER) == [{**MOVIE, field: expected}, OTHER]


LEFT_OUT: list[object] = [
    None, 7, "Queerama", [], {}, entry(title=ABSENT), entry(title=None), entry(title=""), entry(title=" \t"),
    entry(title="\0"), entry(title="\ud800"), entry(title=[]), entry(title=True), entry(uuid=ABSENT), entry(uuid=None),
    entry(uuid=""), entry(uuid=7), entry(uuid=10 ** 40), entry(uuid="7"), entry(uuid=UUID[:-1]), entry(uuid=UUID + "0"),
    entry(uuid="g" * 32), entry(uuid="{" * 2 + UUID + "}" * 2), entry(uuid=["x"]), entry(uuid="１" * 32),
]


@pytest.mark.parametrize("odd", LEFT_OUT, ids=str)
async def test_an_entry_without_title_or_uuid_is_left_out(alice: Api, third_party: ThirdParty, odd: object) -> None:
    before = (await measured(alice)).of("upstream_skipped_entries_total")
    assert await shown(alice, third_party, MOVIE, odd, OTHER) == [MOVIE, OTHER]
    assert (await measured(alice)).of("upstream_skipped_entries_total") == before + 1
    third_party.behaviour = page(listing(results=[odd]))
    assert (await alice.get("/movies/")).status == 502


async def test_a_uuid_is_shown_once(alice: Api, third_party: ThirdParty) -> None:
    again = entry(title="Again", uuid=UUID.upper())
    assert await shown(alice, third_party, MOVIE, again, OTHER, MOVIE) == [MOVIE, OTHER]


async def test_entries_left_out_are_logged_at_most_once_a_minute(
    alice: Api, third_party: ThirdParty, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        await shown(alice, third_party, entry(title="secret title", uuid=7), {}, {}, {}, {}, OTHER)
    lines = [line for line in capsys.readouterr().err.splitlines() if "entries left out" in line]
    assert len(lines) == 1
    assert "entry 0 has no uuid" in lines[0] and "entry 1 has no title" in lines[0]
    assert "entry 3" not in lines[0] and "secret title" not in lines[0]


BODY = json.dumps(listing(), ensure_ascii=False)


@pytest.mark.parametrize("body", [
    b"\xef\xbb\xbf" + BODY.encode(), b"\xef\xbb\xbf" * 2 + b" " + BODY.encode(),
    BODY.replace('"count": 45466', '"count": "45466"').encode(), BODY.replace("45466", "45466.0").encode(),
    BODY.replace('"results": [', '"x": %s, "results": [' % ("9" * 10_000)).encode(),
    BODY.replace('"results": [', '"x": [NaN, Infinity, 1e999], "results": [').encode(),
])
async def test_a_page_that_can_be_read(alice: Api, third_party: ThirdParty, body: bytes) -> None:
    third_party.behaviour = page(body)
    response = await alice.get("/movies/")
    assert (response.status, response.json["count"], response.json["data"]) == (200, 45466, [MOVIE])


async def test_bytes_that_are_not_utf_8_spoil_one_character(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(BODY.replace("…", "@").encode().replace(b"@", b"\xff"))
    assert (await alice.get("/movies/")).json["data"] == [{**MOVIE, "description": "50 years \ufffd"}]


async def test_a_description_that_is_not_a_number_is_blank(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(BODY.replace('"50 years …"', "NaN").encode())
    assert (await alice.get("/movies/")).json["data"] == [{**MOVIE, "description": ""}]


@pytest.mark.parametrize("count", [10 ** 30, 1e300, "9" * 5000, 2 ** 53])
async def test_a_count_is_bounded(alice: Api, third_party: ThirdParty, count: object) -> None:
    third_party.behaviour = page(listing(count=count))
    assert (await alice.get("/movies/")).json["count"] == MAX_NUMBER


@pytest.mark.parametrize(
    "count", [-1, -10 ** 30, 1.5, float("nan"), float("inf"), "", "-1", "1e3", "１", True, None, []])
async def test_an_invalid_count_does_not_spoil_a_page(alice: Api, third_party: ThirdParty, count: object) -> None:
    """It becomes the size of the page; only a page of which nothing is readable is 502."""
    third_party.behaviour = page(listing(count=count))
    answer = await alice.get("/movies/")
    assert (answer.status, answer.json["count"], answer.json["data"]) == (200, 1, [MOVIE])
    third_party.behaviour = page(listing(count=count, results=[]))
    assert (await alice.get("/movies/?page=2")).status == 502


async def test_data_is_read_if_results_is_not_a_list(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(listing(data=listing()["results"], results=None))
    assert (await alice.get("/movies/")).json["data"] == [MOVIE]


@pytest.mark.parametrize("link, there", [
    ("x", True), (3, True), (True, True), ({"href": "x"}, True), ("", False), (False, False), (0, False), ([], False),
])
async def test_a_link_of_any_type_says_whether_there_is_a_page(
    alice: Api, third_party: ThirdParty, link: object, there: bool
) -> None:
    third_party.behaviour = page(listing(2, next=link, previous=link))
    response = await alice.get("/movies/?page=2")
    assert response.json["next"] == (f"{alice.base_url}/movies/?page=3" if there else None)
    assert response.json["previous"] == (f"{alice.base_url}/movies/?page=1" if there else None)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"results": ' + b"[" * 100_000, b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf"])
async def test_a_page_that_cannot_be_read_is_502(alice: Api, third_party: ThirdParty, body: bytes) -> None:
    third_party.behaviour = page(body)
    assert (await alice.get("/movies/")).status == 502


VALUES: list[Any] = [
    None, True, 0, -7, 1917, 1.5, 10 ** 40, "", " ", "x", "\0", "\ud800", "a,b", ",,,", "\u200b", "\u00ad,\u200b", "ﬁ",
    "e\u0301", "İ", "\u2028", "\x1b[0m", "9" * 400, "é" * 501, "😀" * 10_001, "a," * 6000, UUID,
    UUID.upper(), UUID.replace("-", ""), "{%s}" % UUID, [], {}, [[]], ["x"] * 200, [None],
    ["Drama", "drama", "DRAMA"], [{"name": "Drama"}, {"name": 7}, 7],
    {"name": "Drama"}, [f"genre {number}" * 20 for number in range(120)],
]


def random_entry(chance: random.Random) -> object:
    """A movie with some invalid fields; sometimes not even an object."""
    if chance.random() < 0.05:
        return chance.choice(VALUES)
    movie = entry(uuid=str(chance.choice([UUID, OTHER["uuid"], "%032x" % chance.getrandbits(128)])))
    for field in movie:
        if chance.random() < 0.4:
            movie[field] = chance.choice(VALUES)
    return movie


@pytest.mark.parametrize("seed", range(25))
async def test_every_listed_movie_can_be_stored(alice: Api, third_party: ThirdParty, seed: int) -> None:
    chance = random.Random(seed)
    entries = [random_entry(chance) for _ in range(20)]
    movies = await shown(alice, third_party, OTHER, *entries)
    assert movies[0] == OTHER
    for movie in movies:
        assert set(movie) == set(MOVIE)


def by_list(genres: Behaviour, movies: Behaviour) -> Behaviour:
    """TMDB, which lists genres and movies at two addresses."""

    async def behave(handler: ThirdPartyHandler) -> None:
        await (genres if handler.request.path.endswith("/genre/movie/list") else movies)(handler)

    return behave


GENRES = page({"genres": [{"id": 18, "name": "Drama"}]})


class TestTmdb:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(
            postgres.url, redis.url, third_party.url, movie_api_kind="tmdb", movie_api_token="token")

    async def shown(
        self, alice: Api, third_party: ThirdParty, *results: object, genres: Behaviour = GENRES,
        numbers: dict[str, object] | None = None,
    ) -> list[dict[str, Any]]:
        """The movies of a page with these results."""
        found = {"page": 1, "results": list(results), "total_pages": 3, "total_results": 50}
        third_party.behaviour = by_list(genres, page(found | (numbers or {})))
        response = await alice.get("/movies/")
        assert response.status == 200
        await assert_storable(alice, response.json["data"])
        movies: list[dict[str, Any]] = response.json["data"]
        return movies

    @pytest.mark.parametrize("genre_ids, genres", [
        ({}, ""), (None, ""), (ABSENT, ""), (18, ""), ("18", ""), ([18], "Drama"),
        (["18", 18.0, None, {}, 4711], "Drama"), ([10 ** 40, -1, True], ""), ([18, 18], "Drama"),
    ])
    async def test_invalid_genre_ids(self, alice: Api, third_party: ThirdParty, genre_ids: object, genres: str) -> None:
        odd = {"id": 2, "title": "Ariel"} | ({} if genre_ids is ABSENT else {"genre_ids": genre_ids})
        assert await self.shown(alice, third_party, odd) == [
            {"title": "Ariel", "description": "", "genres": genres, "uuid": movie_uuid({"tmdb": "2"}, "", None),
             "ids": {"tmdb": "2"}}]

    @pytest.mark.parametrize("titles, expected", [
        ({"title": None, "original_title": "Солярис"}, "Солярис"), ({"name": "A Series"}, "A Series"),
        ({"title": "", "name": " ", "original_name": "x"}, "x"), ({"title": 1917}, "1917"),
        ({"title": "Ariel", "name": "other"}, "Ariel"),
    ])
    async def test_another_title_replaces_a_missing_one(
        self, alice: Api, third_party: ThirdParty, titles: dict[str, object], expected: str
    ) -> None:
        assert [movie["title"] for movie in await self.shown(alice, third_party, {"id": 2, **titles})] == [expected]

    @pytest.mark.parametrize("odd", [
        None, {}, {"id": 3}, {"id": 3, "title": None}, {"title": "x"}, {"id": None, "title": "x"},
        {"id": 0, "title": "x"}, {"id": -3, "title": "x"}, {"id": True, "title": "x"}, {"id": 1.5, "title": "x"},
        {"id": 10 ** 40, "title": "x"},
        {"id": 1e300, "title": "x"}, {"id": "x", "title": "x"}, {"id": 2, "title": "again"},
    ], ids=str)
    async def test_an_entry_without_title_or_id_is_left_out(
        self, alice: Api, third_party: ThirdParty, odd: object
    ) -> None:
        movies = await self.shown(alice, third_party, {"id": 2, "title": "Ariel"}, odd, {"id": "5", "title": "Rooms"})
        assert [movie["title"] for movie in movies] == ["Ariel", "Rooms"]

    @pytest.mark.parametrize("numbers", [
        {"total_results": 10 ** 30}, {"total_results": "50"}, {"total_pages": 1e300}, {"total_pages": "3"},
        {"page": "1"}, {"page": 1.0}, {"page": None}, {"page": []},
    ], ids=str)
    async def test_invalid_numbers(self, alice: Api, third_party: ThirdParty, numbers: dict[str, object]) -> None:
        assert len(await self.shown(alice, third_party, {"id": 2, "title": "Ariel"}, numbers=numbers)) == 1

    async def test_an_invalid_genre_is_omitted(self, alice: Api, third_party: ThirdParty) -> None:
        genres = page({"genres": [
            {"id": 1, "name": None}, {"id": 2}, None, 7, {"name": "x"}, {"id": "x", "name": "x"},
            {"id": [], "name": "x"}, {"id": 3, "name": " "}, {"id": "18", "name": "Dra\0ma"}]})
        movie = {"id": 2, "title": "Ariel", "genre_ids": [1, 2, 3, 18]}
        assert [each["genres"] for each in await self.shown(alice, third_party, movie, genres=genres)] == ["Drama"]

    @pytest.mark.usefixtures("impatient")
    async def test_a_page_does_not_need_genre_names(self, alice: Api, third_party: ThirdParty) -> None:
        movie = {"id": 2, "title": "Ariel", "genre_ids": [18]}
        assert (await self.shown(alice, third_party, movie, genres=page({}, 500)))[0]["genres"] == ""

    async def test_pages_share_one_call_for_genre_names(self, alice: Api, third_party: ThirdParty) -> None:
        released, requested = asyncio.Event(), []

        async def genres(handler: ThirdPartyHandler) -> None:
            requested.append(handler.request.uri)
            await released.wait()
            await GENRES(handler)

        async def movies(handler: ThirdPartyHandler) -> None:
            number = int(handler.get_query_argument("page"))
            await page({"page": number, "results": [{"id": number, "title": "x", "genre_ids": [18]}],
                        "total_pages": 9, "total_results": 90})(handler)

        third_party.behaviour = by_list(genres, movies)
        waiting = asyncio.gather(*[alice.get(f"/movies/?page={number}") for number in range(1, 6)])
        while len(third_party.calls) < 6:
            await asyncio.sleep(0.01)
        released.set()
        assert {response.json["data"][0]["genres"] for response in await waiting} == {"Drama"}
        assert len(requested) == 1


async def test_genre_names_appear_after_recovery(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = in_turn(page(listing(results=[{}])), page(listing()))
    assert (await alice.get("/movies/")).status == 502
    assert (await alice.get("/movies/")).json["data"] == [MOVIE]


class TestTmdbWithACache:
    @pytest.fixture
    def settings(self, postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(
            postgres.url, own_redis.url, third_party.url, movie_api_kind="tmdb", movie_api_token="token",
            movie_cache_seconds=3600)

    @pytest.mark.parametrize("body", [
        {"genres": []}, {"genres": None}, {"genres": {}}, {}, [], None, {"genres": [{"id": 1, "name": None}]},
    ], ids=str)
    async def test_without_genre_names_a_page_is_fresh_for_a_short_time(
        self, alice: Api, third_party: ThirdParty, body: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tmdb, "GENRES_RETRY_SECONDS", 0)
        movie = {"id": 2, "title": "Ariel", "genre_ids": [18]}
        found = {"page": 1, "results": [movie], "total_pages": 3, "total_results": 50}
        third_party.behaviour = by_list(page(body), page(found))
        for _ in range(2):
            response = await alice.get("/movies/")
            assert response.json["data"][0]["genres"] == ""
        assert response.headers["Cache-Control"] == "private, max-age=10"
        assert len(third_party.calls) == 2
        third_party.behaviour = by_list(GENRES, page(found | {"page": 2}))
        response = await alice.get("/movies/?page=2")
        assert response.json["data"][0]["genres"] == "Drama"
        assert response.headers["Cache-Control"] == "private, max-age=3600"
