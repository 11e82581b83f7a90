"""Imports: files of this server and of others become collections, and what cannot be read is named."""
from __future__ import annotations

import asyncio
import json
import random
import uuid
from typing import Any

import pytest

from movieserver.data import exports
from movieserver.embedded.postgres import Postgres
from movieserver.formats import movie_uuid
from movieserver.http import threads
from movieserver.resources import Resources
from movieserver.schemas import csv_formats, import_file
from movieserver.schemas.movies import MAX_GENRES
from movieserver.schemas.requests import MAX_BYTES
from tests import files
from tests.client import Response, Api, pointers
from tests.conftest import SignUp
from tests.counts import assert_exact
from tests.factories import collection, movies
from tests.files import FILES
from tests.test_collections import created, many
from tests.test_exports import big, exported, pages

CSV, NDJSON, JSON = "text/csv", "application/x-ndjson", "application/json"


async def send(api: Api, body: str | bytes, kind: str = CSV, query: str = "") -> Response:
    raw = body.encode() if isinstance(body, str) else body
    return await api.post(f"/import/{query}", raw=raw, headers={"Content-Type": kind})


async def imported(api: Api, body: str | bytes, kind: str = CSV, query: str = "") -> dict[str, Any]:
    response = await send(api, body, kind, query)
    assert response.status == 200, response.json
    found: dict[str, Any] = response.json
    return found


async def only(api: Api, done: dict[str, Any]) -> dict[str, Any]:
    """The one collection of an import."""
    [into] = done["collections"]
    found: dict[str, Any] = (await api.get(f"/collection/{into['uuid']}/")).json
    return found


def counts(done: dict[str, Any]) -> tuple[int, int, int]:
    return done["added"], done["existing"], done["skipped"]


async def table(api: Api, text: str) -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
    """The movies of a CSV file, and the lines that cannot be read."""
    done = await imported(api, text)
    found = (await only(api, done))["movies"] if done["collections"] else []
    return found, [(error["line"], error["detail"]) for error in done["errors"]]


@pytest.mark.parametrize("name", FILES)
async def test_a_file_of_another_service(alice: Api, postgres: Postgres, name: str) -> None:
    """A thousand lines: all are imported, and nothing is when the file is sent again."""
    make, title = FILES[name]
    done = await imported(alice, make(1_000))
    assert (counts(done), done["errors"], done["error_count"]) == ((1_000, 0, 0), [], 0)
    found = await only(alice, done)
    assert found["title"] == title
    assert [movie["title"] for movie in found["movies"]] == [files.title(number) for number in range(1_000)]
    assert [movie["year"] for movie in found["movies"]] == [files.year(number) for number in range(1_000)]
    before = await exported(alice)
    assert counts(await imported(alice, make(1_000))) == (0, 1_000, 0)
    assert await exported(alice) == before
    assert_exact(postgres.url, alice)


async def test_the_fields_of_a_movie(alice: Api) -> None:
    async def first(text: str) -> dict[str, Any]:
        return (await only(alice, await imported(alice, text)))["movies"][0]  # type: ignore[no-any-return]

    base: dict[str, Any] = {"title": files.title(0), "description": "", "genres": "", "year": 1920}
    by_title = base | {"uuid": movie_uuid(None, base["title"], 1920)}
    assert await first(files.letterboxd_list(1)) == by_title | {"note": "Seen 0"}
    for make in (files.letterboxd_watchlist, files.letterboxd_diary, files.letterboxd_ratings):
        assert await first(make(1)) == by_title
    imdb = base | {"ids": {"imdb": "tt0000000"}, "genres": "Drama, Sci-Fi"}
    imdb |= {"uuid": movie_uuid(imdb["ids"], "", None)}
    assert await first(files.imdb_list(1)) == await first(files.imdb_ratings(1)) == imdb
    trakt = base | {"ids": {"trakt": "7", "imdb": "tt0000000", "tmdb": "5"}, "genres": "drama,science-fiction"}
    assert await first(files.trakt_list(1)) == trakt | {"uuid": movie_uuid({"tmdb": "5"}, "", None)}


