"""Collections: ownership, the order of movies, paging with a cursor."""
from __future__ import annotations

import asyncio
import collections
import json
import re
import unicodedata
import uuid
from pathlib import Path
from typing import Any

import pytest

from movieserver.postgres.statements import Statement
from movieserver.resources import Resources
from movieserver.serving.request import MovieServer
from tests.client import Response, Api, pointers
from tests.conftest import SignUp
from tests.factories import collection, movies
from tests.statements import noted

TOP = Path(__file__).parents[1]
SAMPLE = json.loads((TOP / "tests" / "sample_collection.json").read_text(encoding="utf-8"))
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


async def created(api: Api, **given: Any) -> str:
    response = await api.post("/collection/", collection(**given))
    assert response.status == 201, response.json
    collection_uuid: str = response.json["collection_uuid"]
    return collection_uuid


async def walk(api: Api, query: str = "limit=3") -> list[dict[str, Any]]:
    found, link = [], f"/collection/?{query}"
    while link:
        response = await api.get(link)
        assert response.status == 200
        found += response.json["data"]["collections"]
        link = response.json["next"]
    return found


async def test_a_collection_is_created_and_read(alice: Api) -> None:
    body = collection()
    response = await alice.post("/collection/", body)
    assert response.status == 201
    assert list(response.json) == ["collection_uuid"]
    assert response.headers["Location"] == f"/collection/{response.json['collection_uuid']}/"
    read = await alice.get(response.headers["Location"])
    assert read.status == 200
    assert TIME.fullmatch(read.json.pop("created_at"))
    assert TIME.fullmatch(read.json.pop("updated_at"))
    assert read.json == {
        "uuid": response.json["collection_uuid"], "title": body["title"], "description": body["description"],
        "shared": False, "movies": body["movies"],
    }


async def test_the_sample_comes_back_byte_for_byte(alice: Api) -> None:
    raw = (TOP / "tests" / "sample_collection.json").read_bytes()
    response = await alice.post("/collection/", raw=raw)
    read = await alice.get(response.headers["Location"])
    assert (read.json["title"], read.json["description"]) == (SAMPLE["title"], SAMPLE["description"])
    assert read.json["movies"] == SAMPLE["movies"]
    for text in re.findall(rb'"(?:title|description|uuid)": ("(?:[^"\\]|\\.)*")', raw):
        assert text in read.body


@pytest.mark.parametrize("text", [
    "Amélie — 千と千尋 🎬", "\\ \" / \b\f\n\r\t", "\u2028\u200b\ufeff", "%s %(x)s %%", "'; DROP TABLE users; --", " ",
    "\x01\x7f",
])
async def test_any_text_is_stored_unchanged(alice: Api, text: str) -> None:
    given = movies(1, title=text, description=text, genres=text)
    uuid_ = await created(alice, title=text, description=text, movies=given)
    read = (await alice.get(f"/collection/{uuid_}/")).json
    assert (read["title"], read["description"], read["movies"]) == (text, text, given)


@pytest.mark.parametrize("spelling", ["collection", "collections"])
@pytest.mark.parametrize("slash", ["/", ""])
async def test_collection_and_collections_are_the_same_resource(alice: Api, spelling: str, slash: str) -> None:
    response = await alice.post(f"/{spelling}{slash}", collection(title="first"))
    assert response.status == 201
    path = f"/{spelling}/{response.json['collection_uuid']}{slash}"
    assert (await alice.get(path)).json["title"] == "first"
    assert (await alice.put(path, {"title": "second"})).status == 200
    assert (await alice.get(f"/{spelling}{slash}")).json["data"]["collections"][0]["title"] == "second"
    assert (await alice.delete(path)).status == 200
    assert (await alice.get(path)).status == 404


async def test_description_and_movies_may_be_absent(alice: Api) -> None:
    response = await alice.post("/collection/", {"title": "alone"})
    read = (await alice.get(response.headers["Location"])).json
    assert (read["description"], read["movies"]) == ("", [])


async def test_unknown_keys_are_ignored(alice: Api, sign_up: SignUp) -> None:
    bob = await sign_up()
    response = await alice.post("/collection/", {**collection(), "user_id": "1", "owner": bob.token, "uuid": "x"})
    assert response.status == 201
    assert (await bob.get("/collection/")).json["count"] == 0
    assert (await alice.get("/collection/")).json["count"] == 1


