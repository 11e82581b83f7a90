"""The pool of connections: slots with a queue, and one client at a time that probes a server that is down.

It is our own because aiopg's wakes no waiter when a broken connection is released, and blocks every client while it
connects.
"""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from movieserver.errors import DatabaseTimeout, DatabaseUnavailable
from movieserver.observability import metrics
from movieserver.postgres.connection import STATEMENT_SECONDS, Connection, StatementTimeout, connect, end_session
from movieserver.postgres.hosts import ConnectFailed, hosts_of, resolve


@dataclass
class Limits:
    """Time limits in seconds, and the maximum length of the queue."""

    acquire: float = 5.0  # for a slot
    connect: float = 2.0  # to resolve a host, and to connect to one of its addresses
    statement: float = STATEMENT_SECONDS + 1  # the limit on the server, and a second for its message to arrive
    total: float = 15.0  # in total, retries included
    waiting: int = 200  # waiting clients per slot


class PoolFull(DatabaseTimeout):
    """503: no slot became free in time, or the queue is full."""


class Pool:
    """At most `size` connections to the PostgreSQL at `url`."""

    def __init__(self, url: str, size: int, limits: Limits) -> None:
        self.size = size
        self.limits = limits
        self.idle: list[Connection] = []
        self.waiting = 0
        self.in_use = 0
        self.behind_pooler = False  # whether the last connection was through a pooler
        self._hosts = hosts_of(url)
        self._slots = asyncio.Semaphore(size)
        self._connections: WeakSet[Connection] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._generation = 0  # connections of an earlier one are closed when they are released
        self._outage: ConnectFailed | None = None  # why the last connect failed
        self._probing = False
        metrics.pool_size.set(size)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot. Waiting clients are served in order. Raises PoolFull."""
        if self._slots.locked():
            await self._wait()
        else:
            await self._slots.acquire()
        self.in_use += 1
        metrics.pool_in_use.inc()
        try:
            yield
        finally:
            self.in_use -= 1
            metrics.pool_in_use.dec()
            self._slots.release()

    async def open(self, deadline: float) -> Connection:
        """A connection for the client that holds a slot. Raises DatabaseUnavailable."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.closed:
                return connection
        return await self._connect(deadline)

    def release(self, connection: Connection) -> None:
        """Return a connection to the pool, or close it."""
        if connection.reusable and connection.generation == self._generation:
            self.idle.append(connection)
        else:
            connection.close()

    def lose(self, connection: Connection, error: Exception) -> None:
        """Close a broken connection, and the idle ones, which are most likely broken too."""
        connection.close()
        self._generation += 1
        self.close_idle()
        if isinstance(error, StatementTimeout) and not connection.behind_pooler:
            self._spawn(end_session(connection, self.limits.connect))

    def close_idle(self) -> None:
        """Close the idle connections."""
        while self.idle:
            self.idle.pop().close()

    async def close(self) -> None:
        """Close all connections, including those in use."""
        self.close_idle()
        # the descriptor of a closed connection may belong to another one
        for connection in [each for each in self._connections if not each.closed]:
            connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait(self) -> None:
        if self.waiting >= self.limits.waiting * self.size:
            raise PoolFull
        self.waiting += 1
        metrics.pool_waiting.inc()
        try:
            async with asyncio.timeout(self.limits.acquire):
                await self._slots.acquire()
        except TimeoutError:
            raise PoolFull from None
        finally:
            metrics.pool_waiting.dec()
            self.waiting -= 1

    async def _connect(self, deadline: float) -> Connection:
        """A new connection. After a failure one client at a time tries, and the others get their 503 at once."""
        probing = self._outage is not None
        if probing and self._probing:
            raise DatabaseUnavailable from self._outage
        self._probing, generation = probing, self._generation
        try:
            connection = await self._dial(deadline)
        except ConnectFailed as error:
            self._outage = error.with_traceback(None)
            raise DatabaseUnavailable from error
        finally:
            if probing:
                self._probing = False
        self._outage, self.behind_pooler = None, connection.behind_pooler
        self._connections.add(connection)
        connection.generation = generation
        return connection

    async def _dial(self, deadline: float) -> Connection:
        """Connect to the first host that accepts, starting with the last one that did."""
        hosts, failures = self._hosts, list[str]()
        for index, host in enumerate(hosts):
            try:
                for address in await resolve(host, self._seconds(deadline)):
                    try:
                        connection = await connect(address, self._seconds(deadline))
                        self._hosts = hosts[index:] + hosts[:index]
                        return connection
                    except ConnectFailed as error:
                        failures.append(str(error))
            except ConnectFailed as error:
                failures.append(str(error))
        raise ConnectFailed("; ".join(failures))

    def _seconds(self, deadline: float) -> float:
        return min(self.limits.connect, deadline - asyncio.get_running_loop().time())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
