"""Changes of the user's collections, for programs that follow them."""
from __future__ import annotations

import json

from movieserver.data import changes
from movieserver.data.changes import CursorExpired, Page, Position
from movieserver.handlers.base import Handler
from movieserver.openapi.operation import Operation, Route
from movieserver.openapi.parameters import CursorParameter, IntegerParameter
from movieserver.redis.changes import Waiter
from movieserver.schemas import responses

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
MAX_WAIT = 30
LIMIT = IntegerParameter("limit", "The maximum number of changes on the page", default=DEFAULT_LIMIT, max=MAX_LIMIT)
SINCE = CursorParameter(
    "since", "`next` of the page before; without it, the page starts at the beginning", "^A[A-Za-z0-9_-]{43}$",
    Position.parse)
WAIT = IntegerParameter(
    "wait", "How many seconds the response may wait for a change, if there is none", default=0, min=0, max=MAX_WAIT)


class ChangesHandler(Handler):
    """GET /changes/?since=&wait=&limit="""

    _waiter: Waiter | None = None
    _gone = False

    @Operation(
        "listChanges", "Follow the changes of my collections", responses.ChangePage, query=(SINCE, WAIT, LIMIT),
        etag=True, errors=(CursorExpired(),),
        description="Oldest first. A collection is on a page at most once, with its latest change: `created` if it was "
        "created after `since`, otherwise `updated` or `deleted`. Read the collections that were created or updated, "
        "remove those that were deleted, then send `next` as `since`. `updated` and `deleted` may name a collection "
        "that you have not seen before. The server responds without waiting if it is shutting down, or if too many "
        "requests are waiting.")
    async def get(self) -> None:
        limit, seconds, since = self.query(LIMIT), self.query(WAIT), self.query(SINCE)
        with self.resources.changes.waiter(self.owner, 0 if self._gone else seconds) as waiter:
            self._waiter = waiter
            page = await self._page(limit, since)
            while not page.found and await waiter.wait():
                page = await self._page(limit, since)
        await self.write_representation(
            f'{{"changes": {page.changes}, "next": "{page.next}", "more": {json.dumps(page.more)}}}')

    def on_connection_close(self) -> None:
        self._gone = True
        if self._waiter:
            self._waiter.end()

    async def _page(self, limit: int, since: Position | None) -> Page:
        return await changes.list_page(self.db, user_id=self.owner, limit=limit, after=since)


routes = [Route("/changes/", ChangesHandler, protected=True)]
