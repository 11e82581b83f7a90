"""`run.py check`: what is wrong, where, and what to do about it; all of it at once, and never a password."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from movieserver.postgres import migrations
from movieserver.embedded.postgres import Postgres
from tests.conftest import SECRET, started, temporary_folder
from tests.test_redis_kinds import ask, free_port, server
from tests.test_run import TOP, command

WORD = "hidden-word"
ACCESS = """
local all all trust
host all ada 127.0.0.1/32 scram-sha-256
"""


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A database over TCP that lets in a user with a password, migrated."""
    with temporary_folder() as folder:
        (folder / "pg_hba.conf").write_text(ACCESS, encoding="ascii")
        port = free_port()
        options = {"listen_addresses": "127.0.0.1", "port": str(port), "hba_file": str(folder / "pg_hba.conf")}
        with started(Postgres, **options) as running:
            execute(f"{running.url}&port={port}", f"CREATE ROLE ada SUPERUSER LOGIN PASSWORD '{WORD}'")
            url = f"postgresql://ada:{WORD}@127.0.0.1:{port}/movieserver"
            migrations.migrate(url)
            yield url


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    """A Redis over TCP that wants a password."""
    port = free_port()
    with temporary_folder() as folder, server(folder / "redis", port, "--appendonly", "yes"):
        ask(port, "CONFIG", "SET", "requirepass", WORD)
        yield port


@pytest.fixture(scope="module")
def movie_api_url() -> Iterator[str]:
    """A list of movies that wants a user name and a password."""
    with subprocess.Popen(
        [sys.executable, "-m", "movieserver.embedded", "--port", "0", "--errors", "0"], cwd=TOP, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "MOVIE_API_USERNAME": "bob", "MOVIE_API_PASSWORD": WORD},
    ) as process:
        assert process.stdout
        yield process.stdout.readline().split()[-1]
        process.terminate()


@pytest.fixture
def good(database_url: str, redis_port: int, movie_api_url: str) -> dict[str, str]:
    """Settings with which all is well."""
    return {
        "DATABASE_URL": database_url, "REDIS_URL": f"redis://:{WORD}@127.0.0.1:{redis_port}", "JWT_SECRET": SECRET,
        "MOVIE_API_URL": movie_api_url, "MOVIE_API_USERNAME": "bob", "MOVIE_API_PASSWORD": WORD,
    }