async def test_the_preamble_of_a_list_is_its_title_and_description(alice: Api) -> None:
    found = await only(alice, await imported(alice, files.letterboxd_list(1)))
    assert (found["title"], found["description"]) == ("Nights, long", "Two\nlines")
    padded = "Letterboxd list export v7,,,,\nDate,Name,Tags,URL,Description\n,,,,\n,,,,\n" + files.LETTERBOXD_LIST
    found = await only(alice, await imported(alice, f"{padded}\n1,M,1931,x,\n"))
    assert (found["title"], [movie["title"] for movie in found["movies"]]) == ("Letterboxd list", ["M"])
    padded = padded.replace("Description\n,,,,", "Description\n2026-01-01,A list,,,", 1)
    found = await only(alice, await imported(alice, f"{padded}\n1,M,1931,https://boxd.it/x,\n"))
    assert (found["title"], [movie["title"] for movie in found["movies"]]) == ("A list", ["M"])
    long = f"Letterboxd list export v7\nName,Description\n{'t' * 300},\n\n{files.LETTERBOXD_LIST}\n1,M,1931,,\n"
    assert (await only(alice, await imported(alice, long)))["title"] == "t" * 255
    blank = f"Letterboxd list export v7\nName,Description\n\0,\0d\n\n{files.LETTERBOXD_LIST}\n1,M,1931,,\n"
    found = await only(alice, await imported(alice, blank))
    assert (found["title"], found["description"]) == ("Letterboxd list", "d")


async def test_an_address_identifies_a_film_without_a_year_but_not_a_diary_entry(alice: Api) -> None:
    [film], errors = await table(alice, f"{files.LETTERBOXD_FILMS}\n2026-01-01,Lost,,https://boxd.it/x\n")
    assert (film["ids"], errors) == ({"letterboxd": "https://boxd.it/x"}, [])
    found, errors = await table(alice, f"{files.LETTERBOXD_DIARY}\n2026-01-01,Lost,,https://boxd.it/x,,,,2026-01-01\n")
    assert found == [] and [line for line, _ in errors] == [2] and "year" in errors[0][1]


async def test_an_id_of_trakt_is_trimmed_and_zero_is_none(alice: Api) -> None:
    lines = "type,title,year,trakt_id,imdb_id,tmdb_id\nmovie,M,1931, 7 ,tt1 , 5\nmovie,N,1932,,,0\nmovie,O,1933,0,,0\n"
    films, errors = await table(alice, lines)
    assert [film.get("ids") for film in films] == [{"trakt": "7", "imdb": "tt1", "tmdb": "5"}, None, None]
    assert (films[0]["uuid"], errors) == (movie_uuid({"tmdb": "5"}, "", None), [])


REVIEWS = "Date,Name,Year,Letterboxd URI,Rating,Rewatch,Review,Tags,Watched Date"
REVIEW = "x" * 3_000


