"""Wrong passwords, counted in Redis, and what they cost. Without Redis nobody is held up.

A window begins with the first failure and ends after WINDOW_SECONDS, whatever is tried meanwhile: nobody is kept out
for longer, and the end of the window is when the next try is real. What decides is the pair of an account and an
address, so that nobody is kept out by what others do elsewhere; an account under attack from many addresses leaves
fewer tries to each of them. A try counts while it is under way too: a burst has no more of them.
"""
from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
import secrets
import time
from collections.abc import AsyncIterator

from movieserver.redis import client
from movieserver.errors import TooManyAttempts, Unauthenticated, Unavailable, WrongPassword
from movieserver.redis.client import Calls, Client, Script, open_redis

PREFIX = "{movieserver}:attempts:"  # one hash tag: all of them lie on one node of a cluster
WINDOW_SECONDS = 60.0
PAIR_FAILURES = 10
PAIR_FAILURES_UNDER_ATTACK = 2
ACCOUNT_FAILURES = 30  # in a window: more is an attack
ADDRESS_FAILURES = 100
TRY_SECONDS = 60.0  # a process that died with a try under way holds up others no longer
PATIENCE_SECONDS = 25.0
SECONDS = 1.0  # for an answer: Redis has just counted the request, so it is most likely we who are slow
ENDINGS = 20  # times that Redis is told how a try ended
PAUSES_SECONDS = (0.05, 0.25)  # between two questions whether a try has ended: the first, the longest

# KEYS: failures of the pair and its tries under way, the same two of the address, failures of the account.
# ARGV: the try, the most failures of a pair, of one under attack, of an address, of an account, the ms of a try.
# Gives 0 for a try that may begin, -1 for one that has to wait for others, else the ms until the window ends.
BEGIN = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function wait(failures, under_way, most)
    local failed = tonumber(redis.call('GET', failures) or 0)
    if failed >= most then return math.max(1, redis.call('PTTL', failures)) end
    redis.call('ZREM', under_way, ARGV[1])
    redis.call('ZREMRANGEBYSCORE', under_way, '-inf', now)
    return failed + redis.call('ZCARD', under_way) < most and 0 or -1
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

# KEYS as above. ARGV: the try, its outcome, the window's ms. A success makes up for the failures of its pair.
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


class TriesUnderWay(Unavailable):
    """503: as many tries as may fail are under way already."""

    code = "tries_under_way"
    detail = "Too many logins to this account or from this address are under way. Try again shortly."


class Attempts:
    """Counts failed tries; opened by `open_attempts`. `key` keeps names and addresses from those who read Redis."""

    def __init__(self, redis: Client, key: bytes) -> None:
        self._key = key
        self._begin = Script(redis, BEGIN)
        self._end = Script(redis, END)
        self._calls = Calls("attempts", SECONDS)
        self._ending: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def attempt(self, account: bytes, address: str) -> AsyncIterator[None]:
        """A try of a password: Unauthenticated or WrongPassword raised in it are a failure, and no error a success.

        TooManyAttempts where too many have failed.
        """
        keys, name = self._keys(account, address), secrets.token_hex(8)
        if not await self._begun(keys, name):
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
            ending = asyncio.create_task(self._ended(keys, [name, outcome, int(WINDOW_SECONDS * 1000)]))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            await asyncio.wait([ending], timeout=client.SECONDS)

    async def close(self) -> None:
        """Stop telling Redis how tries ended."""
        for ending in self._ending:
            ending.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _ended(self, keys: list[str], said: list[object]) -> None:
        """Tell Redis how a try ended, again when it does not hear: others may be waiting for the place."""
        for _ in range(ENDINGS):
            if await self._calls.ask(lambda: self._end(keys, said)) is not None:
                return
            await asyncio.sleep(client.PAUSE_SECONDS)

    async def _begun(self, keys: list[str], name: str) -> bool:
        """Wait for a place among the tries that may fail; False when Redis is away."""
        most = [PAIR_FAILURES, PAIR_FAILURES_UNDER_ATTACK, ADDRESS_FAILURES, ACCOUNT_FAILURES]
        asked = [name, *most, int(TRY_SECONDS * 1000)]
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, PAUSES_SECONDS[0]
        while (wait := await self._calls.ask(lambda: self._begin(keys, asked))) == -1:
            if time.monotonic() > deadline:
                raise TriesUnderWay
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, PAUSES_SECONDS[1])
        if wait:
            bound = (f"{PAIR_FAILURES} in {WINDOW_SECONDS:.0f} seconds may be for one account, "
                     f"{ADDRESS_FAILURES} from one address, {PAIR_FAILURES_UNDER_ATTACK} where the account is attacked")
            raise TooManyAttempts(bound, math.ceil(wait / 1000))
        return wait is not None

    def _keys(self, account: bytes, address: str) -> list[str]:
        """The five keys of a try, as the scripts take them."""
        pair, source, owner = (
            PREFIX + hmac.new(self._key, said, "sha256").hexdigest()
            for said in (b"pair " + account + address.encode(), b"address " + address.encode(), b"account " + account)
        )
        return [f"{pair}:failures", f"{pair}:tries", f"{source}:failures", f"{source}:tries", f"{owner}:failures"]


@contextlib.asynccontextmanager
async def open_attempts(url: str, key: bytes) -> AsyncIterator[Attempts]:
    """Attempts counted in the Redis at `url`."""
    async with open_redis(url, SECONDS) as redis:
        attempts = Attempts(redis, key)
        try:
            yield attempts
        finally:
            await attempts.close()
