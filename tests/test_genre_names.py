"""Which names are the same genre, in every alphabet and with any locale of the database."""
from __future__ import annotations

import json
import unicodedata
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from movieserver.embedded.postgres import DATABASE, Postgres
from movieserver.embedded.redis import Redis
from movieserver.postgres import migrations
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests.client import Api, pointers
from tests.conftest import make_settings
from tests.counts import assert_exact
from tests.factories import movies
from tests.test_collections import created, genre_counts
from tests.test_genre_counts import assert_counted
from tests.test_migrations import run
from tests.third_party import ThirdParty

NFC, NFD = unicodedata.normalize("NFC", "Comédie"), unicodedata.normalize("NFD", "Comédie")
ONE_GENRE = [
    ["Драма", "драма", "ДРАМА"], [NFC, NFD], [NFC, NFD.upper(), NFC.lower()],
    ["Drama", "\ufeffDrama", "Drama\u200b", " \u200f Drama \u2060\u00a0", "\u00adDRAMA"],
    ["Straße", "STRASSE", "strasse", "STRA\u1e9eE"], ["ΟΔΟΣ", "οδος", "οδοσ"], ["İstanbul", "i\u0307stanbul"],
    ["ﬁlm noir", "FILM NOIR"], ["ÇİZGİ", "çi\u0307zgi\u0307"], ["日本", " 日本\u3000"], ["Ǆ", "ǆ", "ǅ"],
    ["\u212bngström", "ångström"],
]
SEVERAL_GENRES = [
    ["I", "ı"], ["Comedie", NFC], ["Sci Fi", "Sci\u200bFi", "SciFi"], ["ss", "s"], ["２", "2"], ["e", "é", "è"],
    ["Drama", "Drаma"],  # the second has a Cyrillic а
]


@pytest.fixture(scope="module")
def database_of_locale_c(postgres: Postgres) -> Iterator[str]:
    """A database of locale C, on the server whose databases have another one."""
    run(postgres.url, "CREATE DATABASE other LOCALE_PROVIDER libc LOCALE 'C' ENCODING 'UTF8' TEMPLATE template0")
    other = postgres.url.replace(f"/{DATABASE}?", "/other?")
    migrations.migrate(other)
    assert run(other, "SELECT lower('Д'), datlocprovider FROM pg_database WHERE datname = 'other'") == ("Д", "c")
    yield other
    assert_exact(other)
    run(postgres.url, "DROP DATABASE other WITH (FORCE)")


@pytest.fixture(params=["embedded", "C"])
def database_url(request: pytest.FixtureRequest, postgres: Postgres, database_of_locale_c: str) -> str:
    """A database of the embedded server's locale, and one of locale C."""
    return postgres.url if request.param == "embedded" else database_of_locale_c


async def genres(api: Api, query: str = "") -> list[tuple[str, int]]:
    """The user's genres with their counts, as listed."""
    return [(entry["genre"], entry["count"]) for entry in (await api.get(f"/genres/{query}")).json["genres"]]