@pytest.mark.parametrize("text, titles", [
    (f"{REVIEWS}\n2026-01-01,M,1931,u,,,{REVIEW},,\n", ["M"]),
    ("position,const,created,modified,description,Title,Title type,Directors,You rated,Year,URL\n1,tt1,,,,M,,,,1931,\n",
     ["M"]),
    ("type,title,year,imdb_id\nmovie,M,1931,tt1\n", ["M"]), ("type,title,year,tmdb_id\nmovie,M,,7\n", ["M"]),
    ("rated_at,type,title,year,trakt_id,released\n,movie,M,,7,1931-05-11\n", ["M"]),
    ("Title,Year\nM,1931\n", ["M"]), ("imdbID,Title\ntt1,M\n", ["M"]), ("tmdbID,Title,Rating10\n7,M,9\n", ["M"]),
    (" TITLE , year \nM,1931.0\n", ["M"]), ("Title, Year\nM, 1931\n", ["M"]),
    ("type,title,tmdb_id\nMovie ,M,7\n", ["M"]), ("Const,Title\n tt1,M\n", ["M"]),
    ("Title,Year,imdbID\nM, ,tt1\n", ["M"]),
    ("\r\n\r\nTitle,Year\r\n\r\nM,1931\r\n,\r\n", ["M"]),
    ("sep=;\nTitle;Year\nM;1931\n", ["M"]), ("Title;Year\nM;1931\n\"a;b\";1932\n", ["M", "a;b"]),
    ("Title\tYear\nM\t1931\n", ["M"]), ("Title,Year\nM,1931", ["M"]), ("Title,Year\n\"a\r\nb\",1931\r\n", ["a\r\nb"]),
    ("Title,Year,x,\nM,1931,,\n", ["M"]), ("Title,Year,x\nM,1931\n", ["M"]), ("Title,Year\nM,1931,,,\n", ["M"]),
])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
async def test_other_spellings_of_a_file(alice: Api, text: str, titles: list[str], mark: str) -> None:
    found, errors = await table(alice, mark + text)
    assert ([movie["title"] for movie in found], errors) == (titles, [])


async def test_a_long_review_is_cut(alice: Api) -> None:
    [film], _ = await table(alice, f"{REVIEWS}\n2026-01-01,M,1931,u,,,{REVIEW},,\n")
    assert film["note"] == "x" * 2_000


@pytest.mark.parametrize("text, line, words", [
    ("Title,Year\nM,19x1\n", 2, "year"), ("Title,Year\nM,1869\n", 2, "year"), ("Title,Year\n,1931\n", 2, "title"),
    ("Title,Year\n\"a\nb\",1931\nN,x\n", 4, "year"), ("Title,Year\nM,\n", 2, "year"),
    ("Title,Year\nM,1,2\n", 2, "cells"),
    ("Title,Year,uuid\nM,1931,x\n", 2, "8-4-4-4-12"), ("Title,Year,ids\nM,1931,{\n", 2, "ids"),
    ("Title,Year,ids\nM,1931,[]\n", 2, "ids"), (f"Title,Year,ids\nM,1931,{'[' * 100_000}\n", 2, "ids"),
    *((f"Title,Year,ids\nM,1931,{'[' * depth}{']' * depth}\n", 2, words)
      for depth, words in ((10, "ids"), (220, "nested"), (300, "ids"), (900, "ids"))),
    ('Title,Year,ids\nM,1931,"{""a"": ""\\u0000""}"\n', 2, "NUL"),
    ('Title,Year,ids\nM,1931,"{""a"": ""\\ud800""}"\n', 2, "ids"),
    ('Title,Year,ids\nM,1931,"{""a"": NaN}"\n', 2, "The movie is not valid JSON"),
    ("Title,Year,Poster\nM,1931,http://x\n", 2, "poster"),
    (f"Title,Year\n{'t' * 501},1931\n", 2, "title"), (f"Title,Year\n{'t' * 200_000},1931\n", 2, "not valid CSV"),
    ("Title,Year\nn\0ul,1931\n", 2, "NUL"), (f"{files.IMDB_LIST}\n1,nm0000001,,,,A Person\n", 2, "Const"),
    ("Title,Year\n\"M,1931\nN,1932\n", 2, "quotation mark"), ("Title,Year\n\"M\" or N,1931\n", 2, "not valid CSV"),
    (f"{files.TRAKT_LIST}\n1,,show,A Show,2001,7,,5\n", 2, "show"), ("type,title,imdb_id\n,M,tt1\n", 2, "blank"),
])
async def test_a_line_that_cannot_be_read(alice: Api, text: str, line: int, words: str) -> None:
    done = await imported(alice, text)
    [error] = done["errors"]
    assert (error["line"], done["skipped"], done["error_count"]) == (line, 1, 1)
    assert words in error["detail"] and len(error["detail"]) <= 300


