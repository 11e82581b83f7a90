"""PostgreSQL through aiopg: the named statements of sql/, a pool with time limits, driver errors turned into ours.

The pool is our own because aiopg's wakes no waiter when a broken connection is released, and holds every caller
while it connects. A statement is atomic by itself: connections commit on their own, and the statements of one
name travel in one message, which PostgreSQL runs as one transaction. A name of a single statement is planned once in
each connection. docs/design.md has the time limits in a table.
"""
from __future__ import annotations

import asyncio
import hashlib
import re
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet

import aiopg
import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_IDLE, make_dsn, parse_dsn

from movieserver.observability import metrics
from movieserver.errors import ApiError, InternalError, Unavailable
from movieserver.observability.logs import Outage, log

STATEMENTS = Path(__file__).parents[2] / "sql"
HEADER = re.compile(r"^-- name: (\w+)\n((?:-- .*\n)+)", re.MULTILINE)
ACQUIRE_SECONDS = 5.0  # for a place in the pool
CONNECT_SECONDS = 2.0  # for one address of the server
STATEMENT_SECONDS = 10.0  # on the server; a second more for its word to arrive
ANSWER_SECONDS = 15.0  # for all of it together, a second try included
MOST_TOGETHER = 32  # that share a statement
WAITING = 200  # callers that may wait, for each place
SESSION = {
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "client_connection_check_interval": "1s",
    "client_min_messages": "warning",
    "timezone": "UTC",
    "jit": "off",
    # A plan is kept: it is made for any parameters, and not for a table that was small when it was made.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
}
# Where the URL does not say otherwise. A host that vanished is found out in seconds, not in the quarter of an hour that
# TCP takes by itself.
NETWORK = {
    "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3", "tcp_user_timeout": "4000",
}
UNCONFIRMED = "synchronous replication"  # from the warning that a standby may lack what was just committed

PARAMETER = re.compile(r"%\((\w+)\)s|%%")
PLANNABLE = re.compile(r"(?:SELECT|WITH|INSERT|UPDATE|DELETE)\b[^;]*;?\Z")

Row = tuple[Any, ...]
_Asked = tuple[tuple[str, object], ...]  # the parameters of one who asks


class DatabaseUnavailable(Unavailable):
    """503: no connection, no place in the pool, or the statement was cut off."""

    code = "database_unavailable"
    detail = "The database cannot be reached right now. Try again shortly."


class ConnectionLost(DatabaseUnavailable):
    """503: the connection died under the statement; whether it was carried out is not known."""


class NotReplicated(DatabaseUnavailable):
    """503: the wait for a synchronous standby was cut off; what was written would be lost with this server."""


class DatabaseTimeout(DatabaseUnavailable):
    """503: a statement over its time, or PoolFull."""

    code = "database_timeout"
    detail = "The database is too busy right now. Try again shortly."


class PoolFull(DatabaseTimeout):
    """503: no place in the pool in time, or no place in the line before it."""


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


class Plan(NamedTuple):
    """A statement that a connection plans once: how to say what it is, and how to call it with parameters."""

    made: str
    called: str


@cache
def plan_of(statement: str) -> Plan | None:
    """The plan of a single statement, None for what cannot be planned or is several."""
    if not PLANNABLE.match(statement):
        return None
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if name and name not in names:
            names.append(name)
        return f"${names.index(name) + 1}" if name else "%"

    plan = f"movieserver_{hashlib.blake2b(statement.encode(), digest_size=8).hexdigest()}"
    text = PARAMETER.sub(number, statement)
    arguments = ", ".join(f"%({name})s" for name in names)
    return Plan(f"PREPARE {plan} AS {text}", f"EXECUTE {plan}" + (f" ({arguments})" if names else ""))


def place(url: str) -> str:
    """Where the database of a libpq URI is and who asks for it, without the password."""
    named = parse_dsn(url)
    hosts = named.get("host", "").split(",")
    ports = named.get("port", "5432").split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    servers = ", ".join(f"{host or 'this machine'}:{port or 5432}" for host, port in zip(hosts, ports))
    return f"{servers}, database {named.get('dbname', 'of the same name')}, user {named.get('user', 'of this process')}"


