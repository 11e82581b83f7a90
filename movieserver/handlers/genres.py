"""The genres of all movies of the caller's collections."""
from __future__ import annotations

import json

from movieserver.schemas import responses
from movieserver.data import genres
from movieserver.openapi.operation import Operation, WholeNumber
from movieserver.handlers.base import STORED, Handler, Route

LARGEST_PAGE = 400  # of the longest names that is still no more than a page of collections can be
LIMIT = WholeNumber("limit", "How many at most", default=LARGEST_PAGE, most=LARGEST_PAGE)
PAGE = WholeNumber("page", "Which page")


class GenresHandler(Handler):
    """GET /genres/?limit=&page="""

    @Operation(
        "List my genres with their counts", responses.GenrePage, query=(LIMIT, PAGE), tagged=True, headers=("Link",),
        errors=STORED, detail="Over all movies of all your collections, most frequent first, ties by name.")
    async def get(self) -> None:
        limit, number = self.whole_number(LIMIT), self.whole_number(PAGE)
        skipped = (number - 1) * limit
        found = await genres.list_page(
            self.resources.database, user_id=self.owner, limit=limit, skipped=min(skipped, 2**62))
        following = self._address(limit, number + 1) if found.total > skipped + limit else None
        self.link(next=following, prev=self._address(limit, number - 1) if number > 1 else None)
        await self.represent(
            f'{{"genres": {found.text}, "count": {found.total}, "next": {json.dumps(following)}}}')

    def _address(self, limit: int, number: int) -> str:
        return f"{self.server_url}/genres/?limit={limit}&page={number}"


routes = [Route("/genres/", GenresHandler, protected=True)]
