"""The migrations of migrations/, applied and rolled back with yoyo.

Synchronous: for run.py, never inside the server.
"""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import psycopg2
import yoyo
from psycopg2 import connect
from psycopg2.extensions import connection, cursor, parse_dsn
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.connections import parse_uri

from movieserver.postgres.hosts import message_of
from movieserver.postgres.statements import MIGRATIONS, load_statements
from movieserver.terminal import CommandError

ADVISORY_LOCK = 7_300_466_391_507  # the id of our advisory lock; any number that no other program uses
CONNECT_SECONDS = 5
LOCK_SECONDS = 60
LOCK = """
SET LOCAL lock_timeout = %(seconds)s;
SET LOCAL idle_in_transaction_session_timeout = 0;
SELECT pg_advisory_xact_lock(%(lock)s)
"""
DROPPED_TABLES = re.compile(r"^DROP TABLE (?:IF EXISTS )?([^;]+?)(?: CASCADE)?;", re.MULTILINE)
ALTERED_TABLE = re.compile(r"^ALTER TABLE (\w+)([^;]+);", re.MULTILINE)
DROPPED_COLUMN = re.compile(r"DROP COLUMN (?:IF EXISTS )?(\w+)")


class MigrationError(CommandError):
    """The database could not be reached or changed; the message says why."""


class Undo(NamedTuple):
    """The rollback of one migration, with the tables and columns whose data it drops."""

    migration: str
    losses: list[str]


class _Backend(PostgresqlBackend):
    """yoyo's backend over a libpq URI, which may name several hosts or a socket folder."""

    def __init__(self, url: str) -> None:
        self._url = url
        super().__init__(parse_uri("postgresql:///"), "_yoyo_migration")

    def copy(self) -> _Backend:
        return _Backend(self._url)

    def connect(self, dburi: Any) -> Any:
        return _connect(self._url)


def _connect(url: str) -> connection:
    opened = connect(url, connect_timeout=CONNECT_SECONDS)
    opened.autocommit = True
    return opened


@contextmanager
def _exclusive(url: str, *, migrating: bool) -> Iterator[_Backend]:
    """A backend while no other process migrates; a lock row left by a killed migration is removed."""
    try:
        with closing(_connect(url)) as guard, guard.cursor() as guard_cursor:
            if migrating:
                _refuse_obstacle(guard_cursor)
            with guard:  # a transaction: a pooler may give the session of a lock to another client
                guard_cursor.execute(LOCK, {"seconds": f"{LOCK_SECONDS}s", "lock": ADVISORY_LOCK})
                backend = _Backend(url)
                with closing(backend.connection):
                    backend.init_database()
                    backend.break_lock()
                    yield backend
    except psycopg2.Error as error:
        raise MigrationError(f"the database cannot be migrated: {message_of(error, parse_dsn(url))}") from None


def _refuse_obstacle(guard_cursor: cursor) -> None:
    guard_cursor.execute(load_statements()["operations.obstacle"].text, {"migrating": True})
    if row := guard_cursor.fetchone():
        problem, statement = row
        advice = f": run `{statement}`" if statement else ""
        raise MigrationError(f"the database cannot be migrated: {problem}{advice}")


def migrate(url: str) -> list[str]:
    """Apply the missing migrations and return their names."""
    with _exclusive(url, migrating=True) as backend:
        missing = backend.to_apply(yoyo.read_migrations(str(MIGRATIONS)))
        backend.apply_migrations(missing)
        return [migration.id for migration in missing]


def plan_rollback(url: str, count: int | None) -> list[Undo]:
    """What `rollback` would undo and drop, newest first."""
    with _exclusive(url, migrating=False) as backend:
        newest = backend.to_rollback(yoyo.read_migrations(str(MIGRATIONS)))[:count]
        return [Undo(migration.id, _losses(migration.id)) for migration in newest]


def rollback(url: str, count: int | None = 1, expected: Sequence[str] | None = None) -> list[str]:
    """Undo the newest `count` migrations (None: all) and return their names; if `expected` is set, only these."""
    with _exclusive(url, migrating=False) as backend:
        newest = backend.to_rollback(yoyo.read_migrations(str(MIGRATIONS)))[:count]
        names = [migration.id for migration in newest]
        if expected is not None and names != list(expected):
            raise MigrationError("nothing was rolled back: other migrations were applied or undone in the meantime")
        backend.rollback_migrations(newest)
        return names


def _losses(migration: str) -> list[str]:
    text = (MIGRATIONS / f"{migration}.rollback.sql").read_text(encoding="utf-8")
    tables = [f"table {name.strip()}" for names in DROPPED_TABLES.findall(text) for name in names.split(",")]
    columns = [
        f"column {table}.{column}" for table, changes in ALTERED_TABLE.findall(text)
        for column in DROPPED_COLUMN.findall(changes)]
    return tables + columns
