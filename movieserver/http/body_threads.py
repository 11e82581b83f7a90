"""Threads that read large bodies and write large files, so that the event loop does not wait for them."""
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


class BodyThreads:
    """Runs work on a body of some size; `waiting` of them are in a thread or queued for one."""

    def __init__(self) -> None:
        self.waiting = 0
        self._threads = ThreadPoolExecutor(THREADS, "bodies")

    async def run(self, work: Callable[[], T], size: int) -> T:
        """The result of `work`, which is about `size` bytes; Overloaded if too much is waiting."""
        if size <= INLINE_BYTES:
            return work()
        if self.waiting >= MAX_WAITING:
            raise Overloaded
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)
