"""The genres of all movies in the user's collections."""
from __future__ import annotations

import json

from movieserver.data import genres
from movieserver.handlers.base import Handler
from movieserver.openapi.operation import Operation, Route
from movieserver.openapi.parameters import IntegerParameter
from movieserver.schemas import responses

MAX_LIMIT = 400  # with names of the maximum length, such a page is as large as the largest page of collections
LIMIT = IntegerParameter("limit", "The maximum number of genres on the page", default=MAX_LIMIT, max=MAX_LIMIT)
PAGE = IntegerParameter("page", "The number of the page, from 1")


class GenresHandler(Handler):
    """GET /genres/?limit=&page="""

    @Operation(
        "listGenres", "List my genres with their counts", responses.GenrePage, query=(LIMIT, PAGE), etag=True,
        headers=("Link",),
        description="Of all movies in all your collections: most frequent first, equal counts by name.")
    async def get(self) -> None:
        limit, number = self.query(LIMIT), self.query(PAGE)
        offset = (number - 1) * limit
        page = await genres.list_page(self.db, user_id=self.owner, limit=limit, offset=min(offset, 2**62))
        following = self._address(limit, number + 1) if page.total > offset + limit else None
        self.set_links(next=following, prev=self._address(limit, number - 1) if number > 1 else None)
        await self.write_representation(
            f'{{"genres": {page.text}, "count": {page.total}, "next": {json.dumps(following)}}}')

    def _address(self, limit: int, number: int) -> str:
        return self.absolute_url(f"/genres/?limit={limit}&page={number}")


routes = [Route("/genres/", GenresHandler, protected=True)]
