"""Collections, each its owner's."""
from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

from movieserver.schemas import responses
from movieserver.schemas.requests import CollectionChanges, NewCollection
from movieserver.formats import parse_uuid
from movieserver.data import collections
from movieserver.data.collections import Cursor
from movieserver.openapi.operation import Operation, Query, WholeNumber
from movieserver.errors import BadRequest, KeyInUse, KeyReused, NotFound, Unauthenticated
from movieserver.handlers.base import STORED, Handler, Route

T = TypeVar("T")
PAGE = 20
LARGEST_PAGE = 100
LIMIT = WholeNumber("limit", "How many at most", default=PAGE, most=LARGEST_PAGE)
CURSOR = Query("cursor", "Where the page begins, as `next` says it", pattern="^AA[A-Za-z0-9_-]{30}$")
MOVIES = Query("movies", "`false` leaves the movies out", ("true", "false"))
NOTHING_NAMED = "The body must name title, description or movies. It names "
EXAMPLE = (Path(__file__).parents[1] / "openapi" / "collection.json").read_text(encoding="utf-8")
NO_COLLECTION = NotFound("There is no such collection of yours.")


class CollectionListHandler(Handler):
    """A list of collections, walked by a cursor."""

    def cursor(self) -> Cursor | None:
        """Behind which collection the page begins."""
        text = self.query(CURSOR)
        cursor = text and Cursor.parse(text)
        if text is not None and not cursor:
            raise BadRequest("The query parameter cursor is none that this server gave: follow `next` as it is.")
        return cursor or None

    def following(self, path: str, cursor: Cursor | None, **query: object) -> str | None:
        """The address of the page that begins behind a cursor, which the headers name too."""
        address = cursor and f"{self.server_url}{path}?{urlencode(query | {'cursor': str(cursor)})}"
        self.link(next=address)
        return address


class CollectionsHandler(CollectionListHandler):
    """GET and POST /collection/"""

    @Operation(
        "List my collections", responses.CollectionPage, query=(LIMIT, CURSOR, MOVIES), tagged=True, headers=("Link",),
        errors=STORED, detail="Newest first, and the three favourite genres of all. A page ends early where its texts "
        "come to 16 MiB; following `next` gives every collection once.")
    async def get(self) -> None:
        limit, movies, after = self.whole_number(LIMIT), self.query(MOVIES) != "false", self.cursor()
        page = await collections.list_page(
            self.resources.database, user_id=self.owner, limit=limit, after=after, movies=movies)
        following = self.following("/collection/", page.next, limit=limit, **({} if movies else {"movies": "false"}))
        await self.represent(
            f'{{"is_success": true, "data": {{"collections": {page.collections}, '
            f'"favourite_genres": {page.favourite_genres}}}, "count": {page.total}, "next": {json.dumps(following)}}}'
        )

    @Operation(
        "Make a collection", responses.CreatedCollection, 201, body=NewCollection, once=True,
        headers=("Location", "ETag"), errors=(*STORED, KeyInUse(), KeyReused()), example=EXAMPLE,
        detail="Movies keep the order given; the same uuid twice is 400. Keys that are not described are ignored.")
    async def post(self) -> None:
        new, key = self.body(NewCollection), self.idempotency_key("/collection/")
        created = await (
            collections.create_once(self.resources.database, user_id=self.owner, new=new, key=key) if key.key
            else collections.create(self.resources.database, user_id=self.owner, new=new))
        if created is None:
            raise Unauthenticated("The user of this access token is gone.")
        self.set_header("Location", f"/collection/{created.collection_uuid}/")
        self.say_version(created.version)
        self.answer({"collection_uuid": created.collection_uuid}, 201)


class CollectionHandler(Handler):
    """GET, PUT, PATCH and DELETE /collection/<uuid>/"""

    @Operation("Read a collection", responses.Collection, tagged=True, errors=(*STORED, NO_COLLECTION))
    async def get(self, segment: str) -> None:
        collection = found(await collections.get(
            self.resources.database, user_id=self.owner, collection_uuid=uuid_of(segment)))
        await self.represent(*collection)

    @Operation(
        "Change a collection", responses.UpdatedCollection, body=CollectionChanges, guarded=True, headers=("ETag",),
        errors=(*STORED, NO_COLLECTION),
        detail="Changes what the body names and keeps the rest; `movies` is the whole new list. PUT and PATCH are one.")
    async def put(self, segment: str) -> None:
        changes, precondition, collection_uuid = self.body(CollectionChanges), self.precondition, uuid_of(segment)
        if not changes.named:
            raise BadRequest(NOTHING_NAMED + ", ".join(changes.model_extra or ["nothing"]))
        version = found(await collections.update(
            self.resources.database, user_id=self.owner, collection_uuid=collection_uuid, changes=changes,
            precondition=precondition))
        self.say_version(version)
        self.answer({"message": "Collection updated successfully", "collection_uuid": collection_uuid})

    patch = put

    @Operation("Delete a collection", responses.Message, guarded=True, errors=(*STORED, NO_COLLECTION))
    async def delete(self, segment: str) -> None:
        precondition, collection_uuid = self.precondition, uuid_of(segment)
        found(await collections.delete(
            self.resources.database, user_id=self.owner, collection_uuid=collection_uuid, precondition=precondition))
        self.answer({"message": "Collection deleted successfully"})


def uuid_of(segment: str) -> str:
    """The uuid in a path; NotFound where it is none."""
    return found(parse_uuid(segment))


def found(value: T | None) -> T:
    """What is there; NotFound where nothing is."""
    if value is None:
        raise NotFound(NO_COLLECTION.detail)
    return value


routes = [
    Route(f"/{name}/{tail}", handler, protected=True)
    for name in ("collection", "collections")
    for tail, handler in (("", CollectionsHandler), ("{collection_uuid}/", CollectionHandler))
]
