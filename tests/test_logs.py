"""The log: a line a request, trouble told once, and no secret in all that this run of the suite has logged."""
from __future__ import annotations

import asyncio
import errno
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from movieserver.accounts import passwords
from movieserver.observability import logs
from movieserver.postgres.statements import Statement
from movieserver.app import MovieServer
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests import record
from tests.client import Api
from tests.conftest import make_settings
from tests.factories import registration
from tests.third_party import ThirdParty, page

TOP = Path(__file__).parents[1]
COLOUR = re.compile(r"\x1b\[\d+m")
FIELDS = {"timestamp", "level", "event", "request_id", "method", "route", "status", "ms", "user_id", "bytes"}
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Lines:
    """What was logged since the test began."""
    begin = record.position()
    return lambda: [json.loads(line) for line in record.logged(begin).splitlines()]


def requests(lines: Lines) -> list[dict[str, Any]]:
    return [line for line in lines() if line["event"] == "request"]


def outages(lines: Lines) -> list[tuple[str, str]]:
    """What began and ended, in turn."""
    said = [line["event"].partition(": outage ") for line in lines()]
    return [(what, how) for what, _, how in said if how]


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def test_a_request_is_a_line(alice: Api, lines: Lines) -> None:
    answer = await alice.get("/collection/?limit=7", headers={"X-Request-ID": "one-of-mine"})
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
        "status": 200, "bytes": len(answer.body),
    }
    created = (await alice.post("/collection/", {"title": "x"})).json["collection_uuid"]
    await alice.get(f"/collections/{created}")
    assert [(line["route"], line["user_id"]) for line in requests(lines)[1:]] == [
        ("/collection/", user), ("/collections/{collection_uuid}/", user)]


async def test_who_logs_in_is_named(api: Api, lines: Lines) -> None:
    pair = registration()
    await api.post("/register/", pair)
    await api.post("/login/", pair)
    await api.post("/login/", {**pair, "password": "not the one"})
    first, second, third = [line["user_id"] for line in requests(lines)]
    assert first == second is not None
    assert third is None


async def test_the_request_id_is_the_answers_own(api: Api, lines: Lines) -> None:
    for given in ("abc-1.2_3", "x" * 64, "", "x" * 65, "a b", "a,b", "é", "<x>", 'a"b', "a\tb"):
        answer = await api.get("/nowhere", headers={"X-Request-ID": given})
        assert requests(lines)[-1]["request_id"] == answer.headers["X-Request-ID"]
        assert (answer.headers["X-Request-ID"] == given) == (given in ("abc-1.2_3", "x" * 64))


async def test_the_bytes_are_those_that_were_sent(alice: Api, lines: Lines) -> None:
    for method, path, status in (
        ("GET", "/collection/", 200), ("HEAD", "/collection/", 200), ("OPTIONS", "/collection/", 204),
        ("GET", "/nowhere", 404), ("FOO", "/movies/", 405), ("GET", "/metrics", 200), ("POST", "/login/", 415),
    ):
        answer = await alice.call(method, path)
        line = requests(lines)[-1]
        assert (line["method"], line["status"], line["bytes"]) == (method, status, len(answer.body))


async def test_nobody_is_sent_anything_who_has_gone(
    alice: Api, app: MovieServer, resources: Resources, lines: Lines
) -> None:
    resources.database.statements["collections.get"] = Statement("SELECT '{}', pg_sleep(1)")
    _, writer = await asyncio.open_connection("127.0.0.1", int(alice.base_url.rpartition(":")[2]))
    path = b"/collection/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/"
    writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % (path, str(alice.token).encode()))
    await until(lambda: app.under_way)
    writer.close()
    await until(lambda: requests(lines))
    assert [line["bytes"] for line in requests(lines)] == [0]


async def test_a_message_that_is_not_http_is_a_line(api: Api, lines: Lines) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base_url.rpartition(":")[2]))
    writer.write(b"hello\r\n\r\n")
    body = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
    writer.close()
    [line] = requests(lines)
    assert set(line) == FIELDS
    assert (line["request_id"], line["route"], line["status"]) == (body["request_id"], "malformed", 400)
    assert (line["method"], line["ms"], line["user_id"], line["bytes"]) == (None, None, None, len(json.dumps(body)))


PROGRAM = """
import logging
from movieserver.observability import logs
logs.configure("DEBUG")
logs.request("abc", "GET", "/movies/", 200, 1.5, None, 12)
logging.getLogger("library").warning("of a library")
for name in ("tornado.curl_httpclient", "asyncio", "library"):
    logging.getLogger(name).info("not to be seen")
"""


def test_a_terminal_shows_colours_and_a_file_json() -> None:
    terminal, its_end = pty.openpty()
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=TOP, stderr=its_end, check=True)
    os.close(its_end)
    said = drained(terminal)
    assert "\x1b[" in said and "{" not in said
    first, second = COLOUR.sub("", said).splitlines()
    for word in ("info", "request", "request_id=abc", "method=GET", "route=/movies/", "status=200", "bytes=12"):
        assert re.search(rf"(^|[\s\[]){re.escape(word)}($|[\s\]])", first), (word, first)
    assert "warning" in second and "of a library" in second
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=TOP, capture_output=True, text=True, check=True)
    request, library = map(json.loads, done.stderr.splitlines())
    assert set(request) == FIELDS
    assert (library["event"], library["level"], library["logger"]) == ("of a library", "warning", "library")


