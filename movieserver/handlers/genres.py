"""The genres of all movies of the caller's collections."""
from __future__ import annotations

import json

from movieserver.data import genres
from movieserver.handlers.base import Handler, Route

LARGEST_PAGE = 400  # of the longest names that is still no more than a page of collections can be


class GenresHandler(Handler):
    """GET /genres/?limit=&page="""

    async def get(self) -> None:
        limit, number = self.whole_number("limit", LARGEST_PAGE, LARGEST_PAGE), self.whole_number("page", default=1)
        skipped = (number - 1) * limit
        found = await genres.list(
            self.resources.database, user_id=self.owner, limit=limit, skipped=min(skipped, 2**62))
        following = self._address(limit, number + 1) if found.total > skipped + limit else None
        self.link(next=following, prev=self._address(limit, number - 1) if number > 1 else None)
        await self.represent(
            f'{{"genres": {found.text}, "count": {found.total}, "next": {json.dumps(following)}}}')

    def _address(self, limit: int, number: int) -> str:
        return f"{self.server_url}/genres/?limit={limit}&page={number}"


routes = [Route("/genres/", GenresHandler, protected=True)]
