"""Exports: one collection as JSON or CSV, all of them in pages of lines."""
from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from movieserver.data import exports
from movieserver.data.exports import Position
from movieserver.schemas.movie_csv import mark, unmark
from movieserver.schemas.requests import MAX_BYTES
from tests.client import Response, Api
from tests.conftest import SignUp
from tests.factories import collection, movies
from tests.test_collections import created
from tests.test_movie_fields import FULL, stored

HEADER = "Position,Title,Year,imdbID,tmdbID,Description,Genres,Note,Poster,ids,uuid"
NEXT = re.compile(r'<([^>]+)>; rel="next"')


async def pages(api: Api) -> list[Response]:
    """All pages of the export."""
    found, following = [], "/export/"
    while following:
        response = await api.get(following)
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/x-ndjson"
        assert response.headers["Content-Disposition"] == 'attachment; filename="collections.ndjson"'
        assert len(response.body) <= exports.PAGE_BYTES
        found.append(response)
        link = NEXT.fullmatch(response.headers.get("Link", ""))
        following = link[1] if link else ""
    return found


async def exported(api: Api) -> bytes:
    """All lines of the export."""
    return b"".join([page.body for page in await pages(api)])


def cells(response: Response) -> list[dict[str, str]]:
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(response.body.decode("utf-8-sig"), newline="")))


async def test_json_is_the_same_as_reading(alice: Api) -> None:
    uuid = await created(alice, title='Ä list: "1/2"', movies=[stored(**FULL)])
    path = f"/collection/{uuid}/"
    response, read = await alice.get(f"{path}export/"), await alice.get(path)
    assert (response.body, response.version) == (read.body, read.version)
    assert response.headers["Content-Disposition"] == (
        "attachment; filename=\"collection.json\"; filename*=UTF-8''%C3%84%20list%201%202.json")
    assert (await alice.get(f"{path}export/?format=json")).body == read.body
    headers = {"If-None-Match": response.headers["ETag"]}
    assert (await alice.get(f"{path}export", headers=headers)).status == 304


async def test_csv_has_a_line_for_each_movie(alice: Api) -> None:
    full = stored(**FULL) | {"title": 'Say "hi";\r\n, twice', "description": "a\nb", "genres": "Drama,War"}
    bare = stored() | {"description": "", "genres": ""}
    response = await alice.get(f"/collection/{await created(alice, movies=[full, bare])}/export/?format=csv")
    assert response.body.decode().partition("\r\n")[0] == "\ufeff" + HEADER
    assert cells(response) == [
        {"Position": "1", "Title": full["title"], "Year": "1999", "imdbID": "tt0133093", "tmdbID": "603",
         "Description": "a\nb", "Genres": "Drama,War", "Note": FULL["note"], "Poster": FULL["poster"],
         "ids": '{"tmdb": "603", "imdb": "tt0133093"}', "uuid": full["uuid"]},
        {"Position": "2", "Title": bare["title"], "Year": "", "imdbID": "", "tmdbID": "", "Description": "",
         "Genres": "", "Note": "", "Poster": "", "ids": "", "uuid": bare["uuid"]},
    ]
    assert response.headers["Content-Disposition"].startswith('attachment; filename="collection.csv"; filename*=')


@pytest.mark.parametrize("text, cell", [
    ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"), ("\tx", "'\tx"), ("\rx", "'\rx"), ("\nx", "'\nx"),
    ("'=1", "''=1"), ("''-", "'''-"), ("'", "''"), ("''", "'''"), ("'tis", "'tis"), ("''tis", "''tis"), ("a=1", "a=1"),
    (" =1", " =1"), ("x", "x"), ("", ""),
])
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    assert mark(text) == cell
    assert unmark(cell) == text


async def test_no_cell_of_an_export_is_a_formula(alice: Api) -> None:
    """ASVS 5.0 1.2.10: a text that a spreadsheet would evaluate begins with an apostrophe."""
    odd = stored(note="@n", ids={"imdb": "-1", "tmdb": "+1"}) | {"title": "=t", "description": "+d", "genres": "-g"}
    response = await alice.get(f"/collection/{await created(alice, movies=[odd])}/export/?format=csv")
    [row] = cells(response)
    assert [row[name][:2] for name in ("Title", "Description", "Genres", "Note", "imdbID", "tmdbID")] == [
        "'=", "'+", "'-", "'@", "'-", "'+"]
    assert not any(cell[:1] in "=+-@\t\r\n" for cell in row.values() if cell)


