"""One connection to PostgreSQL: aiopg's, with fixes."""
from __future__ import annotations

import asyncio
import select
from contextlib import suppress
from typing import Any

import aiopg
import psycopg2
from psycopg2.extensions import BYTES, POLL_OK, POLL_READ, POLL_WRITE, TRANSACTION_STATUS_IDLE, make_dsn, register_type

from movieserver.errors import ApiError, DatabaseTimeout, DatabaseUnavailable, InternalError, SchemaMissing
from movieserver.postgres.hosts import Address, ConnectFailed, message_of
from movieserver.postgres.statements import Statement

STATEMENT_SECONDS = 10.0
SESSION = {
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "client_connection_check_interval": "1s",
    "client_min_messages": "warning",
    "timezone": "UTC",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
STANDBY_WARNING = "synchronous replication"  # in the warning that a standby may lack what was just committed

Row = tuple[Any, ...]


class ConnectionLost(DatabaseUnavailable):
    """503: the connection was lost during the statement, which may or may not have been applied."""


class StatementTimeout(ConnectionLost):
    """503: the server sent nothing within its own time limit."""


class NotReplicated(DatabaseUnavailable):
    """503: the wait for a synchronous standby was cancelled; a failover would lose the write."""


class NotApplied(DatabaseUnavailable):
    """503: a deadlock or serialization failure; nothing was applied, so the statement can be run again."""


class Connection(aiopg.Connection):
    """aiopg's connection with its own handling of libpq's socket.

    aiopg does not notice when libpq closes its socket or opens another one, and later removes the event handler of the
    next owner of that file descriptor. It calls select(2), which rejects descriptors from 1024 up. And it expects
    several events from a broken socket, but libuv stops polling after the first error event (uv_poll_start). It also
    turns a statement that the server cancelled into a bare CancelledError.
    """

    address: Address
    generation = 0  # of the pool when it was opened
    pid = 0
    behind_pooler = False  # whether a pooler stands between: then each transaction may run in another session

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepared: set[str] = set()

    @property
    def reusable(self) -> bool:
        """Whether it is open and outside any transaction."""
        return not self.closed and bool(self._conn.get_transaction_status() == TRANSACTION_STATUS_IDLE)

    async def run(
        self, statement: Statement, parameters: dict[str, object], seconds: float, as_bytes: bool = False
    ) -> list[Row]:
        """All rows of the last SQL statement, with texts as str or as the received bytes. Raises ApiErrors."""
        try:
            text = _with_limits(statement.text) if self.behind_pooler else await self._prepare(statement, seconds)
            rows = await self._rows(text, parameters, seconds, as_bytes)
            if self.behind_pooler or len(statement.parts) > 1:
                self._conn.poll()  # psycopg2 collects a notice behind the first result only at the next poll
        except TimeoutError as error:
            raise StatementTimeout from error  # the server itself would have cancelled it earlier
        except psycopg2.Error as error:
            raised = _error_for(error)
            raise raised from (None if isinstance(raised, SchemaMissing) else error)
        if self._conn.notices and STANDBY_WARNING in self._conn.notices.pop():
            raise NotReplicated
        return rows

    async def _prepare(self, statement: Statement, seconds: float) -> str:
        """Prepare the parts that are not prepared yet; returns the message that runs the statement."""
        for part in statement.parts:
            if part.prepare not in self._prepared:
                await self._rows(part.prepare, None, seconds)
                self._prepared.add(part.prepare)
        return statement.execute

    async def _rows(
        self, text: str, parameters: dict[str, object] | None, seconds: float, as_bytes: bool = False
    ) -> list[Row]:
        cursor, waiter = self._conn.cursor(), self._create_waiter("rows")
        if as_bytes:
            register_type(BYTES, cursor)
        try:
            cursor.execute(text, parameters)
        except BaseException:
            self._waiter = None
            raise
        await self._poll(waiter, seconds)
        rows: list[Row] = cursor.fetchall() if cursor.description else []
        cursor.close()
        return rows

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._timeout):
                await self._log_in()
                await self._set_session()
        except BaseException as error:
            self._waiter = None
            self.close()
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no response in {self._timeout} s") from None
            raise
        del self._conn.notices[:]
        return self

    async def _log_in(self) -> None:
        self._loop.remove_reader(self._conn.fileno())
        self._fileno = None
        while (state := self._conn.poll()) != POLL_OK:
            await self._wait_for_socket(state)
        self._waiter = None
        self._fileno = self._conn.fileno()
        self._loop.add_reader(self._fileno, self._ready, self._weakref)

    async def _set_session(self) -> None:
        """Set SESSION, unless statements run in another process than the one of the login: that is a pooler."""
        self.pid = self._conn.get_backend_pid()
        settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in SESSION.items())
        rows = await self._rows(f"SELECT {settings} WHERE pg_backend_pid() = {self.pid}", None, self._timeout)
        self.behind_pooler = not rows

    async def _wait_for_socket(self, state: int) -> None:
        """Wait until the socket is readable or writable."""
        loop, fd, able = self._loop, self._conn.fileno(), asyncio.Event()
        add, remove = (
            (loop.add_reader, loop.remove_reader) if state == POLL_READ else (loop.add_writer, loop.remove_writer))
        add(fd, able.set)
        try:
            await able.wait()
        finally:
            remove(fd)

    async def _poll(self, waiter: asyncio.Future[None], timeout: float) -> None:
        overdue = self._loop.call_later(timeout, _fail, waiter)
        try:
            self._advance()
            await waiter
        finally:
            overdue.cancel()
            self._waiter = None

    @staticmethod
    def _ready(weak_self: Any) -> None:
        self = weak_self()
        if self is not None:
            self._advance()

    def _advance(self) -> None:
        """Send and receive without waiting; resolves the waiter when the statement is done or has failed."""
        waiter, error, state = self._waiter, None, POLL_OK
        try:
            while (state := self._conn.poll()) == POLL_READ and _is_readable(self._conn.fileno()):
                pass  # one poll() may have read only what arrived before an error
        except psycopg2.Error as raised:
            error = raised
        self._watch(state)
        if waiter is None or waiter.done():
            return
        if error:
            waiter.set_exception(error)
        elif state == POLL_OK:
            waiter.set_result(None)

    def _watch(self, state: int) -> None:
        """Register for the events that `state` needs, or for none if libpq has closed the socket."""
        if (fd := self._fileno) is None:
            return
        is_lost = self._conn.closed or self._conn.fileno() != fd
        if self._writing and (is_lost or state != POLL_WRITE):
            self._writing = False
            self._loop.remove_writer(fd)
        if is_lost:
            self._fileno = None
            self._loop.remove_reader(fd)
        elif state == POLL_WRITE and not self._writing:
            self._writing = True
            self._loop.add_writer(fd, self._ready, self._weakref)


