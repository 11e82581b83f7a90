"""The third party's movie list: from the cache while it is fresh, else from the third party, else from the cache.

Callers of one page that is not kept share one call upstream, in this process and, by a lock in Redis, in all of them.
"""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from movieserver.observability import metrics
from movieserver.third_party.providers import Dialect, MoviePage, remembered
from movieserver.errors import NotFound, UpstreamFault, UpstreamTimeout
from movieserver.observability.logs import Outage
from movieserver.third_party.page_cache import PageCache
from movieserver.third_party.client import Upstream

POLL_SECONDS = 0.05
GRACE_SECONDS = 0.3  # to keep what came at the last moment


class Listed(NamedTuple):
    """A page, its age, and up to which age it is fresh; in seconds."""

    page: MoviePage
    age: float
    fresh: float


class MovieApi:
    """Pages of the third party's list, fresh for `fresh_seconds` (0: nothing is kept)."""

    def __init__(self, upstream: Upstream, dialect: Dialect, cache: PageCache, name: str, fresh_seconds: float) -> None:
        self.upstream = upstream
        self._dialect = dialect
        self._cache = cache
        self._name = name
        self._fresh_seconds = fresh_seconds
        self._outage = Outage("movie API, what it says")
        self._flights: dict[str, asyncio.Task[MoviePage]] = {}

    async def page(self, number: int, query: str | None = None) -> Listed:
        """Page `number` (from 1); NotFound past the end, else what errors.py says of the upstream."""
        self._dialect.check(query)
        if not self._fresh_seconds:
            return Listed(await self._ask(number, query), 0, 0)
        key = hashlib.sha256(f"{self._name} {number} {query!r}".encode()).hexdigest()[:32]
        kept = await self._kept(key)
        if kept is None:
            metrics.page_cache_results["miss"].inc()
            return Listed(await asyncio.shield(self._fly(key, number, query)), 0, self._fresh_seconds)
        if kept.age >= self._fresh_seconds:
            self._fly(key, number, query)
        metrics.page_cache_results["fresh" if kept.age < self._fresh_seconds else "stale"].inc()
        return kept

    async def close(self) -> None:
        """Give up the calls under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self._dialect.close()

    def _fly(self, key: str, number: int, query: str | None) -> asyncio.Task[MoviePage]:
        """The one call of this process for a page."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._fetch(key, number, query))
            flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def _landed(self, key: str, flight: asyncio.Task[MoviePage]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # upstream.py has logged it; nobody may be left who waits for it

    async def _kept(self, key: str) -> Listed | None:
        kept = await self._cache.get(key)
        page = kept and remembered(kept.text)
        return Listed(page, kept.age, self._fresh_seconds) if kept and page else None

    async def _fetch(self, key: str, number: int, query: str | None) -> MoviePage:
        """A page from the third party, unless another process is fetching it: then what that one puts."""
        async with self._budget() as end:
            while True:
                self.upstream.breaker.check()
                async with self._cache.lock(key) as alone:
                    if alone or self._cache.away:
                        return await self._fetch_alone(key, number, query, end)
                await asyncio.sleep(POLL_SECONDS)
                kept = await self._kept(key)
                if kept and kept.age < self._fresh_seconds:
                    return kept.page

    async def _fetch_alone(self, key: str, number: int, query: str | None, end: float) -> MoviePage:
        try:
            page = await self._dialect.page(lambda call: self.upstream.get(call, end), number, query)
        except NotFound:
            await self._cache.drop(key)
            raise
        await self._cache.put(key, page.model_dump_json())
        return page

    async def _ask(self, number: int, query: str | None) -> MoviePage:
        async with self._budget() as end:
            return await self._dialect.page(lambda call: self.upstream.get(call, end), number, query)

    @contextlib.asynccontextmanager
    async def _budget(self) -> AsyncIterator[float]:
        """The moment at which calls upstream end; shortly after it everything does."""
        end = asyncio.get_running_loop().time() + self.upstream.seconds
        try:
            async with asyncio.timeout_at(end + GRACE_SECONDS):
                yield end
        except TimeoutError:
            raise UpstreamTimeout from None
        except UpstreamFault as fault:
            metrics.upstream_failures["nonsense"].inc()
            self._outage.record_failure(str(fault.__cause__))
            raise
        self._outage.record_success()


@contextlib.asynccontextmanager
async def open_movie_api(
    upstream: Upstream, dialect: Dialect, cache: PageCache, name: str, fresh_seconds: float
) -> AsyncIterator[MovieApi]:
    """A MovieApi; at the end it gives up what is under way."""
    api = MovieApi(upstream, dialect, cache, name, fresh_seconds)
    try:
        yield api
    finally:
        await api.close()
