"""The log: a line per request, a begin and an end per outage, and no secrets in the log of the whole test run."""
from __future__ import annotations

import asyncio
import errno
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from movieserver.accounts import passwords
from movieserver.check import log_unusable
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.observability import logs
from movieserver.postgres.statements import Statement
from movieserver.resources import Resources
from movieserver.serving.request import MovieServer
from movieserver.settings import Settings
from tests import record
from tests.client import Api
from tests.conftest import make_settings
from tests.factories import registration
from tests.third_party import ThirdParty, page
from tests.wire import reset, until

TOP = Path(__file__).parents[1]
COLOUR = re.compile(r"\x1b\[\d+m")
FIELDS = {
    "timestamp", "level", "pid", "event", "request_id", "client", "method", "route", "status", "ms", "user_id", "bytes"}
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Lines:
    """The log lines since the test began."""
    begin = record.position()
    return lambda: [json.loads(line) for line in record.logged(begin).splitlines()]


def requests(lines: Lines) -> list[dict[str, Any]]:
    return [line for line in lines() if line["event"] == "request"]


def outages(lines: Lines) -> list[tuple[str, str]]:
    """The outages that began and ended, in order."""
    events = [line["event"].partition(": outage ") for line in lines()]
    return [(what, how) for what, _, how in events if how]


@contextmanager
def locked(postgres: Postgres, table: str) -> Iterator[Any]:
    """Statements on a table wait during the block; yields a cursor."""
    with closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield cursor


async def test_a_check_at_the_start_that_fails_is_only_logged(
    settings: Settings, resources: Resources, lines: Lines
) -> None:
    await log_unusable(settings.model_copy(update={"redis_url": None}), resources)
    failed = [line for line in lines() if line["level"] == "error" and line["event"] != "service cannot be used"]
    assert [(line["event"], line["service"]) for line in failed] == [("service could not be checked", "Redis")]
    assert failed[0]["exception"]


async def test_a_request_is_logged_in_one_line(alice: Api, lines: Lines) -> None:
    response = await alice.get("/collection/?limit=7", headers={"X-Request-ID": "one-of-mine"})
    [line] = requests(lines)
    assert set(line) == FIELDS
    assert datetime.now().astimezone() - datetime.fromisoformat(line["timestamp"]) < timedelta(minutes=1)
    assert line["timestamp"].endswith("Z")
    assert 0 < line.pop("ms") < 30_000
    del line["timestamp"]
    user = line.pop("user_id")
    assert re.fullmatch(r"[0-9a-f-]{36}|\d+", str(user))
    assert line == {
        "level": "info", "event": "request", "request_id": "one-of-mine", "method": "GET", "route": "/collection/",
        "status": 200, "bytes": len(response.body), "client": "127.0.0.1", "pid": os.getpid(),
    }
    created = (await alice.post("/collection/", {"title": "x"})).json["collection_uuid"]
    await alice.get(f"/collections/{created}")
    assert [(line["route"], line["user_id"]) for line in requests(lines)[1:]] == [
        ("/collection/", user), ("/collections/{collection_uuid}/", user)]


async def test_a_login_is_logged_with_its_user(api: Api, lines: Lines) -> None:
    pair = registration()
    await api.post("/register/", pair)
    await api.post("/login/", pair)
    await api.post("/login/", {**pair, "password": "not the one"})
    first, second, third = [line["user_id"] for line in requests(lines)]
    assert first == second is not None
    assert third is None


async def test_the_request_id_is_that_of_the_response(api: Api, lines: Lines) -> None:
    for given in ("abc-1.2_3", "x" * 64, "", "x" * 65, "a b", "a,b", "é", "<x>", 'a"b', "a\tb"):
        response = await api.get("/nowhere", headers={"X-Request-ID": given})
        assert requests(lines)[-1]["request_id"] == response.headers["X-Request-ID"]
        assert (response.headers["X-Request-ID"] == given) == (given in ("abc-1.2_3", "x" * 64))


