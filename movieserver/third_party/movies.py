"""The third party's movie list: from the cache while it is fresh, else from the third party, else from the cache.

Clients who wait for the same page share one call to the third party, within this process by a task (single flight) and
between processes by a lock in Redis.
"""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from movieserver.errors import UpstreamFault, UpstreamTimeout
from movieserver.observability import metrics
from movieserver.observability.logs import Outage, log
from movieserver.third_party.client import NoSuchPage, Upstream
from movieserver.third_party.page_cache import PageCache
from movieserver.third_party.provider import MoviePage, Provider, load_page

PAGE_SECONDS, SEARCH_SECONDS = 86_400, 600  # in Redis; searches shorter, because users can make up any number of them
POLL_SECONDS = 0.05
GRACE_SECONDS = 0.3  # to store a page that arrives at the last moment
INCOMPLETE_SECONDS = 10
LOG_SECONDS = 60
MAX_LOGGED = 3
MAX_REMEMBERED = 100  # pages
MAX_CHARACTERS = 64 * 1024  # of a page that is remembered


class _Wanted(NamedTuple):
    """A page of the list or of a search, and its key in the cache."""

    number: int
    query: str | None
    key: str


class MovieApi:
    """Pages of the third party's list, fresh for `fresh_seconds` (0: nothing is cached)."""

    def __init__(
        self, upstream: Upstream, provider: Provider, cache: PageCache, name: str, fresh_seconds: float
    ) -> None:
        self.upstream = upstream
        self.provider = provider
        self.cache = cache
        self._name = name
        self._fresh_seconds = fresh_seconds
        self._outage = Outage("movie API, its responses")
        self._quiet_until = 0.0
        self._fetches: dict[str, asyncio.Task[MoviePage]] = {}
        self._remembered: dict[str, MoviePage] = {}

    async def page(self, number: int, query: str | None = None) -> MoviePage:
        """Page `number` (from 1). Raises NoSuchPage past the end, or one of the Upstream errors."""
        self.provider.check(query)
        if not self._fresh_seconds:
            async with self._time_limit() as end:
                return await self._request(number, query, end)
        key = hashlib.sha256(f"{self._name} {number} {query!r}".encode()).hexdigest()[:32]
        wanted = _Wanted(number, query, key)
        cached = await self._cached(key)
        if cached is None:
            metrics.page_cache_results["miss"].inc()
            return await asyncio.shield(self._shared_fetch(wanted))
        fresh = self._is_fresh(cached)
        if not fresh:
            self._shared_fetch(wanted)
        metrics.page_cache_results["fresh" if fresh else "stale"].inc()
        return cached

    def max_age(self, page: MoviePage) -> float:
        """Up to which age the page is fresh, in seconds: then it is sent without fetching it again."""
        return self._fresh_seconds if page.complete else min(self._fresh_seconds, INCOMPLETE_SECONDS)

    def _is_fresh(self, page: MoviePage) -> bool:
        return page.age < self.max_age(page)

    async def close(self) -> None:
        """Cancel the calls in progress."""
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        await self.provider.close()

    def _shared_fetch(self, wanted: _Wanted) -> asyncio.Task[MoviePage]:
        """The one call of this process for a page."""
        fetch = self._fetches.get(wanted.key)
        if fetch is None:
            fetch = self._fetches[wanted.key] = asyncio.create_task(self._fetch(wanted))
            fetch.add_done_callback(lambda done: self._forget(wanted.key, done))
        return fetch

    def _forget(self, key: str, fetch: asyncio.Task[MoviePage]) -> None:
        del self._fetches[key]
        if not fetch.cancelled():
            fetch.exception()  # mark the exception as retrieved; it is logged already

    async def _cached(self, key: str) -> MoviePage | None:
        """The page in the memory of this process if it is fresh there, else in Redis."""
        page = self._remembered.get(key)
        if page and self._is_fresh(page):
            return page
        page = load_page(await self.cache.get(key) or "")
        if page and len(page.movies) <= MAX_CHARACTERS:
            self._remembered.pop(key, None)
            if len(self._remembered) == MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = page
        return page

    async def _fetch(self, wanted: _Wanted) -> MoviePage:
        """A page from the third party, or from the process that is fetching it already."""
        async with self._time_limit() as end:
            while True:
                self.upstream.check(end)
                async with self.cache.lock(wanted.key) as locked:
                    cached = await self._cached(wanted.key)  # the previous holder of the lock may have stored it
                    if cached and self._is_fresh(cached):
                        return cached
                    if locked or self.cache.unavailable:
                        return await self._fetch_alone(wanted, end)
                await asyncio.sleep(POLL_SECONDS)

    async def _fetch_alone(self, wanted: _Wanted, end: float) -> MoviePage:
        try:
            page = await self._request(wanted.number, wanted.query, end)
        except NoSuchPage:
            await self.cache.delete(wanted.key)
            raise
        lifetime = PAGE_SECONDS if wanted.query is None else max(SEARCH_SECONDS, math.ceil(self._fresh_seconds))
        await self.cache.put(wanted.key, page.dump(), lifetime)
        return page

    async def _request(self, number: int, query: str | None, end: float) -> MoviePage:
        page = await self.provider.page(lambda call: self.upstream.get(call, end), number, query)
        if page.skipped:
            self._report(number, page.skipped)
        return page

    def _report(self, number: int, skipped: Sequence[str]) -> None:
        """Count the skipped entries, and log them, at most every LOG_SECONDS."""
        metrics.upstream_skipped_entries.inc(len(skipped))
        now = asyncio.get_running_loop().time()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_SECONDS
            log.warning(
                "movie API: entries left out", page=number, entries=len(skipped), reasons=list(skipped[:MAX_LOGGED]))

    @contextlib.asynccontextmanager
    async def _time_limit(self) -> AsyncIterator[float]:
        """The deadline of calls to the third party, on the loop's clock. Raises UpstreamTimeout GRACE_SECONDS later."""
        end = asyncio.get_running_loop().time() + self.upstream.seconds
        try:
            async with asyncio.timeout_at(end + GRACE_SECONDS):
                yield end
        except TimeoutError:
            raise UpstreamTimeout from None
        except UpstreamFault as fault:
            self._outage.record_failure(str(fault.__cause__))
            raise
        self._outage.record_success()
