"""Collections, each its owner's."""
from __future__ import annotations

import json
from urllib.parse import urlencode

from movieserver.bodies import CollectionChanges, NewCollection, parse_uuid
from movieserver.data import collections
from movieserver.data.collections import Cursor
from movieserver.errors import BadRequest, NotFound, Unauthenticated
from movieserver.handlers.base import Handler, Route

PAGE = 20
LARGEST_PAGE = 100


class CollectionsHandler(Handler):
    """GET and POST /collection/"""

    async def get(self) -> None:
        limit = self.whole_number("limit", PAGE, LARGEST_PAGE)
        movies, after = self._with_movies(), self._cursor()
        page = await collections.list(
            self.resources.database, user_id=self.owner, limit=limit, after=after, movies=movies)
        link = page.next and f"{self.server_url}/collection/?" + urlencode(
            {"limit": limit, "cursor": str(page.next)} | ({} if movies else {"movies": "false"}))
        self.answer(
            f'{{"is_success": true, "data": {{"collections": {page.collections}, '
            f'"favourite_genres": {page.favourite_genres}}}, "count": {page.total}, "next": {json.dumps(link)}}}'
        )

    async def post(self) -> None:
        new = self.body(NewCollection)
        collection_uuid = await collections.create(self.resources.database, user_id=self.owner, new=new)
        if collection_uuid is None:
            raise Unauthenticated("The user of this access token is gone.")
        self.set_header("Location", f"/collection/{collection_uuid}/")
        self.answer({"collection_uuid": collection_uuid}, 201)

    def _with_movies(self) -> bool:
        said = self.query("movies")
        if said not in (None, "true", "false"):
            raise BadRequest("The query parameter movies is true or false.")
        return said != "false"

    def _cursor(self) -> Cursor | None:
        text = self.query("cursor")
        cursor = text and Cursor.parse(text)
        if text is not None and not cursor:
            raise BadRequest("The query parameter cursor is none that this server gave: follow `next` as it is.")
        return cursor or None


class CollectionHandler(Handler):
    """GET, PUT, PATCH and DELETE /collection/<uuid>/"""

    async def get(self, segment: str) -> None:
        collection = await collections.read(
            self.resources.database, user_id=self.owner, collection_uuid=_uuid(segment))
        self.answer(_found(collection))

    async def put(self, segment: str) -> None:
        changes, collection_uuid = self.body(CollectionChanges), _uuid(segment)
        updated = await collections.update(
            self.resources.database, user_id=self.owner, collection_uuid=collection_uuid, changes=changes)
        self.answer({"message": "Collection updated successfully", "collection_uuid": _found(updated)})

    patch = put

    async def delete(self, segment: str) -> None:
        _found(await collections.delete(
            self.resources.database, user_id=self.owner, collection_uuid=_uuid(segment)))
        self.answer({"message": "Collection deleted successfully"})


def _uuid(segment: str) -> str:
    return _found(parse_uuid(segment))


def _found(value: str | None) -> str:
    if value is None:
        raise NotFound("There is no such collection of yours.")
    return value


routes = [
    Route(f"/{name}/{tail}", handler, protected=True)
    for name in ("collection", "collections")
    for tail, handler in (("", CollectionsHandler), ("{collection_uuid}/", CollectionHandler))
]