async def test_the_logged_bytes_are_the_sent_bytes(alice: Api, lines: Lines) -> None:
    for method, path, status in (
        ("GET", "/collection/", 200), ("HEAD", "/collection/", 200), ("OPTIONS", "/collection/", 204),
        ("GET", "/nowhere", 404), ("FOO", "/movies/", 405), ("GET", "/metrics", 200), ("POST", "/login/", 415),
    ):
        response = await alice.call(method, path)
        line = requests(lines)[-1]
        assert (line["method"], line["status"], line["bytes"]) == (method, status, len(response.body))


async def test_a_client_that_is_gone_gets_no_bytes(
    alice: Api, app: MovieServer, postgres: Postgres, lines: Lines
) -> None:
    path, token = b"/collection/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/", str(alice.token).encode()
    with locked(postgres, "collections"):
        _, writer = await asyncio.open_connection("127.0.0.1", int(alice.base_url.rpartition(":")[2]))
        writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % (path, token))
        await until(lambda: app.active)
        reset(writer)
        await alice.get("/healthz")  # so the server has noticed the end of the other connection
    await until(lambda: len(requests(lines)) == 2)
    assert requests(lines)[1]["bytes"] == 0


async def test_a_malformed_request_is_logged(api: Api, lines: Lines) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base_url.rpartition(":")[2]))
    writer.write(b"hello\r\n\r\n")
    body = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
    writer.close()
    [line] = requests(lines)
    assert set(line) == FIELDS
    assert (line["request_id"], line["route"], line["status"]) == (body["request_id"], "malformed", 400)
    assert (line["method"], line["ms"], line["user_id"], line["bytes"]) == (None, None, None, len(json.dumps(body)))


PROGRAM = """
import logging, sys
from movieserver.observability import logs
logs.configure("DEBUG", log_format=sys.argv[1])
for method, route, status, ms, user, size in (
    ("GET", "/movies/", 200, 1.5, None, 12),
    ("DELETE", "/collections/{collection_uuid}/movies/{movie_uuid}/", 404, 12345.6, "57baf4f4-c9ef", 0),
    (None, "malformed", 400, None, None, 100),
    ("PROPFIND-AND-LONGER", "unknown", 503, 0.1, "57baf4f4-c9ef", 0),
):
    logs.request(logs.Request("0123456789abcdef" * 2, 'fe80::1%"x', method, route, status, ms, user, size))
logging.getLogger("library").warning("of a library")
logs.log.warning("of ours", reason="a reason")
for name in ("tornado.curl_httpclient", "asyncio", "library"):
    logging.getLogger(name).info("not to be seen")
"""


def written(log_format: str, *, terminal: bool = False) -> list[str]:
    """The lines that PROGRAM logs."""
    if not terminal:
        command = [sys.executable, "-c", PROGRAM, log_format]
        return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stderr.splitlines()
    ours, its_own = pty.openpty()
    subprocess.run([sys.executable, "-c", PROGRAM, log_format], cwd=TOP, stderr=its_own, check=True)
    os.close(its_own)
    return drained(ours).splitlines()


@pytest.mark.parametrize("log_format, terminal", [("auto", False), ("json", False), ("json", True)])
def test_json_begins_with_the_time(log_format: str, terminal: bool) -> None:
    lines = written(log_format, terminal=terminal)
    assert all(line.startswith('{"timestamp": "') for line in lines)
    *requests, library, ours = map(json.loads, lines)
    assert len(requests) == 4 and all(set(request) == FIELDS for request in requests)
    assert {request["client"] for request in requests} == {'fe80::1%"x'}
    assert (library["event"], library["level"], library["logger"]) == ("of a library", "warning", "library")
    assert (ours["event"], ours["reason"]) == ("of ours", "a reason")
    assert len({line["pid"] for line in (*requests, library, ours)}) == 1


@pytest.mark.parametrize("log_format, terminal", [("auto", True), ("console", True), ("console", False)])
def test_a_request_is_a_short_line_for_people(log_format: str, terminal: bool) -> None:
    lines = written(log_format, terminal=terminal)
    assert any("\x1b[" in line for line in lines) == terminal
    *requests, library, ours = [COLOUR.sub("", line) for line in lines]
    assert [re.split(r" +", line, maxsplit=1)[1] for line in requests] == [
        "GET     /movies/                    200    1.5 ms -        0123456789abcdef0123456789abcdef",
        "DELETE  /collections/{uuid}/movies/{uuid}/ 404 12345.6 ms 57baf4f4 0123456789abcdef01234567",
        "-       malformed                   400         - -        0123456789abcdef0123456789abcdef",
        "PROPFIN unknown                     503    0.1 ms 57baf4f4 0123456789abcdef0123456789abcdef",
    ]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) and len(line) <= 100 for line in requests)
    assert "warning" in library and "of a library" in library
    assert "of ours" in ours and "reason=" in ours


