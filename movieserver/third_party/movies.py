"""The third party's movie list: from the cache while it is fresh, else from the third party, else from the cache.

Clients who wait for the same page share one call to the third party, within this process by a task (single flight) and
between processes by a lock in Redis.
"""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections.abc import AsyncIterator
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


class Listed(NamedTuple):
    """A page, its age, and up to which age it is fresh; in seconds."""

    page: MoviePage
    age: float
    max_age: float

    @property
    def fresh(self) -> bool:
        """Whether it can be sent without fetching it again."""
        return self.age < self.max_age


class _Wanted(NamedTuple):
    """A page of the list or of a search, its key in the cache, and for how many seconds it is stored there."""

    number: int
    query: str | None
    key: str
    lifetime: int


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
        self._remembered: dict[str, tuple[MoviePage, float]] = {}  # with the time of the fetch

    async def page(self, number: int, query: str | None = None) -> Listed:
        """Page `number` (from 1). Raises NoSuchPage past the end, or one of the Upstream errors."""
        self.provider.check(query)
        if not self._fresh_seconds:
            async with self._time_limit() as end:
                return Listed(await self._request(number, query, end), 0, 0)
        wanted = self._wanted(number, query)
        cached = await self._cached(wanted)
        if cached is None:
            metrics.page_cache_results["miss"].inc()
            return self._listed(await asyncio.shield(self._shared_fetch(wanted)), 0)
        if not cached.fresh:
            self._shared_fetch(wanted)
        metrics.page_cache_results["fresh" if cached.fresh else "stale"].inc()
        return cached

    async def close(self) -> None:
        """Cancel the calls in progress."""
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        await self.provider.close()

    def _listed(self, page: MoviePage, age: float) -> Listed:
        return Listed(page, age, self._fresh_seconds if page.complete else min(self._fresh_seconds, INCOMPLETE_SECONDS))

    def _wanted(self, number: int, query: str | None) -> _Wanted:
        lifetime = PAGE_SECONDS if query is None else max(SEARCH_SECONDS, math.ceil(self._fresh_seconds))
        key = hashlib.sha256(f"{self._name} {number} {query!r} {lifetime}".encode()).hexdigest()[:32]
        return _Wanted(number, query, key, lifetime)

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
            fetch.exception()  # it is logged already, and possibly no request waits for it

    async def _cached(self, wanted: _Wanted) -> Listed | None:
        """The page in the memory of this process if it is fresh there, else in Redis."""
        key, now = wanted.key, asyncio.get_running_loop().time()
        if key in self._remembered:
            page, since = self._remembered[key]
            if (listed := self._listed(page, now - since)).fresh:
                return listed
            del self._remembered[key]
        entry = await self.cache.get(key, wanted.lifetime)
        found = entry and load_page(entry.text)
        if not entry or not found:
            return None
        self._remember(key, found, now - entry.age)
        return self._listed(found, entry.age)

    def _remember(self, key: str, page: MoviePage, since: float) -> None:
        if len(page.movies) <= MAX_CHARACTERS:
            if len(self._remembered) == MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = page, since

    async def _fetch(self, wanted: _Wanted) -> MoviePage:
        """A page from the third party, or from the process that is fetching it already."""
        async with self._time_limit() as end:
            while True:
                self.upstream.check(end)
                async with self.cache.lock(wanted.key) as locked:
                    cached = await self._cached(wanted)  # the previous holder of the lock may have stored it
                    if cached and cached.fresh:
                        return cached.page
                    if locked or self.cache.away:
                        return await self._fetch_alone(wanted, end)
                await asyncio.sleep(POLL_SECONDS)

    async def _fetch_alone(self, wanted: _Wanted, end: float) -> MoviePage:
        try:
            page = await self._request(wanted.number, wanted.query, end)
        except NoSuchPage:
            await self.cache.delete(wanted.key)
            raise
        await self.cache.put(wanted.key, page.dump(), wanted.lifetime)
        return page

    async def _request(self, number: int, query: str | None, end: float) -> MoviePage:
        page = await self.provider.page(lambda call: self.upstream.get(call, end), number, query)
        if page.skipped:
            self._report(number, page.skipped)
        return page

    def _report(self, number: int, skipped: tuple[str, ...]) -> None:
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


@contextlib.asynccontextmanager
async def open_movie_api(
    upstream: Upstream, provider: Provider, cache: PageCache, name: str, fresh_seconds: float
) -> AsyncIterator[MovieApi]:
    """A MovieApi; at the end it cancels the calls in progress."""
    api = MovieApi(upstream, provider, cache, name, fresh_seconds)
    try:
        yield api
    finally:
        await api.close()