class _Connection(aiopg.Connection):
    """aiopg's connection, mended.

    aiopg leaves file descriptors with the event loop that libpq closes in poll(), and uvloop then refuses the next
    connection that gets the same number; it does not see when libpq goes on to another socket; and it makes a bare
    CancelledError of a statement that the server cancelled.
    """

    address: dict[str, str]
    era = 0
    pid = 0

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._planned: set[Plan] = set()

    async def rows(self, statement: str, parameters: dict[str, object], seconds: float) -> list[Row]:
        """All rows of a statement; its plan is made when it is first asked for."""
        if plan := plan_of(statement):
            if plan not in self._planned:
                await self._rows(plan.made, None, seconds)
                self._planned.add(plan)
            statement = plan.called
        return await self._rows(statement, parameters, seconds)

    async def _rows(self, statement: str, parameters: dict[str, object] | None, seconds: float) -> list[Row]:
        cursor, waiter = self._conn.cursor(), self._create_waiter("rows")
        try:
            cursor.execute(statement, parameters)
        except BaseException:
            self._waiter = None
            raise
        await self._poll(waiter, seconds)
        rows: list[Row] = cursor.fetchall() if cursor.description else []
        cursor.close()
        return rows

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
        self.pid = self._conn.get_backend_pid()
        del self._conn.notices[:]
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

    async def _poll(self, waiter: asyncio.Future[None], timeout: float) -> None:
        overdue = self._loop.call_later(timeout, _fail, waiter)
        try:
            self._ready(self._weakref)
            await waiter
        finally:
            overdue.cancel()
            self._waiter = None

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
        self._hosts = _hosts(url)
        self._statements = load_statements()
        self._size = size
        self._places = asyncio.Semaphore(size)
        self._waiting = 0
        self._idle: list[_Connection] = []
        self._connections: WeakSet[_Connection] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        # what is asked for in this turn of the event loop, by statement and parameters
        self._gathering: dict[str, dict[_Asked, asyncio.Future[Row | None]]] = {}
        self._era = 0  # a connection from before the last loss of one is not used again
        self._away: Exception | None = None  # why the last connect failed
        self._probing = False
        self._outage = Outage("PostgreSQL")
        self._full = Outage("the pool of connections to PostgreSQL")
        metrics.pool_size.set(size)

    async def read(self, name: str, **parameters: object) -> Row | None:
        """The first row of a statement that changes nothing; tried once more when its connection had died."""
        return _first(await self._run(name, parameters, 2))

    async def write(self, name: str, **parameters: object) -> Row | None:
        """The first row that a changing statement returns; never repeated."""
        return _first(await self._run(name, parameters, 1))

    async def read_shared(self, name: str, **parameters: object) -> Row | None:
        """As read, but in one statement with all who ask for it in the same turn of the event loop.

        The statement takes an array of each parameter, and one of whether it is asked apart. For each place of them
        that has an answer it gives a row that begins with the place (from 1), and then with null where the answer is
        large: that is asked for again, apart. What fails for a reason of its own fails for nobody else.
        """
        row = await self._with_others(name, (*parameters.items(), ("apart", False)))
        if row and row[0] is None:
            asked = (*parameters.items(), ("apart", True))
            row = _first([row[1:] for row in await self._run(name, _arrays([asked]), 2)])
        return row

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    async def close(self) -> None:
        """Close every connection, those too that are in use, and give up what runs by itself."""
        self.close_idle()
        for connection in list(self._connections):
            connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _with_others(self, name: str, asked: _Asked) -> Row | None:
        if name not in self._gathering:
            self._gathering[name] = {}
            asyncio.get_running_loop().call_soon(self._share, name)
        gathering = self._gathering[name]
        if asked not in gathering:
            gathering[asked] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(gathering[asked])

    def _share(self, name: str) -> None:
        gathered = list(self._gathering.pop(name).items())
        for place in range(0, len(gathered), MOST_TOGETHER):
            self._spawn(self._answer(name, dict(gathered[place:place + MOST_TOGETHER])))

    async def _answer(self, name: str, gathered: dict[_Asked, asyncio.Future[Row | None]]) -> None:
        try:
            rows = await self._run(name, _arrays(list(gathered)), 2)
        except InternalError as error:
            if len(gathered) == 1:
                _tell(gathered, error)
            else:
                await asyncio.gather(*[self._answer(name, {asked: answer}) for asked, answer in gathered.items()])
        except BaseException as error:
            _tell(gathered, error)
        else:
            _tell(gathered, {place: tuple(row) for place, *row in rows})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, name: str, parameters: dict[str, object], tries: int) -> list[Row]:
        deadline = asyncio.get_running_loop().time() + ANSWER_SECONDS
        try:
            await self._acquire()
            try:
                rows = await self._try(self._statements[name], parameters, deadline, tries)
            finally:
                self._release()
        except (DatabaseUnavailable, InternalError) as error:
            self._report(name, error)
            raise
        self._outage.record_success()
        self._full.record_success()
        return rows

    def _report(self, name: str, error: ApiError) -> None:
        cause = error.__cause__
        if isinstance(error, InternalError):
            reason = cause.diag.message_primary if isinstance(cause, psycopg2.Error) else None
            log.error("statement failed", statement=name, reason=reason)
        elif isinstance(error, PoolFull):
            metrics.pool_timeouts["place"].inc()
            self._full.record_failure(
                f"no place for {name} in {ACQUIRE_SECONDS} s: all {self._size} connections of this process are in use; "
                "raise DATABASE_POOL_SIZE, or look for slow statements")
        elif isinstance(error, DatabaseTimeout) or type(error) is ConnectionLost and isinstance(cause, TimeoutError):
            metrics.pool_timeouts["statement"].inc()
            self._outage.record_failure(
                f"{name} was cut off: it took {STATEMENT_SECONDS} s, or an operator cancelled it")
        else:
            self._outage.record_failure(cause or error)

    async def _acquire(self) -> None:
        """Take a place in the pool; who has to wait is served in turn, and the line has an end."""
        if self._places.locked():
            await self._wait_for_place()
        else:
            await self._places.acquire()
        metrics.pool_in_use.inc()

    def _release(self) -> None:
        metrics.pool_in_use.dec()
        self._places.release()

    async def _wait_for_place(self) -> None:
        if self._waiting >= WAITING * self._size:
            raise PoolFull
        self._waiting += 1
        metrics.pool_waiting.inc()
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise PoolFull from None
        finally:
            metrics.pool_waiting.dec()
            self._waiting -= 1

    async def _try(self, statement: str, parameters: dict[str, object], deadline: float, tries: int) -> list[Row]:
        while True:
            connection = await self._open(deadline)
            try:
                return await _execute(connection, statement, parameters, deadline)
            except ConnectionLost as error:
                self._lose(connection, error)
                tries -= 1
                if not tries:
                    raise
            finally:
                self._give_back(connection)

    def _lose(self, connection: _Connection, error: ConnectionLost) -> None:
        connection.close()
        self._era += 1
        self.close_idle()  # most likely they are dead too
        if isinstance(error.__cause__, TimeoutError):
            self._spawn(_end_session(connection))

    async def _open(self, deadline: float) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return await self._connect(deadline)

    async def _connect(self, deadline: float) -> _Connection:
        """A fresh connection. Once that has failed, one caller at a time tries it, and the others are told at once."""
        probing = self._away is not None
        if probing and self._probing:
            raise DatabaseUnavailable from self._away
        self._probing, era = probing, self._era
        try:
            connection = await self._dial(deadline)
        except (psycopg2.Error, OSError, UnicodeError) as error:
            self._away = error.with_traceback(None)
            raise DatabaseUnavailable from error
        finally:
            if probing:
                self._probing = False
        self._away = None
        self._connections.add(connection)
        connection.era = era
        return connection

    async def _dial(self, deadline: float) -> _Connection:
        """Connect to the first host that can serve us, beginning with the one that did so last."""
        hosts, failures = self._hosts, list[Exception]()
        for place, host in enumerate(hosts):
            try:
                for address in await _addresses(host, deadline):
                    try:
                        connection = await _connected(address, deadline)
                        self._hosts = hosts[place:] + hosts[:place]
                        return connection
                    except (psycopg2.Error, OSError) as error:
                        failures.append(error)
            except (OSError, UnicodeError) as error:
                failures.append(error)
        raise failures[0] if len(failures) == 1 else psycopg2.OperationalError("; ".join(map(_words, failures)))

    def _give_back(self, connection: _Connection) -> None:
        usable = not connection.closed and connection.era == self._era
        if usable and connection.raw.get_transaction_status() == TRANSACTION_STATUS_IDLE:
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
        await database.close()