@pytest.mark.parametrize("given, out", [
    ("Drama,Comedy", "Drama,Comedy"), (" Drama , ,Comedy ", " Drama , ,Comedy "), ("", ""), (None, ""), ("absent", ""),
    ([], ""), (["Drama"], "Drama"), (["Drama", "Comedy"], "Drama,Comedy"),
])
async def test_genres_are_returned_as_text(alice: Api, given: Any, out: str) -> None:
    movie = movies(1, genres=given)[0]
    if given == "absent":
        del movie["genres"]
    uuid_ = await created(alice, movies=[movie])
    assert (await alice.get(f"/collection/{uuid_}/")).json["movies"][0]["genres"] == out


async def test_a_movie_needs_only_uuid_and_title(alice: Api) -> None:
    movie = {"uuid": str(uuid.uuid4()), "title": "bare"}
    uuid_ = await created(alice, movies=[movie])
    assert (await alice.get(f"/collection/{uuid_}/")).json["movies"] == [{**movie, "description": "", "genres": ""}]


@pytest.mark.parametrize("change, at_fault", [
    ({"title": None}, ["/title"]),
    ({"title": ""}, ["/title"]),
    ({"title": "t" * 256}, ["/title"]),
    ({"title": 7, "description": [], "movies": {}}, ["/title", "/description", "/movies"]),
    ({"title": "nul\0"}, ["/title"]),
    ({"description": "nul\0"}, ["/description"]),
    ({"movies": None}, ["/movies"]),
    ({"movies": "none"}, ["/movies"]),
    ({"movies": [None, 1, []]}, ["/movies/0", "/movies/1", "/movies/2"]),
    ({"movies": [{}]}, ["/movies/0/uuid", "/movies/0/title"]),
    ({"movies": movies(1, uuid="57baf4f4")}, ["/movies/0/uuid"]),
    ({"movies": movies(1, uuid="57baf4f4c9ef41979e4facf04eae5b4d")}, ["/movies/0/uuid"]),
    ({"movies": movies(1, uuid=12)}, ["/movies/0/uuid"]),
    ({"movies": movies(1, title="")}, ["/movies/0/title"]),
    ({"movies": movies(1, title="t" * 501)}, ["/movies/0/title"]),
    ({"movies": movies(1, description="d" * 10_001)}, ["/movies/0/description"]),
    ({"movies": movies(1, title="\0", description="\0", genres="\0")},
     ["/movies/0/title", "/movies/0/description", "/movies/0/genres"]),
    ({"movies": movies(1, genres=["Drama", 1])}, ["/movies/0/genres/1"]),
    ({"movies": movies(1, genres=7)}, ["/movies/0/genres"]),
    ({"movies": movies(1, genres="g" * 10_001)}, ["/movies/0/genres"]),
    ({"title": "", "movies": movies(1) + movies(1, title=3)}, ["/title", "/movies/1/title"]),
])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_every_invalid_field_is_listed(
    alice: Api, change: dict[str, Any], at_fault: list[str], method: str
) -> None:
    path = "/collection/" if method == "POST" else f"/collection/{await created(alice)}/"
    response = await alice.call(method, path, {**collection(), **change})
    assert response.status == 400
    assert pointers(response) == at_fault


@pytest.mark.parametrize("body", [[{"title": "M"}], movies(1) * 2])
async def test_a_list_in_place_of_a_collection_is_one_fault(alice: Api, body: list[Any]) -> None:
    one = f"/collection/{await created(alice)}/"
    for method, path in (("POST", "/collection/"), ("PUT", one), ("PATCH", one), ("POST", "/import/")):
        response = await alice.call(method, path, body)
        assert (response.status, pointers(response)) == (400, [""])


async def test_title_is_required(alice: Api) -> None:
    response = await alice.post("/collection/", {"description": "no title"})
    assert response.status == 400
    assert pointers(response) == ["/title"]


