"""The pool and the statements: time limits, driver errors, lost connections, retries."""
from __future__ import annotations

import asyncio
import gc
import os
import re
import select
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import pytest
from tornado.testing import bind_unused_port

from movieserver.embedded.postgres import Postgres
from movieserver.errors import DatabaseTimeout, DatabaseUnavailable, InternalError, SchemaMissing
from movieserver.postgres.connection import SESSION, ConnectionLost, NotApplied, StatementTimeout
from movieserver.postgres.database import MAX_RUNS, Database, open_database
from movieserver.postgres.hosts import describe, hosts_of
from movieserver.postgres.pool import Limits
from movieserver.postgres.statements import FOLDER, Statement, array, load_statements, parse_statements
from tests.conftest import temporary_folder
from tests.test_migrations import run
from tests.wire import until

pytestmark = pytest.mark.usefixtures("io_loop")

STATEMENTS = {name: Statement(text) for name, text in {
    "one": "SELECT 1",
    "sleep": "SELECT pg_sleep(%(seconds)s)",
    "pid": "SELECT pg_backend_pid()",
    "kill": "SELECT pg_terminate_backend(%(pid)s)",
    "setting": "SELECT current_setting(%(setting)s)",
    "two": "SELECT 1;\nSELECT 2",
    "half": "CREATE TABLE half (x int); SELECT 1/0",
    "half prepared": "DELETE FROM halves WHERE x = %(x)s;\nSELECT 1 / %(zero)s",
    "halves": "SELECT count(*) FROM halves",
    "is there": "SELECT to_regclass('half')",
    "table": "SELECT * FROM no_such_table",
    "sleeping": "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^(SELECT pg_sleep|EXECUTE)' AND state = 'active'"
                " AND wait_event = 'PgSleep'",
    "first and last": "SELECT %(value)s::text;\nSELECT %(value)s::text || '%%', %(other)s::integer, %(value)s::text",
    "list": "SELECT %(values)s::text[]",
}.items()}


def message(kind: bytes, content: bytes) -> bytes:
    """A message of PostgreSQL's protocol."""
    return kind + struct.pack(">i", 4 + len(content)) + content


LOGGED_IN = message(b"R", bytes(4)) + b"".join(
    message(b"S", b"\0".join(setting)) for setting in ((b"client_encoding", b"UTF8", b""), (b"DateStyle", b"ISO", b"")))


@asynccontextmanager
async def opened(postgres: Postgres, size: int = 1, limits: Limits | None = None) -> AsyncIterator[Database]:
    async with open_database(postgres.url, size, limits=limits, statements=STATEMENTS | load_statements()) as database:
        yield database


async def nothing_sleeps(database: Database) -> None:
    """Wait until the server runs no more sleeps."""
    while await database.read("sleeping") != (0,):
        await asyncio.sleep(0.05)


