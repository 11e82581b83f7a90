"""The state of the database: the statements of sql/operations.sql."""
from __future__ import annotations

from collections.abc import Set
from functools import cache
from typing import NamedTuple

from movieserver.postgres.database import Database
from movieserver.postgres.statements import MIGRATIONS


class ServerFacts(NamedTuple):
    """A PostgreSQL server: how many connections it allows, and whether a commit survives a crash."""

    connections: int
    durable: bool


class Obstacle(NamedTuple):
    """What is wrong with a database, and the SQL statement that fixes it, if there is one."""

    problem: str
    statement: str | None


@cache
def needed_migrations() -> Set[str]:
    """The names of the migrations that this version needs."""
    return {file.stem for file in MIGRATIONS.glob("*.sql") if not file.stem.endswith(".rollback")}


async def migrations(db: Database) -> Set[str]:
    """The names of the applied migrations. Raises SchemaMissing if none was ever applied."""
    [applied] = await db.read_one("operations.migrations")
    return set(applied)


async def obstacle(db: Database, *, migrating: bool = False) -> Obstacle | None:
    """What keeps the server from serving or, with `migrating`, the migrations from being applied."""
    row = await db.read("operations.obstacle", migrating=migrating)
    return Obstacle(*row) if row else None


async def server(db: Database) -> ServerFacts:
    """The properties of the database server."""
    return ServerFacts(*await db.read_one("operations.server"))
