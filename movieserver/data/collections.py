"""Collections of a user: the statements of sql/collections.sql."""
from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from movieserver.data.cursors import MAX_MICROSECONDS, pack, unpack
from movieserver.errors import PreconditionFailed
from movieserver.http.idempotency import IdempotencyKey
from movieserver.http.preconditions import Precondition
from movieserver.postgres.connection import Row
from movieserver.postgres.database import Database
from movieserver.schemas.movies import StoredMovies, genre_changes, stored
from movieserver.schemas.requests import CollectionChanges, NewCollection

CURSOR = struct.Struct(">Q16s")
PAGE_BYTES = 16 * 1024 * 1024  # as sql/collections.sql has it
DELETION_DAYS = 91  # how long a deletion is stored for data/changes.py


class Cursor(NamedTuple):
    """A position in the list: after the collection with this created_at (microseconds since 1970) and uuid."""

    microseconds: int
    collection_uuid: str

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """The cursor written as `text`, or None if it is malformed."""
        values = unpack(CURSOR, text)
        return cls(*values) if values and values[0] < MAX_MICROSECONDS else None

    def __str__(self) -> str:
        return pack(CURSOR, *self)


class Page(NamedTuple):
    """A page of collections: two JSON texts made by PostgreSQL, the total, and where the next page begins.

    `version` changes whenever any of these changes.
    """

    collections: bytes
    favourite_genres: bytes
    total: int
    next: Cursor | None
    version: str


class Created(NamedTuple):
    """A new collection."""

    collection_uuid: str
    version: str


class Found(NamedTuple):
    """A collection as JSON text, and its version."""

    text: bytes
    version: str


async def create(db: Database, *, user_id: str, new: NewCollection) -> Created | None:
    """The new collection; None if the user is gone."""
    row = await db.write("collections.create", user_id=user_id, **_parameters(new))
    return Created(*row) if row else None


async def create_once(db: Database, *, user_id: str, new: NewCollection, key: IdempotencyKey) -> Created | None:
    """The new collection, or the one that the same request created before; None if the user is gone."""
    row = await db.write("collections.create_once", user_id=user_id, **_parameters(new), **key.parameters())
    if row is None:
        return None
    same, owns_key, collection_uuid, version = row
    key.is_stored(same, owns_key)
    return Created(collection_uuid, version)


async def get(db: Database, *, user_id: str, collection_uuid: str) -> Found | None:
    """One collection."""
    row = await db.read_batched("collections.get", user_id=user_id, collection_uuid=collection_uuid)
    return Found(row[0], row[1].decode()) if row else None


async def list_page(db: Database, *, user_id: str, limit: int, after: Cursor | None, movies: bool) -> Page:
    """The newest `limit` collections after `after` (fewer if they are large), with or without their movies."""
    row = await db.read_batched(
        "collections.list_page", user_id=user_id, limit=limit, movies=movies,
        after_microseconds=after and after.microseconds, after_uuid=after and after.collection_uuid,
    )
    assert row is not None
    collections, favourite_genres, count, microseconds, last, versions = row
    digest = hashlib.blake2b(b"%b %b %d %b" % (versions, favourite_genres, count, last or b""), digest_size=16)
    following = Cursor(microseconds, last.decode()) if last else None
    return Page(collections, favourite_genres, count, following, digest.hexdigest())


async def update(
    db: Database, *, user_id: str, collection_uuid: str, changes: CollectionChanges, precondition: Precondition
) -> str | None:
    """The new version of the changed collection. Raises PreconditionFailed."""
    sent = changes.sent_keys
    movies = stored(changes.movies)._asdict() if "movies" in sent else dict.fromkeys(StoredMovies._fields)
    row = await db.write(
        "collections.update", user_id=user_id, collection_uuid=collection_uuid,
        title=changes.title if "title" in sent else None,
        description=changes.description or "" if "description" in sent else None, **movies,
        **precondition.parameters(),
    )
    return version_of(row)


async def delete(db: Database, *, user_id: str, collection_uuid: str, precondition: Precondition) -> str | None:
    """The last version of the deleted collection. Raises PreconditionFailed."""
    row = await db.write(
        "collections.delete", user_id=user_id, collection_uuid=collection_uuid, deletion_days=DELETION_DAYS,
        **precondition.parameters(),
    )
    return version_of(row)


def _parameters(new: NewCollection) -> dict[str, object]:
    return {
        "title": new.title, "description": new.description or "", **stored(new.movies)._asdict(),
        "genre_changes": genre_changes(new.movies),
    }


def version_of(row: Row | None) -> str | None:
    """The version that a row begins with. Raises PreconditionFailed if it is null."""
    if row is None:
        return None
    if row[0] is None:
        raise PreconditionFailed
    version: str = row[0]
    return version
