"""Single movies of collections: the statements of sql/collection_movies.sql."""
from __future__ import annotations

from typing import NamedTuple

from movieserver.schemas.requests import MOVIES, Movie, movies_json
from movieserver.http.preconditions import Precondition
from movieserver.data.collections import Cursor, version_of
from movieserver.postgres.database import Database
from movieserver.errors import CollectionFull, Fault, OrderMismatch, PreconditionFailed
from movieserver.http.idempotency import Once


class Added(NamedTuple):
    """What became of each movie, as JSON text, and the collection's version."""

    text: str
    version: str


class Holding(NamedTuple):
    """A page of collections, as JSON text, their number, and where the next page begins."""

    collections: str
    total: int
    next: Cursor | None


async def add(
    db: Database, *, user_id: str, collection_uuid: str, movies: list[Movie], precondition: Precondition, once: Once
) -> Added | None:
    """Movies at the end of a collection, once; CollectionFull where not all of them find a place in it."""
    row = await db.write(
        "collection_movies.add", user_id=user_id, collection_uuid=collection_uuid, movies=movies_json(movies),
        most=MOVIES, only=precondition.only_versions, unless=precondition.unless_versions, **once.parameters(),
    )
    assert row is not None
    same, alone, there, meant, fits, answer, version = row
    if not once.is_kept(same, alone):
        if not there:
            return None
        if not meant:
            raise PreconditionFailed
        if not fits:
            raise CollectionFull(MOVIES)
    return Added(answer, version)


async def remove(
    db: Database, *, user_id: str, collection_uuid: str, movie_uuid: str, precondition: Precondition
) -> str | None:
    """The new version of a collection without that movie."""
    row = await db.write(
        "collection_movies.remove", user_id=user_id, collection_uuid=collection_uuid, movie_uuid=movie_uuid,
        only=precondition.only_versions, unless=precondition.unless_versions,
    )
    return version_of(row)


async def reorder(
    db: Database, *, user_id: str, collection_uuid: str, movies: list[str], pointer: str, precondition: Precondition
) -> str | None:
    """The new version of a collection with its movies in that order; OrderMismatch names each that does not fit."""
    row = await db.write(
        "collection_movies.reorder", user_id=user_id, collection_uuid=collection_uuid, movies=movies,
        only=precondition.only_versions, unless=precondition.unless_versions,
    )
    if row is None:
        return None
    version, meant, unknown, missing = row
    if not meant:
        raise PreconditionFailed
    if unknown or missing:
        raise OrderMismatch(
            [Fault(f"{pointer}/{place}", f"The movie {movies[place]} is not in this collection") for place in unknown]
            + [Fault(pointer, f"The movie {uuid} of this collection is missing here") for uuid in missing])
    assert isinstance(version, str)
    return version


async def holding(db: Database, *, user_id: str, movie_uuid: str, limit: int, after: Cursor | None) -> Holding:
    """The newest `limit` collections behind `after` that a movie is in."""
    row = await db.read(
        "collection_movies.holding", user_id=user_id, movie_uuid=movie_uuid, limit=limit,
        after_microseconds=after and after.microseconds, after_uuid=after and after.collection_uuid,
    )
    assert row is not None
    collections, count, microseconds, last = row
    return Holding(collections, count, Cursor(microseconds, last) if last else None)
