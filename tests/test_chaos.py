"""The crash test in its short form, and the proof that its checker sees what it is there for."""
from __future__ import annotations

import random

import psycopg2

from tests.chaos import GONE, PARTS, Checker, State, Writer, favourite_genres, survived

SECONDS = 5.0
# Each makes one thing wrong that the checker has to see, with a collection of which everything is certain.
SABOTAGE = {
    "an acknowledged write is missing": "DELETE FROM collections WHERE collection_uuid = %(one)s",
    "a movie of a list is missing": (
        "DELETE FROM collection_movies WHERE collection_uuid = %(one)s AND position = 1"),
    "a list is in another order": (
        "UPDATE collection_movies SET position = -position WHERE collection_uuid = %(one)s"),
    "an old title is back": "UPDATE collections SET title = 'old' WHERE collection_uuid = %(one)s",
    "there is what nobody sent": (
        "INSERT INTO collections (user_id, title, description)"
        " SELECT user_id, 'none', '' FROM collections WHERE collection_uuid = %(one)s"),
    "a number of movies is wrong": (
        "UPDATE collection_tallies SET movies = movies + 1 WHERE collection_uuid = %(one)s"),
    "a genre is counted once too often": (
        "UPDATE user_tallies SET spellings = spellings || jsonb '{\"None\": 1000000}' FROM collections AS one"
        " WHERE one.user_id = user_tallies.user_id AND collection_uuid = %(one)s"),
    "a movie has no collection": (
        "SET session_replication_role = replica;"
        "DELETE FROM collections WHERE collection_uuid = %(one)s"),
}


def test_nothing_acknowledged_is_lost() -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    with survived(SECONDS, seed, embedded=seed % 2 == 0) as (outcome, checker, writers):
        print(outcome)
        assert outcome.faults == []
        assert set(outcome.kills) == set(PARTS)
        assert_all_is_seen(checker, writers)


def assert_all_is_seen(checker: Checker, writers: list[Writer]) -> None:
    """Each sabotage adds to what the checker finds."""
    certain = [
        key for writer in writers for key, states in writer.journal.collections.items()
        if len(states) == 1 and states != [GONE] and len(states[0].movies or ()) > 1]
    session = psycopg2.connect(checker.url)
    session.autocommit = True
    faults: list[str] = []
    for (wrong, statement), one in zip(SABOTAGE.items(), certain[:len(SABOTAGE)], strict=True):
        with session.cursor() as cursor:
            cursor.execute(statement, {"one": one})
            assert cursor.rowcount > 0, wrong
        known, faults = faults, checker.faults(writers)
        assert len(faults) > len(known), wrong
    assert any("without an owner" in fault for fault in faults)
    session.close()


def test_the_reference_of_favourite_genres() -> None:
    state = State("", (("", "", "drama, Comedy ,"), ("", "", "Drama,Drama"), ("", "", "Action,,Horror")))
    assert favourite_genres([state, state]) == "Drama,Action,Comedy"
    assert favourite_genres([]) == ""