async def test_the_longest_texts(alice: Api) -> None:
    given = movies(1, title="é" * 500, description="ü" * 10_000)
    uuid_ = await created(alice, title="ß" * 255, movies=given)
    assert (await alice.get(f"/collection/{uuid_}/")).json["movies"] == given


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_repeated_uuid_is_400(alice: Api, method: str) -> None:
    path = "/collection/" if method == "POST" else f"/collection/{await created(alice)}/"
    given = movies(4)
    given[2]["uuid"] = given[0]["uuid"].upper()
    response = await alice.call(method, path, {"title": "twice", "movies": given})
    assert response.status == 400
    assert pointers(response) == ["/movies/2/uuid"]
    assert given[0]["uuid"] in response.json["errors"][0]["detail"]
    given[3]["title"] = 1
    response = await alice.call(method, path, {"title": "twice", "movies": given})
    assert pointers(response) == ["/movies/2/uuid", "/movies/3/title"]


async def test_the_uuid_of_a_movie_is_stored(alice: Api) -> None:
    given = movies(1, uuid="FFFFFFFF-0000-0000-0000-00000000000A")
    uuid_ = await created(alice, movies=given)
    stored = (await alice.get(f"/collection/{uuid_}/")).json["movies"][0]["uuid"]
    assert uuid.UUID(stored) == uuid.UUID(given[0]["uuid"])


async def test_movies_keep_their_order(alice: Api) -> None:
    given = movies(50)
    uuid_ = await created(alice, movies=given)
    path = f"/collection/{uuid_}/"
    assert (await alice.get(path)).json["movies"] == given
    given.reverse()
    given[10:20] = movies(5)
    await alice.put(path, {"movies": given})
    assert (await alice.get(path)).json["movies"] == given
    assert (await alice.get("/collection/")).json["data"]["collections"][0]["movies"] == given


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_an_update_changes_only_its_keys(alice: Api, method: str) -> None:
    body = collection()
    path = f"/collection/{await created(alice, **body)}/"
    before = (await alice.get(path)).json
    for change in (
        {"title": "new"}, {"description": "new too"}, {"movies": movies(3)}, {"title": "newest", "movies": []},
    ):
        response = await alice.call(method, path, change)
        assert response.status == 200
        assert response.json == {
            "message": "Collection updated successfully", "collection_uuid": before["uuid"]
        }
        after = (await alice.get(path)).json
        assert after == {**before, **change, "updated_at": after["updated_at"]}
        assert after["updated_at"] > before["updated_at"]
        before = after


