"""PostgreSQL for the data module: run a statement by its name, alone or batched with others, within time limits."""
from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from weakref import WeakValueDictionary

from movieserver.errors import ApiError, DatabaseTimeout, DatabaseUnavailable, InternalError
from movieserver.observability import metrics
from movieserver.observability.logs import Outage, log
from movieserver.postgres.connection import ConnectionLost, NotApplied, Row, StatementTimeout, reason_of
from movieserver.postgres.pool import Limits, Pool, PoolFull
from movieserver.postgres.statements import Statement, array, load_statements

MAX_RUNNING = 2  # batches of one name, until the next one has MAX_BATCH reads
EARLY_BATCH = 8  # reads; a batch of this size starts at once while fewer than MAX_RUNNING run
MAX_BATCH = 32  # reads of the largest batch
MAX_WRITES = 2  # concurrent writes of one user per process; two, so that a repeated key gets its 409 at once
MAX_RUNS = 3  # of a statement that was not applied

Parameters = dict[str, object]


class _Batch:
    """Reads of one name that share a statement: the parameters and the future of each."""

    def __init__(self, *reads: tuple[Parameters, asyncio.Future[Row | None]]) -> None:
        self.reads = [*reads]

    def parameters(self) -> Parameters:
        """A list of each parameter."""
        names = self.reads[0][0]
        return {name: [parameters[name] for parameters, _ in self.reads] for name in names}

    def resolve(self, rows: list[Row]) -> None:
        """Resolve each read with its row, which begins with its index (from 1)."""
        found = {index: tuple(row) for index, *row in rows}
        for index, (_, future) in enumerate(self.reads, 1):
            if not future.done():
                future.set_result(found.get(index))

    def fail(self, error: BaseException) -> None:
        """Fail all reads with the same error."""
        for _, future in self.reads:
            if not future.done():
                future.set_exception(error)
                future.exception()  # the client may be gone


