"""PostgreSQL through aiopg: the named statements of sql/, a pool with time limits, driver errors turned into ours.

The pool is our own because aiopg's wakes no waiter when a broken connection is released, and holds every caller
while it connects. A statement is atomic by itself: connections commit on their own, and the statements of one
name travel in one message, which PostgreSQL runs as one transaction.
"""
from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiopg
import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_IDLE, make_dsn, parse_dsn

from movieserver import metrics
from movieserver.errors import ApiError, InternalError, Unavailable
from movieserver.logs import Trouble, log

STATEMENTS = Path(__file__).parents[1] / "sql"
HEADER = re.compile(r"^-- name: (\w+)\n((?:-- .*\n)+)", re.MULTILINE)
ACQUIRE_SECONDS = 5.0
CONNECT_SECONDS = 3.0
STATEMENT_SECONDS = 10.0
SESSION = {
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "client_connection_check_interval": "1s",
    "timezone": "UTC",
    "jit": "off",
}

Row = tuple[Any, ...]


class DatabaseUnavailable(Unavailable):
    """503: no connection, no place in the pool, or the statement was cut off."""

    code = "database_unavailable"
    detail = "The database cannot be reached right now. Try again shortly."


class ConnectionLost(DatabaseUnavailable):
    """503: the connection died under the statement; whether it was carried out is not known."""


class DatabaseTimeout(DatabaseUnavailable):
    """503: a statement over its time, or PoolFull."""

    code = "database_timeout"
    detail = "The database is too busy right now. Try again shortly."


class PoolFull(DatabaseTimeout):
    """503: no place in the pool in time."""


class SchemaMissing(DatabaseUnavailable):
    """503: the database has not the tables that this version works with."""

    code = "schema_missing"
    detail = "The database is not migrated to this version. Its operator runs `python run.py migrate`."


def parse_statements(text: str) -> dict[str, str]:
    """The statements of one file by name; each is introduced by `-- name: <name>` and its contract."""
    _, *parts = HEADER.split(text)
    return {name: statement.strip() for name, statement in zip(parts[::3], parts[2::3])}


def load_statements(folder: Path = STATEMENTS) -> dict[str, str]:
    """Every statement in `folder`, as `<file>.<name>`."""
    return {
        f"{file.stem}.{name}": statement
        for file in sorted(folder.glob("*.sql"))
        for name, statement in parse_statements(file.read_text(encoding="utf-8")).items()
    }


def place(url: str) -> str:
    """Where the database of a libpq URI is and who asks for it, without the password."""
    named = parse_dsn(url)
    hosts = named.get("host", "").split(",")
    ports = named.get("port", "5432").split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    servers = ", ".join(f"{host or 'this machine'}:{port or 5432}" for host, port in zip(hosts, ports))
    return f"{servers}, database {named.get('dbname', 'of the same name')}, user {named.get('user', 'of this process')}"


class _Connection(aiopg.Connection):
    """aiopg's connection, which leaves no file descriptor with the event loop that libpq may close in poll().

    aiopg does, and uvloop then refuses the next connection that gets the same number; nor does aiopg see it when
    libpq goes on to the next host, with another one.
    """

    async def _connect(self) -> _Connection:
        try:
            self._loop.remove_reader(self._conn.fileno())
            self._fileno = None
            async with asyncio.timeout(self._timeout):
                while (state := self._conn.poll()) != POLL_OK:
                    await self._socket(state)
        except BaseException as error:
            self._waiter = None
            self.close()
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no answer in {self._timeout} s") from None
            raise
        self._waiter = None
        self._fileno = self._conn.fileno()
        self._loop.add_reader(self._fileno, self._ready, self._weakref)
        return self

    async def _socket(self, state: int) -> None:
        """Wait until the socket can be read or written."""
        loop, fd, able = self._loop, self._conn.fileno(), asyncio.Event()
        add, remove = (
            (loop.add_reader, loop.remove_reader) if state == POLL_READ else (loop.add_writer, loop.remove_writer))
        add(fd, able.set)
        try:
            await able.wait()
        finally:
            remove(fd)

    @staticmethod
    def _ready(weak_self: Any) -> None:
        self = weak_self()
        if self is not None and self._writing:
            self._writing = False
            self._loop.remove_writer(self._fileno)
        aiopg.Connection._ready(weak_self)