async def test_the_client_is_the_exact_address(alice: Api, lines: Lines) -> None:
    await alice.get("/movies/", headers={"X-Forwarded-For": "2001:db8::7"})
    assert requests(lines)[-1]["client"] == "127.0.0.1"


class TestBehindAProxy:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, trusted_proxies="127.0.0.1")

    @pytest.mark.parametrize("forwarded, client", [
        ("2001:db8::7", "2001:db8::7"), ("10.9.8.7, 2001:db8::8", "2001:db8::8"), ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[2001:db8::9]:1234", "2001:db8::9"), ('fe80::1%"\\x', 'fe80::1%"\\x'), ('"x', "127.0.0.1"),
    ])
    async def test_the_client_is_the_exact_address(self, alice: Api, lines: Lines, forwarded: str, client: str) -> None:
        await alice.get("/nowhere", headers={"X-Forwarded-For": forwarded})
        assert requests(lines)[-1]["client"] == client


def drained(terminal: int) -> str:
    output = b""
    try:
        while part := os.read(terminal, 65536):
            output += part
    except OSError as error:
        assert error.errno == errno.EIO  # the other end is closed
    os.close(terminal)
    return output.decode()


class TestOutage:
    """It is logged when it begins and when it ends, with its duration and the number of failures."""

    @pytest.fixture
    def settings(self, postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, own_redis.url, third_party.url, database_pool_size=1)

    @pytest.fixture(autouse=True)
    def soon_quiet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs, "QUIET_SECONDS", 0.2)

    def outage_lines(self, lines: Lines, what: str) -> list[dict[str, Any]]:
        return [line for line in lines() if line["event"].startswith(what + ": outage ")]

    async def test_successes_in_between_do_not_end_an_outage(
        self, io_loop: object, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "QUIET_SECONDS", 0.5)
        outage = logs.Outage("the weather")
        outage.record_success()
        for _ in range(20):
            outage.record_failure(OSError("rain"))
            outage.record_success()
            await asyncio.sleep(0.05)
        assert outages(lines) == [("the weather", "began")]
        await until(lambda: len(outages(lines)) == 2)
        began, ended = self.outage_lines(lines, "the weather")
        assert (began["level"], began["reason"]) == ("warning", "OSError: rain")
        assert (ended["level"], ended["failures"]) == ("warning", 20)
        assert 0.5 < ended["seconds"] <= 30
        outage.record_failure("snow")
        outage.record_failure("snow")
        assert self.outage_lines(lines, "the weather")[-1]["reason"] == "snow"
        await asyncio.sleep(0.6)
        assert len(outages(lines)) == 3

    async def test_a_full_pool(self, alice: Api, resources: Resources, lines: Lines) -> None:
        resources.database.pool.limits.acquire = 0.1
        resources.database.statements["genres.list_page"] = Statement("SELECT '[]', 0 FROM pg_sleep(0.6)")
        responses = await asyncio.gather(*[alice.get("/genres/") for _ in range(6)])
        assert sorted(response.status for response in responses) == [200, *[503] * 5]
        pool = "the pool of connections to PostgreSQL"
        await until(lambda: len(self.outage_lines(lines, pool)) == 2)
        assert outages(lines) == [(pool, "began"), (pool, "ended")]
        began, ended = self.outage_lines(lines, pool)
        assert began["reason"] == (
            "no connection for genres.list_page in 0.1 s: all 1 of this process are in use; "
            "raise DATABASE_POOL_SIZE, or look for slow statements")
        assert ended["failures"] == 5

    async def test_a_statement_timeout(self, alice: Api, resources: Resources, lines: Lines) -> None:
        resources.database.pool.limits.statement = 0.1
        resources.database.statements["collections.list_page"] = Statement("SELECT pg_sleep(5)")
        for _ in range(3):
            assert (await alice.get("/collection/")).status == 503
        assert [line["reason"] for line in self.outage_lines(lines, "PostgreSQL")] == [
            "collections.list_page was cancelled: it reached its time limit, or an operator cancelled it"]

    async def test_a_database_that_closes_connections(self, alice: Api, postgres: Postgres, lines: Lines) -> None:
        with locked(postgres, "collections") as cursor:
            for _ in range(3):
                asking = asyncio.ensure_future(alice.get("/collection/"))
                while not asking.done():
                    cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
                    await asyncio.sleep(0.01)
                assert (await asking).status == 503
        assert outages(lines) == [("PostgreSQL", "began")]
        assert "terminating connection" in self.outage_lines(lines, "PostgreSQL")[0]["reason"]
        assert (await alice.get("/collection/")).status == 200
        await until(lambda: outages(lines)[1:] == [("PostgreSQL", "ended")])
        assert self.outage_lines(lines, "PostgreSQL")[1]["failures"] == 3

    async def test_redis_away(self, api: Api, own_redis: Redis, lines: Lines) -> None:
        await api.get("/request-count/")
        own_redis.stop()
        for _ in range(5):
            assert (await api.get("/request-count/")).status == 503
        counter, changes = "Redis (request count)", "Redis (changes)"
        await until(lambda: set(outages(lines)) == {(counter, "began"), (changes, "began")})
        assert self.outage_lines(lines, counter)[0]["reason"]
        own_redis.start()
        own_redis.wait_ready()
        await until(lambda: set(outages(lines)[2:]) == {(counter, "ended"), (changes, "ended")})
        assert self.outage_lines(lines, counter)[1]["failures"] >= 1

    @pytest.mark.usefixtures("impatient")
    async def test_the_third_party_away_and_back(
        self, alice: Api, third_party: ThirdParty, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "QUIET_SECONDS", 1)
        for behaviour in (page({}, 500), page({}, 503), page({"nonsense": 1}), page({"more": 1})):
            third_party.behaviour = behaviour
            assert (await alice.get("/movies/")).status in (502, 503)
        away, wrong = "movie API", "movie API, its responses"
        assert outages(lines) == [(away, "began"), (wrong, "began")]
        assert self.outage_lines(lines, away)[0]["reason"] == "status 500"
        assert "cannot be read" in self.outage_lines(lines, wrong)[0]["reason"]
        third_party.behaviour = page({"count": 0, "next": None, "previous": None, "results": []})
        assert (await alice.get("/movies/")).status == 200
        await until(lambda: len(outages(lines)) == 4)
        assert set(outages(lines)[2:]) == {(away, "ended"), (wrong, "ended")}

    async def test_too_many_passwords(self, api: Api, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(passwords, "MAX_WAITING", 0)
        for _ in range(3):
            assert (await api.post("/register/", registration())).status == 503
        monkeypatch.setattr(passwords, "MAX_WAITING", 2)
        assert (await api.post("/register/", registration())).status == 201
        await until(lambda: len(outages(lines)) == 2)
        assert outages(lines) == [("password hashing", "began"), ("password hashing", "ended")]


class TestOutageOfTheCache:
    @pytest.fixture
    def settings(self, postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, own_redis.url, third_party.url, movie_cache_seconds=60)

    async def test_redis_away(self, alice: Api, own_redis: Redis, lines: Lines) -> None:
        own_redis.stop()
        for number in range(1, 4):
            assert (await alice.get(f"/movies/?page={number}")).status in (200, 404)
        assert outages(lines).count(("Redis (page cache)", "began")) == 1


async def test_secrets_are_recorded_and_found(api: Api) -> None:
    """Checks what the fixture `_no_secret_is_logged` relies on."""
    pair = registration()
    await api.post("/register/", pair)
    assert (await api.post("/login/", pair)).status == 200
    assert '"route": "/login/"' in record.logged()
    assert {pair["password"], "third-party-password"} <= record.secrets
    assert record.found(json.dumps(list(record.secrets))) == sorted(record.secrets)
