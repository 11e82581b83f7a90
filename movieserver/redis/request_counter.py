"""The request count on Redis, exact over all processes.

Requests that arrive while a command is running form the next batch. Batches are numbered and Redis remembers the last
one of each process, so a batch that is sent again after a lost reply counts once. While Redis is unavailable, requests
get a response without a number and are added later.

A reset begins a new epoch, and Redis adds a batch only in the epoch that it names: nothing from before a reset arrives
after it. Of a batch that Redis refuses, the requests that still wait for their number are sent again in the new epoch.
Requests without a number are dropped, because it is unknown on which side of the reset they were. The process that
carries out the reset knows, and drops only those from before it. A process asks for the epoch before it serves. If
Redis is unavailable at that moment, it cannot tell later resets from earlier ones, and adds all of its requests.
"""
from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import TypeAlias

from movieserver.errors import Unavailable
from movieserver.observability import metrics
from movieserver.observability.logs import Outage, log
from movieserver.redis.client import REDIS_ERRORS, SECONDS, Client, Script, cancel, in_time, open_redis, probe_write

COUNT = "{movieserver}:requests"  # one hash tag: both keys are on one node of a cluster
BATCH = "{movieserver}:batch:"
BATCH_SECONDS = 86400  # longer than any process waits for Redis between two batches
WAIT_SECONDS = SECONDS
WAIT_STEPS = 5  # a wait is split into this many timers: while this process is blocked, only one of them expires
RETRY_SECONDS = 0.2
CLOSE_SECONDS = 2.0

# KEYS: the count, the process's last batch. ARGV: epoch, number and size of the batch, seconds to remember it.
# Returns the epoch, and the count with the batch in it if that is the batch's epoch.
ADD = """
local epoch = redis.call('HGET', KEYS[1], 'epoch') or '0'
if epoch ~= ARGV[1] then return {epoch, 0} end
local last, count = unpack(redis.call('HMGET', KEYS[2], 'number', 'count'))
if tonumber(ARGV[2]) > tonumber(last or 0) then
    count = redis.call('HINCRBY', KEYS[1], 'count', ARGV[3])
    redis.call('HSET', KEYS[2], 'number', ARGV[2], 'count', count)
    redis.call('EXPIRE', KEYS[2], ARGV[4])
end
return {epoch, tonumber(count)}
"""
RESET = "redis.call('HSET', KEYS[1], 'count', 0) return redis.call('HINCRBY', KEYS[1], 'epoch', 1)"

Number: TypeAlias = asyncio.Future[int | None]


class CounterUnavailable(Unavailable):
    """503: Redis is unavailable."""

    code = "counter_unavailable"
    detail = "The request count cannot be reached right now. Try again shortly."


class _Batch:
    """Requests that one command adds: those that went on without a number, and those that wait for theirs."""

    def __init__(self) -> None:
        self.unnumbered = 0
        self.waiting: list[Number] = []
        self.timer: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        return self.unnumbered + len(self.waiting)

    def release(self) -> None:
        """Let the waiting requests go on without a number."""
        self.unnumbered += len(self.waiting)
        self._resolve(itertools.repeat(None))

    def added(self, count: int) -> None:
        """Give the waiting requests their numbers, up to `count`; the batch is then empty."""
        self.unnumbered = 0
        self._resolve(range(count - len(self.waiting) + 1, count + 1))

    def _resolve(self, numbers: Iterable[int | None]) -> None:
        for future, number in zip(self.waiting, numbers):
            if not future.done():
                future.set_result(number)
        self.waiting = []
        if self.timer:
            self.timer.cancel()


