"""The request count on Redis, exact over all processes.

Requests that arrive while a command is under way share the next one. A batch has a number, so that it can be sent
again after a lost reply without counting twice. What was answered before it could be counted (Redis was away) is sent
with the moment at which it was taken, so that a reset is not undone by what came before it and takes nothing that came
after. All keys share a hash tag: they lie on one node of a cluster.
"""
from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import AsyncIterator

from movieserver.observability import metrics
from movieserver.errors import Unavailable
from movieserver.observability.logs import Outage
from movieserver.redis.client import AWAY, SECONDS, Client, Script, in_time, open_redis, probe_write

COUNT = "{movieserver}:requests"
BATCH = "{movieserver}:batch:"
WAIT_SECONDS = SECONDS
RETRY_SECONDS = 0.2
CLOSE_SECONDS = 2.0
BATCH_NUMBER_SECONDS = 86400  # longer than any process waits for Redis between two batches
MOST_MOMENTS = 2000
CLOCK_SECONDS = 60.0  # after which a rougher reading of Redis' clock is better than an old one

# Moments are microseconds of Redis' own clock. ARGV: batch number, its time to live, until when its callers wait, so
# that no reset can have been answered before them, then moment and size in turn.
ADD = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[2]) or 0) then
    local reset, size = tonumber(redis.call('HGET', KEYS[1], 'reset') or 0), 0
    for place = 4, #ARGV, 2 do
        if now <= tonumber(ARGV[3]) or tonumber(ARGV[place]) > reset then
            size = size + tonumber(ARGV[place + 1])
        end
    end
    redis.call('HINCRBY', KEYS[1], 'count', size)
    redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
end
return {tonumber(redis.call('HGET', KEYS[1], 'count') or 0), now}
"""

RESET = """
local clock = redis.call('TIME')
redis.call('HSET', KEYS[1], 'count', 0, 'reset', string.format('%.0f', clock[1] * 1000000 + clock[2]))
"""


class CounterUnavailable(Unavailable):
    """503: Redis is away; what is counted meanwhile is kept and added when it is back."""

    code = "counter_unavailable"
    detail = "The request count cannot be reached right now. Nothing is lost; try again shortly."


class _Batch:
    """Requests that are counted together: how many at which moments, and the total once they are in it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.size = 0
        self.moments: list[tuple[float, int]] = []
        self.total: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._resolution = 0.001
        self._overdue: asyncio.TimerHandle | None = None

    def add(self) -> None:
        """Count one, at this moment; many moments become fewer, coarser ones, of which the first counts."""
        now = time.monotonic()
        self.size += 1
        if self.moments and now - self.moments[-1][0] < self._resolution:
            self.moments[-1] = (self.moments[-1][0], self.moments[-1][1] + 1)
            return
        self.moments.append((now, 1))
        if len(self.moments) > MOST_MOMENTS:
            pairs = (self.moments[place:place + 2] for place in range(0, len(self.moments), 2))
            self.moments = [(pair[0][0], sum(size for _, size in pair)) for pair in pairs]
            self._resolution *= 2

    def wait(self) -> asyncio.Future[int | None]:
        """The total with what was added, or None where it takes more than WAIT_SECONDS; for one who was added just now.

        Those who wait at once share a clock, which began with the first of them.
        """
        if self.total.done():  # those before have been sent away
            self.total = asyncio.get_running_loop().create_future()
            self._overdue = None
        if self._overdue is None:
            self._watch()
        return asyncio.shield(self.total)

    def answer(self, total: int | None) -> None:
        """Tell those who wait."""
        if not self.total.done():
            self.total.set_result(total)
        if self._overdue:
            self._overdue.cancel()

    def _watch(self) -> None:
        self._overdue = self.total.get_loop().call_later(WAIT_SECONDS, self._give_up, time.monotonic())

    def _give_up(self, began: float) -> None:
        if _held_up(began):
            self._watch()
        else:
            self.answer(None)


