"""Collections of imported files: the statement of sql/imports.sql."""
from __future__ import annotations

from typing import NamedTuple

from movieserver.postgres.database import Database
from movieserver.schemas.import_file import FileCollection
from movieserver.schemas.movies import MAX_COLLECTION_BYTES, MAX_MOVIES


class Stored(NamedTuple):
    """How many movies were added and how many the collection had; `fits` is false if it would hold too many."""

    added: int
    existing: int
    fits: bool


async def store(db: Database, *, user_id: str, new: FileCollection, into: str | None) -> Stored | None:
    """Store one collection of a file: in the collection `into`, or under its own uuid.

    None if there is no collection `into`, or no such user.
    """
    row = await db.write(
        "imports.store", user_id=user_id, collection_uuid=into or new.collection_uuid, create=into is None,
        title=new.title, description=new.description, **new.movies._asdict(), max=MAX_MOVIES,
        max_bytes=MAX_COLLECTION_BYTES,
        created_at=None if into else new.created_at, updated_at=None if into else new.updated_at,
    )
    if row is None:
        return None
    found, fits = row
    return Stored(found, new.movie_count - found, True) if fits else Stored(0, 0, False)
