"""The optional fields of a movie: year, poster, ids, note; and the uuid that is computed from them."""
from __future__ import annotations

import json
import unicodedata
import uuid
from typing import Any

import pytest

from movieserver.formats import movie_uuid
from tests.client import Api, pointers
from tests.factories import movies
from tests.test_invalid_movies import OTHER, entry, shown
from tests.test_movies import MOVIE
from tests.test_stored_movies import assert_bytes, post
from tests.third_party import ThirdParty

FULL: dict[str, Any] = {
    "year": 1999, "poster": "https://example.org/a.jpg?x=1&y=é", "ids": {"tmdb": "603", "imdb": "tt0133093"},
    "note": " seen twice \n",
}
GIVEN: list[dict[str, Any]] = [
    {}, FULL, {"year": 1870}, {"year": 2100}, {"poster": "https://x"}, {"poster": f"https://x/{'p' * 1990}"},
    {"ids": {}}, {"ids": {"z_9": "ü", "a": "1"}}, {"ids": {f"id{number}": "x" * 100 for number in range(10)}},
    {"note": ""}, {"note": "ü" * 2000}, {"note": "\\ \" \x01"},
]


def stored(**given: Any) -> dict[str, Any]:
    """A movie in the order of keys in which it is stored."""
    movie = movies(1)[0]
    keys = ("year", "poster", "ids", "note")
    return movie | {key: given[key] for key in keys if key in given}


async def test_fields_are_returned_as_sent(alice: Api) -> None:
    """In every way of writing them."""
    given = [stored(**each) for each in GIVEN]
    path = await post(alice, "/collection/", {"title": "t", "movies": given})
    await assert_bytes(alice, path, given)
    more = [stored(**each) for each in GIVEN[::-1]]
    await post(alice, f"{path}movies/", more)
    await assert_bytes(alice, path, given + more)
    assert (await alice.put(path, {"movies": more[::-1]})).status == 200
    await assert_bytes(alice, path, more[::-1])
    whole = (await alice.get(path)).json
    assert (await alice.put(path, whole)).status == 200
    assert (await alice.get(path)).json["movies"] == whole["movies"]


async def test_null_is_the_same_as_absent(alice: Api) -> None:
    given = stored()
    path = await post(alice, "/collection/", {"title": "t", "movies": [given | dict.fromkeys(FULL)]})
    await assert_bytes(alice, path, [given])


@pytest.mark.parametrize("key, value", [
    ("year", 1869), ("year", 2101), ("year", "1999"), ("year", 1999.0), ("year", True), ("year", [1999]),
    ("poster", "http://x/a.jpg"), ("poster", ""), ("poster", "https://"), ("poster", "https:///a.jpg"),
    ("poster", "HTTPS://x/"), ("poster", "https://x/a b"), ("poster", "https://x/\n"), ("poster", 'https://x/"'),
    ("poster", "https://x/<b>"), ("poster", "javascript:alert(1)//https://x"), ("poster", 7),
    ("poster", f"https://x/{'p' * 1991}"),
    ("ids", []), ("ids", "tt1"), ("ids", {"": "x"}), ("ids", {"IMDb": "x"}), ("ids", {"a-b": "x"}),
    ("ids", {"imdb\n": "x"}), ("ids", {"n" * 101: "x"}), ("ids", {f"id{number}": "x" for number in range(11)}),
    ("note", 7), ("note", "n" * 2001), ("note", ["x"]),
])
async def test_invalid_fields(alice: Api, key: str, value: object) -> None:
    response = await alice.post("/collection/", {"title": "t", "movies": [*movies(1), stored() | {key: value}]})
    assert (response.status, pointers(response)) == (400, [f"/movies/1/{key}"])
    response = await alice.post("/collection/", {"title": "t", "movies": [stored() | {key: value}, {"title": "x"}]})
    assert pointers(response) == [f"/movies/0/{key}", "/movies/1/uuid"]


@pytest.mark.parametrize("value", ["", "x" * 101, 603, None])
async def test_an_id_is_a_text(alice: Api, value: object) -> None:
    response = await alice.post("/collection/", {"title": "t", "movies": [stored() | {"ids": {"imdb": value}}]})
    assert (response.status, pointers(response)) == (400, ["/movies/0/ids/imdb"])


