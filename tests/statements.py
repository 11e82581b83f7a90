"""The statements that a Database runs, noted as they begin."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from movieserver.postgres.connection import Row
from movieserver.postgres.database import Database


@dataclass
class Noted:
    """A statement: its name, its parameters and, once it has ended, its rows."""

    name: str
    parameters: dict[str, Any]
    rows: list[Row] = field(default_factory=list)


def noted(database: Database) -> list[Noted]:
    """Each statement that the database runs from now on."""
    statements: list[Noted] = []
    run = database.run

    async def noting(name: str, parameters: dict[str, Any], **options: bool) -> list[Row]:
        statement = Noted(name, parameters)
        statements.append(statement)
        statement.rows = await run(name, parameters, **options)
        return statement.rows

    database.run = noting  # type: ignore[method-assign]
    return statements
