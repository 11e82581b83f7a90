"""Single movies of collections: the statements of sql/collection_movies.sql."""
from __future__ import annotations

from typing import NamedTuple

from movieserver.data.collections import Cursor, version_of
from movieserver.errors import CollectionFull, FieldError, OrderMismatch, PreconditionFailed
from movieserver.http.idempotency import IdempotencyKey
from movieserver.http.preconditions import Precondition
from movieserver.postgres.database import Database
from movieserver.schemas.movies import MAX_COLLECTION_BYTES, MAX_MOVIES, Movie, stored


class Added(NamedTuple):
    """The result for each movie, as JSON text, and the collection's version."""

    text: str
    version: str


class Page(NamedTuple):
    """A page of collections, as JSON text, their number, and where the next page begins."""

    collections: str
    total: int
    next: Cursor | None


async def add(
    db: Database, *, user_id: str, collection_uuid: str, movies: list[Movie], precondition: Precondition,
    key: IdempotencyKey
) -> Added | None:
    """Append movies to a collection; PreconditionFailed, or CollectionFull if it would hold too many."""
    row = await db.write(
        "collection_movies.add", user_id=user_id, collection_uuid=collection_uuid, **stored(movies)._asdict(),
        max=MAX_MOVIES, max_bytes=MAX_COLLECTION_BYTES, **precondition.parameters(), **key.parameters(),
    )
    if row is None:
        return None
    same, owns_key, there, holds, fits, response, version = row
    if not key.is_stored(same, owns_key):
        if not there:
            return None
        if not holds:
            raise PreconditionFailed
        if not fits:
            raise CollectionFull(MAX_MOVIES, MAX_COLLECTION_BYTES)
    return Added(response, version)


async def remove(
    db: Database, *, user_id: str, collection_uuid: str, movie_uuid: str, precondition: Precondition
) -> str | None:
    """The new version of the collection without that movie."""
    row = await db.write(
        "collection_movies.remove", user_id=user_id, collection_uuid=collection_uuid, movie_uuid=movie_uuid,
        **precondition.parameters(),
    )
    return version_of(row)


async def reorder(
    db: Database, *, user_id: str, collection_uuid: str, movies: list[str], pointer: str, precondition: Precondition
) -> str | None:
    """The new version of the reordered collection; OrderMismatch lists every difference."""
    row = await db.write(
        "collection_movies.reorder", user_id=user_id, collection_uuid=collection_uuid, movie_uuids=movies,
        **precondition.parameters(),
    )
    if row is None:
        return None
    version, holds, unknown, missing = row
    if not holds:
        raise PreconditionFailed
    if unknown or missing:
        raise OrderMismatch(faults=[
            *(FieldError(f"{pointer}/{at}", f"The movie {movies[at]} is not in this collection") for at in unknown),
            *(FieldError(pointer, f"The movie {uuid} of this collection is missing in the order") for uuid in missing)])
    return str(version)


async def list_containing(db: Database, *, user_id: str, movie_uuid: str, limit: int, after: Cursor | None) -> Page:
    """The newest `limit` collections after `after` that contain a movie."""
    collections, count, microseconds, last = await db.read_one(
        "collection_movies.list_containing", user_id=user_id, movie_uuid=movie_uuid, limit=limit,
        after_microseconds=after and after.microseconds, after_uuid=after and after.collection_uuid,
    )
    return Page(collections, count, Cursor(microseconds, last) if last else None)