async def test_an_update_refuses_null(alice: Api) -> None:
    path = f"/collection/{await created(alice)}/"
    response = await alice.put(path, {"title": None, "movies": None})
    assert pointers(response) == ["/title", "/movies"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_an_update_without_known_keys_is_400(alice: Api, method: str) -> None:
    path = f"/collection/{await created(alice)}/"
    before = await alice.get(path)
    for body, words in (({}, "no key."), ({"name": "x", "movie": []}, "keys: name, movie."), (
            {"a" * 90 + str(number): 1 for number in range(25)}, f", {'a' * 90}4, {'a' * 35}.")):
        response = await alice.call(method, path, body)
        assert (response.status, response.json["code"]) == (400, "bad_request")
        assert words in response.json["detail"]
    assert (await alice.get(path)).body == before.body


async def test_a_read_collection_can_be_put_back(alice: Api) -> None:
    path = f"/collection/{await created(alice, movies=movies(5, genres=' Drama ,, drama'))}/"
    read, listed = (await alice.get(path)).json, (await alice.get("/collection/")).json["data"]["collections"][0]
    for body in (read, listed):
        assert (await alice.put(path, body)).status == 200
        after = (await alice.get(path)).json
        assert after == {**read, "updated_at": after["updated_at"]}


async def test_concurrent_updates_do_not_mix(alice: Api) -> None:
    path = f"/collection/{await created(alice)}/"
    shared = movies(30)
    lists = [movies(20) + shared[:count] for count in (10, 20, 30)] + [shared[::-1], []]
    for _ in range(4):
        await asyncio.gather(*[alice.put(path, {"movies": given}) for given in lists])
        assert (await alice.get(path)).json["movies"] in lists


async def test_concurrent_updates_and_delete(alice: Api) -> None:
    for _ in range(5):
        path = f"/collection/{await created(alice)}/"
        *updated, deleted = await asyncio.gather(
            *[alice.put(path, {"movies": movies(20)}) for _ in range(4)], alice.delete(path))
        assert deleted.status == 200
        assert {response.status for response in updated} <= {200, 404}
        assert (await alice.get(path)).status == 404


async def test_delete(alice: Api) -> None:
    path = f"/collection/{await created(alice)}/"
    response = await alice.delete(path)
    assert response.status == 200
    assert response.json == {"message": "Collection deleted successfully"}
    assert (await alice.get(path)).status == 404
    assert (await alice.delete(path)).status == 404
    assert (await alice.get("/collection/")).json["count"] == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_foreign_unknown_and_malformed_uuids_get_the_same_404(
    alice: Api, sign_up: SignUp, method: str
) -> None:
    body = collection()
    mine = await created(alice, **body)
    bob = await sign_up()
    malformed = ["1", "x" * 500, "%00", "%ff", "%2f", mine[:-1], f"{{{mine}}}", mine.replace("-", "")]
    others = [mine, str(uuid.uuid4()), *malformed]
    change = None if method in ("GET", "DELETE") else {"title": "taken over", "movies": []}
    responses = [await bob.call(method, f"/collection/{other}/", change) for other in others]
    assert {response.status for response in responses} == {404}
    assert len({json.dumps({**response.json, "request_id": ""}) for response in responses}) == 1
    if change:
        for wrong in (b"{", b"{}"):
            assert {(await bob.call(method, f"/collection/{other}/", raw=wrong)).status for other in others} == {400}
    assert (await alice.get(f"/collection/{mine}/")).json["movies"] == body["movies"]


async def test_movie_data_is_private_to_its_user(alice: Api, sign_up: SignUp) -> None:
    bob = await sign_up()
    movie = movies(1)[0]
    hers = await created(alice, movies=[{**movie, "title": "hers"}])
    his = await created(bob, movies=[{**movie, "title": "his"}])
    await bob.put(f"/collection/{his}/", {"movies": [{**movie, "title": "his, changed"}]})
    assert (await alice.get(f"/collection/{hers}/")).json["movies"] == [{**movie, "title": "hers"}]
    await alice.delete(f"/collection/{hers}/")
    assert (await bob.get(f"/collection/{his}/")).json["movies"] == [{**movie, "title": "his, changed"}]


async def test_a_movie_may_differ_between_collections(alice: Api) -> None:
    movie = movies(1)[0]
    first, second = await created(alice, movies=[movie]), await created(alice, movies=[{**movie, "title": "other"}])
    assert (await alice.get(f"/collection/{first}/")).json["movies"] == [movie]
    assert (await alice.get(f"/collection/{second}/")).json["movies"] == [{**movie, "title": "other"}]


async def test_the_list(alice: Api) -> None:
    body = collection()
    uuid_ = await created(alice, **body)
    response = await alice.get("/collection/")
    assert set(response.json) == {"is_success", "data", "count", "next"}
    assert (response.json["is_success"], response.json["count"], response.json["next"]) == (True, 1, None)
    assert set(response.json["data"]) == {"collections", "favourite_genres"}
    [listed] = response.json["data"]["collections"]
    read = (await alice.get(f"/collection/{uuid_}/")).json
    assert listed == {**read, "movie_count": 2}


async def test_an_empty_list(alice: Api) -> None:
    assert (await alice.get("/collection/")).json == {
        "is_success": True, "data": {"collections": [], "favourite_genres": ""}, "count": 0, "next": None
    }


async def test_movies_may_be_left_out(alice: Api) -> None:
    await created(alice)
    await created(alice, movies=[])
    without = (await alice.get("/collection/?movies=false")).json
    full = (await alice.get("/collection/?movies=true")).json
    for listed in full["data"]["collections"]:
        assert listed["movie_count"] == len(listed.pop("movies"))
    assert without == full


async def test_paging_gives_every_collection_once_newest_first(alice: Api) -> None:
    uuids = [await created(alice, title=f"number {number}", movies=[]) for number in range(25)]
    listed = await walk(alice, "limit=7")
    assert [entry["uuid"] for entry in listed] == uuids[::-1]
    first = await alice.get("/collection/")
    assert len(first.json["data"]["collections"]) == 20
    assert first.json["count"] == 25
    assert first.json["next"].startswith(alice.base_url + "/collection/?")
    assert [entry["uuid"] for entry in await walk(alice, "limit=100&movies=false")] == uuids[::-1]


async def test_the_next_page_is_in_the_link_header(alice: Api) -> None:
    for _ in range(3):
        await created(alice, movies=[])
    first = await alice.get("/collection/?limit=2&movies=false")
    assert first.headers["Link"] == f'<{first.json["next"]}>; rel="next"'
    assert "Link" not in (await alice.get(first.json["next"])).headers


async def test_next_keeps_limit_and_movies_parameters(alice: Api) -> None:
    for _ in range(5):
        await created(alice)
    response = await alice.get("/collection/?limit=2&movies=false")
    following = await alice.get(response.json["next"])
    assert len(following.json["data"]["collections"]) == 2
    assert all("movies" not in entry for entry in following.json["data"]["collections"])


async def test_paging_during_concurrent_writes(alice: Api) -> None:
    uuids = [await created(alice, movies=[]) for _ in range(12)]
    link, seen = "/collection/?limit=2", []
    while link:
        response = (await alice.get(link)).json
        page = [entry["uuid"] for entry in response["data"]["collections"]]
        seen += page
        await created(alice, movies=[])
        await alice.put(f"/collection/{page[0]}/", {"title": "changed on the way"})
        if len(seen) == 6:
            await alice.delete(f"/collection/{page[-1]}/")
            await alice.delete(f"/collection/{uuids[0]}/")
        link = response["next"]
    assert seen == uuids[:0:-1]


async def test_paging_over_collections_with_the_same_created_at(alice: Api, resources: Resources) -> None:
    uuids = {await created(alice, movies=[]) for _ in range(9)}
    database = resources.database
    database.statements["same instant"] = Statement(
        "UPDATE collections SET created_at = '2026-01-01T00:00:00.123456Z' "
        "WHERE collection_uuid = ANY(%(uuids)s::uuid[]) RETURNING 1")
    await database.write("same instant", uuids=list(uuids))
    walked = [entry["uuid"] for entry in await walk(alice, "limit=2")]
    assert len(walked) == 9
    assert set(walked) == uuids


@pytest.mark.parametrize("query", [
    "limit=0", "limit=101", "limit=-1", "limit=x", "limit=", "limit=1&limit=2", "limit=1_0", "limit=%EF%BC%91",
    "movies=no", "movies=", "movies=true&movies=false", "cursor=", "cursor=x", "cursor=%00", "cursor=é",
    "cursor=" + "A" * 31, "cursor=" + "_" * 32, "cursor=" + "A" * 5000,
])
async def test_invalid_query_parameters(alice: Api, query: str) -> None:
    response = await alice.get(f"/collection/?{query}")
    assert response.status == 400
    assert query.partition("=")[0] in response.json["detail"]


async def test_a_cursor_of_another_user_shows_only_own_collections(alice: Api, sign_up: SignUp) -> None:
    for _ in range(3):
        await created(alice)
    link = (await alice.get("/collection/?limit=1")).json["next"]
    bob = await sign_up()
    assert (await bob.get(link)).json["data"]["collections"] == []


def trimmed(name: str) -> str:
    """A name without white space and format characters (Unicode category Cf) at its ends."""
    while (bare := name.strip().strip("".join(filter(is_format, {*name})))) != name:
        name = bare
    return name


def is_format(character: str) -> bool:
    return unicodedata.category(character) == "Cf"


def genre_counts(genre_texts: list[str]) -> list[dict[str, Any]]:
    """The genres with their counts, as the contract defines them."""
    spellings: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for text in genre_texts:
        for name in filter(None, map(trimmed, text.split(","))):
            composed = unicodedata.normalize("NFC", name)
            spellings[unicodedata.normalize("NFC", composed.casefold())][composed] += 1
    return [
        {"genre": min(spellings[genre], key=lambda name: (-spellings[genre][name], name)),
         "count": spellings[genre].total()}
        for genre in sorted(spellings, key=lambda genre: (-spellings[genre].total(), genre))
    ]


@pytest.mark.parametrize("genre_texts", [
    [], ["", " ", " , ,"], ["Drama"], ["Drama", "drama", "Drama"], ["drama", "Drama"], ["b,c,a"], ["B,a,C,d"],
    [" Drama ,Comedy", "Comedy, Action", "drama"], ["Science Fiction,\tHorror", "Horror\u00a0", "\u3000horror"],
    ["Drama,Drama,Drama", "Comedy", "Comedy"], ["Éclair,éclair", "ÉCLAIR", "Ärger", "ärger"], ["日本,アニメ", "アニメ"],
    ["%s", "100%", "a'b", 'a"b'],
])
async def test_favourite_genres(alice: Api, genre_texts: list[str]) -> None:
    for text in genre_texts:
        await created(alice, movies=movies(1, genres=text))
    expected = ",".join(entry["genre"] for entry in genre_counts(genre_texts)[:3])
    assert (await alice.get("/collection/?movies=false")).json["data"]["favourite_genres"] == expected


async def test_favourite_genres_follow_every_change(alice: Api, sign_up: SignUp) -> None:
    async def favourites() -> str:
        response = (await alice.get("/collection/?limit=1")).json
        genres: str = response["data"]["favourite_genres"]
        return genres

    movie = movies(1, genres="Drama,Comedy")[0]
    first, second = await created(alice, movies=[movie]), await created(alice, movies=[movie])
    assert await favourites() == "Comedy,Drama"
    await alice.put(f"/collection/{first}/", {"movies": movies(3, genres="Western")})
    assert await favourites() == "Western,Comedy,Drama"
    await alice.delete(f"/collection/{first}/")
    assert await favourites() == "Comedy,Drama"
    await created(await sign_up(), movies=movies(5, genres="Horror"))
    assert await favourites() == "Comedy,Drama"
    await alice.put(f"/collection/{second}/", {"movies": []})
    assert await favourites() == ""


async def test_a_movie_in_two_collections_counts_twice(alice: Api) -> None:
    movie = movies(1, genres="Western")[0]
    await created(alice, movies=[movie])
    await created(alice, movies=[movie])
    await created(alice, movies=movies(1, genres="Action"))
    assert (await alice.get("/collection/")).json["data"]["favourite_genres"] == "Western,Action"


def many(count: int) -> list[dict[str, str]]:
    return [
        {"uuid": str(uuid.uuid4()), "title": f"movie {number}", "description": "d" * 300, "genres": "Drama"}
        for number in range(count)
    ]


async def test_creating_ten_thousand_movies_is_one_statement(alice: Api, resources: Resources) -> None:
    given, statements = many(10_000), noted(resources.database)
    uuid_ = await created(alice, movies=given)
    assert [each.name for each in statements] == ["collections.create"]
    assert (await alice.get(f"/collection/{uuid_}/")).json["movies"] == given
    response = await alice.post("/collection/", {"title": "one more", "movies": given + many(1)})
    assert response.status == 400
    assert pointers(response) == ["/movies"]
    assert "10000" in response.json["errors"][0]["detail"]


async def test_replacing_thousands_of_movies(alice: Api) -> None:
    first, given = ([{**movie, "description": "d" * 650} for movie in many(10_000)] for _ in range(2))
    path = f"/collection/{await created(alice, movies=first)}/"
    assert (await alice.put(path, {"movies": given})).status == 200
    assert (await alice.get(path)).json["movies"] == given


async def test_a_page_of_large_collections_ends_early(alice: Api) -> None:
    large = [{**movie, "description": "d" * 1500} for movie in many(4000)]
    uuids = [await created(alice, movies=large) for _ in range(4)]
    uuids.append(await created(alice, description="d" * 7_000_000))
    first = await alice.get("/collection/")
    assert 0 < len(first.json["data"]["collections"]) < 5
    assert len(first.body) < 32 * 1024 * 1024
    assert [entry["uuid"] for entry in await walk(alice, "limit=20")] == uuids[::-1]
    assert len((await alice.get("/collection/?movies=false")).json["data"]["collections"]) == 5


async def test_a_list_call_is_one_statement(alice: Api, resources: Resources) -> None:
    for _ in range(10):
        await created(alice)
    statements = noted(resources.database)
    await alice.get("/collection/?movies=false")
    assert [each.name for each in statements] == ["collections.list_page"]


async def test_a_token_of_a_deleted_user(alice: Api, resources: Resources, app: MovieServer) -> None:
    resources.database.statements["forget"] = Statement("DELETE FROM users WHERE user_id = %(user_id)s RETURNING 1")
    assert alice.token
    await resources.database.write("forget", user_id=resources.tokens.verify(alice.token).user_id)
    response: Response = await alice.post("/collection/", collection())
    assert response.status == 401