class Database:
    """A pool of at most `size` connections to the PostgreSQL at `url` (a libpq URI)."""

    def __init__(self, url: str, size: int) -> None:
        session = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
        self._dsn = make_dsn(url, options=f"{parse_dsn(url).get('options', '')} {session}".strip())
        self._statements = load_statements()
        self._places = asyncio.Semaphore(size)
        self._idle: list[_Connection] = []
        self._trouble = Trouble("PostgreSQL")
        self._full = Trouble("the pool of connections to PostgreSQL")
        self._size = size
        metrics.pool_size.set(size)

    async def read(self, name: str, **parameters: object) -> Row | None:
        """The first row of a statement that changes nothing; tried once more when its connection had died."""
        try:
            return await self._run(name, parameters)
        except ConnectionLost:
            return await self._run(name, parameters)

    async def write(self, name: str, **parameters: object) -> Row | None:
        """The first row that a changing statement returns; never repeated."""
        return await self._run(name, parameters)

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    async def _run(self, name: str, parameters: dict[str, object]) -> Row | None:
        try:
            async with self._place(), self._connection() as connection:
                row = await _execute(connection, self._statements[name], parameters)
        except (DatabaseUnavailable, InternalError) as error:
            self._report(name, error)
            raise
        self._trouble.end()
        self._full.end()
        return row

    def _report(self, name: str, error: ApiError) -> None:
        cause = error.__cause__
        if isinstance(error, InternalError):
            reason = cause.diag.message_primary if isinstance(cause, psycopg2.Error) else None
            log.error("statement failed", statement=name, reason=reason)
        elif isinstance(error, PoolFull):
            metrics.pool_timeouts["place"].inc()
            self._full.begin(
                f"no place for {name} in {ACQUIRE_SECONDS} s: all {self._size} connections of this process are in use; "
                "raise DATABASE_POOL_SIZE, or look for slow statements")
        elif isinstance(error, DatabaseTimeout):
            metrics.pool_timeouts["statement"].inc()
            self._trouble.begin(f"{name} took more than {STATEMENT_SECONDS} s and was cut off")
        else:
            self._trouble.begin(cause or error)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._places.locked():
            with metrics.pool_waiting.track_inprogress():
                await self._wait_for_place()
        else:
            await self._places.acquire()
        metrics.pool_in_use.inc()
        try:
            yield
        finally:
            metrics.pool_in_use.dec()
            self._places.release()

    async def _wait_for_place(self) -> None:
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise PoolFull from None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        connection = await self._open()
        try:
            yield connection
        except ConnectionLost:
            connection.close()
            self.close_idle()  # most likely they are dead too
            raise
        finally:
            self._give_back(connection)

    async def _open(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        try:
            fresh = _Connection(self._dsn, CONNECT_SECONDS, enable_json=False, enable_hstore=False, enable_uuid=False)
            await fresh
            return fresh
        except (psycopg2.Error, TimeoutError) as error:
            raise DatabaseUnavailable from error

    def _give_back(self, connection: _Connection) -> None:
        if not connection.closed and connection.raw.get_transaction_status() == TRANSACTION_STATUS_IDLE:
            self._idle.append(connection)
        else:
            connection.close()


@asynccontextmanager
async def open_database(url: str, size: int) -> AsyncIterator[Database]:
    """A Database; it connects when it is first asked."""
    database = Database(url, size)
    try:
        yield database
    finally:
        database.close_idle()


async def _execute(connection: _Connection, statement: str, parameters: dict[str, object]) -> Row | None:
    with _driver_errors():
        cursor = await connection.cursor()
        await cursor.execute(statement, parameters, timeout=STATEMENT_SECONDS + 1)
        row: Row | None = await cursor.fetchone()
        cursor.close()
        return row


@contextmanager
def _driver_errors() -> Iterator[None]:
    """Turn what aiopg and psycopg2 raise into errors of ours."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # aiopg's word for a statement that the server cancelled
        raise DatabaseTimeout from None
    except TimeoutError:
        raise DatabaseTimeout from None
    except psycopg2.Error as error:
        ours = _error_for(error)
        raise ours from (None if isinstance(ours, SchemaMissing) else error)


def _error_for(error: psycopg2.Error) -> ApiError:
    """Our error for one of the driver's, by its SQLSTATE (PostgreSQL manual, appendix A)."""
    state = error.pgcode or ""
    if state in ("42P01", "42703"):  # undefined table, undefined column
        return SchemaMissing()
    if state == "25006" or state.startswith(("08", "57P")):  # a standby, a broken or ended session
        return ConnectionLost()
    if isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
        return DatabaseUnavailable() if state else ConnectionLost()
    return InternalError()