def drained(terminal: int) -> str:
    said = b""
    try:
        while part := os.read(terminal, 65536):
            said += part
    except OSError as error:
        assert error.errno == errno.EIO  # nobody holds the other end any more
    os.close(terminal)
    return said.decode()


class TestOutage:
    """It is told once when it begins and once when it ends, with how long it lasted and how much failed."""

    @pytest.fixture
    def settings(self, postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, own_redis.url, third_party.url, database_pool_size=1)

    @pytest.fixture(autouse=True)
    def soon_quiet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs, "QUIET_SECONDS", 0.2)

    def told(self, lines: Lines, what: str) -> list[dict[str, Any]]:
        return [line for line in lines() if line["event"].startswith(what + ": outage ")]

    async def test_successes_in_between_do_not_end_it(
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
        began, ended = self.told(lines, "the weather")
        assert (began["level"], began["reason"]) == ("warning", "OSError: rain")
        assert (ended["level"], ended["failures"]) == ("warning", 20)
        assert 0.5 < ended["seconds"] <= 30
        outage.record_failure("snow")
        outage.record_failure("snow")
        assert self.told(lines, "the weather")[-1]["reason"] == "snow"
        await asyncio.sleep(0.6)
        assert len(outages(lines)) == 3

    async def test_a_full_pool(self, alice: Api, resources: Resources, lines: Lines) -> None:
        resources.database.pool.limits.acquire = 0.1
        resources.database.statements["genres.list_page"] = Statement("SELECT '[]', 0 FROM pg_sleep(0.6)")
        answers = await asyncio.gather(*[alice.get("/genres/") for _ in range(6)])
        assert sorted(answer.status for answer in answers) == [200, *[503] * 5]
        pool = "the pool of connections to PostgreSQL"
        await until(lambda: len(self.told(lines, pool)) == 2)
        assert outages(lines) == [(pool, "began"), (pool, "ended")]
        began, ended = self.told(lines, pool)
        assert began["reason"] == (
            "no connection for genres.list_page in 0.1 s: all 1 of this process are in use; "
            "raise DATABASE_POOL_SIZE, or look for slow statements")
        assert ended["failures"] == 5

    async def test_a_statement_over_its_time(self, alice: Api, resources: Resources, lines: Lines) -> None:
        resources.database.pool.limits.statement = 0.1
        resources.database.statements["collections.list_page"] = Statement("SELECT pg_sleep(5)")
        for _ in range(3):
            assert (await alice.get("/collection/")).status == 503
        assert [line["reason"] for line in self.told(lines, "PostgreSQL")] == [
            "collections.list_page was cancelled: it reached its time limit, or an operator cancelled it"]

    async def test_a_database_that_breaks_off(self, alice: Api, resources: Resources, lines: Lines) -> None:
        whole = resources.database.statements["collections.list_page"]
        resources.database.statements["collections.list_page"] = Statement(
            "SELECT pg_terminate_backend(pg_backend_pid())")
        for _ in range(3):
            assert (await alice.get("/collection/")).status == 503
        assert outages(lines) == [("PostgreSQL", "began")]
        assert "terminating connection" in self.told(lines, "PostgreSQL")[0]["reason"]
        resources.database.statements["collections.list_page"] = whole
        assert (await alice.get("/collection/")).status == 200
        await until(lambda: outages(lines)[1:] == [("PostgreSQL", "ended")])
        assert self.told(lines, "PostgreSQL")[1]["failures"] == 3

    async def test_redis_away(self, api: Api, own_redis: Redis, lines: Lines) -> None:
        await api.get("/request-count/")
        own_redis.stop()
        for _ in range(5):
            assert (await api.get("/request-count/")).status == 503
        counter = "Redis (request count)"
        assert outages(lines) == [(counter, "began")]
        assert self.told(lines, counter)[0]["reason"]
        own_redis.launch()
        own_redis.wait_ready()
        await until(lambda: outages(lines)[1:] == [(counter, "ended")])
        assert self.told(lines, counter)[1]["failures"] >= 1

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
        assert self.told(lines, away)[0]["reason"] == "status 500"
        assert "cannot be read" in self.told(lines, wrong)[0]["reason"]
        third_party.behaviour = page({"count": 0, "next": None, "previous": None, "results": []})
        assert (await alice.get("/movies/")).status == 200
        await until(lambda: len(outages(lines)) == 4)
        assert set(outages(lines)[2:]) == {(away, "ended"), (wrong, "ended")}

    async def test_too_many_passwords(self, api: Api, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(passwords, "MOST_WAITING", 0)
        for _ in range(3):
            assert (await api.post("/register/", registration())).status == 503
        monkeypatch.setattr(passwords, "MOST_WAITING", 1)
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


@pytest.mark.last
@pytest.mark.gen_test(timeout=120)
async def test_no_secret_was_logged(api: Api) -> None:
    pair = registration()
    await api.post("/register/", pair)
    assert (await api.post("/login/", pair)).status == 200
    text = record.logged()
    assert '"route": "/login/"' in text
    assert {pair["password"], "third-party-password"} <= record.secrets
    assert record.found(text) == []
    assert record.found(json.dumps(list(record.secrets))) == sorted(record.secrets)
