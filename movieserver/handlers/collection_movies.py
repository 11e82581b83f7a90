"""Single movies: into a collection and out of it, their order, and in which collections one is."""
from __future__ import annotations

import json

from movieserver.schemas import responses
from movieserver.schemas.requests import AddedMovies, Order
from movieserver.data import collection_movies
from movieserver.formats import parse_uuid
from movieserver.schemas.movies import MAX_MOVIES
from movieserver.openapi.operation import Operation
from movieserver.errors import CollectionFull, Fault, KeyInUse, KeyReused, NotFound, OrderMismatch
from movieserver.handlers.base import STORED, Handler, Route
from movieserver.handlers.collections import CURSOR, LIMIT, NO_COLLECTION, CollectionListHandler, found, uuid_of

NO_MOVIE = "There is no such movie in such a collection of yours."
NO_UUID = "What stands in this address is no uuid of a movie."
UNKNOWN = Fault("/movies/0", "The collection has no such movie")


class AddHandler(Handler):
    """POST /collection/<uuid>/movies/"""

    @Operation(
        "Add movies to a collection", responses.Additions, body=AddedMovies, guarded=True, once=True, headers=("ETag",),
        errors=(*STORED, NO_COLLECTION, CollectionFull(MAX_MOVIES), KeyInUse(), KeyReused()),
        detail="One or many, at its end; those that it has stay as they are. Where one is at fault, none is added.")
    async def post(self, segment: str) -> None:
        new, precondition = self.body(AddedMovies), self.precondition
        key = self.idempotency_key(f"/collection/{segment.lower()}/movies/")
        added = found(await collection_movies.add(
            self.resources.database, user_id=self.owner, collection_uuid=uuid_of(segment), movies=new.movies,
            precondition=precondition, key=key))
        self.say_version(added.version)
        self.answer(added.text)


class RemoveHandler(Handler):
    """/collection/<uuid>/movies/<movie_uuid>/: DELETE"""

    @Operation(
        "Take a movie out of a collection", responses.Message, guarded=True, headers=("ETag",),
        errors=(*STORED, NotFound(NO_MOVIE)))
    async def delete(self, segment: str, movie: str) -> None:
        precondition, collection_uuid, movie_uuid = self.precondition, parse_uuid(segment), parse_uuid(movie)
        version = collection_uuid and movie_uuid and await collection_movies.remove(
            self.resources.database, user_id=self.owner, collection_uuid=collection_uuid, movie_uuid=movie_uuid,
            precondition=precondition)
        if not version:
            raise NotFound(NO_MOVIE)
        self.say_version(version)
        self.answer({"message": "Movie removed successfully"})


class OrderHandler(Handler):
    """PUT /collection/<uuid>/order/"""

    @Operation(
        "Reorder a collection", responses.Message, body=Order, guarded=True, headers=("ETag",),
        errors=(*STORED, NO_COLLECTION, OrderMismatch([UNKNOWN])),
        detail="The uuids of all its movies, each once, in the order wished for.")
    async def put(self, segment: str) -> None:
        order, precondition = self.body(Order), self.precondition
        self.say_version(found(await collection_movies.reorder(
            self.resources.database, user_id=self.owner, collection_uuid=uuid_of(segment), movies=order.movie_uuids,
            pointer=order.pointer, precondition=precondition)))
        self.answer({"message": "Collection reordered successfully"})


class HoldingHandler(CollectionListHandler):
    """GET /movies/<movie_uuid>/collections/; a movie that is in none has an empty list."""

    @Operation(
        "List my collections that hold a movie", responses.HoldingPage, query=(LIMIT, CURSOR), tagged=True,
        headers=("Link",), errors=(*STORED, NotFound(NO_UUID)), detail="Newest first.")
    async def get(self, movie: str) -> None:
        movie_uuid, limit = parse_uuid(movie), self.whole_number(LIMIT)
        if movie_uuid is None:
            raise NotFound(NO_UUID)
        page = await collection_movies.list_holding(
            self.resources.database, user_id=self.owner, movie_uuid=movie_uuid, limit=limit, after=self.cursor())
        following = self.following(f"/movies/{movie_uuid}/collections/", page.next, limit=limit)
        await self.represent(
            f'{{"collections": {page.collections}, "count": {page.total}, "next": {json.dumps(following)}}}')


routes = [
    Route(f"/{name}/{{collection_uuid}}/{tail}/", handler, protected=True)
    for name in ("collection", "collections")
    for tail, handler in (("movies", AddHandler), ("movies/{movie_uuid}", RemoveHandler), ("order", OrderHandler))
] + [Route("/movies/{movie_uuid}/collections/", HoldingHandler, protected=True)]
