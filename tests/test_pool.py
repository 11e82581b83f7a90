"""The pool under load, over HTTP: locks, cancelled statements, PostgreSQL down, restarted and silent."""
from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg2
import pytest
from tornado.platform.asyncio import AsyncIOLoop
from tornado.testing import bind_unused_port

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.programs import EmbeddedError
from movieserver.embedded.redis import Redis
from movieserver.errors import DatabaseUnavailable
from movieserver.postgres import migrations
from movieserver.postgres.connection import SESSION, ConnectionLost, Row
from movieserver.postgres.database import Database, open_database
from movieserver.postgres.pool import Limits
from movieserver.postgres.statements import Statement
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests.client import Response, Api
from tests.conftest import SECRET, make_settings, started, temporary_folder
from tests.factories import collection
from tests.proxy import proxy
from tests.test_run import serving
from tests.third_party import ThirdParty

NAME = "under-fire"
POOL = 2
OVER_TIME = "canceling statement due to statement timeout"

HOLDING = "/movies/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/collections/"  # a read that is never batched
ONE = {"one": Statement("SELECT 1")}
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"  # for a standby


class Operator:
    """A session of the test: holds locks, observes sessions of the server, terminates them."""

    def __init__(self, url: str) -> None:
        self._session = psycopg2.connect(url)
        self._session.autocommit = True
        self._holder = psycopg2.connect(url)

    def ask(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        with self._session.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def hold(self) -> None:
        """Block all statements on collections until `let_go`."""
        with self._holder.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '20s'")
            cursor.execute("LOCK TABLE collections IN ACCESS EXCLUSIVE MODE")

    def let_go(self) -> None:
        self._holder.rollback()

    def waiting(self) -> list[int]:
        """The backends of the server that wait for a lock."""
        found = self.ask(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %(name)s AND wait_event_type = 'Lock'",
            name=NAME)
        return [pid for pid, in found]

    def connections(self) -> int:
        return len(self.ask("SELECT pid FROM pg_stat_activity WHERE application_name = %(name)s", name=NAME))

    async def until_waiting(self, count: int) -> list[int]:
        """Wait until `number` backends wait."""
        while len(pids := self.waiting()) != count:
            await asyncio.sleep(0.01)
        return pids

    def close(self) -> None:
        self._session.close()
        self._holder.close()


def named(url: str) -> str:
    return f"{url}&application_name={NAME}"


@contextmanager
def operating(postgres: Postgres) -> Iterator[Operator]:
    operator = Operator(postgres.url)
    try:
        yield operator
    finally:
        operator.close()


@pytest.fixture
def settings(postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
    """The server with a small pool."""
    return make_settings(named(postgres.url), redis.url, third_party.url, database_pool_size=POOL)


@pytest.fixture
def operator(postgres: Postgres) -> Iterator[Operator]:
    with operating(postgres) as one:
        yield one


def assert_unavailable(response: Response) -> None:
    """Check that a response is a 503 with Retry-After."""
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert response.json["code"] in ("database_unavailable", "database_timeout")


def assert_whole(database: Database) -> None:
    """Check that no slot is in use and no request waits for one."""
    assert database.pool.in_use == 0
    assert database.pool.waiting == 0
    assert len(database.pool.idle) <= database.pool.size


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
@pytest.mark.parametrize("method, runs", [("GET", 2), ("PUT", 1), ("DELETE", 1)])
async def test_a_statement_ended_on_the_server_is_a_503(
    alice: Api, resources: Resources, operator: Operator, end: str, method: str, runs: int
) -> None:
    path = (await alice.post("/collection/", collection())).headers["Location"]
    operator.hold()
    under_way = asyncio.create_task(alice.call(method, path, {"title": "t"} if method == "PUT" else None))
    for _ in range(1 if end == "pg_cancel_backend" else runs):
        pid, = await operator.until_waiting(1)
        operator.ask(f"SELECT {end}(%(pid)s)", pid=pid)
        while pid in operator.waiting():
            await asyncio.sleep(0.01)
    response = await under_way
    assert_unavailable(response)
    # one more retry would have reached the time limit
    assert response.json["code"] == ("database_timeout" if end == "pg_cancel_backend" else "database_unavailable")
    operator.let_go()
    assert (await alice.get(path)).status == 200
    assert_whole(resources.database)


async def test_a_full_pool_is_503_and_recovers(alice: Api, resources: Resources, operator: Operator) -> None:
    path = (await alice.post("/collection/", collection())).headers["Location"]
    operator.hold()
    holding = [asyncio.create_task(alice.put(path, {"title": "t"})) for _ in range(POOL)]
    await operator.until_waiting(POOL)
    limits = resources.database.pool.limits
    limits.acquire = 0.2
    for response in await asyncio.gather(*[alice.get(HOLDING) for _ in range(10)]):
        assert_unavailable(response)
    assert not any(task.done() for task in holding)
    limits.acquire = Limits.acquire
    waiting = [asyncio.create_task(alice.get(HOLDING)) for _ in range(10)]
    while resources.database.pool.waiting < len(waiting):
        await asyncio.sleep(0.01)
    operator.let_go()
    assert {response.status for response in await asyncio.gather(*holding, *waiting)} == {200}
    assert_whole(resources.database)


async def test_the_queue_of_the_pool_is_limited(alice: Api, resources: Resources, operator: Operator) -> None:
    resources.database.pool.limits.waiting = 3
    operator.hold()
    served = [asyncio.create_task(alice.get(HOLDING)) for _ in range(POOL + POOL * 3)]
    while resources.database.pool.waiting < POOL * 3:
        await asyncio.sleep(0.01)
    for response in await asyncio.gather(*[alice.get(HOLDING) for _ in range(10)]):
        assert_unavailable(response)
    assert not any(task.done() for task in served)
    operator.let_go()
    assert {response.status for response in await asyncio.gather(*served)} == {200}
    assert_whole(resources.database)


async def test_a_lost_connection_frees_its_slot(
    alice: Api, resources: Resources, operator: Operator
) -> None:
    resources.database.pool.limits.acquire = 1000.0  # no request was served because of a timeout
    path = (await alice.post("/collection/", collection())).headers["Location"]
    operator.hold()
    broken = [asyncio.create_task(alice.put(path, {"title": "t"})) for _ in range(POOL)]
    pids = await operator.until_waiting(POOL)
    waiting = [asyncio.create_task(alice.post("/login/", {"username": "nobody", "password": "no such word"}))]
    while not resources.database.pool.waiting:
        await asyncio.sleep(0.01)
    operator.ask("SELECT pg_terminate_backend(%(pid)s)", pid=pids[0])
    assert (await waiting[0]).status == 401
    assert not all(task.done() for task in broken)
    operator.let_go()
    assert sorted(response.status for response in await asyncio.gather(*broken)) == [200, 503]
    assert_whole(resources.database)


class TestBriefStatements:
    """statement_timeout of the server's sessions is short."""

    @pytest.fixture
    def settings(
        self, postgres: Postgres, redis: Redis, third_party: ThirdParty, monkeypatch: pytest.MonkeyPatch
    ) -> Settings:
        monkeypatch.setitem(SESSION, "statement_timeout", "300ms")
        return make_settings(named(postgres.url), redis.url, third_party.url, database_pool_size=POOL)

    async def test_a_statement_timeout_is_a_503(
        self, alice: Api, resources: Resources, operator: Operator
    ) -> None:
        operator.hold()
        for response in await asyncio.gather(*[alice.get("/collection/") for _ in range(POOL * 3)]):
            assert_unavailable(response)
        assert operator.waiting() == []
        operator.let_go()
        assert (await alice.get("/collection/")).status == 200
        assert_whole(resources.database)

    async def test_a_client_that_goes_away_leaves_nothing_running(
        self, alice: Api, resources: Resources, operator: Operator
    ) -> None:
        operator.hold()
        host, port = alice.base_url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /collection/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n\r\n".encode())
        await operator.until_waiting(1)
        writer.transport.abort()
        await operator.until_waiting(0)
        while resources.database.pool.in_use:
            await asyncio.sleep(0.01)
        operator.let_go()
        assert (await alice.get("/collection/")).status == 200
        assert_whole(resources.database)


async def test_a_process_that_is_killed_leaves_nothing_running(
    io_loop: AsyncIOLoop, postgres: Postgres, redis: Redis, operator: Operator
) -> None:
    outside = {
        "DATABASE_URL": named(postgres.url), "REDIS_URL": redis.url, "MOVIE_API_URL": "http://127.0.0.1:1/",
        "JWT_SECRET": SECRET,
    }
    with temporary_folder() as folder, serving(folder / "data", **outside) as server:
        _, pair = await asyncio.to_thread(
            server.call, "POST", "/register/", {"username": NAME, "password": "long enough"})
        operator.hold()
        request = asyncio.create_task(asyncio.to_thread(
            server.call, "POST", "/collection/", {"title": "never"}, pair["access_token"]))
        await operator.until_waiting(1)
        over_time = postgres.log.read_text(encoding="utf-8").count(OVER_TIME)
        for pid in server.family():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(OSError):
            await request
        await operator.until_waiting(0)
        assert postgres.log.read_text(encoding="utf-8").count(OVER_TIME) == over_time  # it ended long before
        operator.let_go()
        assert operator.ask("SELECT title FROM collections WHERE title = 'never'") == []


def kill(postgres: Postgres) -> None:
    """Kill the postmaster; its children end when they notice."""
    assert postgres.process
    postgres.process.kill()
    postgres.process.wait()


def start(postgres: Postgres) -> None:
    """Start it again after the last child of a killed one has ended."""
    while True:
        postgres.start()
        try:
            postgres.wait_ready()
            return
        except EmbeddedError:
            continue


class TestWithADatabaseOfItsOwn:
    """A PostgreSQL that the test may stop."""

    @pytest.fixture
    def own_postgres(self) -> Iterator[Postgres]:
        with started(Postgres, fsync="off") as running:
            migrations.migrate(running.url)
            yield running

    @pytest.fixture
    def settings(self, own_postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(named(own_postgres.url), redis.url, third_party.url, database_pool_size=5)

    @pytest.mark.parametrize("end", [Postgres.stop, kill])
    async def test_restarted_under_load(
        self, alice: Api, resources: Resources, own_postgres: Postgres, end: Any
    ) -> None:
        path = (await alice.post("/collection/", collection())).headers["Location"]
        responses: list[Response] = []
        begun_after: list[int] = []  # for each response: how many there were when it was requested
        over = False

        async def load(number: int) -> None:
            while not over:
                before = len(responses)
                responses.append(await alice.get(path) if number % 2 else await alice.put(path, {"title": f"{number}"}))
                begun_after.append(before)

        async def until(status: int, times: int) -> None:
            already = len(responses)
            while [response.status for response in responses[already:]].count(status) < times:
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(load(number)) for number in range(20)]
        await until(200, 100)
        await asyncio.to_thread(end, own_postgres)
        await until(503, 100)
        await asyncio.to_thread(start, own_postgres)
        await until(200, 100)
        restored = len(responses)
        await until(200, 200)
        over = True
        await asyncio.gather(*tasks)
        assert {response.status for before, response in zip(begun_after, responses) if before >= restored} == {200}
        for response in responses:
            if response.status != 200:
                assert_unavailable(response)
        assert_whole(resources.database)
        with operating(own_postgres) as operator:
            assert operator.connections() == len(resources.database.pool.idle)

    async def test_a_write_without_a_standby_is_not_acknowledged(
        self, alice: Api, resources: Resources, own_postgres: Postgres
    ) -> None:
        with operating(own_postgres) as operator:
            await require_a_standby(alice, operator)
            for _ in range(20):  # the warning may arrive with the result of the lock or of the write
                writing = asyncio.create_task(alice.post("/collection/", collection()))
                waiting: list[Any] = []
                while not waiting:
                    await asyncio.sleep(0.01)
                    waiting = operator.ask(WAITING)
                operator.ask("SELECT pg_cancel_backend(%(pid)s)", pid=waiting[0][0])
                assert_unavailable(await writing)
                assert (await alice.get("/collection/")).status == 200

    async def test_waiting_for_a_missing_standby_ends(
        self, alice: Api, resources: Resources, own_postgres: Postgres
    ) -> None:
        resources.database.pool.limits.total = 0.5
        with operating(own_postgres) as operator:
            await require_a_standby(alice, operator)
            for response in await asyncio.gather(*[alice.post("/collection/", collection()) for _ in range(5)]):
                assert_unavailable(response)
            while operator.ask(WAITING):
                await asyncio.sleep(0.01)


async def require_a_standby(alice: Api, operator: Any) -> None:
    """Let commits wait for a standby that is missing; returns when they do, after each process has reloaded."""
    operator.ask("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    operator.ask("SELECT pg_reload_conf()")
    waiting: list[Any] = []
    while not waiting:
        writing = asyncio.create_task(alice.post("/collection/", collection()))
        while not writing.done() and not (waiting := operator.ask(WAITING)):
            await asyncio.sleep(0.01)
        for [pid] in waiting:
            operator.ask("SELECT pg_cancel_backend(%(pid)s)", pid=pid)
        await writing


@asynccontextmanager
async def over_tcp(**given: str) -> AsyncIterator[tuple[Postgres, int]]:
    """A PostgreSQL on a port of 127.0.0.1."""
    listening, port = bind_unused_port()
    listening.close()
    with started(Postgres, fsync="off", listen_addresses="127.0.0.1", port=str(port), **given) as running:
        running.url = address(port)
        yield running, port


def address(port: int, hosts: str = "127.0.0.1") -> str:
    return f"postgresql://postgres@{hosts}:{port}/movieserver?application_name={NAME}"


async def test_a_silent_server_times_out_and_is_found_again(io_loop: AsyncIOLoop) -> None:
    async with over_tcp() as (_, port), proxy(f"tcp://127.0.0.1:{port}") as between:
        async with open_database(address(between.port), 3, statements=ONE) as database:
            await asyncio.gather(*[database.read("one") for _ in range(20)])
            between.black_hole = True
            database.pool.limits = Limits(acquire=0.2, connect=0.2, statement=0.3, total=1.0)
            for verb in (database.read, database.write):
                results = await asyncio.gather(*[verb("one") for _ in range(50)], return_exceptions=True)
                assert all(isinstance(result, DatabaseUnavailable) for result in results)
            database.pool.limits = Limits()
            assert_whole(database)
            between.black_hole = False
            while await found_again(database) is None:
                await asyncio.sleep(0.01)
            assert await asyncio.gather(*[database.read("one") for _ in range(20)]) == [(1,)] * 20


async def found_again(database: Database) -> Row | None:
    try:
        return await database.read("one")
    except DatabaseUnavailable:
        return None


async def test_during_an_outage_one_client_at_a_time_connects(io_loop: AsyncIOLoop) -> None:
    silent, port = bind_unused_port()
    silent.setblocking(False)
    async with open_database(address(port), 5, limits=Limits(connect=0.3), statements=ONE) as database:
        for maximum in (5 + 1, 1):
            results = await asyncio.gather(*[database.read("one") for _ in range(100)], return_exceptions=True)
            assert all(isinstance(result, DatabaseUnavailable) for result in results)
            assert 1 <= accepted(silent) <= maximum
    silent.close()


def accepted(listening: socket.socket) -> int:
    """The number of new connections since the last call."""
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


async def test_a_silent_host_is_skipped_and_then_tried_last(io_loop: AsyncIOLoop) -> None:
    silent, port = bind_unused_port()
    silent.setblocking(False)
    async with over_tcp() as (_, good):
        url = address(good, f"localhost:{port},no-such-host.invalid:1,127.0.0.1")
        async with open_database(url, 3, limits=Limits(connect=0.3), statements=ONE) as database:
            assert await database.read("one") == (1,)
            assert accepted(silent) > 0
            database.pool.close_idle()
            assert await asyncio.gather(*[database.read("one") for _ in range(3)]) == [(1,)] * 3
            assert accepted(silent) == 0
    silent.close()


async def test_tcp_detects_a_vanished_host(io_loop: AsyncIOLoop) -> None:
    async with over_tcp() as (_, port):
        for url, milliseconds in ((address(port), 4000), (address(port) + "&tcp_user_timeout=9000", 9000)):
            async with open_database(url, 1, statements=ONE) as database:
                await database.read("one")
                with socket.socket(fileno=os.dup(database.pool.idle[0].raw.fileno())) as one:
                    assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds
                    assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                    assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5


async def test_a_server_that_becomes_read_only_is_replaced(io_loop: AsyncIOLoop) -> None:
    async with over_tcp() as (first, port), over_tcp() as (second, other):
        hosts = f"127.0.0.1:{port},127.0.0.1"
        statements = {
            "where": Statement("SELECT inet_server_port()"),
            "write": Statement("CREATE TABLE IF NOT EXISTS written (x int);\nSELECT 1")}
        async with open_database(address(other, hosts), 3, statements=statements) as database:
            await asyncio.gather(*[database.read("where") for _ in range(3)])
            with operating(first) as operator:
                operator.ask("ALTER SYSTEM SET default_transaction_read_only = on")
                operator.ask("SELECT pg_reload_conf()")
                while operator.ask("SHOW default_transaction_read_only") != [("on",)]:
                    await asyncio.sleep(0.01)
            lost = 0
            while await write(database) is None:
                lost += 1
            assert lost >= 1
            assert set(await asyncio.gather(*[database.read("where") for _ in range(9)])) == {(other,)}


async def write(database: Database) -> Row | None:
    try:
        return await database.write("write")
    except ConnectionLost:
        return None


async def test_a_lost_connection_closes_the_others_when_they_are_released(
    alice: Api, resources: Resources, operator: Operator
) -> None:
    path = (await alice.post("/collection/", collection())).headers["Location"]
    operator.hold()
    both = [asyncio.create_task(alice.put(path, {"title": "t"})) for _ in range(POOL)]
    pids = await operator.until_waiting(POOL)
    operator.ask("SELECT pg_terminate_backend(%(pid)s)", pid=pids[0])
    await operator.until_waiting(POOL - 1)
    while not any(task.done() for task in both):
        await asyncio.sleep(0.01)
    operator.let_go()
    assert sorted(response.status for response in await asyncio.gather(*both)) == [200, 503]
    assert resources.database.pool.idle == []
    assert (await alice.get(path)).status == 200
