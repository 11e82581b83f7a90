"""The plans of the statements: each uses an index by user, even if it was made while the table was empty."""
from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection, make_dsn

from movieserver.embedded.postgres import DATABASE, Postgres
from movieserver.postgres import migrations
from movieserver.postgres.connection import SESSION
from movieserver.postgres.hosts import hosts_of
from movieserver.postgres.statements import Statement, array, load_statements
from tests.test_migrations import run

TABLES = (
    "users", "sessions", "spent_refresh_tokens", "collections", "deleted_collections", "user_genres",
    "idempotency_keys", "personal_tokens")
USERS, EACH = 400, 10
FILL = f"""
INSERT INTO users (user_id, username, username_key, password_hash)
SELECT md5(number::text)::uuid, number::text, number::text::bytea, '' FROM generate_series(1, {USERS}) AS number;
INSERT INTO sessions (user_id, session_uuid, refresh_digest, expires_at)
SELECT user_id, gen_random_uuid(), '', 'infinity' FROM users, generate_series(1, {EACH});
INSERT INTO spent_refresh_tokens (user_id, session_uuid, refresh_digest, successor_digest)
SELECT user_id, session_uuid, number::text::bytea, '' FROM sessions, generate_series(1, {EACH}) AS number;
INSERT INTO collections (user_id, title, description, movies, movie_uuids, movie_genres)
SELECT user_id, '', '', '[{{}}]', ARRAY[gen_random_uuid()], '[[]]' FROM users, generate_series(1, {EACH});
INSERT INTO user_genres (user_id, genre, times, spelling)
SELECT user_id, number::text, 1, '' FROM users, generate_series(1, {EACH}) AS number;
INSERT INTO idempotency_keys (user_id, key, request_digest, collection_uuid, version)
SELECT user_id, number::text, '', gen_random_uuid(), gen_random_uuid() FROM users, generate_series(1, {EACH}) AS number;
INSERT INTO personal_tokens (user_id, token_digest, name, scope)
SELECT user_id, number::text::bytea, '', 'read' FROM users, generate_series(1, {EACH}) AS number;
INSERT INTO deleted_collections (user_id, collection_uuid, version, change_number)
SELECT user_id, gen_random_uuid(), gen_random_uuid(), number FROM users, generate_series(1, {EACH}) AS number
"""
SOMEBODY = str(uuid.uuid4())
PARAMETERS: dict[str, object] = {
    "user_id": SOMEBODY, "collection_uuid": SOMEBODY, "movie_uuid": SOMEBODY, "session_uuid": SOMEBODY,
    "login": SOMEBODY, "title": "t", "description": "", "movies": "[]", "movie_uuids": "{}", "movie_genres": "[]",
    "genre_changes": "[]", "create": True, "created_at": None, "updated_at": None, "from_microseconds": None,
    "from_uuid": None, "version": SOMEBODY, "first": 0, "max_bytes": 1,
    "max": 1, "match": None, "none_match": "{}", "key": "k", "request_digest": b"", "stored_seconds": 1, "limit": 20,
    "offset": 0, "after_microseconds": None, "after_uuid": None, "username": "u", "username_key": b"",
    "password_hash": "", "password_changes": 0, "outdated": "", "refresh_digest": b"", "next_digest": b"",
    "lifetime": 1.0, "grace": 1.0, "token_uuid": SOMEBODY, "token_digest": b"", "token_name": "n", "scope": "read",
    "expires_in_days": 1, "max_tokens": 1,
    "deletion_days": 1, "after_number": 0,
    "nonce": b"", "digest": b"", "lost_digest": b"", "days": 1,
}
ARRAYS = ("user_id", "collection_uuid", "limit", "after_microseconds", "after_uuid")
BATCHED: dict[str, object] = {
    **{name: array([PARAMETERS[name]]) for name in ARRAYS},
    "movies": array([True]), "alone": False, "token_digest": array([r"\x00"]),
}
STATEMENTS = {
    name: statement for name, statement in load_statements().items()
    if name != "users.list_all" and not name.startswith("operations.")}