async def test_a_pool_of_one_connection_serves_all_clients(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        assert await asyncio.gather(*[database.read("one") for _ in range(50)]) == [(1,)] * 50


async def test_the_pool_does_not_exceed_its_size(postgres: Postgres) -> None:
    async with opened(postgres, 3) as database:
        pids = await asyncio.gather(*[database.read("pid") for _ in range(30)])
        assert 1 <= len(set(pids)) <= 3


async def test_the_server_cancels_a_slow_statement(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SESSION, "statement_timeout", "200ms")
    async with opened(postgres) as database:
        with pytest.raises(DatabaseTimeout):
            await database.write("sleep", seconds=30)
        assert await database.read("one") == (1,)
        await nothing_sleeps(database)


async def test_the_next_waiting_client_is_served_after_a_timeout(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        await database.read("one")
        database.pool.limits.statement = 0.2
        stuck = asyncio.create_task(database.write("sleep", seconds=30))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(database.read("one"))
        with pytest.raises(ConnectionLost):
            await stuck
        assert await waiting == (1,)
        await nothing_sleeps(database)


async def test_a_full_pool_times_out_and_recovers(postgres: Postgres) -> None:
    async with opened(postgres, limits=Limits(acquire=0.1)) as database:
        busy = asyncio.create_task(database.write("sleep", seconds=0.5))
        await asyncio.sleep(0)
        with pytest.raises(DatabaseTimeout):
            await database.read("one")
        await busy
        assert await database.read("one") == (1,)


async def test_a_cancelled_client_returns_its_slot(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        stuck = asyncio.create_task(database.write("sleep", seconds=30))
        waiting = [asyncio.create_task(database.read("one")) for _ in range(3)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        stuck.cancel()
        for task in (stuck, waiting[0]):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await asyncio.gather(*waiting[1:]) == [(1,), (1,)]
        await nothing_sleeps(database)
    assert (database.pool.in_use, database.pool.waiting) == (0, 0)


async def test_a_lost_connection_retries_reads_but_not_writes(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        database.statements["first dies"] = Statement(
            "SELECT CASE WHEN pg_backend_pid() = %(pid)s THEN pg_terminate_backend(pg_backend_pid()) END")
        row = await database.read("pid")
        assert row
        assert await database.read("first dies", pid=row[0]) == (None,)
        row = await database.read("pid")
        assert row
        with pytest.raises(ConnectionLost):
            await database.write("first dies", pid=row[0])
        database.statements["dies"] = Statement("SELECT pg_terminate_backend(pg_backend_pid())")
        with pytest.raises(ConnectionLost):
            await database.read("dies")


async def test_a_connection_lost_while_idle_is_replaced(postgres: Postgres) -> None:
    async with opened(postgres) as database, opened(postgres) as other:
        row = await database.read("pid")
        assert row
        await other.write("kill", pid=row[0])
        while not database.pool.idle[0].closed:
            await asyncio.sleep(0.01)
        assert await database.write("one") == (1,)


async def test_a_server_that_does_not_listen(io_loop: object) -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    async with open_database("postgresql://nobody@127.0.0.1:1/none", 1) as database:
        for _ in range(3):
            for verb in (database.read, database.write):
                with pytest.raises(DatabaseUnavailable):
                    await verb("users.find", username_key=b"")
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []


@pytest.mark.parametrize("state, error", [
    ("25006", ConnectionLost), ("57P01", ConnectionLost), ("08006", ConnectionLost), ("26000", ConnectionLost),
    ("0A000", ConnectionLost), ("53200", DatabaseUnavailable), ("40P01", NotApplied), ("40001", NotApplied),
    ("57014", DatabaseTimeout), ("42P01", SchemaMissing), ("42703", SchemaMissing), ("22012", InternalError),
])
async def test_errors_of_the_server(postgres: Postgres, state: str, error: type[Exception]) -> None:
    async with opened(postgres) as database:
        database.statements["raise"] = Statement(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$")
        with pytest.raises(error) as caught:
            await database.write("raise")
        assert caught.type is error
        assert await database.read("one") == (1,)


class TestRunsThatWereNotApplied:
    """A deadlock or serialization failure; a sequence counts the runs, because a rollback does not undo it."""

    @pytest.fixture
    def failing(self, postgres: Postgres) -> Iterator[str]:
        """The text of a statement that fails in its first %(failures)s runs."""
        run(postgres.url, "CREATE SEQUENCE runs")
        run(postgres.url, "CREATE TABLE applied (run bigint)")
        run(postgres.url, """
            CREATE FUNCTION fail_until(failures bigint, state text) RETURNS bigint LANGUAGE plpgsql AS $$
            DECLARE run bigint := nextval('runs');
            BEGIN
                INSERT INTO applied VALUES (run);
                IF run <= failures THEN RAISE EXCEPTION 'not applied' USING ERRCODE = state; END IF;
                RETURN run;
            END $$""")
        yield "SELECT 1 WHERE %(failures)s >= 0;\nSELECT fail_until(%(failures)s, %(state)s)"
        run(postgres.url, "DROP FUNCTION fail_until; DROP SEQUENCE runs; DROP TABLE applied")

    @pytest.mark.parametrize("state", ["40P01", "40001"])
    @pytest.mark.parametrize("verb", ["read", "write"])
    async def test_a_statement_that_was_not_applied_is_retried(
        self, postgres: Postgres, failing: str, state: str, verb: str
    ) -> None:
        async with opened(postgres) as database:
            database.statements["failing"] = Statement(failing)
            row = await getattr(database, verb)("failing", failures=MAX_RUNS - 1, state=state)
            assert row == (MAX_RUNS,)
            assert run(postgres.url, "SELECT array_agg(run) FROM applied") == ([MAX_RUNS],)

    @pytest.mark.parametrize("state", ["40P01", "40001"])
    async def test_retries_are_limited(self, postgres: Postgres, failing: str, state: str) -> None:
        async with opened(postgres) as database:
            database.statements["failing"] = Statement(failing)
            with pytest.raises(NotApplied):
                await database.write("failing", failures=1000, state=state)
            assert run(postgres.url, "SELECT last_value FROM runs") == (MAX_RUNS,)
            assert run(postgres.url, "SELECT count(*) FROM applied") == (0,)
            assert await database.read("one") == (1,)

    @pytest.mark.parametrize("state", ["22012", "57014", "53200", "08006"])
    async def test_other_failed_writes_are_not_retried(self, postgres: Postgres, failing: str, state: str) -> None:
        async with opened(postgres) as database:
            database.statements["failing"] = Statement(failing)
            with pytest.raises((DatabaseUnavailable, InternalError)):
                await database.write("failing", failures=1000, state=state)
            assert run(postgres.url, "SELECT last_value FROM runs") == (1,)


async def test_deadlocked_writes_both_succeed(postgres: Postgres) -> None:
    """A real deadlock: each write holds the row that the other waits for."""
    run(postgres.url, "CREATE TABLE rows AS SELECT id, 0 AS times FROM generate_series(1, 2) AS id")
    update = "UPDATE rows SET times = times + 1 WHERE id = %%(%s)s;\n"
    text = update % "first" + "SELECT pg_sleep(0.2);\n" + update % "second" + "SELECT 1"
    try:
        async with opened(postgres, 2) as database:
            database.statements["both"] = Statement(text)
            orders = ((1, 2), (2, 1))
            rows = await asyncio.gather(
                *[database.write("both", first=first, second=second) for first, second in orders])
            assert rows == [(1,), (1,)]
            assert run(postgres.url, "SELECT array_agg(times) FROM rows") == ([2, 2],)
    finally:
        run(postgres.url, "DROP TABLE rows")


async def test_a_host_that_is_down_is_skipped(postgres: Postgres) -> None:
    folder = postgres.url.partition("host=")[2]
    url = postgres.url.replace(f"host={folder}", f"host=/nowhere,127.0.0.1,{folder}&port=5432,1,5432")
    async with open_database(url, 3, statements=STATEMENTS) as database:
        for _ in range(3):
            assert await asyncio.gather(*[database.read("one") for _ in range(3)]) == [(1,)] * 3
            database.pool.close_idle()


async def test_a_server_that_never_responds(io_loop: object) -> None:
    silent, port = bind_unused_port()
    limits = Limits(connect=0.1)
    async with open_database(f"postgresql://nobody@127.0.0.1:{port}/none", 1, limits=limits) as database:
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                await database.write("users.find", username_key=b"")
    silent.close()


async def test_a_session_that_ends_after_a_warning_is_lost_at_once(io_loop: object) -> None:
    """So PostgreSQL ends all sessions when one crashes; the warning and the error arrive as one event."""
    loop = asyncio.get_running_loop()
    with temporary_folder() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / ".s.PGSQL.5432"))
        server.listen()
        server.setblocking(False)

        async def session() -> None:
            client, _ = await loop.sock_accept(server)
            for response in (LOGGED_IN, message(b"C", b"SELECT 0\0")):  # to the login, and to its query
                await loop.sock_recv(client, 65536)
                await loop.sock_sendall(client, response + message(b"Z", b"I"))
            await until(lambda: select.select([client], [], [], 0)[0])  # the statement, which stays unread
            client.send(message(b"N", b"SWARNING\0C57P02\0Mcrash of another server process\0\0"))
            client.close()

        async with open_database(f"postgresql://nobody@/none?host={folder}", 1, statements=STATEMENTS) as database:
            ending = asyncio.create_task(session())
            with pytest.raises(ConnectionLost) as raised:
                await database.write("one")
            await ending
    assert not isinstance(raised.value, StatementTimeout)


async def test_a_connection_lost_while_sending(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        database.statements["long"] = Statement("SELECT length(%(text)s), pg_terminate_backend(pg_backend_pid())")
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await database.write("long", text="x" * 20_000_000)
            assert await database.read("one") == (1,)


async def test_two_statements_are_one_transaction_and_return_the_last_row(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        assert await database.write("two") == (2,)
        with pytest.raises(InternalError):
            await database.write("half")
        assert await database.read("is there") == (None,)


async def test_prepared_statements_are_one_transaction_too(postgres: Postgres) -> None:
    run(postgres.url, "CREATE TABLE halves AS SELECT 1 AS x")
    try:
        async with opened(postgres) as database:
            assert len(database.statements["half prepared"].parts) == 2
            for _ in range(2):
                with pytest.raises(InternalError):
                    await database.write("half prepared", x=1, zero=0)
                assert await database.read("halves") == (1,)
            await database.write("half prepared", x=1, zero=1)
            assert await database.read("halves") == (0,)
    finally:
        run(postgres.url, "DROP TABLE halves")


@pytest.mark.parametrize("value", ["", "a", "'; DROP TABLE users; --", "%s %(value)s %%", "\\", "é\u2028\n", "$1"])
async def test_parameters_are_passed_to_each_part(postgres: Postgres, value: str) -> None:
    async with opened(postgres) as database:
        assert await database.read("first and last", value=value, other=7) == (f"{value}%", 7, value)


@pytest.mark.parametrize("values", [
    [], [""], ["a", None, "NULL", "null"], ['"', "\\", "\\\"", "{}", ",", " ", "\n\t", "é", "'"], ["%s", "%(values)s"],
])
async def test_lists_are_arrays(postgres: Postgres, values: list[str | None]) -> None:
    async with opened(postgres) as database:
        assert await database.read("list", values=values) == (values,)


def test_the_text_of_an_array() -> None:
    assert array([1, None, "a\"b\\c"]) == '{"1",NULL,"a\\"b\\\\c"}'


async def test_a_missing_table_is_reported_as_a_missing_migration(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        with pytest.raises(SchemaMissing):
            await database.read("table")


async def test_tables_may_change_under_prepared_statements(postgres: Postgres) -> None:
    """A column is added while the server runs: the read is retried, and later ones are right."""
    run(postgres.url, "CREATE TABLE growing AS SELECT 1 AS x")
    try:
        async with opened(postgres) as database:
            database.statements["growing"] = Statement("SELECT * FROM growing")
            assert await database.read("growing") == (1,)
            run(postgres.url, "ALTER TABLE growing ADD COLUMN y integer DEFAULT 2")
            assert await database.read("growing") == (1, 2)
    finally:
        run(postgres.url, "DROP TABLE growing")


async def test_the_session_has_its_limits(postgres: Postgres) -> None:
    async with opened(postgres) as database:
        for name, value in SESSION.items():
            assert await database.read("setting", setting=name) == (value,)


async def test_options_of_the_url_are_preserved(postgres: Postgres) -> None:
    url = postgres.url + "&options=-c%20work_mem%3D5MB%20-c%20jit%3Don"
    async with open_database(url, 1, statements=STATEMENTS) as database:
        assert await database.read("setting", setting="work_mem") == ("5MB",)
        assert await database.read("setting", setting="application_name") == ("movieserver",)
        assert await database.read("setting", setting="jit") == ("off",)


def test_every_statement_has_a_name_and_a_contract() -> None:
    assert {"users.register", "collections.list_page", "sessions.rotate"} <= set(load_statements())
    for file in sorted(FOLDER.glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        assert len(parse_statements(text)) == len(re.findall("^-- name:", text, re.MULTILINE))
        assert all(statement.text.endswith(";") for statement in parse_statements(text).values())


def test_every_statement_is_prepared() -> None:
    """A semicolon within a line would not end a statement."""
    for name, statement in load_statements().items():
        assert statement.parts, name
        assert all(";" not in re.sub("'[^']*'", "", part.prepare) for part in statement.parts), name


def test_statements_of_a_file() -> None:
    first, second = "-- name: first\n-- Gives.\nSELECT 1;\n", "-- name: second\n-- A.\n-- B.\nSELECT 2;\nSELECT 3;\n"
    statements = parse_statements(f"{first}\n{second}")
    assert statements == {"first": Statement("SELECT 1;"), "second": Statement("SELECT 2;\nSELECT 3;")}
    assert [len(statement.parts) for statement in statements.values()] == [1, 2]


def test_each_host_of_a_url_is_tried_separately() -> None:
    first, second = hosts_of("postgresql://u@a:1,b:2/d")
    assert (first["host"], first["port"], second["host"], second["port"]) == ("a", "1", "b", "2")
    assert first["target_session_attrs"] == second["target_session_attrs"] == "read-write"
    assert {host["target_session_attrs"] for host in hosts_of("postgresql://a,b/d?target_session_attrs=any")} == {"any"}
    single, = hosts_of("postgresql://a/d?tcp_user_timeout=1")
    assert "target_session_attrs" not in single
    assert (single["tcp_user_timeout"], single["keepalives_idle"]) == ("1", "5")
    assert len(hosts_of("postgresql://a:1,b:2,c/d?port=1,2")) == 1


@pytest.mark.parametrize("url, description", [
    ("postgresql://u:secret@a:1,b:2/d", "a:1, b:2, database d, user u"),
    ("postgresql://a,b/d?password=secret", "a:5432, b:5432, database d, user (of this process)"),
    ("postgresql:///d?host=/run/x&user=u", "/run/x:5432, database d, user u"),
    ("postgresql:///", "this machine:5432, database (same as user), user (of this process)"),
])
def test_a_url_is_described_without_its_password(url: str, description: str) -> None:
    assert describe(url) == description


async def test_a_lost_connection_with_a_high_file_descriptor(postgres: Postgres) -> None:
    """select(2) takes no number from 1024 up; a process with many clients has higher ones."""
    with ExitStack() as files:
        for _ in range(1024):
            files.enter_context(open(os.devnull, encoding="ascii"))
        async with opened(postgres) as database:
            database.statements["end"] = Statement("SELECT pg_terminate_backend(pg_backend_pid())")
            with pytest.raises(ConnectionLost) as raised:
                await database.write("end")
            assert await database.read("one") == (1,)
    assert not isinstance(raised.value, StatementTimeout)
