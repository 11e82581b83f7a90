"""Wakes the requests that wait for a change of their user's collections, in all processes.

A process announces a change after its commit, on one channel of Redis, and reads that channel on one connection. No
write waits for its announcement: those of GATHER_SECONDS share a message, and a message that fails is dropped. So a
waiting request looks every POLL_SECONDS while the channel cannot be read, once when it can be read again, and when its
time is up.
"""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator

from movieserver.observability import metrics
from movieserver.observability.logs import Outage
from movieserver.redis.client import SECONDS, Client, cancel

CHANNEL = "{movieserver}:changes"
GATHER_SECONDS = 0.05
POLL_SECONDS = 2.0
RETRY_SECONDS = 1.0
SILENT_SECONDS = 5.0  # then Redis has as long to reply to a PING
MAX_WAITING, MAX_WAITING_OF_USER = 200, 10


class Waiter:
    """A request of a user that waits until its time is up, or until `end`."""

    def __init__(self, changes: Changes, user_id: str, seconds: float) -> None:
        self.user_id = user_id
        self._changes = changes
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + seconds
        self._woken = asyncio.Event()
        self._ended = seconds <= 0

    def wake(self) -> None:
        """Something may have changed."""
        self._woken.set()

    def end(self) -> None:
        """Wait no longer."""
        self._ended = True
        self._woken.set()

    async def wait(self) -> bool:
        """Whether to look for changes again. False if the time was up before, or the wait has ended."""
        left = self._deadline - self._loop.time()
        if self._ended or left <= 0:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left if self._changes.subscribed else min(left, POLL_SECONDS)):
                await self._woken.wait()
        self._woken.clear()
        return not self._ended


class Changes:
    """Announces changes and wakes the requests that wait for them; opened by `open_changes`."""

    def __init__(self, redis: Client) -> None:
        self.subscribed = False
        self._redis = redis
        self._waiting: set[Waiter] = set()
        self._changed: set[str] = set()  # users who are not announced yet
        self._announced = asyncio.Event()
        self._stopped = False
        self._outage = Outage("Redis (changes)")

    def announce(self, user_id: str) -> None:
        """Wake the requests that wait for changes of that user, soon; to be called after the commit."""
        self._changed.add(user_id)
        self._announced.set()

    @contextlib.contextmanager
    def waiter(self, user_id: str, seconds: float) -> Iterator[Waiter]:
        """A Waiter that changes of the user wake. It does not wait if too many others do, or after `stop`."""
        own = sum(waiter.user_id == user_id for waiter in self._waiting)
        if self._stopped or len(self._waiting) >= MAX_WAITING or own >= MAX_WAITING_OF_USER:
            seconds = 0
        waiter = Waiter(self, user_id, seconds)
        if seconds <= 0:
            yield waiter
            return
        self._waiting.add(waiter)
        try:
            with metrics.changes_waiting.track_inprogress():
                yield waiter
        finally:
            self._waiting.discard(waiter)

    def stop(self) -> None:
        """End every wait; from now on no request waits."""
        self._stopped = True
        for waiter in self._waiting:
            waiter.end()

    async def listen(self) -> None:
        """Read the channel until cancelled."""
        while True:
            try:
                await self._redis.initialize()  # a cluster reads the list of its nodes
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(CHANNEL)
                    await self._read(channel)
            except Exception as error:  # any error: the channel is opened again
                self._outage.record_failure(error)
            self._set_subscribed(False)
            await asyncio.sleep(RETRY_SECONDS)

    async def publish(self) -> None:
        """Send what is announced until cancelled."""
        while True:
            await self._announced.wait()
            await asyncio.sleep(GATHER_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Send what is announced; it is dropped after any error."""
        self._announced.clear()
        users, self._changed = self._changed, set()
        with contextlib.suppress(Exception):
            if users:
                await self._redis.publish(CHANNEL, " ".join(users))  # with the client's own time limits

    async def _read(self, channel: Client) -> None:
        silent = False
        while True:
            message = await channel.get_message(timeout=SILENT_SECONDS)
            if message is None and silent:
                raise TimeoutError(f"no reply in {SILENT_SECONDS} s")
            if message is None:
                await channel.ping()
            elif message["type"] == "subscribe":
                self._outage.record_success()
                self._set_subscribed(True)
            elif message["type"] == "message":
                users = set(message["data"].split())
                self._wake(waiter for waiter in self._waiting if waiter.user_id in users)
            silent = message is None

    def _set_subscribed(self, subscribed: bool) -> None:
        if self.subscribed != subscribed:
            self.subscribed = subscribed
            self._wake(self._waiting)

    def _wake(self, waiters: Iterable[Waiter]) -> None:
        for waiter in waiters:
            waiter.wake()


@contextlib.asynccontextmanager
async def open_changes(redis: Client) -> AsyncIterator[Changes]:
    """Changes over a client of Redis; at the end, what is announced is sent."""
    changes = Changes(redis)
    tasks = [asyncio.create_task(changes.listen()), asyncio.create_task(changes.publish())]
    try:
        yield changes
    finally:
        for task in tasks:
            await cancel(task)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                await changes.flush()