class Database:
    """The statements of sql/ on a pool of connections; opened by `open_database`."""

    def __init__(self, pool: Pool, statements: dict[str, Statement]) -> None:
        self.pool = pool
        self.statements = statements
        self._write_slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._batches: dict[str, _Batch] = {}
        self._running: Counter[str] = Counter()  # batches of each name
        self._tasks: set[asyncio.Task[None]] = set()
        self._outage = Outage("PostgreSQL")
        self._full = Outage("the pool of connections to PostgreSQL")

    async def read(self, name: str, **parameters: object) -> Row | None:
        """The first row of a statement that changes nothing; retried once if the connection was lost."""
        return _first(await self.run(name, parameters, retry_lost=True))

    async def read_one(self, name: str, **parameters: object) -> Row:
        """As `read`, of a statement that always has a row."""
        [row] = await self.run(name, parameters, retry_lost=True)
        return row

    async def write(self, name: str, **parameters: object) -> Row | None:
        """The first row of a statement that changes something for `user_id`; retried only if nothing was applied."""
        async with self._write_slot(str(parameters.get("user_id"))):
            return _first(await self.run(name, parameters))

    async def read_batched(self, name: str, **parameters: object) -> Row | None:
        """As `read`, in one statement with the reads of this name that arrive while others run.

        A batch of EARLY_BATCH starts without waiting for more: PostgreSQL works on it while the process reads others.

        The statement takes an array of each parameter, and `alone`. Its rows begin with the index of their read (from
        1). A null after it means that the row is too large for a batch: the read is then run alone. Texts are
        bytes, ready to be sent.
        """
        row = await self._join(name, parameters)
        if row and row[0] is None:
            lists = {key: [value] for key, value in parameters.items()}
            rows = await self.run(name, lists | {"alone": True}, retry_lost=True, as_bytes=True)
            row = _first([row[1:] for row in rows])
        return row

    async def close(self) -> None:
        """Close every connection, and fail all batched reads."""
        for batch in self._batches.values():
            batch.fail(DatabaseUnavailable())
        self._batches.clear()
        await self.pool.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def _write_slot(self, user_id: str) -> AsyncIterator[None]:
        """Wait for the user's other writes without a connection: PostgreSQL runs them one after the other anyway."""
        slots = self._write_slots.get(user_id) or asyncio.Semaphore(MAX_WRITES)
        self._write_slots[user_id] = slots
        try:
            async with asyncio.timeout(self.pool.limits.acquire):
                await slots.acquire()
        except TimeoutError:
            raise DatabaseTimeout from None
        try:
            yield
        finally:
            slots.release()

    def _join(self, name: str, parameters: Parameters) -> asyncio.Future[Row | None]:
        loop, batch = asyncio.get_running_loop(), self._batches.get(name)
        if batch is None:
            batch = self._batches[name] = _Batch()
            if self._running[name] < MAX_RUNNING:
                loop.call_soon(self._start, name, batch)
        future: asyncio.Future[Row | None] = loop.create_future()
        batch.reads.append((parameters, future))
        if len(batch.reads) >= (EARLY_BATCH if self._running[name] < MAX_RUNNING else MAX_BATCH):
            self._start(name, batch)
        return future

    def _start(self, name: str, batch: _Batch) -> None:
        if self._batches.get(name) is batch:
            del self._batches[name]
            self._running[name] += 1
            task = asyncio.create_task(self._run_batch(name, batch))
            self._tasks.add(task)
            task.add_done_callback(partial(self._end, name))

    def _end(self, name: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._running[name] -= 1
        if (batch := self._batches.get(name)) and self._running[name] < MAX_RUNNING:
            self._start(name, batch)

    async def _run_batch(self, name: str, batch: _Batch) -> None:
        try:
            parameters = batch.parameters() | {"alone": False}
            batch.resolve(await self.run(name, parameters, retry_lost=True, as_bytes=True))
        except asyncio.CancelledError:  # at shutdown
            batch.fail(DatabaseUnavailable())
            raise
        except BaseException as error:
            if isinstance(error, InternalError) and len(batch.reads) > 1:  # one bad read must not fail the others
                await asyncio.gather(*[self._run_batch(name, single) for single in map(_Batch, batch.reads)])
                return
            batch.fail(error)
            if not isinstance(error, ApiError):
                raise

    async def run(
        self, name: str, parameters: Parameters, *, retry_lost: bool = False, as_bytes: bool = False
    ) -> list[Row]:
        """All rows of a statement, their texts as str or bytes. Raises ApiErrors."""
        deadline = asyncio.get_running_loop().time() + self.pool.limits.total
        try:
            async with self.pool.slot():
                rows = await self._retry(self.statements[name], _encode(parameters), deadline, retry_lost, as_bytes)
        except (DatabaseUnavailable, InternalError) as error:
            self._report(name, error)
            raise
        self._outage.record_success()
        self._full.record_success()
        return rows

    async def _retry(
        self, statement: Statement, parameters: Parameters, deadline: float, retry_lost: bool, as_bytes: bool
    ) -> list[Row]:
        run = 0
        while True:
            run += 1
            connection = await self.pool.open(deadline)
            try:
                seconds = min(self.pool.limits.statement, deadline - asyncio.get_running_loop().time())
                if seconds <= 0:
                    raise DatabaseTimeout
                return await connection.run(statement, parameters, seconds, as_bytes)
            except NotApplied:
                if run == MAX_RUNS:
                    raise
            except ConnectionLost as error:
                self.pool.lose(connection, error)
                if not retry_lost or run > 1:
                    raise
            finally:
                self.pool.release(connection)

    def _report(self, name: str, error: ApiError) -> None:
        if isinstance(error, InternalError):
            log.error("statement failed", statement=name, reason=reason_of(error.__cause__))
        elif isinstance(error, PoolFull):
            metrics.pool_timeouts["place"].inc()
            self._full.record_failure(
                f"no connection for {name} in {self.pool.limits.acquire} s: all {self.pool.size} of this process are "
                "in use; raise DATABASE_POOL_SIZE, or look for slow statements")
        elif isinstance(error, (DatabaseTimeout, StatementTimeout)):
            metrics.pool_timeouts["statement"].inc()
            self._outage.record_failure(f"{name} was cancelled: it reached its time limit, or an operator cancelled it")
        else:
            self._outage.record_failure(error.__cause__ or error)


@asynccontextmanager
async def open_database(
    url: str, size: int, *, limits: Limits | None = None, statements: dict[str, Statement] | None = None
) -> AsyncIterator[Database]:
    """A Database for a libpq URI; it connects on first use."""
    database = Database(Pool(url, size, limits or Limits()), statements or load_statements())
    try:
        yield database
    finally:
        await database.close()


def _encode(parameters: Parameters) -> Parameters:
    """Lists as the text of arrays; the statement declares their type."""
    return {key: array(value) if isinstance(value, list) else value for key, value in parameters.items()}


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None