class TestInEveryLocale:
    @pytest.fixture
    def settings(self, database_url: str, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(database_url, redis.url, third_party.url)

    @pytest.mark.parametrize("names", ONE_GENRE, ids=ascii)
    async def test_names_of_one_genre(self, alice: Api, names: list[str]) -> None:
        for name in names:
            await created(alice, movies=movies(1, genres=name))
        [(shown, count)] = await genres(alice)
        assert count == len(names)
        assert shown in {unicodedata.normalize("NFC", name) for name in map(str.strip, names)}
        assert [{"genre": shown, "count": count}] == genre_counts(names)
        assert (await alice.get("/collection/")).json["data"]["favourite_genres"] == shown

    @pytest.mark.parametrize("names", SEVERAL_GENRES, ids=ascii)
    async def test_names_of_several_genres(self, alice: Api, names: list[str]) -> None:
        await created(alice, movies=movies(1, genres=names))
        assert sorted(await genres(alice)) == sorted((name, 1) for name in names)

    @pytest.mark.parametrize("names", ONE_GENRE[:3], ids=ascii)
    async def test_a_genre_is_shown_as_most_often_written(self, alice: Api, names: list[str]) -> None:
        spellings = sorted({unicodedata.normalize("NFC", name) for name in names})
        for most in spellings:
            path = f"/collection/{await created(alice, movies=movies(1, genres=spellings) + movies(9, genres=most))}/"
            assert await genres(alice) == [(most, 9 + len(spellings))]
            await alice.put(path, {"movies": movies(1, genres=spellings)})
            assert await genres(alice) == [(spellings[0], len(spellings))]  # the first by name
            await alice.delete(path)
            assert await genres(alice) == []

    async def test_ties_are_in_the_order_of_their_names(self, alice: Api) -> None:
        names = ["драма", "Zorro", "alpha", "Ärger", "Éclair", "日本", "beta", "ß", "st", "10", "9"]
        await created(alice, movies=movies(1, genres=names) + movies(1, genres="Most,Most"))
        expected = genre_counts([",".join(names), "Most,Most"])
        assert await genres(alice) == [(entry["genre"], entry["count"]) for entry in expected]
        assert [name for name, _ in await genres(alice)] == [
            "Most", "10", "9", "alpha", "beta", "ß", "st", "Zorro", "Ärger", "Éclair", "драма", "日本"]
        assert (await alice.get("/collection/")).json["data"]["favourite_genres"] == "Most,10,9"

    async def test_long_names(self, alice: Api) -> None:
        """A name may be as long as the text: 10,000 characters."""
        genre = {  # by displayed name: another spelling
            "É" * 5_000: ["é" * 5_000, "e\u0301" * 5_000, "E\u0301" * 5_000], "G" * 10_000: ["g" * 10_000],
            "é" * 9_999 + "e": [], "x" * 201: [], "x" * 200: [], "S" * 4_000: ["ß" * 2_000], "a" + "\u0301" * 9_999: []}
        names = [name for shown, others in genre.items() for name in (shown, shown, *others)]
        for name in names:
            await created(alice, movies=movies(1, genres=name))
        assert dict(await genres(alice)) == {shown: 2 + len(others) for shown, others in genre.items()}
        assert (await alice.get("/genres/?limit=1")).json["count"] == len(genre)

    async def test_thousands_of_combining_marks_are_fast(self, alice: Api) -> None:
        """Ordering them would take over a minute; such a name is compared unchanged."""
        given = movies(200, genres="a" + "\u0301\u0316" * 4_999, description="")
        raw = json.dumps({"title": "marks", "movies": given}, ensure_ascii=False).encode()
        assert (await alice.post("/collection/", raw=raw)).status == 201
        assert await genres(alice) == [(given[0]["genres"], 200)]


async def test_a_genre_twice_in_a_movie_counts_twice(alice: Api) -> None:
    await created(alice, movies=movies(1, genres="Drama,Comedy,drama") + movies(1, genres=["Drama", "Drama"]))
    assert await genres(alice) == [("Drama", 4), ("Comedy", 1)]


@pytest.mark.parametrize("text", ["", " ", ",", " , ,\t,\n", "\u200b", "\ufeff,\u00ad", "\u3000\u2060,"])
async def test_blanks_do_not_count(alice: Api, text: str) -> None:
    uuid_ = await created(alice, movies=movies(1, genres=text) + movies(1, genres=[text.replace(",", " ")]))
    assert await genres(alice) == []
    assert (await alice.get(f"/collection/{uuid_}/")).json["movies"][0]["genres"] == text


ROUTES = ["POST /collection/", "PUT /collection/{}/", "PATCH /collection/{}/", "POST /collection/{}/movies/"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("value, tails", [
    (["Drama", "Sci,Fi"], ["/1"]), ([","], ["/0"]), (["a,b", "c", "d,", ",e"], ["/0", "/2", "/3"]),
    (["Drama", None, 7, "x,y", []], ["/1", "/2", "/3", "/4"]), ({}, [""]), (7, [""]), (True, [""]),
    (["Drama", "nul\0"], ["/1"]), ("nul\0", [""]),
    (["g"] * 101, [""]), (",".join(["g"] * 101), [""]), ([f"g{number}" for number in range(5000)], [""]),
    (["g" * 10_001], [""]), (["g" * 5_000, "h" * 5_000], [""]), ("g" * 10_001, [""]),
])
async def test_errors_in_genres_have_a_pointer(
    alice: Api, route: str, value: Any, tails: list[str]
) -> None:
    method, path = route.format(await created(alice, movies=[])).split()
    response = await alice.call(method, path, {"title": "t", "movies": movies(1, genres=value)})
    assert (response.status, response.json["code"]) == (400, "invalid_body")
    assert pointers(response) == [f"/movies/0/genres{tail}" for tail in tails]
    assert await genres(alice) == []


async def test_the_detail_says_what_to_do(alice: Api) -> None:
    for value, words in ((["a,b"], "comma"), (["g"] * 101, "100"), ("g" * 10_001, "10000"), (["x", 1], "text")):
        response = await alice.post("/collection/", {"title": "t", "movies": movies(1, genres=value)})
        assert words in response.json["errors"][0]["detail"]


async def test_a_movie_may_have_a_hundred_genres(alice: Api) -> None:
    """Blanks between them do not count."""
    names = [f"genre {number}" for number in range(100)]
    for value in (names, ",".join(names), ", ," + " ,\u200b,".join(names) + ",,", [*names, "", " ", "\ufeff"]):
        path = f"/collection/{await created(alice, movies=movies(1, genres=value))}/"
        assert sorted(await genres(alice)) == sorted((name, 1) for name in names)
        await alice.delete(path)


async def test_all_errors_of_all_movies_are_listed(alice: Api) -> None:
    bad: list[Any] = [
        {"uuid": "x", "title": "", "genres": ["ok", "a,b", 1]}, *movies(1, genres="Drama"),
        {"uuid": str(uuid.uuid4()), "title": 7, "description": [], "genres": ["g"] * 101},
        {"genres": ["x,y"], "description": "nul\0"}]
    response = await alice.post("/collection/", {"title": None, "description": 1, "movies": bad})
    assert pointers(response) == [
        "/title", "/description",
        "/movies/0/uuid", "/movies/0/title", "/movies/0/genres/1", "/movies/0/genres/2",
        "/movies/2/title", "/movies/2/description", "/movies/2/genres",
        "/movies/3/uuid", "/movies/3/title", "/movies/3/genres/0", "/movies/3/description"]
    assert str(len(response.json["errors"])) in response.json["detail"]


def thousands(count: int) -> list[dict[str, Any]]:
    """Movies with a hundred different genres each."""
    return [
        movie | {"description": "", "genres": ",".join(f"Genre {number}-{name}" for name in range(100))}
        for number, movie in enumerate(movies(count))]


class Touched:
    """Counts the rows of user_genres that are inserted, updated and deleted."""

    def __init__(self, url: str, user_id: str) -> None:
        self._url = url
        self._rows = f"SELECT %s FROM user_genres WHERE user_id = '{user_id}'"
        self._began, self._count = self._ask("pg_current_xact_id()::text::bigint"), self._ask("count(*)")

    def _ask(self, expression: str) -> int:
        row = run(self._url, "SELECT " + expression if "xact" in expression else self._rows % expression)
        assert isinstance(row, tuple)
        number: int = row[0]
        return number

    def rows(self) -> int:
        written = self._ask(f"count(*) FILTER (WHERE xmin::text::bigint > {self._began})")
        there = self._ask("count(*)")
        inserted_or_changed, deleted = written, max(self._count - there, 0)
        self._began, self._count = self._ask("pg_current_xact_id()::text::bigint"), there
        return inserted_or_changed + deleted


@pytest.mark.gen_test(timeout=60)
async def test_a_hundred_thousand_genres(alice: Api, resources: Resources, postgres: Postgres) -> None:
    """Counts are right, and a write touches only the counts of its own genres."""
    given = thousands(1000)
    path = f"/collection/{await created(alice, movies=given)}/"
    touched = Touched(postgres.url, resources.tokens.verify(str(alice.token))[0])
    one, other = movies(1, genres="New,Genre 0-0"), movies(1, genres="genre 0-0")
    second = f"/collection/{await created(alice, movies=one)}/"
    assert touched.rows() == 2
    assert (await alice.put(path, {"title": "other"})).status == 200
    assert touched.rows() == 0
    assert (await alice.post(f"{path}movies/", other)).json["added"] == 1
    assert touched.rows() == 1
    assert (await alice.put(f"{path}order/", [movie["uuid"] for movie in [*other, *given]])).status == 200
    assert touched.rows() == 0
    assert await genres(alice, "?limit=3") == [("Genre 0-0", 3), ("Genre 0-1", 1), ("Genre 0-10", 1)]
    assert (await alice.get("/genres/?limit=1")).json["count"] == 100_001
    last = await genres(alice, "?limit=400&page=251")
    assert last == [("New", 1)]
    listed = (await alice.get("/collection/?movies=false")).json
    assert listed["data"]["favourite_genres"] == "Genre 0-0,Genre 0-1,Genre 0-10"
    assert [entry["movie_count"] for entry in listed["data"]["collections"]] == [1, 1001]
    assert (await alice.get(path)).json["movies"] == [*other, *given]
    assert (await alice.delete(f"{path}movies/{given[0]['uuid']}/")).status == 200
    assert touched.rows() == 100
    assert (await alice.delete(second)).status == 200
    assert touched.rows() == 2 + 99  # and the genres that the removal left at 0 are deleted
    assert_exact(postgres.url, alice)


@pytest.mark.gen_test(timeout=60)
async def test_a_small_write_after_large_ones_touches_few_rows(
    alice: Api, resources: Resources, postgres: Postgres
) -> None:
    """Six creates with many different genres, then one with one movie."""
    for number in range(6):
        given = thousands(200)
        for movie in given:
            movie["genres"] = movie["genres"].replace("Genre", f"Genre {number}")
        await created(alice, movies=given)
    touched = Touched(postgres.url, resources.tokens.verify(str(alice.token))[0])
    await created(alice, movies=movies(1, genres="Genre 0 0-0, New"))
    assert touched.rows() == 2
    assert (await alice.get("/genres/?limit=1")).json["genres"] == [{"genre": "Genre 0 0-0", "count": 2}]
    assert (await alice.get("/genres/?limit=1")).json["count"] == 6 * 20_000 + 1
    assert_exact(postgres.url, alice)


async def test_many_movies_with_few_genres_are_counted(alice: Api) -> None:
    names = ["Drama", "drama", "Комедия", NFC, NFD, "Straße"]
    given = [movie | {"genres": ",".join(names[:number % 7])} for number, movie in enumerate(movies(100))]
    path = f"/collection/{await created(alice, movies=given)}/"
    await assert_counted(alice)
    await alice.put(path, {"movies": given[::3]})
    await assert_counted(alice)