def version_5(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


TMDB, IMDB = "https://www.themoviedb.org/movie/603", "https://www.imdb.com/title/tt0133093/"


@pytest.mark.parametrize("given, name", [
    ({"title": "x", "ids": {"tmdb": "603"}}, TMDB), ({"title": "y", "year": 1999, "ids": {"tmdb": "603"}}, TMDB),
    ({"title": "x", "ids": {"a": "1", "imdb": "tt0133093", "tmdb": "603"}}, TMDB),
    ({"title": "x", "ids": {"a": "1", "imdb": "tt0133093"}}, IMDB),
    ({"title": "x", "ids": {"wikidata": "Q83495", "moviemeter": "7"}}, "urn:movieserver:id:moviemeter:7"),
    ({"title": "Amélie", "year": 2001}, "urn:movieserver:title:2001:amélie"),
    ({"title": " AME\u0301LIE\n", "year": 2001, "ids": {}}, "urn:movieserver:title:2001:amélie"),
    ({"title": "Straße", "year": 2001, "uuid": None}, "urn:movieserver:title:2001:strasse"),
])
async def test_a_uuid_follows_from_ids_or_from_title_and_year(alice: Api, given: dict[str, Any], name: str) -> None:
    expected = version_5(unicodedata.normalize("NFC", name))
    path = await post(alice, "/collection/", {"title": "t", "movies": [given]})
    assert (await alice.get(path)).json["movies"][0]["uuid"] == expected
    for body in (given, [given], {"movies": [given]}):
        assert (await alice.post(f"{path}movies/", body)).json["items"] == [{"uuid": expected, "result": "existing"}]
    assert (await alice.delete(f"{path}movies/{expected}/")).status == 200


def test_ids_and_titles_have_different_uuids() -> None:
    assert movie_uuid({"1999": "x"}, "", None) != movie_uuid(None, "x", 1999)


async def test_a_sent_uuid_is_stored(alice: Api) -> None:
    given = stored(**FULL)
    path = await post(alice, "/collection/", {"title": "t", "movies": [given]})
    await assert_bytes(alice, path, [given])


async def test_movies_without_identity_are_listed(alice: Api) -> None:
    path = await post(alice, "/collection/", {"title": "t"})
    bare: dict[str, Any] = {"title": "x"}
    empty = bare | {"ids": {}, "year": None}
    for body, expected in (
        ({"movies": [bare, *movies(1), empty]}, ["/movies/0/uuid", "/movies/2/uuid"]), ([bare], ["/0/uuid"]),
        (bare, ["/uuid"]),
    ):
        response = await alice.post(f"{path}movies/", body)
        assert (response.status, pointers(response)) == (400, expected)
        assert "Field required" in response.json["errors"][0]["detail"]


async def test_a_repeated_movie_is_found_by_its_computed_uuid(alice: Api) -> None:
    twice = [{"title": "x", "ids": {"tmdb": "603"}}, {"title": "y", "uuid": version_5(TMDB).upper()},
             {"title": "z", "ids": {"tmdb": "603"}}]
    response = await alice.post("/collection/", {"title": "t", "movies": twice})
    assert (response.status, pointers(response)) == (400, ["/movies/1/uuid", "/movies/2/uuid"])


@pytest.mark.parametrize("given, expected", [
    ({"year": 1999, "poster": "https://x/a.jpg", "ids": {"imdb": "tt1", "tmdb": "7"}}, None),
    ({"year": "1999", "ids": {"tmdb": 603}}, {"year": 1999, "ids": {"tmdb": "603"}}),
    ({"year": "1999-03-31"}, {"year": 1999}),
    ({"year": 12, "poster": "http://x/", "ids": {"IMDb": "x"}, "note": "theirs"}, {}),
    ({"year": None, "poster": None, "ids": None}, {}), ({"year": [], "poster": {}, "ids": "x"}, {}),
    ({"poster": f"https://x/{'p' * 2000}", "ids": {"a": "x" * 101, "b": "", "c": None, "d": "\0y"}},
     {"ids": {"d": "y"}}),
    ({"ids": {f"id{number}": "x" for number in range(12)}}, {"ids": {f"id{number}": "x" for number in range(10)}}),
])
async def test_the_plain_provider_shows_only_fields_that_can_be_stored(
    alice: Api, third_party: ThirdParty, given: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    found = await shown(alice, third_party, entry(**given), OTHER)
    assert found == [MOVIE | (given if expected is None else expected), OTHER]
    assert json.dumps(found)