def _hosts(url: str) -> list[dict[str, str]]:
    """How to connect to each host that `url` names. libpq by itself would wait for the first one for ever."""
    given = parse_dsn(url)
    session = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    every = NETWORK | given | {"options": f"-c application_name=movieserver {given.get('options', '')} {session}"}
    lists = {key: given[key].split(",") for key in ("host", "hostaddr", "port") if "," in given.get(key, "")}
    if not lists:
        return [every]
    every.setdefault("target_session_attrs", "read-write")
    if len({len(values) for values in lists.values()}) > 1:
        return [every]  # libpq says what is wrong with it
    return [every | dict(zip(lists, values)) for values in zip(*lists.values())]


async def _addresses(host: dict[str, str], deadline: float) -> list[dict[str, str]]:
    """The addresses of a host. libpq would ask for them itself, and hold the process until it knows."""
    name = host.get("host", "")
    if not name or name[0] in "/@" or "," in name or "hostaddr" in host:
        return [host]
    loop = asyncio.get_running_loop()
    async with asyncio.timeout_at(min(loop.time() + CONNECT_SECONDS, deadline)):
        found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [host | {"hostaddr": str(information[4][0])} for information in found]


async def _connected(address: dict[str, str], deadline: float) -> _Connection:
    seconds = min(CONNECT_SECONDS, deadline - asyncio.get_running_loop().time())
    if seconds <= 0:
        raise TimeoutError("no time left to connect")
    connection = _Connection(make_dsn(**address), seconds, enable_json=False, enable_hstore=False, enable_uuid=False)
    await connection
    connection.address = address
    return connection


