"""PgBouncer, set up as docs/operations.md says, in front of PostgreSQL; in transaction and in session mode."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest

from movieserver.data.operations import needed_migrations
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.programs import UNPRIVILEGED
from movieserver.embedded.redis import Redis
from movieserver.errors import DatabaseTimeout
from movieserver.postgres import migrations
from movieserver.postgres.connection import SESSION
from movieserver.postgres.database import Database, open_database
from movieserver.postgres.statements import Statement
from tests import record
from tests.conftest import SECRET, temporary_folder
from tests.counts import assert_exact
from tests.factories import collection, registration
from tests.test_api_guide import assert_python_examples
from tests.test_migrations import run
from tests.test_redis_kinds import free_port
from tests.test_run import TOP, Server, command, serving, sign_up, until

PGBOUNCER = shutil.which("pgbouncer", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
WORD = "hidden-word"
STATEMENTS = {name: Statement(text) for name, text in {
    "sleep": "SELECT pg_sleep(30)",
    "setting": "SELECT 1;\nSELECT current_setting(%(setting)s)",
    "prepared": "SELECT count(*) FROM pg_prepared_statements",
}.items()}


@contextmanager
def pgbouncer(folder: Path, mode: str, host: str) -> Iterator[str]:
    """The address of a PgBouncer in front of the database `pooled`, with the pgbouncer.ini of the manual."""
    port, users = free_port(), folder / "userlist.txt"
    users.write_text(f'"postgres" "{WORD}"\n', encoding="ascii")
    manual = (TOP / "docs" / "operations.md").read_text(encoding="utf-8")
    [text] = re.findall(r"^```ini\n(.*?)^```", manual, re.MULTILINE | re.DOTALL)
    for old, new in {
        "host=127.0.0.1 port=5432 dbname=movieserver": f"host={host} dbname=pooled", "= 6432": f"= {port}",
        "= transaction": f"= {mode}", "/etc/pgbouncer/userlist.txt": str(users),
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "pgbouncer.ini").write_text(f"{text}unix_socket_dir =\n", encoding="ascii")
    as_user = ["-u", UNPRIVILEGED] if os.geteuid() == 0 else []
    url = f"postgresql://postgres:{WORD}@127.0.0.1:{port}/movieserver"
    with open(folder / "log", "ab") as log, subprocess.Popen(
        [str(PGBOUNCER), *as_user, str(folder / "pgbouncer.ini")], stdout=log, stderr=log
    ) as process:
        try:
            until(lambda: process.poll() is not None or accepts(url))
            yield url
        finally:
            process.kill()
            record.add_file(folder / "log")


def accepts(url: str) -> bool:
    with suppress(psycopg2.OperationalError):
        psycopg2.connect(url).close()
        return True
    return False


@pytest.fixture
def direct(postgres: Postgres) -> Iterator[str]:
    """The address of the database `pooled`, which is empty, without a pooler."""
    record.secret(WORD)
    run(postgres.url, "CREATE DATABASE pooled")
    yield postgres.url.replace("/movieserver?", "/pooled?")
    run(postgres.url, "DROP DATABASE pooled WITH (FORCE)")


@pytest.fixture(params=["transaction", "session"])
def url(request: pytest.FixtureRequest, direct: str) -> Iterator[str]:
    """The address of that database through PgBouncer."""
    [host] = re.findall("host=([^&]+)", direct)
    with temporary_folder() as folder, pgbouncer(folder, request.param, host.replace("%2F", "/")) as address:
        yield address


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    async with open_database(url, 2, statements=STATEMENTS) as database:
        yield database


@pytest.mark.gen_test(timeout=120)
def test_two_processes_serve_all_of_the_api(empty: Path, direct: str, url: str, own_redis: Redis) -> None:
    migrations.migrate(url)
    settings = {"DATABASE_URL": url, "REDIS_URL": own_redis.url, "JWT_SECRET": SECRET, "PROCESSES": "2"}
    with serving(empty, **settings) as server:
        assert_python_examples(server)
        with ThreadPoolExecutor(8) as threads:
            for user in [threads.submit(use, server) for _ in range(24)]:
                user.result()
        with ThreadPoolExecutor(8) as threads:
            counts = list(threads.map(lambda _: server.count(), range(16)))
        assert sorted(counts) == list(range(min(counts), min(counts) + 16))
        assert server.stop() == 0
        assert "statement failed" not in server.log.read_text(encoding="utf-8")
    assert_exact(direct)
    assert run(direct, "SELECT count(*) FROM users") == (1,)
    assert [run(url, text) for text in ("TABLE pg_prepared_statements", "SHOW statement_timeout")] == [None, ("0",)]


def use(server: Server) -> None:
    """What a user does, from the registration to the end of the account."""
    pair = registration()
    token, body, key = sign_up(server, pair), collection(), {"Idempotency-Key": "one"}
    created = [server.call("POST", "/collection/", body, token, key) for _ in range(2)]
    assert created[0] == created[1] and created[0][0] == 201
    path = f"/collection/{created[0][1]['collection_uuid']}/"
    uuids = [movie["uuid"] for movie in body["movies"]]
    assert server.call("PUT", path + "order/", {"movies": uuids[::-1]}, token)[0] == 200
    assert [movie["uuid"] for movie in server.call("GET", path, token=token)[1]["movies"]] == uuids[::-1]
    assert server.call("DELETE", f"{path}movies/{uuids[0]}/", token=token)[0] == 200
    status, listed = server.call("GET", "/collection/", token=token)
    assert status == 200 and [len(each["movies"]) for each in listed["data"]["collections"]] == [1]
    assert server.call("GET", "/genres/", token=token)[0] == 200
    assert server.call("DELETE", path, token=token)[0] == 200
    assert server.call("DELETE", "/account/", {"password": pair["password"]}, token)[0] == 200


@pytest.mark.usefixtures("io_loop")
async def test_the_limits_of_the_session_are_in_each_message(url: str) -> None:
    async with opened(url) as database:
        for name, value in SESSION.items():
            assert await database.read("setting", setting=name) == (value,)
        assert await database.read("setting", setting="application_name") == ("movieserver",)
        assert await database.read("prepared") == (0,)
        assert database.pool.behind_pooler


@pytest.mark.usefixtures("io_loop")
async def test_a_statement_over_its_time_is_cancelled(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SESSION, "statement_timeout", "200ms")
    async with opened(url) as database:
        with pytest.raises(DatabaseTimeout):
            await database.read("sleep")
        assert await database.read("prepared") == (0,)


def run_py(verb: str, url: str, redis: Redis) -> str:
    """What `run.py` prints; nothing listens at the address of the movies."""
    done = command(verb, cwd=Path("/"), DATABASE_URL=url, REDIS_URL=redis.url, JWT_SECRET=SECRET,
                   MOVIE_API_URL="http://127.0.0.1:1/")
    assert WORD not in done.stdout + done.stderr
    assert done.stdout or done.returncode == 0, done.stderr
    return done.stdout


def test_migrations_from_two_processes_at_once(direct: str, url: str, redis: Redis) -> None:
    with ThreadPoolExecutor(2) as threads:
        said = "".join(threads.map(lambda _: run_py("migrate", url, redis), range(2)))
    applied = re.findall(r"^applied (\w+)$", said, re.MULTILINE)
    assert applied == sorted(needed_migrations())
    assert migrations.rollback(url, None) == applied[::-1]
    assert run(direct, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == (0,)


def test_check_notes_that_there_is_a_pooler(url: str, redis: Redis) -> None:
    assert run_py("check", url, redis).startswith("PostgreSQL: it is not migrated")
    migrations.migrate(url)
    [note] = re.findall("PostgreSQL: ok\n  where: .*\n  note: (.*)\n", run_py("check", url, redis))
    assert note.startswith("through a pooler such as PgBouncer: statements are not prepared")
    said = run_py("check", url.replace("/movieserver", "/nowhere"), redis)
    assert said.startswith("PostgreSQL: it has no such database: ")
