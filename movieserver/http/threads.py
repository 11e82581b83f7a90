"""Threads for work on large bodies, so that the event loop does not wait for it."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from movieserver.errors import Overloaded

INLINE_BYTES = 16 * 1024  # takes a few milliseconds on the event loop
THREADS = 1  # more would only share the one interpreter
MAX_WAITING = 16

T = TypeVar("T")


class Threads:
    """A number of threads; `waiting` is the number of jobs running or queued."""

    def __init__(self, number: int, name: str) -> None:
        self.waiting = 0
        self._threads = ThreadPoolExecutor(number, name)

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """The result of `work`."""
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)


class BodyThreads(Threads):
    """Reads large bodies and writes large files."""

    def __init__(self) -> None:
        super().__init__(THREADS, "bodies")

    async def run(self, work: Callable[[], T], size: int) -> T:
        """The result of `work` on about `size` bytes. Raises Overloaded if too much is waiting."""
        if size <= INLINE_BYTES:
            return work()
        if self.waiting >= MAX_WAITING:
            raise Overloaded("Too many large request bodies and files are being processed. Try again shortly.")
        return await self.run_in_thread(work)