def execute(url: str, *statements: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def check(settings: dict[str, str]) -> tuple[int, str, dict[str, str]]:
    """The exit status, all that was said, and what was said of each service."""
    done = command("check", cwd=Path("/"), **settings)
    said = done.stdout + done.stderr
    assert WORD not in said and "Traceback" not in said
    assert "outage began" not in done.stderr
    sections: dict[str, str] = {}
    for line in done.stdout.splitlines():
        if not line.startswith("  "):
            name, _, line = line.partition(": ")
        sections[name] = sections.get(name, "") + line + "\n"
    return done.returncode, said, sections


def test_all_is_well(good: dict[str, str], redis_port: int) -> None:
    status, _, sections = check(good)
    place = good["DATABASE_URL"].partition("@")[2].partition("/")[0]
    assert status == 0
    assert sections == {
        "PostgreSQL": f"ok\n  where: {place}, database movieserver, user ada\n",
        "Redis": f"ok\n  where: redis://127.0.0.1:{redis_port}\n",
        "movie API": f"ok\n  where: {good['MOVIE_API_URL'].partition('?')[0]}\n",
    }


TROUBLES = [
    ("PostgreSQL", "DATABASE_URL", {"hidden-word@": "wrong-word@"}, "refuses this user and password"),
    ("PostgreSQL", "DATABASE_URL", {":hidden-word@": "@"}, "refuses this user and password"),
    ("PostgreSQL", "DATABASE_URL", {"/movieserver$": "/nowhere"}, "no such database"),
    ("PostgreSQL", "DATABASE_URL", {"ada:": "eve:"}, "lets nobody in from here"),
    ("PostgreSQL", "DATABASE_URL", {"/movieserver$": "/movieserver?sslmode=require"}, "do not agree about TLS"),
    ("PostgreSQL", "DATABASE_URL", {r"@127.0.0.1:(\d+)": r"@127.0.0.1:1,127.0.0.1:\1"}, None),
    ("PostgreSQL", "DATABASE_URL", {r"127.0.0.1:\d+": "127.0.0.1:1"}, "cannot be reached"),
    ("PostgreSQL", "DATABASE_URL", {"127.0.0.1": "no.such.host.invalid"}, "no host of that name"),
    ("Redis", "REDIS_URL", {":hidden-word@": ":wrong-word@"}, "refuses this user and password"),
    ("Redis", "REDIS_URL", {":hidden-word@": ""}, "refuses this user and password"),
    ("Redis", "REDIS_URL", {r"127.0.0.1:\d+": "127.0.0.1:1"}, "cannot be reached"),
    ("Redis", "REDIS_URL", {"127.0.0.1": "no.such.host.invalid"}, "no host of that name"),
    ("Redis", "REDIS_URL", {"redis:": "redis+cluster:"}, "no cluster that can be used"),
    ("movie API", "MOVIE_API_PASSWORD", {"hidden": "wrong"}, "it refuses MOVIE_API_USERNAME and MOVIE_API_PASSWORD"),
    ("movie API", "MOVIE_API_URL", {"/movies/": "/films/"}, "status 404"),
    ("movie API", "MOVIE_API_URL", {r"127.0.0.1:\d+": "127.0.0.1:1"}, "cannot be reached"),
    ("movie API", "MOVIE_API_URL", {"127.0.0.1": "no.such.host.invalid"}, "no host of that name"),
]


@pytest.mark.parametrize("service, variable, change, words", TROUBLES)
def test_one_trouble(
    good: dict[str, str], service: str, variable: str, change: dict[str, str], words: str | None
) -> None:
    for old, new in change.items():
        good[variable], changes = re.subn(old, new, good[variable])
        assert changes == 1
    status, said, sections = check(good)
    assert len(sections) == 3
    if words:
        assert status == 1 and words in sections[service]
        assert variable in sections[service] and "\n  what to do: " in sections[service]
        del sections[service]
    assert status == bool(words)
    assert all(section.startswith("ok\n") for section in sections.values()), said


def test_all_troubles_at_once(good: dict[str, str]) -> None:
    away = {"DATABASE_URL": f"postgresql://u:{WORD}@127.0.0.1:1/d", "REDIS_URL": f"redis://:{WORD}@127.0.0.1:1",
            "MOVIE_API_URL": f"http://u:{WORD}@127.0.0.1:1/list/?key={WORD}"}
    status, said, sections = check({**good, **away, "JWT_SECRET": "tiny-key", "PORT": "x"})
    assert status == 1
    assert "JWT_SECRET: is too short: at least 32 bytes" in said and "PORT: " in said
    assert [section.partition(":")[0] for section in sections.values()] == ["it cannot be reached"] * 3
    assert "where: 127.0.0.1:1, database d, user u" in sections["PostgreSQL"]


def test_what_has_a_bad_address_is_left_out(good: dict[str, str]) -> None:
    status, said, sections = check({**good, "DATABASE_URL": "mysql://db/d"})
    assert status == 1
    assert "DATABASE_URL: must begin with postgresql://" in said
    assert {name: section[:3] for name, section in sections.items()} == {"Redis": "ok\n", "movie API": "ok\n"}
    assert set(check({**good, "MOVIE_API_KIND": "tmdb"})[2]) == {"PostgreSQL", "Redis"}


def test_migrations_missing(good: dict[str, str]) -> None:
    execute(good["DATABASE_URL"], "CREATE DATABASE unmigrated")
    good["DATABASE_URL"] = good["DATABASE_URL"].replace("/movieserver", "/unmigrated")
    status, _, sections = check(good)
    assert status == 1 and "not migrated" in sections["PostgreSQL"] and "run.py migrate" in sections["PostgreSQL"]
    migrations.migrate(good["DATABASE_URL"])
    assert check(good)[0] == 0
    undone = migrations.rollback(good["DATABASE_URL"])
    status, _, sections = check(good)
    assert status == 1 and f"lacks the migrations {undone[0]}\n" in sections["PostgreSQL"]


def test_warnings_do_not_fail(good: dict[str, str], redis_port: int) -> None:
    url = good["DATABASE_URL"]
    execute(url, "ALTER ROLE ada SET synchronous_commit = off")
    told = ["appendonly", "no"], ["maxmemory", "1gb"], ["maxmemory-policy", "allkeys-lru"]
    for setting in told:
        assert ask(redis_port, "-a", WORD, "CONFIG", "SET", *setting) == "OK"
    try:
        status, _, sections = check({**good, "PROCESSES": "20", "DATABASE_POOL_SIZE": "30"})
    finally:
        execute(url, "ALTER ROLE ada RESET synchronous_commit")
        for setting in (["appendonly", "yes"], ["maxmemory", "0"], ["maxmemory-policy", "noeviction"]):
            ask(redis_port, "-a", WORD, "CONFIG", "SET", *setting)
    assert status == 0
    assert "connections; PROCESSES × DATABASE_POOL_SIZE is 600" in sections["PostgreSQL"]
    assert "warning: fsync or synchronous_commit is off" in sections["PostgreSQL"]
    assert "warning: appendonly is off" in sections["Redis"]
    assert "warning: maxmemory-policy lets it drop the request count" in sections["Redis"]


def test_a_replica_is_no_master(good: dict[str, str], redis_port: int) -> None:
    ask(redis_port, "-a", WORD, "REPLICAOF", "127.0.0.1", "1")
    try:
        status, _, sections = check(good)
    finally:
        ask(redis_port, "-a", WORD, "REPLICAOF", "NO", "ONE")
    assert status == 1
    assert sections["Redis"].startswith("is a replica: nothing can be written to it\n")


def test_what_is_embedded(good: dict[str, str]) -> None:
    with temporary_folder() as folder:
        status, said, sections = check({"DATA_DIR": str(folder / "data")})
    assert status == 0, said
    assert [sections[name][:3] for name in ("PostgreSQL", "Redis", "movie API")] == ["ok\n"] * 3
    assert "warning" not in said
