"""Genres of a user, counted over all movies of all their collections."""
from __future__ import annotations

import pytest

from tests.client import Api
from tests.conftest import SignUp
from tests.factories import movies
from tests.test_collections import created, genre_counts


@pytest.mark.parametrize("genre_texts", [
    [], ["", " , ,"], ["Drama"], ["drama", "Drama", "DRAMA,Drama", "Comedy"], ["b,c,a,a", "B,a,C,d", "e,f,g"],
    [" Drama ,Comedy", "Comedy, Action", "\u3000drama\u00a0"], ["日本,アニメ", "アニメ", "Éclair,éclair", 'a"b,%s,\\']
])
async def test_genres_are_counted(alice: Api, genre_texts: list[str]) -> None:
    for text in genre_texts:
        await created(alice, movies=movies(1, genres=text))
    expected = genre_counts(genre_texts)
    response = await alice.get("/genres/")
    assert response.status == 200
    assert response.json == {"genres": expected, "count": len(expected), "next": None}
    favourites = (await alice.get("/collection/?movies=false")).json["data"]["favourite_genres"]
    assert favourites == ",".join(entry["genre"] for entry in expected[:3])


async def test_genres_follow_every_change_and_are_private(alice: Api, sign_up: SignUp) -> None:
    async def counts() -> dict[str, int]:
        return {entry["genre"]: entry["count"] for entry in (await alice.get("/genres/")).json["genres"]}

    given = movies(2, genres="Drama,Comedy")
    first, second = await created(alice, movies=given), await created(alice, movies=given[:1])
    await created(await sign_up(), movies=movies(5, genres="Horror"))
    assert await counts() == {"Drama": 3, "Comedy": 3}
    await alice.post(f"/collection/{second}/movies/", movies(1, genres="Western")[0])
    await alice.delete(f"/collection/{first}/movies/{given[1]['uuid']}/")
    assert await counts() == {"Drama": 2, "Comedy": 2, "Western": 1}
    await alice.delete(f"/collection/{first}/")
    await alice.put(f"/collection/{second}/", {"movies": movies(4, genres="War")})
    assert await counts() == {"War": 4}


async def test_genres_are_paged(alice: Api) -> None:
    names = [f"g{number:04}" for number in range(1000)]
    given = movies(10)
    for number, movie in enumerate(given):
        movie["genres"] = ",".join(names[number * 100:number * 100 + 100])
    await created(alice, movies=given)
    walked, link, before = [], "/genres/", None
    while link:
        response = await alice.get(link)
        assert response.json["count"] == 1000
        walked += [entry["genre"] for entry in response.json["genres"]]
        links = response.headers.get("Link", "")
        assert (f'<{before}>; rel="prev"' in links) is bool(before)
        before = link if link.startswith("http") else f"{alice.base_url}/genres/?limit=400&page=1"
        link = response.json["next"]
        assert (f'<{link}>; rel="next"' in links) is bool(link)
    assert walked == names
    page = (await alice.get("/genres/?limit=3&page=2")).json
    assert [entry["genre"] for entry in page["genres"]] == names[3:6]
    past = (await alice.get(f"/genres/?page={'9' * 30}")).json
    assert (past["genres"], past["next"]) == ([], None)


@pytest.mark.parametrize("query", ["limit=0", "limit=401", "limit=x", "page=0", "page=x", "page=1&page=1"])
async def test_invalid_query_parameters(alice: Api, query: str) -> None:
    response = await alice.get(f"/genres/?{query}")
    assert response.status == 400
    assert query.partition("=")[0] in response.json["detail"]


async def test_unchanged_genres_are_304(alice: Api) -> None:
    await created(alice, movies=movies(1, genres="Drama"))
    tag = (await alice.get("/genres/")).headers["ETag"]
    assert (await alice.get("/genres/", headers={"If-None-Match": tag})).status == 304
    await created(alice, movies=movies(1, genres="Drama"))
    assert (await alice.get("/genres/", headers={"If-None-Match": tag})).status == 200