async def test_the_other_lines_are_imported(alice: Api) -> None:
    lines = [f"M{number},{'x' if number % 2 else 1931}" for number in range(400)]
    done = await imported(alice, "Title,Year\n" + "\n".join(lines + lines[:10]))
    assert counts(done) == (200, 5, 205)
    assert (len(done["errors"]), done["error_count"]) == (import_file.MAX_ERRORS, 205)
    assert [error["line"] for error in done["errors"]] == list(range(3, 203, 2))


@pytest.mark.parametrize("body", [
    "", "\n\n", "x", "Title\n", "Name,Year\nM,1931\n", "a,b\nTitle,Year\nM,1931\n", '{"title": "x"}', "[]",
    "Letterboxd list export v7\n", "Title,Year\nAm\xe9lie,2001\n".encode("latin-1"), "Title,Year\n".encode("utf-16"),
    b"\x00\x01\x02", "Position,Const,Created,Modified,Description,Name,Known For\n1,nm1,,,,A,B\n",
])
async def test_an_unknown_file(alice: Api, body: str | bytes) -> None:
    response = await send(alice, body)
    assert response.status == 400
    assert "UTF-8" in response.json["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/csv+json", "x"])
async def test_other_media_types(alice: Api, kind: str) -> None:
    for body in ("Title,Year\nM,1931\n", "Title,Year\nM,1931\n" * 10_000):
        response = await send(alice, body, kind)
        assert response.status == 415
        assert CSV in response.json["detail"] and NDJSON in response.json["detail"]
    response = await alice.post("/import/", raw=b"Title", headers={"Content-Type": CSV, "Content-Encoding": "gzip"})
    assert response.status == 415
    response = await send(alice, "Title,Year\nM,1931\n", "Text/CSV; charset=utf-8")
    assert response.status == 200


async def test_into_a_collection(alice: Api, sign_up: SignUp, postgres: Postgres) -> None:
    uuid = await created(alice)
    text = "Title,Year,uuid\n" + "\n".join(f"{movie['title']},1931,{movie['uuid']}" for movie in movies(3))
    for expected in ((3, 0, 0), (0, 3, 0)):
        assert counts(await imported(alice, text, query=f"?into={uuid.upper()}")) == expected
    found = (await alice.get(f"/collection/{uuid}/")).json
    assert len(found["movies"]) == 5
    line = json.dumps(collection(uuid=uuid, created_at="2001-01-01T00:00:00Z", updated_at="2001-01-01T00:00:00Z"))
    other = await created(alice)
    done = await imported(alice, f"{line}\n{line}", NDJSON, f"?into={other}")
    assert (counts(done), {each["uuid"] for each in done["collections"]}) == ((2, 2, 0), {other})
    assert (await alice.get(f"/collection/{other}/")).json["created_at"] > "2002"
    before = await exported(alice)
    bob = await sign_up()
    for query in (f"?into={uuid}", "?into=57baf4f4-c9ef-4197-9e4f-acf04eae5b4d", "?into=x", "?into="):
        for kind, body in ((CSV, text), (NDJSON, line), (JSON, line), (CSV, "Title,Year\n,1931\n")):
            response = await send(bob, body, kind, query)
            assert (response.status, response.json["detail"]) == (404, "You have no such collection.")
    assert await exported(alice) == before and await exported(bob) == b""
    assert_exact(postgres.url, alice)
    assert_exact(postgres.url, bob)


