"""Limits failed login attempts, which are counted in Redis. Without Redis, attempts are not limited.

A window begins with the first failure and ends after WINDOW_SECONDS, regardless of later attempts: no user is locked
out for longer, and after the window the password is checked again. The limit is per pair of an account and an address,
so others cannot lock a user out from elsewhere. An account under attack from many addresses leaves fewer attempts
to each of them. The limit is checked before an attempt and again with its outcome, so concurrent attempts learn
no more than consecutive ones.
"""
from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from movieserver.accounts.passwords import MAX_WAITING, TooManyLogins
from movieserver.errors import TooManyAttempts, Unauthenticated, WrongPassword
from movieserver.redis import client
from movieserver.redis.client import PATIENT_SECONDS, Calls, Client, Script

PREFIX = "{movieserver}:attempts:"  # one hash tag: all keys are on one node of a cluster
WINDOW_SECONDS = 60.0
PAIR_FAILURES = 10
PAIR_FAILURES_UNDER_ATTACK = 2
ACCOUNT_FAILURES = 30  # more in a window is an attack
ADDRESS_FAILURES = 100
MAX_CHECKING = MAX_WAITING // 2  # concurrent attempts of a pair in a process

# KEYS: failures of the pair, of the address, of the account. ARGV: 'begin', 'right' or 'wrong', ms of a window, the max
# failures of a pair, of a pair under attack, of an address, of an account.
# Returns 0, or the ms until the window of a limit that is reached ends; then nothing is counted or cleared.
COUNT = """
local function wait(key, max)
    if tonumber(redis.call('GET', key) or 0) < tonumber(max) then return 0 end
    return math.max(1, redis.call('PTTL', key))
end
local attacked = wait(KEYS[3], ARGV[6]) > 0
local longest = math.max(wait(KEYS[1], attacked and ARGV[4] or ARGV[3]), wait(KEYS[2], ARGV[5]))
if longest > 0 then return longest end
if ARGV[1] == 'right' then redis.call('DEL', KEYS[1]) end
if ARGV[1] == 'wrong' then
    for _, key in ipairs(KEYS) do
        if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, ARGV[2]) end
    end
end
return 0
"""


class LoginAttempts:
    """Limits failed attempts. `key` hides names and addresses in Redis."""

    def __init__(self, redis: Client, key: bytes) -> None:
        self._key = key
        self._script = Script(redis, COUNT)
        self._calls = Calls("attempts", PATIENT_SECONDS)
        self._checking: Counter[str] = Counter()  # attempts of each pair in this process

    @property
    def unavailable(self) -> bool:
        """Whether Redis failed to reply a moment ago; attempts are then not limited."""
        return self._calls.unavailable

    @contextlib.asynccontextmanager
    async def attempt(self, account: bytes, address: str) -> AsyncIterator[None]:
        """One attempt: Unauthenticated or WrongPassword raised within it is a failure, no exception a success.

        TooManyAttempts if too many have failed before it, or until its end: the outcome is then not revealed.
        TooManyLogins if too many of the same account and address are in progress.
        """
        keys = self._keys(account, address)
        await self._count(keys, "begin")
        try:
            with self._slot(keys[0]):
                yield
        except (Unauthenticated, WrongPassword):
            if not await self._count(keys, "wrong"):
                await asyncio.sleep(client.PAUSE_SECONDS * 1.1)  # a timer of uvloop may end a millisecond early
                await self._count(keys, "wrong")  # a short outage makes no attempt free
            raise
        await self._count(keys, "right")

    @contextlib.contextmanager
    def _slot(self, pair: str) -> Iterator[None]:
        """One of the MAX_CHECKING slots of a pair, which leave the others a part of the queue of password hashes.

        Raises TooManyLogins.
        """
        if self._checking[pair] >= MAX_CHECKING:
            raise TooManyLogins
        self._checking[pair] += 1
        try:
            yield
        finally:
            self._checking[pair] -= 1
            if not self._checking[pair]:
                del self._checking[pair]

    async def _count(self, keys: list[str], event: str) -> bool:
        """Check the limits, and count the event; False if Redis is unavailable. Raises TooManyAttempts."""
        limits = [PAIR_FAILURES, PAIR_FAILURES_UNDER_ATTACK, ADDRESS_FAILURES, ACCOUNT_FAILURES]
        arguments = [event, int(WINDOW_SECONDS * 1000), *limits]
        wait = await self._calls.ask(lambda: self._script(keys, arguments))
        if wait:
            raise TooManyAttempts(_limits_in_words(), math.ceil(wait / 1000))
        return wait is not None

    def _keys(self, account: bytes, address: str) -> list[str]:
        """The keys of the pair, of the address and of the account."""
        subjects = (b"pair " + account + address.encode(), b"address " + address.encode(), b"account " + account)
        return [f"{PREFIX}{hmac.new(self._key, each, 'sha256').hexdigest()}:failures" for each in subjects]


def _limits_in_words() -> str:
    return (f"{PAIR_FAILURES} in {WINDOW_SECONDS:.0f} seconds are allowed for an account from one address "
            f"({PAIR_FAILURES_UNDER_ATTACK} while it is under attack), and {ADDRESS_FAILURES} from one address for all "
            "accounts")