async def connect(address: Address, seconds: float) -> Connection:
    """An open connection. Raises ConnectFailed, after `seconds` at the latest."""
    if seconds <= 0:
        raise ConnectFailed("no time left to connect")
    try:
        connection = Connection(make_dsn(**address), seconds, enable_json=False, enable_hstore=False, enable_uuid=False)
        await connection
    except (psycopg2.Error, OSError, UnicodeError) as error:
        raise ConnectFailed(message_of(error, address)) from error
    connection.address = address
    return connection


async def end_session(lost: Connection, seconds: float) -> None:
    """End a silent session on the server: nothing else ends it while it waits for a standby."""
    with suppress(psycopg2.Error, OSError, ConnectFailed):
        connection = await connect(lost.address, seconds)
        try:
            cursor = await connection.cursor()
            await cursor.callproc("pg_terminate_backend", [lost.pid], timeout=seconds)
        finally:
            connection.close()


def _with_limits(text: str) -> str:
    """The message that runs `text` within the limits of SESSION: one message is one transaction."""
    return "".join(f"SET LOCAL {name} = '{value}'; " for name, value in SESSION.items()) + text


def reason_of(error: BaseException | None) -> str | None:
    """PostgreSQL's message, for the log, without its details, which quote values."""
    return error.diag.message_primary if isinstance(error, psycopg2.Error) else None


def _is_readable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))


def _fail(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


def _error_for(error: psycopg2.Error) -> ApiError:
    """The ApiError for a driver error, by its SQLSTATE (PostgreSQL manual, appendix A)."""
    state = error.pgcode or ""
    if state in ("42P01", "42703"):  # undefined table, undefined column
        return SchemaMissing()
    if state == "57014":  # cancelled
        return DatabaseTimeout()
    if state in ("40P01", "40001"):  # deadlock, serialization failure
        return NotApplied()
    # a standby, a broken or ended session, lost or outdated prepared statements
    if state in ("25006", "26000", "0A000") or state.startswith(("08", "57P")):
        return ConnectionLost()
    if not state and not isinstance(error, (psycopg2.ProgrammingError, psycopg2.DataError)):  # an error of libpq itself
        return ConnectionLost()
    return DatabaseUnavailable() if isinstance(error, psycopg2.OperationalError) else InternalError()
