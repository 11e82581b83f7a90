"""Genres of a user's movies: the statements of sql/genres.sql."""
from __future__ import annotations

from typing import NamedTuple

from movieserver.postgres.database import Database


class Genres(NamedTuple):
    """A page of genres with their counts, as JSON text, and how many genres there are in all."""

    text: str
    total: int


async def list_page(db: Database, *, user_id: str, limit: int, offset: int) -> Genres:
    """The `limit` most frequent genres after the first `offset`."""
    return Genres(*await db.read_one("genres.list_page", user_id=user_id, limit=limit, offset=offset))
