"""Single movies: into a collection and out of it, their order, and in which collections one is."""
from __future__ import annotations

import json

from movieserver.bodies import AddedMovies, Order, parse_uuid
from movieserver.data import collection_movies
from movieserver.errors import NotFound
from movieserver.handlers.base import Handler, Route
from movieserver.handlers.collections import LARGEST_PAGE, PAGE, CollectionListHandler, found, uuid_of


class AddHandler(Handler):
    """POST /collection/<uuid>/movies/"""

    async def post(self, segment: str) -> None:
        given, precondition = self.body(AddedMovies), self.precondition
        once = self.once(f"/collection/{segment.lower()}/movies/")
        added = found(await collection_movies.add(
            self.resources.database, user_id=self.owner, collection_uuid=uuid_of(segment), movies=given.movies,
            precondition=precondition, once=once))
        self.say_version(added.version)
        self.answer(added.text)


class RemoveHandler(Handler):
    """/collection/<uuid>/movies/<movie_uuid>/: DELETE"""

    async def delete(self, segment: str, movie: str) -> None:
        precondition, collection_uuid, movie_uuid = self.precondition, parse_uuid(segment), parse_uuid(movie)
        version = collection_uuid and movie_uuid and await collection_movies.remove(
            self.resources.database, user_id=self.owner, collection_uuid=collection_uuid, movie_uuid=movie_uuid,
            precondition=precondition)
        if not version:
            raise NotFound("There is no such movie in such a collection of yours.")
        self.say_version(version)
        self.answer({"message": "Movie removed successfully"})


class OrderHandler(Handler):
    """PUT /collection/<uuid>/order/"""

    async def put(self, segment: str) -> None:
        order, precondition = self.body(Order), self.precondition
        self.say_version(found(await collection_movies.reorder(
            self.resources.database, user_id=self.owner, collection_uuid=uuid_of(segment), movies=order.movies,
            pointer=order.pointer, precondition=precondition)))
        self.answer({"message": "Collection reordered successfully"})


class HoldingHandler(CollectionListHandler):
    """GET /movies/<movie_uuid>/collections/; a movie that is in none has an empty list."""

    async def get(self, movie: str) -> None:
        movie_uuid, limit = parse_uuid(movie), self.whole_number("limit", PAGE, LARGEST_PAGE)
        if movie_uuid is None:
            raise NotFound("What stands in this address is no uuid of a movie.")
        page = await collection_movies.holding(
            self.resources.database, user_id=self.owner, movie_uuid=movie_uuid, limit=limit, after=self.cursor())
        following = self.following(f"/movies/{movie_uuid}/collections/", page.next, limit=limit)
        await self.represent(
            f'{{"collections": {page.collections}, "count": {page.total}, "next": {json.dumps(following)}}}')


routes = [
    Route(f"/{name}/{{collection_uuid}}/{tail}/", handler, protected=True)
    for name in ("collection", "collections")
    for tail, handler in (("movies", AddHandler), ("movies/{movie_uuid}", RemoveHandler), ("order", OrderHandler))
] + [Route("/movies/{movie_uuid}/collections/", HoldingHandler, protected=True)]
