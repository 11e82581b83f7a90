"""The state of the database: the statements of sql/operations.sql."""
from __future__ import annotations

from collections.abc import Set
from functools import cache
from pathlib import Path
from typing import NamedTuple

from movieserver.postgres.database import Database

MIGRATIONS = Path(__file__).parents[2] / "migrations"


class ServerFacts(NamedTuple):
    """A PostgreSQL server: how many connections it allows, and whether a commit outlives a crash."""

    connections: int
    durable: bool


@cache
def needed_migrations() -> Set[str]:
    """The names of the migrations that this version needs."""
    return {file.stem for file in MIGRATIONS.glob("*.sql") if not file.stem.endswith(".rollback")}


async def migrations(db: Database) -> Set[str] | None:
    """The names of the migrations that the database has; None when it cannot be written to."""
    row = await db.read("operations.migrations")
    return set(row[0]) if row else None


async def server(db: Database) -> ServerFacts:
    """What the database server is like."""
    row = await db.read("operations.server")
    assert row
    return ServerFacts(*row)
