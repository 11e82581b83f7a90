"""bcrypt, off the event loop.

bcrypt reads 72 bytes and stops at a NUL, so it gets a keyed digest of the password: all of its bytes count.
"""
from __future__ import annotations

import asyncio
import base64
import hmac
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from movieserver.accounts.common_passwords import MIN_CHARACTERS, is_common
from movieserver.errors import Unavailable
from movieserver.observability import metrics
from movieserver.observability.logs import Outage

T = TypeVar("T")
CONTEXT = b"movieserver password"
MAX_NORMALIZED = 1024  # code points; normalizing 100,000 combining marks would block the process for a minute
MAX_WAITING = 100  # of these, registrations leave half to logins
NICENESS = 15  # everything else on this machine is more urgent than a hash


class TooManyLogins(Unavailable):
    """503: the queue of passwords to hash is full."""

    code = "too_many_logins"
    detail = "Too many passwords are being checked right now. Try again shortly."
    headers = {"Retry-After": "5"}


def normalized(password: str) -> str:
    """The password in NFC, in which it is compared and measured; unchanged if it is over MAX_NORMALIZED code points."""
    return unicodedata.normalize("NFC", password) if len(password) <= MAX_NORMALIZED else password


def password_fault(password: str) -> str | None:
    """Why this may not be a password, or None if it may. NUL is checked with the whole body."""
    if (length := len(normalized(password))) < MIN_CHARACTERS:
        return f"A password must have at least {MIN_CHARACTERS} characters; this one has {length}"
    return "This password is too common. Choose a less common one." if is_common(password) else None


def digest(password: str) -> bytes:
    """The digest that bcrypt hashes instead of the password."""
    return base64.b64encode(hmac.digest(CONTEXT, normalized(password).encode(), "sha384"))


def _lower_priority() -> None:
    """Lower the priority of this thread alone (on Linux it is a thread's, not a process's: setpriority(2), BUGS)."""
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(own, NICENESS))


def _cost(stored: bytes) -> int:
    return int(stored.split(b"$")[2])


class Passwords:
    """Hashes and checks passwords at a cost of 2**`rounds`, in one thread per core, at a low priority."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="bcrypt", initializer=_lower_priority)
        self._waiting = 0
        self._outage = Outage("password hashing")
        self._unknown_user = bcrypt.gensalt(rounds) + b"." * 31

    async def hash(self, password: str, *, registration: bool = False) -> str:
        """The hash to store. Raises TooManyLogins; for a registration, if half of MAX_WAITING wait."""
        max_waiting = MAX_WAITING // 2 if registration else MAX_WAITING
        hashed = await self._run(lambda: bcrypt.hashpw(digest(password), bcrypt.gensalt(self._rounds)), max_waiting)
        return hashed.decode()

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether `password` matches the stored hash; None (an unknown user) takes the same time."""
        against = stored.encode() if stored is not None else self._unknown_user
        return await self._run(lambda: self._check(digest(password), against), MAX_WAITING) and stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made at a lower cost than new ones."""
        return _cost(stored.encode()) < self._rounds

    def close(self) -> None:
        """End the threads; passwords that wait are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check(self, digested: bytes, stored: bytes) -> bool:
        """Check at the current cost: a hash of a lower cost is followed by work for the difference."""
        right = bcrypt.checkpw(digested, stored)
        for rounds in range(_cost(stored), self._rounds):
            bcrypt.hashpw(digested, bcrypt.gensalt(rounds))
        return right

    async def _run(self, work: Callable[[], T], max_waiting: int) -> T:
        if self._waiting >= max_waiting:
            self._outage.record_failure(f"{max_waiting} passwords are waiting to be hashed, which is the maximum")
            raise TooManyLogins
        self._waiting += 1
        try:
            with metrics.passwords_waiting.track_inprogress():
                result = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
        self._outage.record_success()
        return result