class Planner:
    """`scans` returns the scans of tables in the prepared plans of a statement."""

    def __init__(self, session: connection) -> None:
        self._session = session
        self._prepared: set[str] = set()

    def scans(self, name: str, statement: Statement) -> list[dict[str, Any]]:
        batched = "AS request (user_id" in statement.text
        found: list[dict[str, Any]] = []
        for part in statement.parts:
            if part.prepare not in self._prepared:
                self._ask(part.prepare)
                self._prepared.add(part.prepare)
            [[[plan]]] = self._ask(f"EXPLAIN (FORMAT JSON) {part.execute}", PARAMETERS | (BATCHED if batched else {}))
            found += [node for node in nodes(plan["Plan"]) if is_scan(node)]
        return found

    def _ask(self, text: str, parameters: dict[str, object] | None = None) -> list[Any]:
        with self._session.cursor() as cursor:
            cursor.execute(text, parameters)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def planning(url: str) -> Iterator[Planner]:
    """A session as the server opens it."""
    session = psycopg2.connect(make_dsn(**hosts_of(url)[0]))
    session.autocommit = True
    try:
        with session.cursor() as cursor:
            for name, value in SESSION.items():
                cursor.execute(f"SET {name} = '{value}'")
        yield Planner(session)
    finally:
        session.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a plan and all nodes below it."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def is_scan(node: dict[str, Any]) -> bool:
    """Whether a node scans a table of the schema; the condition of a bitmap scan is in the index scan below it."""
    if node["Node Type"] == "Bitmap Index Scan":
        return True
    return node.get("Relation Name") in TABLES and node["Node Type"] not in ("ModifyTable", "Bitmap Heap Scan")


def assert_reads_own_rows(name: str, scans: list[dict[str, Any]]) -> None:
    """Check that each scan uses an index by user, by user name, or by share link."""
    key = {"users.find": "username_key = ", "shares.get": "share_digest = "}.get(name, "user_id = ")
    for scan in scans:
        assert key in scan.get("Index Cond", ""), (name, scan)


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """An empty database, migrated."""
    run(postgres.url, "CREATE DATABASE plans")
    own = postgres.url.replace(f"/{DATABASE}?", "/plans?")
    migrations.migrate(own)
    yield own
    run(postgres.url, "DROP DATABASE plans WITH (FORCE)")


@pytest.fixture
def planner(url: str) -> Iterator[Planner]:
    """A session in that database."""
    with planning(url) as planner:
        yield planner


def test_a_plan_made_for_empty_tables_reads_an_index(url: str, planner: Planner) -> None:
    """It is used while the tables grow, until PostgreSQL analyzes them."""
    for filled in (False, True):
        for name, statement in STATEMENTS.items():
            scans = planner.scans(name, statement)
            assert scans or name in ("users.register", "users.add")
            assert_reads_own_rows(name, scans)
        if not filled:
            run(url, FILL)


def test_a_plan_is_made_anew_when_tables_have_grown(url: str, planner: Planner) -> None:
    """After VACUUM an empty table has 0 pages, and a plan does not use an index; ANALYZE replaces such a plan."""
    run(url, f"VACUUM ANALYZE {', '.join(TABLES)}")
    assert [scan["Node Type"] for scan in planner.scans("users.get", STATEMENTS["users.get"])] == ["Seq Scan"]
    for name, statement in STATEMENTS.items():
        planner.scans(name, statement)
    run(url, FILL)
    run(url, "ANALYZE")
    for name, statement in STATEMENTS.items():
        assert_reads_own_rows(name, planner.scans(name, statement))


def test_each_scan_is_seen(planner: Planner) -> None:
    """The check itself: a statement over the rows of all users fails."""
    for text in ("SELECT * FROM collections WHERE title = %(title)s", "SELECT * FROM users ORDER BY user_id"):
        with pytest.raises(AssertionError):
            assert_reads_own_rows("bad", planner.scans("bad", Statement(text)))