async def test_a_uuid_of_another_user_makes_an_own_collection(
    alice: Api, sign_up: SignUp, postgres: Postgres
) -> None:
    """ASVS 5.0 8.2.2: uuids are unique per user, so an import reveals nothing about other users."""
    uuid = await created(alice)
    before, bob = await exported(alice), await sign_up()
    mine = collection(uuid=uuid, title="Mine")
    done = await imported(bob, json.dumps(mine), NDJSON)
    assert done["collections"] == [{"uuid": uuid, "added": 2, "existing": 0}]
    assert (await bob.get(f"/collection/{uuid}/")).json["title"] == "Mine"
    assert await exported(alice) == before
    await bob.delete(f"/collection/{uuid}/")
    assert await exported(alice) == before
    assert_exact(postgres.url, alice)
    assert_exact(postgres.url, bob)


async def test_a_line_of_an_existing_collection_only_adds_movies(alice: Api) -> None:
    given = collection(title="Old", description="as it was")
    uuid = await created(alice, **given)
    extra = movies(1)
    line = json.dumps({"uuid": uuid, "title": "New", "description": "x", "movies": given["movies"][:1] + extra})
    assert counts(await imported(alice, line, NDJSON)) == (1, 1, 0)
    found = (await alice.get(f"/collection/{uuid}/")).json
    assert (found["title"], found["description"], found["movies"]) == ("Old", "as it was", given["movies"] + extra)
    version = (await alice.get(f"/collection/{uuid}/")).version
    assert counts(await imported(alice, line, JSON)) == (0, 2, 0)
    assert (await alice.get(f"/collection/{uuid}/")).version == version


@pytest.mark.parametrize("kind", [JSON, NDJSON])
async def test_a_collection_without_uuid_is_created_once(alice: Api, kind: str) -> None:
    text = json.dumps({"title": "t", "movies": movies(2), "created_at": "2001-02-03T04:05:06.7Z"})
    done = await imported(alice, "\ufeff" + text, kind)
    found = await only(alice, done)
    assert found["created_at"] == "2001-02-03T04:05:06.700000Z" and found["updated_at"] > found["created_at"]
    assert counts(await imported(alice, "\ufeff" + text, kind)) == (0, 2, 0)
    assert (await alice.get("/collection/")).json["count"] == 1


async def test_lines_that_are_not_a_collection(alice: Api) -> None:
    good, bad, worse = (collection(title=title) for title in ("good", "bad", "worse"))
    odd = movies(1)[0] | {"year": 1}
    bad["movies"] = [odd, *movies(2), {"title": ""}, "x", *movies(1, title="n\0"), bad["movies"][0]]
    bad["movies"].append(bad["movies"][1])
    worse["title"] = ""
    lines = [json.dumps(good), "", "{", json.dumps(bad), "[]", json.dumps(worse), '{"title": "x", "movies": 7}', "NaN"]
    done = await imported(alice, "\r\n".join(lines), NDJSON)
    assert counts(done) == (5, 1, 9) and len(done["collections"]) == 2
    assert [error["line"] for error in done["errors"]] == [3, 4, 4, 4, 4, 5, 6, 7, 8]
    details = " | ".join(error["detail"] for error in done["errors"])
    for words in ("not valid JSON", "/movies/0/year", "/movies/3/uuid", "/movies/3/title", "/title",
                  "/movies/4: ", "/movies/5/title: A text must not"):
        assert words in details
    found = (await alice.get(f"/collection/{done['collections'][1]['uuid']}/")).json
    assert [movie["uuid"] for movie in found["movies"]] == [
        bad["movies"][index]["uuid"] for index in (1, 2, 6)]


async def test_what_is_ignored_in_a_line_does_not_matter(alice: Api) -> None:
    """Numbers of ignored keys may be too large to be written again, and an invalid movie repeats nothing."""
    good, invalid = movies(1)[0], movies(1)[0] | {"title": ""}
    again = invalid | {"title": "again"}
    line = json.dumps(collection(movies=[invalid, good | {"more": 7}, again, good]) | {"x": 7})
    done = await imported(alice, line.replace(": 7", ": 1e400"), NDJSON)
    assert counts(done) == (2, 1, 1)
    assert [error["detail"].partition(" ")[0] for error in done["errors"]] == ["/movies/0/title:"]
    assert [movie["title"] for movie in (await only(alice, done))["movies"]] == [good["title"], "again"]


