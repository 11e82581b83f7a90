"""bcrypt, off the event loop.

bcrypt reads 72 bytes and stops at a NUL, so it is given a keyed digest of the password: all of its bytes count.
"""
from __future__ import annotations

import asyncio
import base64
import hmac
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from movieserver.observability import metrics
from movieserver.errors import Unavailable
from movieserver.observability.logs import Outage

T = TypeVar("T")
CONTEXT = b"movieserver password"
MOST_WAITING = 100
NICENESS = 15  # a hash is in no hurry: whatever else this machine serves goes first


class TooManyLogins(Unavailable):
    """503: more passwords wait to be hashed than can be in good time."""

    code = "too_many_logins"
    detail = "Too many people log in at this moment. Try again shortly."

    def __init__(self, seconds: float) -> None:
        self.headers = {"Retry-After": str(math.ceil(seconds))}
        super().__init__()


def _give_way() -> None:
    """Lower the priority of this thread alone (on Linux it is a thread's, not a process's: setpriority(2), BUGS)."""
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(own, NICENESS))


def _digest(password: str) -> bytes:
    return base64.b64encode(hmac.digest(CONTEXT, password.encode(), "sha384"))


def _cost(stored: bytes) -> int:
    return int(stored.split(b"$")[2])


class Passwords:
    """Hashes and checks passwords at a cost of 2**`rounds`, in threads of its own: one a core, and they give way."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="bcrypt", initializer=_give_way)
        self._waiting = 0
        self._seconds = 0.1  # what one took, in this process
        self._outage = Outage("password hashing")
        self._nobody = bcrypt.gensalt(rounds) + b"." * 31

    async def hash(self, password: str) -> str:
        """The hash to store."""
        return (await self._run(lambda: bcrypt.hashpw(_digest(password), bcrypt.gensalt(self._rounds)))).decode()

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether `password` belongs to the stored hash; None, an unknown user, costs the same time."""
        against = stored.encode() if stored is not None else self._nobody
        return await self._run(lambda: self._check(_digest(password), against)) and stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made at a lower cost than they are now."""
        return _cost(stored.encode()) < self._rounds

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check(self, digest: bytes, stored: bytes) -> bool:
        """Check at the cost of today, also against a hash of a lower one: what is missing is made up for."""
        right = bcrypt.checkpw(digest, stored)
        for rounds in range(_cost(stored), self._rounds):
            bcrypt.hashpw(digest, bcrypt.gensalt(rounds))
        return right

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            self._outage.record_failure(f"{MOST_WAITING} passwords wait to be hashed: that is as many as may")
            raise TooManyLogins(self._waiting * self._seconds / (os.cpu_count() or 1))
        self._waiting += 1
        try:
            with metrics.passwords_waiting.track_inprogress():
                result = await asyncio.get_running_loop().run_in_executor(self._threads, lambda: self._timed(work))
        finally:
            self._waiting -= 1
        self._outage.record_success()
        return result

    def _timed(self, work: Callable[[], T]) -> T:
        began = time.monotonic()
        done = work()
        self._seconds = time.monotonic() - began
        return done