class RequestCounter:
    """Counts requests in Redis; opened by `open_counter`. While `unavailable`, no request waits for Redis."""

    def __init__(self, redis: Client) -> None:
        self.unavailable = False
        self._redis = redis
        self._add = Script(redis, ADD)
        self._reset = Script(redis, RESET)
        self._keys = [COUNT, BATCH + uuid.uuid4().hex]
        self._loop = asyncio.get_running_loop()
        self._sent, self._open = _Batch(), _Batch()
        self._number = 1  # of the batch that is sent
        self._epoch = ""  # unknown until Redis has replied
        self._wanted = asyncio.Event()
        self.first_reply = asyncio.Event()  # Redis has replied, or is unavailable
        self._outage = Outage("Redis (request count)")

    @property
    def backlog(self) -> int:
        """The number of requests that Redis has not confirmed yet."""
        return self._sent.size + self._open.size

    def count(self) -> Number:
        """Count one request. Resolves to its number, or to None if Redis does not reply within WAIT_SECONDS."""
        number, batch = self._loop.create_future(), self._open
        if self.unavailable:
            batch.unnumbered += 1
            number.set_result(None)
        else:
            batch.waiting.append(number)
            if len(batch.waiting) == 1:
                self._limit_wait(batch, WAIT_STEPS)
        self._wanted.set()
        return number

    async def reset(self) -> None:
        """Set the count to zero, and drop requests without a number. Raises CounterUnavailable."""
        try:
            epoch = await in_time(self._reset([COUNT]))
        except REDIS_ERRORS as error:
            raise CounterUnavailable from error
        self._begin_epoch(str(epoch))

    async def writable(self) -> bool:
        """Whether Redis can be written to."""
        try:
            await probe_write(self._redis)
        except REDIS_ERRORS:
            return False
        return True

    async def run(self) -> None:
        """Add one batch after the other until cancelled. The first is empty: it asks for the epoch."""
        while True:
            await self._deliver(self._sent)
            await self._wanted.wait()
            await asyncio.sleep(0)  # requests of the same event loop iteration share the command
            self._wanted.clear()
            self._sent, self._open = self._open, _Batch()
            self._number += 1

    async def _deliver(self, batch: _Batch) -> None:
        """Add a batch to the count in Redis, in its current epoch; retries without limit."""
        failures = 0
        while True:
            epoch = self._epoch
            try:
                current, count = await self._add(self._keys, [epoch, self._number, batch.size, BATCH_SECONDS])
            except Exception as error:  # any error: the batch is sent again
                failures += 1
                if failures > 1:  # one is no outage: an idle connection was closed, or this process was busy
                    await self._back_off(error)
                continue
            self.unavailable = False
            self._outage.record_success()
            if current == epoch:
                break
            if self._epoch not in ("", current):
                self._begin_epoch(current)
            self._epoch = current
        batch.added(count)
        self.first_reply.set()
        metrics.counter_backlog.set(self._open.unnumbered)

    async def _back_off(self, error: Exception) -> None:
        """Redis is unavailable: let all requests go on without a number, and wait before the next attempt."""
        self._outage.record_failure(error)
        self._release_all()
        metrics.counter_backlog.set(self.backlog)
        await asyncio.sleep(RETRY_SECONDS)

    def _limit_wait(self, batch: _Batch, steps: int) -> None:
        """Release all requests after `steps` timers, unless the batch is added before."""
        if steps:
            batch.timer = self._loop.call_later(WAIT_SECONDS / WAIT_STEPS, self._limit_wait, batch, steps - 1)
        else:
            self._release_all()

    def _release_all(self) -> None:
        """Redis is unavailable: let all requests go on without a number; none waits for it any longer."""
        self.unavailable = True
        self.first_reply.set()
        self._sent.release()
        self._open.release()

    def _begin_epoch(self, epoch: str) -> None:
        """Drop requests without a number, from before a reset. Those that wait for theirs form a new batch."""
        self._sent.unnumbered = self._open.unnumbered = 0
        self._number += 1
        self._epoch = epoch


@contextlib.asynccontextmanager
async def open_counter(url: str) -> AsyncIterator[RequestCounter]:
    """A RequestCounter that knows the epoch, unless Redis is unavailable.

    At the end it has CLOSE_SECONDS to add what is left, then logs how many requests are lost.
    """
    async with open_redis(url) as redis:
        counter = RequestCounter(redis)
        delivery = asyncio.create_task(counter.run())
        try:
            await counter.first_reply.wait()
            yield counter
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    while counter.backlog:
                        await asyncio.sleep(0.01)
            await cancel(delivery)
            if counter.backlog:
                log.error("requests not counted", count=counter.backlog)
