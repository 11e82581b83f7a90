"""The migrations of migrations/, applied and rolled back with yoyo.

Synchronous: for run.py, never inside the server.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import yoyo
from psycopg2 import connect
from psycopg2.extensions import connection
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.connections import parse_uri

FOLDER = Path(__file__).parents[2] / "migrations"
ADVISORY_LOCK = 7_300_466_391_507  # any number that nobody else takes
CONNECT_SECONDS = 5
LOCK_SECONDS = 60


class MigrationError(Exception):
    """The database could not be reached or changed; the message says why."""


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
def _alone(url: str) -> Iterator[_Backend]:
    """A backend that nobody else migrates beside; a lock row left by a killed migration is removed."""
    try:
        with closing(_connect(url)) as guard, guard.cursor() as cursor:
            cursor.execute("SET lock_timeout = %s", (f"{LOCK_SECONDS}s",))
            cursor.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
            backend = _Backend(url)
            with closing(backend.connection):
                backend.init_database()
                backend.break_lock()
                with backend.lock():
                    yield backend
    except psycopg2.Error as error:
        raise MigrationError(f"the database cannot be migrated: {str(error).strip()}") from None


def migrate(url: str) -> list[str]:
    """Apply what is missing and give the names applied."""
    with _alone(url) as backend:
        missing = backend.to_apply(yoyo.read_migrations(str(FOLDER)))
        backend.apply_migrations(missing)
        return [migration.id for migration in missing]


def rollback(url: str, count: int | None = 1) -> list[str]:
    """Undo the newest `count` migrations (None: all) and give their names."""
    with _alone(url) as backend:
        newest = backend.to_rollback(yoyo.read_migrations(str(FOLDER)))[:count]
        backend.rollback_migrations(newest)
        return [migration.id for migration in newest]