async def _end_session(lost: _Connection) -> None:
    """End a session that did not answer on the server's side: waiting for a standby, it would stay for ever."""
    with suppress(psycopg2.Error, OSError):
        connection = await _connected(lost.address, asyncio.get_running_loop().time() + CONNECT_SECONDS)
        try:
            cursor = await connection.cursor()
            await cursor.callproc("pg_terminate_backend", [lost.pid], timeout=CONNECT_SECONDS)
        finally:
            connection.close()


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None


def _arrays(asked: Sequence[_Asked]) -> dict[str, object]:
    """The values of each parameter as the text of an array (PostgreSQL manual, section 8.15.2)."""
    names = [name for name, _ in asked[0]]
    columns = zip(*[[value for _, value in each] for each in asked])
    return {name: "{" + ",".join(map(_element, values)) + "}" for name, values in zip(names, columns)}


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _tell(gathered: Mapping[_Asked, asyncio.Future[Row | None]], said: Mapping[int, Row] | BaseException) -> None:
    """Give everybody the row of their place, or the same error."""
    for place, answer in enumerate(gathered.values(), 1):
        if answer.done():
            continue
        if isinstance(said, BaseException):
            answer.set_exception(said)
            answer.exception()  # nobody may be left who waits for it
        else:
            answer.set_result(said.get(place))


def _fail(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


def _words(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


async def _execute(
    connection: _Connection, statement: str, parameters: dict[str, object], deadline: float
) -> list[Row]:
    """All rows; errors of the driver become ours."""
    seconds = min(STATEMENT_SECONDS + 1, deadline - asyncio.get_running_loop().time())
    if seconds <= 0:
        raise DatabaseTimeout
    try:
        rows = await connection.rows(statement, parameters, seconds)
    except TimeoutError as error:
        raise ConnectionLost from error  # the server itself would have cut it off
    except psycopg2.Error as error:
        ours = _error_for(error)
        raise ours from (None if isinstance(ours, SchemaMissing) else error)
    if connection.raw.notices and UNCONFIRMED in connection.raw.notices.pop():
        raise NotReplicated
    return rows


def _error_for(error: psycopg2.Error) -> ApiError:
    """Our error for one of the driver's, by its SQLSTATE (PostgreSQL manual, appendix A)."""
    state = error.pgcode or ""
    if state in ("42P01", "42703"):  # undefined table, undefined column
        return SchemaMissing()
    if state == "57014":  # cancelled
        return DatabaseTimeout()
    # a standby, a broken or ended session, one that lost its plans or whose plans the tables outgrew
    if state in ("25006", "26000", "0A000") or state.startswith(("08", "57P")):
        return ConnectionLost()
    if not state and not isinstance(error, (psycopg2.ProgrammingError, psycopg2.DataError)):  # libpq's own words
        return ConnectionLost()
    return DatabaseUnavailable() if isinstance(error, psycopg2.OperationalError) else InternalError()