async def test_a_number_that_is_too_large_is_refused(alice: Api) -> None:
    """In a movie only the movie is skipped, in a key of the collection the line is."""
    good, endless = movies(2)
    lines = [collection(movies=[good, endless | {"year": 7}]), collection(description=7), collection(movies=[good])]
    done = await imported(alice, "\n".join(map(json.dumps, lines)).replace(": 7", ": 1e400"), NDJSON)
    assert [error["line"] for error in done["errors"]] == [1, 2]
    assert counts(done) == (2, 0, 2) and len(done["collections"]) == 2


async def test_errors_are_in_the_order_of_the_movies(alice: Api) -> None:
    """A movie that the line has already is no error: it counts as existing, as in a CSV file."""
    first, second = movies(2)
    unidentified = {key: value for key, value in first.items() if key != "uuid"}
    line = json.dumps(collection(movies=[first, first, unidentified, second | {"title": ""}]))
    done = await imported(alice, line, NDJSON)
    assert [error["detail"].partition(":")[0] for error in done["errors"]] == ["/movies/2/uuid", "/movies/3/title"]
    assert counts(done) == (1, 1, 2)


async def test_a_line_with_too_many_genres_is_refused(alice: Api) -> None:
    many = [movie | {"genres": [f"{number} {genre}" for genre in range(100)]}
            for number, movie in enumerate(movies(MAX_GENRES // 100 + 1))]
    lines = [json.dumps(collection(movies=[*many, many[0] | {"title": ""}])), json.dumps(collection())]
    done = await imported(alice, "\n".join(lines), NDJSON)
    assert [error["detail"].partition(":")[0] for error in done["errors"]] == ["/movies/1001/title", "/movies"]
    assert len(done["collections"]) == 1


@pytest.mark.parametrize("moment", [
    "2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00+01:00", "1969-12-31T23:59:59Z",
    "2200-01-01T00:00:00Z", "infinity", "2026-01-01T00:00:60Z", "2026-01-01T00:00:00.1234567Z",
    "2026-01-01T00:00:00Z\n", 7,
])
async def test_invalid_timestamps(alice: Api, moment: object) -> None:
    for key in ("created_at", "updated_at"):
        response = await send(alice, json.dumps(collection() | {key: moment}), JSON)
        assert (response.status, pointers(response)) == (400, [f"/{key}"])


@pytest.mark.parametrize("body", ["Title,Year\nM,1931\n", "{\n", "[]", '{"title": 1}', "{}\n{}"])
async def test_a_file_without_any_collection(alice: Api, body: str) -> None:
    response = await send(alice, body, NDJSON)
    assert response.status == 400 and "Line 1" in response.json["detail"]
    assert (await send(alice, body, JSON)).status == 400
    assert counts(await imported(alice, "\n", NDJSON)) == (0, 0, 0)


async def test_the_size_of_a_collection_is_limited(alice: Api) -> None:
    uuid = await created(alice, movies=many(9_999))
    before = await exported(alice)
    done = await imported(alice, "Title,Year\nA,2001\nB,2002\n", query=f"?into={uuid}")
    assert counts(done) == (0, 0, 2) and "10000" in done["errors"][0]["detail"]
    assert await exported(alice) == before
    rows = "".join(f"M{number},2001\n" for number in range(10_003))
    done = await imported(alice, "Title,Year\n" + rows)
    assert counts(done) == (10_000, 0, 3)
    assert [error["line"] for error in done["errors"]] == [10_002, 10_003, 10_004]


async def test_the_size_of_a_file_is_limited(alice: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_formats, "MAX_LINES", 3)
    monkeypatch.setattr(import_file, "MAX_COLLECTIONS", 3)
    line = json.dumps({"title": "t"}) + "\n"
    assert (await send(alice, "Title,Year\n" + "M,1931\n" * 3)).status == 200
    assert (await send(alice, line * 3, NDJSON)).status == 200
    for response in (await send(alice, "Title,Year\n" + "M,1931\n" * 4), await send(alice, line * 4, NDJSON)):
        assert response.status == 400 and "3" in response.json["detail"]


async def test_a_large_export_can_be_imported(
    alice: Api, sign_up: SignUp, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection of several lines keeps its timestamps and its order."""
    monkeypatch.setattr(exports, "PAGE_BYTES", 500_000)
    await created(alice, description="ü\x01" * 30_000, movies=big(96))
    found, bob = await pages(alice), await sign_up()
    assert len(found) == 3
    for page in found:
        assert (await imported(bob, page.body, NDJSON))["skipped"] == 0
    assert await exported(bob) == await exported(alice)
    assert_exact(postgres.url, alice)
    assert_exact(postgres.url, bob)


async def test_two_imports_of_one_file_at_a_time_add_it_once(alice: Api, postgres: Postgres) -> None:
    text = files.letterboxd_list(300)
    done = await asyncio.gather(*[imported(alice, text) for _ in range(6)])
    assert sorted(each["added"] for each in done) == [0] * 5 + [300]
    assert (await alice.get("/collection/")).json["count"] == 1
    assert_exact(postgres.url, alice)


async def test_large_files_wait_in_a_bounded_queue(alice: Api, resources: Resources) -> None:
    small, large = files.letterboxd_list(3), files.letterboxd_list(1_000)
    resources.body_threads.waiting = threads.MAX_WAITING
    assert (await send(alice, small)).status == 200
    refused = await send(alice, large)
    assert (refused.status, refused.json["code"]) == (503, "overloaded")
    assert refused.headers["Retry-After"] == "1"
    resources.body_threads.waiting -= 1
    assert counts(await imported(alice, large)) == (1_000, 0, 0)


async def test_an_import_needs_a_user(api: Api, sign_up: SignUp) -> None:
    assert (await send(api, files.letterboxd_list(1))).status == 401
    gone = await sign_up()
    assert (await gone.delete("/account/")).status == 200
    assert (await send(gone, files.letterboxd_list(1))).status == 401


async def test_a_body_that_is_too_large(alice: Api) -> None:
    assert (await send(alice, b"x" * (MAX_BYTES + 1))).status == 413


def broken(text: bytes, source: random.Random) -> bytes:
    """A file with changed, missing and repeated bytes."""
    for _ in range(source.randint(1, 8)):
        place, length = source.randrange(len(text)), source.choice((1, 1, 2, 40))
        middle = source.choice((
            b"", text[place:place + length] * 2, source.randbytes(length), source.choice(SCRAPS)))
        text = text[:place] + middle + text[place + length:]
    return text


SCRAPS = [
    b'"', b"'", b",", b";", b"\n", b"\r", b"\0", b"\xff", b"{", b"]", b"\\u0000", b"\\ud800", b"NaN", b"1e999",
    "é".encode()]


@pytest.mark.parametrize("seed", range(40))
async def test_a_broken_file_never_causes_500(alice: Api, postgres: Postgres, seed: int) -> None:
    source = random.Random(seed)
    lines = b"".join(json.dumps(collection(uuid=str(uuid.uuid4()))).encode() + b"\n" for _ in range(3))
    files_of = [(make(4).encode(), CSV) for make, _ in FILES.values()] + [(lines, NDJSON), (lines[:-1], JSON)]
    for text, kind in files_of:
        response = await send(alice, broken(text, source), kind)
        assert response.status in (200, 400)
        if response.status == 200:
            assert response.json["skipped"] >= len({error["line"] for error in response.json["errors"]})
    assert_exact(postgres.url, alice)
