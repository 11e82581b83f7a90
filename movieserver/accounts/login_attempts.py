"""Limits failed login attempts, which are counted in Redis. Without Redis, attempts are not limited.

A window begins with the first failure and ends after WINDOW_SECONDS, regardless of later attempts: no user is locked
out for longer, and the next attempt after the window is a real one. The limit is per pair of an account and an address,
so others cannot lock a user out from elsewhere. An account under attack from many addresses leaves fewer attempts
to each of them. An attempt in progress counts too, so concurrent ones do not exceed the limit.
"""
from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
import secrets
import time
from collections.abc import AsyncIterator

from movieserver.errors import TooManyAttempts, Unauthenticated, Unavailable, WrongPassword
from movieserver.redis import client
from movieserver.redis.client import Calls, Client, Script, open_redis

PREFIX = "{movieserver}:attempts:"  # one hash tag: all keys are on one node of a cluster
WINDOW_SECONDS = 60.0
PAIR_FAILURES = 10
PAIR_FAILURES_UNDER_ATTACK = 2
ACCOUNT_FAILURES = 30  # more in a window is an attack
ADDRESS_FAILURES = 100
ATTEMPT_SECONDS = 60.0  # then the slot of a process that died is free again
PATIENCE_SECONDS = 25.0  # of a client that waits for a slot
SECONDS = 1.0  # for a reply: Redis has just counted the request, so a delay is most likely this process's own
END_CALLS = 20  # retries of reporting an outcome
POLL_SECONDS = (0.05, 0.25)  # pauses between two checks for a free slot: the first, the longest

# KEYS: failures of the pair, its attempts in progress, the same two of the address, failures of the account.
# ARGV: the attempt, the max failures of a pair, of a pair under attack, of an address, of an account, ms of an attempt.
# Returns 0 if the attempt may begin, -1 if it must wait for other attempts, else the ms until the window ends.
BEGIN = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function wait(failures, under_way, max)
    local failed = tonumber(redis.call('GET', failures) or 0)
    if failed >= max then return math.max(1, redis.call('PTTL', failures)) end
    redis.call('ZREM', under_way, ARGV[1])
    redis.call('ZREMRANGEBYSCORE', under_way, '-inf', now)
    return failed + redis.call('ZCARD', under_way) < max and 0 or -1
end
local attacked = tonumber(redis.call('GET', KEYS[5]) or 0) >= tonumber(ARGV[5])
local pair = wait(KEYS[1], KEYS[2], tonumber(attacked and ARGV[3] or ARGV[2]))
local address = wait(KEYS[3], KEYS[4], tonumber(ARGV[4]))
if pair ~= 0 or address ~= 0 then
    local longest = math.max(pair, address)
    return longest > 0 and longest or -1
end
for _, under_way in ipairs({KEYS[2], KEYS[4]}) do
    redis.call('ZADD', under_way, now + ARGV[6], ARGV[1])
    redis.call('PEXPIRE', under_way, ARGV[6])
end
return 0
"""

# KEYS as above. ARGV: the attempt, its outcome, ms of a window. A success clears the failures of its pair.
END = """
redis.call('ZREM', KEYS[4], ARGV[1])
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return 0 end
if ARGV[2] == 'right' then redis.call('DEL', KEYS[1]) end
if ARGV[2] == 'wrong' then
    for _, failures in ipairs({KEYS[1], KEYS[3], KEYS[5]}) do
        if redis.call('INCR', failures) == 1 then redis.call('PEXPIRE', failures, ARGV[3]) end
    end
end
return 1
"""


class LoginsUnderWay(Unavailable):
    """503: the attempts in progress could use up all failures that are still allowed."""

    code = "tries_under_way"
    detail = "Too many logins to this account or from this address are in progress. Try again shortly."


class LoginAttempts:
    """Limits failed attempts; opened by `open_login_attempts`. `key` hides names and addresses in Redis."""

    def __init__(self, redis: Client, key: bytes) -> None:
        self._key = key
        self._begin = Script(redis, BEGIN)
        self._end = Script(redis, END)
        self._calls = Calls("attempts", SECONDS)
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def away(self) -> bool:
        """Whether Redis failed to reply a moment ago; attempts are then not limited."""
        return self._calls.away

    @contextlib.asynccontextmanager
    async def attempt(self, account: bytes, address: str) -> AsyncIterator[None]:
        """One attempt: Unauthenticated or WrongPassword raised within it is a failure, no exception a success.

        TooManyAttempts if too many have failed, LoginsUnderWay if no slot becomes free in PATIENCE_SECONDS.
        """
        keys, name = self._keys(account, address), secrets.token_hex(8)
        if not await self._has_begun(keys, name):
            self._end_later(keys, name, "neither")  # Redis may have begun it, and the reply is lost
            yield
            return
        outcome = "neither"
        try:
            yield
            outcome = "right"
        except (Unauthenticated, WrongPassword):
            outcome = "wrong"
            raise
        finally:
            await asyncio.wait([self._end_later(keys, name, outcome)], timeout=client.SECONDS)

    async def close(self) -> None:
        """Stop reporting outcomes to Redis."""
        for ending in self._ending:
            ending.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _end_later(self, keys: list[str], name: str, outcome: str) -> asyncio.Task[None]:
        ending = asyncio.create_task(self._finish(keys, [name, outcome, int(WINDOW_SECONDS * 1000)]))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

    async def _finish(self, keys: list[str], arguments: list[object]) -> None:
        """Report the outcome of an attempt, with retries: other attempts may be waiting for the slot."""
        for _ in range(END_CALLS):
            if await self._calls.ask(lambda: self._end(keys, arguments)) is not None:
                return
            await asyncio.sleep(client.PAUSE_SECONDS)

    async def _has_begun(self, keys: list[str], name: str) -> bool:
        """Wait for a slot; False if Redis is away."""
        limits = [PAIR_FAILURES, PAIR_FAILURES_UNDER_ATTACK, ADDRESS_FAILURES, ACCOUNT_FAILURES]
        arguments = [name, *limits, int(ATTEMPT_SECONDS * 1000)]
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, POLL_SECONDS[0]
        while (wait := await self._calls.ask(lambda: self._begin(keys, arguments))) == -1:
            if time.monotonic() > deadline:
                raise LoginsUnderWay
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, POLL_SECONDS[1])
        if wait:
            raise TooManyAttempts(_limits_in_words(), math.ceil(wait / 1000))
        return wait is not None

    def _keys(self, account: bytes, address: str) -> list[str]:
        """The five keys of an attempt, as the scripts take them."""
        pair, source, owner = (
            PREFIX + hmac.new(self._key, subject, "sha256").hexdigest()
            for subject in (
                b"pair " + account + address.encode(), b"address " + address.encode(), b"account " + account)
        )
        return [f"{pair}:failures", f"{pair}:tries", f"{source}:failures", f"{source}:tries", f"{owner}:failures"]


def _limits_in_words() -> str:
    return (f"{PAIR_FAILURES} in {WINDOW_SECONDS:.0f} seconds are allowed for an account from one address "
            f"({PAIR_FAILURES_UNDER_ATTACK} while it is under attack), and {ADDRESS_FAILURES} from one address for all "
            "accounts")


@contextlib.asynccontextmanager
async def open_login_attempts(url: str, key: bytes) -> AsyncIterator[LoginAttempts]:
    """LoginAttempts counted in the Redis at `url`."""
    async with open_redis(url, SECONDS) as redis:
        attempts = LoginAttempts(redis, key)
        try:
            yield attempts
        finally:
            await attempts.close()
