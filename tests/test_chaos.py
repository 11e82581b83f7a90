"""A short crash test, and a check that its checker detects faults."""
from __future__ import annotations

import random

import psycopg2

from tests.chaos import (
    GONE, PARTS, Checker, Client, State, World, Writer, acknowledged, favourite_genres, followed, survived, until
)
from tests.conftest import temporary_folder

SECONDS = 5.0
ONE = "WHERE collection_uuid = %(one)s"
MOVIES = (
    "(SELECT json_agg(movie) FROM ("
    "SELECT movie FROM json_array_elements(movies) WITH ORDINALITY AS one (movie, index) {}) AS taken)")
# Each of these damages a collection of certain state; the checker must detect it.
SABOTAGE = {
    "an acknowledged write is missing": "DELETE FROM collections WHERE collection_uuid = %(one)s",
    "a movie of a list is missing": f"UPDATE collections SET movies = {MOVIES.format('WHERE index > 1')} {ONE}",
    "a list is in another order": f"UPDATE collections SET movies = {MOVIES.format('ORDER BY index DESC')} {ONE}",
    "a uuid is not that of its movie": (
        f"UPDATE collections SET movie_uuids = array_replace(movie_uuids, movie_uuids[1], gen_random_uuid()) {ONE}"),
    "an old title is back": "UPDATE collections SET title = 'old' WHERE collection_uuid = %(one)s",
    "a collection that was not sent": (
        "INSERT INTO collections (user_id, title, description, movies, movie_uuids, movie_genres)"
        f" SELECT user_id, 'none', '', '[]', '{{}}', '[]' FROM collections {ONE}"),
    "a number of movies is wrong": (
        f"UPDATE collections SET movie_uuids = movie_uuids || gen_random_uuid() {ONE}"),
    "a genre is counted that no movie has": (
        "INSERT INTO user_genres (user_id, genre, times, spelling)"
        f" SELECT user_id, 'none', 1000000, 'None' FROM collections {ONE}"),
    "a collection has no user": (
        "SET session_replication_role = replica;"
        f"DELETE FROM users WHERE user_id = (SELECT user_id FROM collections {ONE})"),
}


def test_nothing_acknowledged_is_lost() -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    with survived(SECONDS, seed, embedded=seed % 2 == 0) as (outcome, checker, writers):
        print(outcome)
        assert outcome.faults == []
        assert set(outcome.kills) == set(PARTS)
        assert_all_is_seen(checker, writers)


def test_a_new_follower_gets_every_collection() -> None:
    """While four users write, and the server is killed and started again."""
    chance = random.Random()
    with temporary_folder() as folder:
        world = World(folder, chance, embedded=True)
        try:
            client = Client(world.port)
            with followed(client, chance.randrange(10**6)) as (writers, followers):
                for part in ("worker", "server"):
                    before, pages = acknowledged(writers), [follower.pages for follower in followers]
                    world.kill(part)
                    until(lambda: acknowledged(writers) >= before + 20)
                    until(lambda: all(one.pages > page for one, page in zip(followers, pages, strict=True)))
            assert [writer.journal.faults for writer in writers] == [[]] * len(writers)
            assert all(follower.collections == follower.truth() for follower in followers)
            assert sum(len(follower.collections) for follower in followers) > 20
        finally:
            assert world.close() == 0


def known_collections(writers: list[Writer]) -> list[str]:
    """Collections with several movies whose state is certain."""
    return [
        key for writer in writers for key, states in writer.journal.collections.items()
        if len(states) == 1 and states != [GONE] and len(states[0].movies or ()) > 1]


def assert_all_is_seen(checker: Checker, writers: list[Writer]) -> None:
    """The checker finds each sabotage. A slow machine may first need time to write enough."""
    for _ in range(1000):
        if len(certain := known_collections(writers)) >= len(SABOTAGE):
            break
        writers[0].write()
    session = psycopg2.connect(checker.url)
    session.autocommit = True
    faults: list[str] = []
    for (wrong, statement), one in zip(SABOTAGE.items(), certain[:len(SABOTAGE)], strict=True):
        with session.cursor() as cursor:
            cursor.execute(statement, {"one": one})
            assert cursor.rowcount > 0, wrong
        known, faults = faults, checker.faults(writers)
        assert set(faults) - set(known), wrong
    assert any("without an owner" in fault for fault in faults)
    session.close()


def test_the_expected_favourite_genres() -> None:
    state = State("", (("", "", "drama, Comedy ,"), ("", "", "Drama,Drama"), ("", "", "Action,,Horror")))
    assert favourite_genres([state, state]) == "Drama,Action,Comedy"
    assert favourite_genres([]) == ""
