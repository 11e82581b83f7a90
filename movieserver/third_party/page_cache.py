"""Pages of the third party in Redis. While Redis is unavailable nothing is cached."""
from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

from movieserver.redis.client import REDIS_ERRORS, SECONDS, Calls, Client, Script, in_time

LOCK_SECONDS = 3.0  # how long a process that died with the lock blocks the others
MAX_UNLOCKING = 5  # at a time: also while Redis is unavailable, on a client that others share

UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


class PageCache:
    """Texts by key, in Redis, which has `reply_seconds` to reply. While it is unavailable, every key is missing."""

    def __init__(self, redis: Client, reply_seconds: float = SECONDS) -> None:
        self._redis = redis
        self._reply_seconds = reply_seconds
        self._unlocking = asyncio.Semaphore(MAX_UNLOCKING)
        self._unlock = Script(redis, UNLOCK)
        self._calls = Calls("page cache", reply_seconds)
        self._reads: dict[str, asyncio.Task[str | None]] = {}  # that have not begun yet

    @property
    def unavailable(self) -> bool:
        """Whether Redis failed to reply a moment ago."""
        return self._calls.unavailable

    async def get(self, key: str) -> str | None:
        """The text under `key`, if there is one. Calls in the same event loop iteration share one command."""
        if key not in self._reads:
            self._reads[key] = asyncio.create_task(self._read(key))
        return await asyncio.shield(self._reads[key])

    async def _read(self, key: str) -> str | None:
        del self._reads[key]
        return await self._calls.ask(lambda: self._redis.get(_page(key)))

    async def put(self, key: str, text: str, lifetime: int) -> None:
        """Store a text for `lifetime` seconds."""
        await self._calls.ask(lambda: self._redis.set(_page(key), text, ex=lifetime))

    async def delete(self, key: str) -> None:
        """Delete what is stored under `key`."""
        await self._calls.ask(lambda: self._redis.delete(_page(key)))

    @contextlib.asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[bool]:
        """Whether this process got the lock to fetch `key`; the lock expires after LOCK_SECONDS."""
        name, token = f"movieserver:fetching:{{{key}}}", secrets.token_hex(8)
        locked = await self._calls.ask(lambda: self._redis.set(name, token, nx=True, px=int(LOCK_SECONDS * 1000)))
        unknown = self.unavailable
        try:
            yield bool(locked)
        finally:
            if locked or unknown:
                async with self._unlocking:
                    with contextlib.suppress(*REDIS_ERRORS):
                        await in_time(self._unlock([name], [token]), self._reply_seconds)


def _page(key: str) -> str:
    return f"movieserver:page:{{{key}}}"
