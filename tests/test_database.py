"""The pool and the statements: time limits, driver errors, connections that die."""
from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tornado.testing import bind_unused_port

from movieserver.postgres import database as module
from movieserver.postgres.database import (
    ConnectionLost, Database, DatabaseTimeout, DatabaseUnavailable, SchemaMissing, load_statements, open_database,
    parse_statements
)
from movieserver.embedded.postgres import Postgres
from movieserver.errors import InternalError

pytestmark = pytest.mark.usefixtures("io_loop")

STATEMENTS = {
    "one": "SELECT 1",
    "sleep": "SELECT pg_sleep(%(seconds)s)",
    "pid": "SELECT pg_backend_pid()",
    "kill": "SELECT pg_terminate_backend(%(pid)s)",
    "connections": "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'",
    "setting": "SELECT current_setting(%(setting)s)",
    "two": "SELECT 1; SELECT 2",
    "half": "CREATE TABLE half (x int); SELECT 1/0",
    "is there": "SELECT to_regclass('half')",
    "table": "SELECT * FROM no_such_table",
    "sleeping": "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%' AND state = 'active'",
}


@asynccontextmanager
async def pool(postgres: Postgres, size: int = 1) -> AsyncIterator[Database]:
    async with open_database(postgres.url, size) as database:
        database.statements.update(STATEMENTS)
        yield database


async def nothing_sleeps(database: Database) -> None:
    """Wait until the server runs none of the sleeps any more."""
    while await database.read("sleeping") != (0,):
        await asyncio.sleep(0.05)


async def test_a_pool_of_one_serves_everybody(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        assert await asyncio.gather(*[database.read("one") for _ in range(50)]) == [(1,)] * 50


async def test_the_pool_has_its_size(postgres: Postgres) -> None:
    async with pool(postgres, 3) as database:
        pids = await asyncio.gather(*[database.read("pid") for _ in range(30)])
        assert 1 <= len(set(pids)) <= 3


async def test_a_statement_over_its_time_is_cut_off_on_the_server(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.SESSION, "statement_timeout", "200ms")
    async with pool(postgres) as database:
        with pytest.raises(DatabaseTimeout):
            await database.write("sleep", seconds=30)
        assert await database.read("one") == (1,)
        await nothing_sleeps(database)


async def test_after_a_cut_off_statement_the_next_in_line_is_served(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STATEMENT_SECONDS", -0.8)
    async with pool(postgres) as database:
        stuck = asyncio.create_task(database.write("sleep", seconds=30))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(database.read("one"))
        with pytest.raises(ConnectionLost):
            await stuck
        assert await waiting == (1,)
        await nothing_sleeps(database)


async def test_a_full_pool_says_so_in_time_and_recovers(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACQUIRE_SECONDS", 0.1)
    async with pool(postgres) as database:
        busy = asyncio.create_task(database.write("sleep", seconds=0.5))
        await asyncio.sleep(0)
        with pytest.raises(DatabaseTimeout):
            await database.read("one")
        await busy
        assert await database.read("one") == (1,)


async def test_a_cancelled_caller_gives_its_place_back(postgres: Postgres) -> None:
    async with pool(postgres) as database:
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


async def test_a_read_whose_connection_dies_is_tried_again_and_a_write_is_not(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        database.statements["first dies"] = (
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


async def test_a_connection_that_died_idle_is_not_used_again(postgres: Postgres) -> None:
    async with pool(postgres) as database, pool(postgres) as other:
        row = await database.read("pid")
        assert row
        await other.write("kill", pid=row[0])
        while not database._idle[0].closed:
            await asyncio.sleep(0.01)
        assert await database.write("one") == (1,)


async def test_nobody_there(postgres: Postgres) -> None:
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


async def test_errors_of_the_server(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        for state, error in (
            ("25006", ConnectionLost), ("57P01", ConnectionLost), ("08006", ConnectionLost),
            ("53200", DatabaseUnavailable), ("40P01", DatabaseUnavailable), ("22012", InternalError),
        ):
            database.statements["raise"] = Statement(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$")
            with pytest.raises(error) as caught:
                await database.write("raise")
            assert caught.type is error
            assert await database.read("one") == (1,)


async def test_a_host_that_is_away_is_passed_over(postgres: Postgres) -> None:
    folder = postgres.url.partition("host=")[2]
    url = postgres.url.replace(f"host={folder}", f"host=/nowhere,127.0.0.1,{folder}&port=5432,1,5432")
    async with open_database(url, 3) as database:
        database.statements.update(STATEMENTS)
        for _ in range(3):
            assert await asyncio.gather(*[database.read("one") for _ in range(3)]) == [(1,)] * 3
            database.close_idle()


async def test_a_server_that_never_answers(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.1)
    silent, port = bind_unused_port()
    async with open_database(f"postgresql://nobody@127.0.0.1:{port}/none", 1) as database:
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                await database.write("users.find", username_key=b"")
    silent.close()


async def test_a_connection_that_dies_while_much_is_sent(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        database.statements["long"] = Statement("SELECT length(%(text)s), pg_terminate_backend(pg_backend_pid())")
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await database.write("long", text="x" * 20_000_000)
            assert await database.read("one") == (1,)


async def test_two_statements_are_one_transaction_and_give_the_last_row(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        assert await database.write("two") == (2,)
        with pytest.raises(InternalError):
            await database.write("half")
        assert await database.read("is there") == (None,)


async def test_a_missing_table_is_a_missing_migration(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        with pytest.raises(SchemaMissing):
            await database.read("table")


async def test_the_session_has_its_limits(postgres: Postgres) -> None:
    async with pool(postgres) as database:
        for name, value in module.SESSION.items():
            assert await database.read("setting", setting=name) == (value,)


async def test_options_of_the_url_are_kept(postgres: Postgres) -> None:
    url = postgres.url + "&options=-c%20application_name%3Dkept"
    async with open_database(url, 1) as database:
        database.statements.update(STATEMENTS)
        assert await database.read("setting", setting="application_name") == ("kept",)
        assert await database.read("setting", setting="jit") == ("off",)


def test_every_statement_has_a_name_and_a_contract() -> None:
    statements = load_statements()
    assert {"users.register", "collections.list_page", "sessions.rotate"} <= set(statements)
    for file in sorted(module.STATEMENTS.glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        assert len(parse_statements(text)) == len(re.findall("^-- name:", text, re.MULTILINE))
        assert all(statement.endswith(";") for statement in parse_statements(text).values())


def test_statements_of_a_file() -> None:
    first, second = "-- name: first\n-- Gives.\nSELECT 1;\n", "-- name: second\n-- A.\n-- B.\nSELECT 2;\nSELECT 3;\n"
    text = f"{first}\n{second}"
    assert parse_statements(text) == {"first": "SELECT 1;", "second": "SELECT 2;\nSELECT 3;"}


def test_each_host_of_a_url_is_an_attempt_of_its_own() -> None:
    first, second = module._hosts("postgresql://u@a:1,b:2/d")
    assert (first["host"], first["port"], second["host"], second["port"]) == ("a", "1", "b", "2")
    assert first["target_session_attrs"] == second["target_session_attrs"] == "read-write"
    assert {host["target_session_attrs"] for host in module._hosts("postgresql://a,b/d?target_session_attrs=any")} == {
        "any"}
    alone, = module._hosts("postgresql://a/d?tcp_user_timeout=1")
    assert "target_session_attrs" not in alone
    assert (alone["tcp_user_timeout"], alone["keepalives_idle"]) == ("1", "5")
    assert len(module._hosts("postgresql://a:1,b:2,c/d?port=1,2")) == 1