@pytest.mark.parametrize("kind", ["CSV", "xml", "", "json&format=csv"])
async def test_other_formats(alice: Api, kind: str) -> None:
    assert (await alice.get(f"/collection/{await created(alice)}/export/?format={kind}")).status == 400


async def test_without_collections_the_export_is_empty(alice: Api) -> None:
    [page] = await pages(alice)
    assert page.body == b""


async def test_all_collections_newest_first(alice: Api, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch) -> None:
    await created(await sign_up())
    uuids = [await created(alice) for _ in range(7)]
    read = [(await alice.get(f"/collection/{uuid}/")).body for uuid in uuids[::-1]]
    whole = [body.replace(b'"shared":false,', b"") for body in read]  # a link is none of the collection's content
    assert [page.body for page in await pages(alice)] == [b"".join(whole)]
    monkeypatch.setattr(exports, "PAGE_COLLECTIONS", 3)
    assert [page.body for page in await pages(alice)] == [b"".join(whole[:3]), b"".join(whole[3:6]), whole[6]]
    monkeypatch.setattr(exports, "PAGE_BYTES", 2 * max(map(len, whole)) + 1000)
    assert await exported(alice) == b"".join(whole)
    first = await alice.get("/export/")
    assert (await alice.get("/export/", headers={"If-None-Match": first.headers["ETag"]})).status == 304


async def test_a_page_skips_a_deleted_collection(alice: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    uuids = [await created(alice) for _ in range(3)]
    monkeypatch.setattr(exports, "PAGE_COLLECTIONS", 1)
    link = NEXT.fullmatch((await alice.get("/export/")).headers["Link"])
    await alice.delete(f"/collection/{uuids[1]}/")
    assert link
    assert json.loads((await alice.get(link[1])).body)["uuid"] == uuids[0]


@pytest.mark.parametrize("position", ["", "x", "A" * 60, "é", "AA6TJt0DwAAKH2wefwtMVZpSWk8ebCt9", "_" * 60])
async def test_invalid_positions(alice: Api, position: str) -> None:
    expected = 200 if position == "A" * 60 else 400  # the first moment of all
    assert (await alice.get(f"/export/?position={position}")).status == expected


def big(number: int) -> list[dict[str, Any]]:
    """Movies of 10 KB each."""
    return movies(number, description="d" * 10_000, genres="")


async def test_a_large_collection_is_on_several_pages(alice: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first line has the description, and each movie is there once."""
    monkeypatch.setattr(exports, "PAGE_BYTES", 500_000)
    small = await created(alice)
    given = big(96)
    uuid = await created(alice, description="ü\x01" * 30_000, movies=given)
    newest = await created(alice)
    lines = [[json.loads(line) for line in page.body.splitlines()] for page in await pages(alice)]
    assert len(lines) == 5
    assert [[line["uuid"] for line in page] for page in lines] == [[newest], [uuid], [uuid], [uuid], [small]]
    parts = [line for page in lines for line in page if line["uuid"] == uuid]
    assert [part.get("description") for part in parts] == ["ü\x01" * 30_000, None, None]
    assert [movie for part in parts for movie in part["movies"]] == given


async def test_a_large_collection_that_changes_starts_again(alice: Api) -> None:
    """A page has the maximum size of a body."""
    given = big(1_200)
    uuid = await created(alice, movies=given[:700])
    await alice.post(f"/collection/{uuid}/movies/", given[700:])
    first = await alice.get("/export/")
    assert 0.9 * MAX_BYTES < len(first.body) <= MAX_BYTES
    link = NEXT.fullmatch(first.headers["Link"])
    await alice.delete(f"/collection/{uuid}/movies/{given[0]['uuid']}/")
    assert link
    again = json.loads((await alice.get(link[1])).body)
    assert again["movies"][0] == given[1] and "description" in again
    await alice.delete(f"/collection/{uuid}/")
    assert (await alice.get(link[1])).body == b""


async def test_an_export_has_no_collections_of_other_users(alice: Api, sign_up: SignUp) -> None:
    uuid = await created(alice, **collection())
    bob = await sign_up()
    assert (await bob.get(f"/collection/{uuid}/export/")).status == 404
    position = Position(2**50, uuid, uuid, 1)
    assert (await bob.get(f"/export/?position={position}")).body == b""
