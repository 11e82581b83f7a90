"""bcrypt, off the event loop.

bcrypt reads 72 bytes and stops at a NUL, so it is given a keyed digest of the password: all of its bytes count.
"""
from __future__ import annotations

import asyncio
import base64
import hmac
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from movieserver.errors import Unavailable

T = TypeVar("T")
CONTEXT = b"movieserver password"
MOST_WAITING = 128


class TooManyLogins(Unavailable):
    """503: more passwords wait to be hashed than can be in good time."""

    code = "too_many_logins"
    detail = "Too many people log in at this moment. Try again shortly."


def _digest(password: str) -> bytes:
    return base64.b64encode(hmac.digest(CONTEXT, password.encode(), "sha384"))


def _cost(stored: bytes) -> int:
    return int(stored.split(b"$")[2])


class Passwords:
    """Hashes and checks passwords at a cost of 2**`rounds`, in threads of its own (one a core)."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="bcrypt")
        self._waiting = 0
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
            raise TooManyLogins
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