class RequestCounter:
    """Counts requests in Redis; opened by `open_counter`."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._add = Script(redis, ADD)
        self._reset = Script(redis, RESET)
        self._batch_key = BATCH + uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._open = _Batch(next(self._numbers))
        # by how many seconds Redis' clock is ahead of our monotonic one: to begin with, as far as this machine knows
        self._ahead = time.time() - time.monotonic()
        self._reading = (0.0, float("inf"))  # when that was read, and how long the exchange took
        self._wanted = asyncio.Event()
        self._away = False
        self._closing = False
        self._outage = Outage("Redis (request count)")

    async def count(self) -> int | None:
        """Count one request and give the total with it, or None when Redis is away or slower than WAIT_SECONDS."""
        batch = self._open
        batch.add()
        self._wanted.set()
        return None if self._away else await batch.wait()

    async def reset(self) -> None:
        """Set the count to zero, for good: nothing counted before is added after."""
        try:
            await in_time(self._reset([COUNT]))
        except AWAY as error:
            raise CounterUnavailable from error

    async def outage(self) -> str | None:
        """Why Redis cannot be written to, None where it can."""
        try:
            await probe_write(self._redis)
        except AWAY as error:
            return str(error) or type(error).__name__
        return None

    async def run(self) -> None:
        """Deliver batch after batch until `close`."""
        late = False
        with contextlib.suppress(Exception):
            await self._command(0, 0)  # counts nothing, and reads the clock
        while not self._closing or self._open.size:
            await self._wanted.wait()
            await asyncio.sleep(0)  # whoever has come in the meantime shares the command
            self._wanted.clear()
            batch, self._open = self._open, _Batch(next(self._numbers))
            if batch.size:
                late = await self._deliver(batch, late)

    def close(self) -> None:
        """Ask `run` to deliver what it has and end."""
        self._closing = True
        self._wanted.set()

    async def _deliver(self, batch: _Batch, late: bool) -> bool:
        """Add a batch, however long it takes; whether what has gathered meanwhile was answered without waiting."""
        was_away = forgiven = False
        while True:
            began = time.monotonic()
            try:
                batch.answer(await self._send(batch, late or was_away))
            except Exception as error:  # whatever it is, what was counted is not given up
                if _held_up(began) and not forgiven:
                    forgiven = True
                    continue
                was_away = self._away = True
                self._outage.record_failure(error)
                batch.answer(None)
                self._open.answer(None)
                metrics.counter_backlog.set(batch.size + self._open.size)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._away = False
                self._outage.record_success()
                metrics.counter_backlog.set(self._open.size if was_away else 0)
                if was_away and not self._open.size:
                    self._open = _Batch(next(self._numbers))  # the callers of the other one were sent away
                    return False
                return was_away

    async def _send(self, batch: _Batch, late: bool) -> int:
        """One command; the total after it."""
        counts = [part for when, size in batch.moments for part in (int((when + self._ahead) * 1e6), size)]
        waiting = 0 if late else counts[0] + int(WAIT_SECONDS * 1e6)
        return await self._command(batch.number, waiting, *counts)

    async def _command(self, number: int, waiting: int, *counts: int) -> int:
        """Run ADD, and learn Redis' clock from its answer: the shorter the exchange, the better the reading."""
        began = time.monotonic()
        total, moment = await self._add([COUNT, self._batch_key], [number, BATCH_NUMBER_SECONDS, waiting, *counts])
        ended = time.monotonic()
        read, took = self._reading
        if ended - began <= 1.5 * took or ended - read > CLOCK_SECONDS:
            self._ahead = moment / 1e6 - (began + ended) / 2
            self._reading = (ended, ended - began)
        return int(total)


def _held_up(began: float) -> bool:
    """Whether a wait took so long that this process was busy with something else, and Redis need not be away."""
    return time.monotonic() - began > 1.5 * WAIT_SECONDS


@contextlib.asynccontextmanager
async def open_counter(url: str) -> AsyncIterator[RequestCounter]:
    """A RequestCounter; at the end it delivers what it still has, for at most CLOSE_SECONDS."""
    async with open_redis(url) as redis:
        counter = RequestCounter(redis)
        delivery = asyncio.create_task(counter.run())
        try:
            yield counter
        finally:
            counter.close()
            await asyncio.wait([delivery], timeout=CLOSE_SECONDS)
            delivery.cancel()
