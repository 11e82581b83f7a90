"""Pages of the third party in Redis: fresh for a while, kept for a day. Without Redis nothing is kept."""
from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import NamedTuple

from movieserver.redis.client import AWAY, Calls, Client, Script, in_time, open_redis

KEPT_SECONDS = 86400
LOCK_SECONDS = 3.0  # a process that died with a lock holds up the others no longer

GET = "return {redis.call('GET', KEYS[1]) or '', redis.call('PTTL', KEYS[1])}"
UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


class Kept(NamedTuple):
    """A text as it was put, and its age in seconds."""

    text: str
    age: float


class PageCache:
    """Texts by key, in Redis; opened by `open_page_cache`. While Redis is away every key is missing."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._get = Script(redis, GET)
        self._unlock = Script(redis, UNLOCK)
        self._calls = Calls("page cache")
        self._looks: dict[str, asyncio.Task[Kept | None]] = {}  # that have not begun yet

    @property
    def away(self) -> bool:
        """Whether Redis did not answer a moment ago."""
        return self._calls.away

    async def get(self, key: str) -> Kept | None:
        """What was put under `key`, if it is still kept; who asks in the same turn of the event loop shares a look."""
        if key not in self._looks:
            self._looks[key] = asyncio.create_task(self._look(key))
        return await asyncio.shield(self._looks[key])

    async def _look(self, key: str) -> Kept | None:
        del self._looks[key]
        said = await self._calls.ask(lambda: self._get([_page(key)]))
        return Kept(said[0], KEPT_SECONDS - said[1] / 1000) if said and said[0] else None

    async def put(self, key: str, text: str) -> None:
        """Keep a text from now on."""
        await self._calls.ask(lambda: self._redis.set(_page(key), text, ex=KEPT_SECONDS))

    async def drop(self, key: str) -> None:
        """Keep it no longer."""
        await self._calls.ask(lambda: self._redis.delete(_page(key)))

    @contextlib.asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[bool]:
        """Whether we are the only process that fetches `key` now; the lock ends by itself after LOCK_SECONDS."""
        name, token = f"movieserver:fetching:{{{key}}}", secrets.token_hex(8)
        got = await self._calls.ask(lambda: self._redis.set(name, token, nx=True, px=int(LOCK_SECONDS * 1000)))
        unknown = self.away
        try:
            yield bool(got)
        finally:
            if got or unknown:
                with contextlib.suppress(*AWAY):
                    await in_time(self._unlock([name], [token]))


def _page(key: str) -> str:
    return f"movieserver:page:{{{key}}}"


@contextlib.asynccontextmanager
async def open_page_cache(url: str) -> AsyncIterator[PageCache]:
    """A PageCache on the Redis at `url`."""
    async with open_redis(url) as redis:
        yield PageCache(redis)
