"""Collections of movies. Each belongs to the user who created it."""
from __future__ import annotations

import json
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlencode

from movieserver.data import collections
from movieserver.data.collections import Cursor
from movieserver.errors import BadRequest, KeyInUse, KeyReused, NotFound, Unauthenticated
from movieserver.formats import parse_uuid
from movieserver.handlers.authentication import USER_GONE
from movieserver.handlers.base import Handler
from movieserver.openapi.operation import Operation, Route
from movieserver.openapi.parameters import BooleanParameter, CursorParameter, IntegerParameter
from movieserver.schemas import responses
from movieserver.schemas.requests import CollectionChanges, NewCollection

T = TypeVar("T")
DEFAULT_LIMIT = 20
MAX_LIMIT = 100
UNKNOWN_CHARACTERS = 500  # of unknown keys that an error names
LIMIT = IntegerParameter("limit", "The maximum number of collections on the page", default=DEFAULT_LIMIT, max=MAX_LIMIT)
CURSOR = CursorParameter(
    "cursor", "Where the page starts: follow `next` of the page before", "^AA[A-Za-z0-9_-]{30}$", Cursor.parse)
MOVIES = BooleanParameter("movies", "`false` leaves out the movies of each collection")
PAGE = b'{"is_success": true, "data": {"collections": %b, "favourite_genres": %b}, "count": %d, "next": %b}\n'
NO_COLLECTION = "You have no such collection."
UPDATE = Operation(
    "updateCollection", "Change a collection", responses.UpdatedCollection, body=CollectionChanges, preconditions=True,
    headers=("ETag",), errors=(NotFound(NO_COLLECTION),),
    description="Changes the keys in the body and keeps the others. `movies` replaces the whole list. PUT and PATCH do "
    "the same.")


class CollectionsHandler(Handler):
    """GET and POST /collection/"""

    @Operation(
        "listCollections", "List my collections", responses.CollectionPage, query=(LIMIT, CURSOR, MOVIES), etag=True,
        headers=("Link",),
        description="Newest first, with the three favourite genres of all your collections. A page has fewer "
        "collections than `limit` if they have more than 16 MiB. Follow `next` until it is null to get each collection "
        "exactly once.")
    async def get(self) -> None:
        limit, movies, after = self.query(LIMIT), self.query(MOVIES), self.query(CURSOR)
        page = await collections.list_page(self.db, user_id=self.owner, limit=limit, after=after, movies=movies)
        query: dict[str, int | str] = {"limit": limit} | ({} if movies else {"movies": "false"})
        following = link_next(self, "/collection/", page.next, query)
        await self.write_representation(PAGE % (
            page.collections, page.favourite_genres, page.total, json.dumps(following).encode()), page.version)

    @Operation(
        "createCollection", "Create a collection", responses.CreatedCollection, 201, body=NewCollection,
        idempotency_key=True, headers=("Location", "ETag"),
        errors=(Unauthenticated(USER_GONE), KeyInUse(), KeyReused()),
        description="Movies keep their order; the same uuid twice is 400. Unknown keys are ignored.")
    async def post(self) -> None:
        new, key = self.body(NewCollection), self.idempotency_key("/collection/")
        created = await (
            collections.create_once(self.db, user_id=self.owner, new=new, key=key) if key.key
            else collections.create(self.db, user_id=self.owner, new=new))
        if created is None:
            raise Unauthenticated(USER_GONE)
        self.resources.changes.announce(self.owner)
        self.set_header("Location", self.relative_url(f"/collection/{created.collection_uuid}/"))
        self.set_etag(created.version)
        self.write_json({"collection_uuid": created.collection_uuid}, 201)


class CollectionHandler(Handler):
    """GET, PUT, PATCH and DELETE /collection/<uuid>/"""

    @Operation(
        "getCollection", "Read a collection", responses.Collection, etag=True, errors=(NotFound(NO_COLLECTION),),
        description="With all its movies, in their order.")
    async def get(self, segment: str) -> None:
        collection = or_not_found(await collections.get(self.db, user_id=self.owner, collection_uuid=uuid_of(segment)))
        await self.write_representation(collection.text + b"\n", collection.version)

    @UPDATE
    async def put(self, segment: str) -> None:
        changes, precondition = self.body(CollectionChanges), self.precondition
        if not changes.sent_keys:
            raise BadRequest(nothing_to_change(changes.model_extra or {}))
        collection_uuid = uuid_of(segment)
        version = or_not_found(await collections.update(
            self.db, user_id=self.owner, collection_uuid=collection_uuid, changes=changes, precondition=precondition))
        self.resources.changes.announce(self.owner)
        self.set_etag(version)
        self.write_json({"message": "Collection updated successfully", "collection_uuid": collection_uuid})

    @replace(UPDATE, id="patchCollection")
    async def patch(self, segment: str) -> None:
        await self.put(segment)

    @Operation(
        "deleteCollection", "Delete a collection", responses.Message, preconditions=True,
        errors=(NotFound(NO_COLLECTION),), description="Its movies are deleted too. This cannot be undone.")
    async def delete(self, segment: str) -> None:
        precondition, collection_uuid = self.precondition, uuid_of(segment)
        or_not_found(await collections.delete(
            self.db, user_id=self.owner, collection_uuid=collection_uuid, precondition=precondition))
        self.resources.changes.announce(self.owner)
        self.write_json({"message": "Collection deleted successfully"})


def link_next(handler: Handler, path: str, cursor: Cursor | None, query: dict[str, int | str]) -> str | None:
    """The address of the page after a cursor, which is also sent as a Link."""
    address = cursor and handler.absolute_url(f"{path}?{urlencode(query | {'cursor': str(cursor)})}")
    handler.set_links(next=address)
    return address


def both_spellings(tail: str, handler: type[Handler]) -> list[Route]:
    """The routes /collection/<tail> and /collections/<tail>."""
    return [Route(f"/{name}/{tail}", handler, protected=True) for name in ("collection", "collections")]


def nothing_to_change(unknown: dict[str, object]) -> str:
    """The error detail for a body that has only `unknown` keys."""
    found = f"only unknown keys: {', '.join(unknown)[:UNKNOWN_CHARACTERS]}" if unknown else "no key"
    return f"The body must have at least one of the keys title, description and movies; it has {found}."


def uuid_of(segment: str) -> str:
    """The uuid in a path. Raises NotFound if it is malformed."""
    return or_not_found(parse_uuid(segment))


def or_not_found(value: T | None) -> T:
    """The value, which is not None. Raises NotFound otherwise."""
    if value is None:
        raise NotFound(NO_COLLECTION)
    return value


routes = [*both_spellings("", CollectionsHandler), *both_spellings("{collection_uuid}/", CollectionHandler)]
