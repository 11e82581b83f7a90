"""Single movies of a collection: add, remove and reorder them, and list the collections that contain one."""
from __future__ import annotations

import json

from movieserver.data import collection_movies
from movieserver.errors import CollectionFull, FieldError, KeyInUse, KeyReused, NotFound, OrderMismatch
from movieserver.formats import parse_uuid
from movieserver.handlers.base import Handler
from movieserver.handlers.collections import (
    CURSOR, LIMIT, NO_COLLECTION, both_spellings, link_next, or_not_found, uuid_of
)
from movieserver.openapi.operation import Operation, Route
from movieserver.schemas import responses
from movieserver.schemas.movies import MAX_COLLECTION_BYTES, MAX_MOVIES
from movieserver.schemas.requests import AddedMovies, Order

NO_MOVIE = "You have no such collection, or it does not contain this movie."
NO_UUID = "The uuid of the movie in this path is malformed."
UNKNOWN = FieldError("/movies/0", "The collection does not contain this movie")


class AddHandler(Handler):
    """POST /collection/<uuid>/movies/"""

    @Operation(
        "addMovies", "Add movies to a collection", responses.Additions, body=AddedMovies, preconditions=True,
        idempotency_key=True, headers=("ETag",), errors=(
            NotFound(NO_COLLECTION), CollectionFull(MAX_MOVIES, MAX_COLLECTION_BYTES), KeyInUse(), KeyReused()),
        description="One or more, at the end. Movies that the collection already contains do not change. If one movie "
        "is invalid, none is added.")
    async def post(self, segment: str) -> None:
        new, precondition = self.body(AddedMovies), self.precondition
        key = self.idempotency_key(f"/collection/{segment.lower()}/movies/")
        added = or_not_found(await collection_movies.add(
            self.db, user_id=self.owner, collection_uuid=uuid_of(segment), movies=new.movies,
            precondition=precondition, key=key))
        self.resources.changes.announce(self.owner)
        self.set_etag(added.version)
        self.write_json(added.text)


class RemoveHandler(Handler):
    """One movie of a collection: DELETE /collection/<uuid>/movies/<movie_uuid>/"""

    @Operation(
        "removeMovie", "Remove a movie from a collection", responses.Message, preconditions=True, headers=("ETag",),
        errors=(NotFound(NO_MOVIE),), description="The other movies keep their order.")
    async def delete(self, segment: str, movie: str) -> None:
        precondition, collection_uuid, movie_uuid = self.precondition, parse_uuid(segment), parse_uuid(movie)
        version = collection_uuid and movie_uuid and await collection_movies.remove(
            self.db, user_id=self.owner, collection_uuid=collection_uuid, movie_uuid=movie_uuid,
            precondition=precondition)
        if not version:
            raise NotFound(NO_MOVIE)
        self.resources.changes.announce(self.owner)
        self.set_etag(version)
        self.write_json({"message": "Movie removed successfully"})


class OrderHandler(Handler):
    """PUT /collection/<uuid>/order/"""

    @Operation(
        "reorderCollection", "Reorder a collection", responses.Message, body=Order, preconditions=True,
        headers=("ETag",), errors=(NotFound(NO_COLLECTION), OrderMismatch(faults=[UNKNOWN])),
        description="The body lists the uuids of all its movies, each once, in the new order.")
    async def put(self, segment: str) -> None:
        order, precondition = self.body(Order), self.precondition
        version = or_not_found(await collection_movies.reorder(
            self.db, user_id=self.owner, collection_uuid=uuid_of(segment), movies=order.movie_uuids,
            pointer=order.pointer, precondition=precondition))
        self.resources.changes.announce(self.owner)
        self.set_etag(version)
        self.write_json({"message": "Collection reordered successfully"})


class ContainingHandler(Handler):
    """GET /movies/<movie_uuid>/collections/"""

    @Operation(
        "listCollectionsOfMovie", "List my collections that contain a movie", responses.ContainingPage,
        query=(LIMIT, CURSOR), etag=True, headers=("Link",), errors=(NotFound(NO_UUID),),
        description="Newest first. The list is empty if none contains it.")
    async def get(self, movie: str) -> None:
        movie_uuid, limit = parse_uuid(movie), self.query(LIMIT)
        if movie_uuid is None:
            raise NotFound(NO_UUID)
        page = await collection_movies.list_containing(
            self.db, user_id=self.owner, movie_uuid=movie_uuid, limit=limit, after=self.query(CURSOR))
        following = link_next(self, f"/movies/{movie_uuid}/collections/", page.next, {"limit": limit})
        await self.write_representation(
            f'{{"collections": {page.collections}, "count": {page.total}, "next": {json.dumps(following)}}}')


routes = [
    *both_spellings("{collection_uuid}/movies/", AddHandler),
    *both_spellings("{collection_uuid}/movies/{movie_uuid}/", RemoveHandler),
    *both_spellings("{collection_uuid}/order/", OrderHandler),
    Route("/movies/{movie_uuid}/collections/", ContainingHandler, protected=True),
]
