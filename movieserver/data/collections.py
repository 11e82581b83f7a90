"""Collections, each its owner's: the statements of sql/collections.sql."""
from __future__ import annotations

import base64
import binascii
import struct
import uuid
from typing import NamedTuple

from movieserver.schemas.requests import CollectionChanges, NewCollection, movies_json
from movieserver.http.preconditions import Precondition
from movieserver.postgres.database import Database, Row
from movieserver.errors import PreconditionFailed
from movieserver.http.idempotency import Once

CURSOR = struct.Struct(">Q16s")
PAGE_BYTES = 16 * 1024 * 1024
MICROSECONDS = 2**53  # the year 2255, and exact in PostgreSQL's arithmetic of intervals


class Cursor(NamedTuple):
    """The place behind a collection in the list: its created_at in microseconds since 1970, its uuid."""

    microseconds: int
    collection_uuid: str

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """The cursor written as `text`, or None where it is none of ours."""
        try:
            microseconds, packed = CURSOR.unpack(base64.b64decode(text.encode("ascii"), b"-_", validate=True))
        except (UnicodeEncodeError, binascii.Error, struct.error):
            return None
        return cls(microseconds, str(uuid.UUID(bytes=packed))) if microseconds < MICROSECONDS else None

    def __str__(self) -> str:
        packed = CURSOR.pack(self.microseconds, uuid.UUID(self.collection_uuid).bytes)
        return base64.urlsafe_b64encode(packed).decode("ascii")


class Page(NamedTuple):
    """A page of collections: two JSON texts made by PostgreSQL, the total, and where the next page begins."""

    collections: str
    favourite_genres: str
    total: int
    next: Cursor | None


class Created(NamedTuple):
    """A new collection."""

    collection_uuid: str
    version: str


class Read(NamedTuple):
    """A collection as JSON text, and its version."""

    text: str
    version: str


async def create(db: Database, *, user_id: str, new: NewCollection) -> Created | None:
    """The new collection; None when the user is gone."""
    row = await db.write(
        "collections.create", user_id=user_id,
        title=new.title, description=new.description, movies=movies_json(new.movies),
    )
    return Created(*row) if row else None


async def create_once(db: Database, *, user_id: str, new: NewCollection, once: Once) -> Created | None:
    """The new collection, or the one that the same request got before; None when the user is gone."""
    row = await db.write(
        "collections.create_once", user_id=user_id,
        title=new.title, description=new.description, movies=movies_json(new.movies), **once.parameters(),
    )
    if row is None:
        return None
    collection_uuid, version, same = row
    once.is_kept(same, alone=collection_uuid is not None)
    return Created(collection_uuid, version)


async def read(db: Database, *, user_id: str, collection_uuid: str) -> Read | None:
    """One collection."""
    row = await db.read_shared("collections.read", user_id=user_id, collection_uuid=collection_uuid)
    return Read(*row) if row else None


async def list(db: Database, *, user_id: str, limit: int, after: Cursor | None, movies: bool) -> Page:
    """The newest `limit` collections behind `after` (fewer where they are large), with their movies or without."""
    row = await db.read_shared(
        "collections.list", user_id=user_id, limit=limit, movies=movies, bytes=PAGE_BYTES,
        after_microseconds=after and after.microseconds, after_uuid=after and after.collection_uuid,
    )
    assert row is not None
    collections, favourite_genres, count, microseconds, last = row
    return Page(collections, favourite_genres, count, Cursor(microseconds, last) if last else None)


async def update(
    db: Database, *, user_id: str, collection_uuid: str, changes: CollectionChanges, precondition: Precondition
) -> str | None:
    """The new version of the changed collection."""
    row = await db.write(
        "collections.update", user_id=user_id, collection_uuid=collection_uuid,
        title=changes.title, description=changes.description,
        movies=None if changes.movies is None else movies_json(changes.movies),
        only=precondition.only_versions, unless=precondition.unless_versions,
    )
    return version_of(row)


async def delete(db: Database, *, user_id: str, collection_uuid: str, precondition: Precondition) -> str | None:
    """The last version of the deleted collection."""
    row = await db.write(
        "collections.delete", user_id=user_id, collection_uuid=collection_uuid,
        only=precondition.only_versions, unless=precondition.unless_versions,
    )
    return version_of(row)


def version_of(row: Row | None) -> str | None:
    """The version that a row begins with; PreconditionFailed where it is null: it was not the one meant."""
    if row is None:
        return None
    if row[0] is None:
        raise PreconditionFailed
    version: str = row[0]
    return version
