"""`run.py check` reports every problem, where it is, and what to do about it, but never a password."""
from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from tornado.testing import bind_unused_port

from movieserver.check import REDIS_REASONS
from movieserver.embedded.postgres import Postgres
from movieserver.postgres import migrations
from tests.conftest import ENVIRONMENT, SECRET, started, temporary_folder
from tests.test_redis_kinds import ask, free_port, server
from tests.test_run import TOP, command

WORD = "hidden-word"
ACCESS = """
local all all trust
host all ada,bob,manual 127.0.0.1/32 scram-sha-256
"""


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A migrated database over TCP with password authentication."""
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
    """A Redis over TCP that requires a password."""
    port = free_port()
    with temporary_folder() as folder, server(folder / "redis", port, "--appendonly", "yes"):
        ask(port, "CONFIG", "SET", "requirepass", WORD)
        yield port


@pytest.fixture(scope="module")
def movie_api_url() -> Iterator[str]:
    """A movie list that requires a user name and a password."""
    with subprocess.Popen(
        [sys.executable, "-m", "movieserver.embedded", "--port", "0", "--errors", "0"], cwd=TOP, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**ENVIRONMENT, "MOVIE_API_USERNAME": "bob", "MOVIE_API_PASSWORD": WORD},
    ) as process:
        assert process.stdout
        yield process.stdout.readline().split()[-1]
        process.terminate()


@pytest.fixture
def good(database_url: str, redis_port: int, movie_api_url: str) -> dict[str, str]:
    """Valid settings."""
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
    """The exit status, the output, and the sections of the services."""
    done = command("check", cwd=Path("/"), **settings)
    output = done.stdout + done.stderr
    assert WORD not in output and "Traceback" not in output
    assert "outage began" not in done.stderr
    sections: dict[str, str] = {}
    for line in done.stdout.splitlines():
        if not line.startswith("  "):
            name, _, line = line.partition(": ")
        sections[name] = sections.get(name, "") + line + "\n"
    return done.returncode, output, sections


def test_no_problems(good: dict[str, str], redis_port: int) -> None:
    status, _, sections = check(good)
    place = good["DATABASE_URL"].partition("@")[2].partition("/")[0]
    assert status == 0
    assert sections == {
        "PostgreSQL": f"ok\n  where: {place}, database movieserver, user ada, from DATABASE_URL in the environment\n",
        "Redis": f"ok\n  where: redis://127.0.0.1:{redis_port}, from REDIS_URL in the environment\n",
        "movie API": f"ok\n  where: {good['MOVIE_API_URL'].partition('?')[0]}, from MOVIE_API_URL in the environment\n",
    }


def test_each_address_comes_with_its_source(good: dict[str, str]) -> None:
    with temporary_folder() as folder:
        (folder / ".env").write_text(f"redis_url={good.pop('REDIS_URL')}\nPORT=0\n", encoding="ascii")
        done = command("check", cwd=folder, **good)
    assert done.returncode == 0
    assert re.findall(r", (from \S+ in .+|embedded)$", done.stdout, re.MULTILINE) == [
        "from DATABASE_URL in the environment", "from REDIS_URL in .env", "from MOVIE_API_URL in the environment"]


PROBLEMS = [
    ("PostgreSQL", "DATABASE_URL", {"hidden-word@": "wrong-word@"}, "refuses this user and password"),
    ("PostgreSQL", "DATABASE_URL", {":hidden-word@": "@"}, "refuses this user and password"),
    ("PostgreSQL", "DATABASE_URL", {"/movieserver$": "/nowhere"}, "no such database"),
    ("PostgreSQL", "DATABASE_URL", {"ada:": "eve:"}, "does not allow this user from this address"),
    ("PostgreSQL", "DATABASE_URL", {"/movieserver$": "/movieserver?sslmode=require"}, "do not agree on TLS"),
    ("PostgreSQL", "DATABASE_URL", {r"@127.0.0.1:(\d+)": r"@127.0.0.1:1,127.0.0.1:\1"}, None),
    ("PostgreSQL", "DATABASE_URL", {r"127.0.0.1:\d+": "127.0.0.1:1"}, "cannot be reached"),
    ("PostgreSQL", "DATABASE_URL", {"127.0.0.1": "no.such.host.invalid"}, "its host name cannot be resolved"),
    ("Redis", "REDIS_URL", {":hidden-word@": ":wrong-word@"}, "refuses this user and password"),
    ("Redis", "REDIS_URL", {":hidden-word@": ""}, "refuses this user and password"),
    ("Redis", "REDIS_URL", {r"127.0.0.1:\d+": "127.0.0.1:1"}, "cannot be reached"),
    ("Redis", "REDIS_URL", {"127.0.0.1": "no.such.host.invalid"}, "its host name cannot be resolved"),
    ("Redis", "REDIS_URL", {"redis:": "redis+cluster:"}, "not a usable cluster"),
    ("movie API", "MOVIE_API_PASSWORD", {"hidden": "wrong"}, "it requires valid MOVIE_API_USERNAME and MOVIE_API_PASS"),
    ("movie API", "MOVIE_API_URL", {"/movies/": "/films/"}, "status 404"),
    ("movie API", "MOVIE_API_URL", {r"127.0.0.1:\d+": "127.0.0.1:1"}, "cannot be reached"),
    ("movie API", "MOVIE_API_URL", {"127.0.0.1": "no.such.host.invalid"}, "its host name cannot be resolved"),
]


@pytest.mark.parametrize("service, variable, change, words", PROBLEMS)
def test_one_problem(
    good: dict[str, str], service: str, variable: str, change: dict[str, str], words: str | None
) -> None:
    for old, new in change.items():
        good[variable], changes = re.subn(old, new, good[variable])
        assert changes == 1
    status, output, sections = check(good)
    assert len(sections) == 3
    if words:
        assert status == 1 and words in sections[service]
        assert variable in sections[service] and "\n  what to do: " in sections[service]
        del sections[service]
    assert status == bool(words)
    assert all(section.startswith("ok\n") for section in sections.values()), output


@pytest.mark.parametrize("url, words", [
    ("redis+sentinel://:{}@127.0.0.1:1/name?sentinel_password={}", "no sentinel that can be reached knows a"),
    ("redis+sentinel://u:{}@127.0.0.1:1,127.0.0.1:2/password/0", "no sentinel that can be reached knows a"),
])
def test_sentinels_that_cannot_be_reached(good: dict[str, str], url: str, words: str) -> None:
    """redis-py's message has its whole configuration in it."""
    status, said, sections = check({**good, "REDIS_URL": url.replace("{}", WORD)})
    assert status == 1 and words in sections["Redis"]
    assert "<" not in sections["Redis"] and WORD not in said


@pytest.mark.parametrize("parameters", [
    "sslmode=S3CRET", "target_session_attrs=S3CRET", "channel_binding=S3CRET", "gssencmode=S3CRET",
    "keepalives_idle=S3CRET", "service=S3CRET", "require_auth=S3CRET", "hostaddr=S3CRET", "connect_timeout=S3CRET"])
def test_no_value_of_a_parameter_is_quoted(good: dict[str, str], parameters: str) -> None:
    """libpq quotes those that it does not know."""
    good["DATABASE_URL"] += f"?{parameters}"
    assert "S3CRET" not in check(good)[1]
    done = command("migrate", cwd=Path("/"), **good)
    assert "S3CRET" not in done.stdout + done.stderr


def test_all_problems_at_once(good: dict[str, str]) -> None:
    away = {"DATABASE_URL": f"postgresql://u:{WORD}@127.0.0.1:1/d", "REDIS_URL": f"redis://:{WORD}@127.0.0.1:1",
            "MOVIE_API_URL": f"http://u:{WORD}@127.0.0.1:1/list/?key={WORD}"}
    status, output, sections = check({**good, **away, "JWT_SECRET": "tiny-key", "PORT": "x"})
    assert status == 1
    assert "JWT_SECRET: is too short: at least 32 bytes" in output and "PORT: " in output
    assert [section.partition(":")[0] for section in sections.values()] == ["it cannot be reached"] * 3
    assert "where: 127.0.0.1:1, database d, user u" in sections["PostgreSQL"]


def test_services_that_accept_and_never_respond(good: dict[str, str]) -> None:
    listening, port = bind_unused_port()
    silent = {"DATABASE_URL": f"postgresql://u:{WORD}@127.0.0.1:{port}/d", "MOVIE_API_SECONDS": "1",
              "REDIS_URL": f"redis://:{WORD}@127.0.0.1:{port}", "MOVIE_API_URL": f"http://127.0.0.1:{port}/list/"}
    with listening:
        status, _, sections = check({**good, **silent})
    assert status == 1
    assert [section.partition(":")[0] for section in sections.values()] == ["it cannot be reached"] * 3


def test_a_service_with_an_invalid_address_is_skipped(good: dict[str, str]) -> None:
    status, output, sections = check({**good, "DATABASE_URL": "mysql://db/d"})
    assert status == 1
    assert "DATABASE_URL: must begin with postgresql://" in output
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
    settings = ["appendonly", "no"], ["maxmemory", "1gb"], ["maxmemory-policy", "allkeys-lru"]
    for setting in settings:
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
    assert "warning: maxmemory-policy allows evicting the request count" in sections["Redis"]


def test_a_replica_is_not_a_master(good: dict[str, str], redis_port: int) -> None:
    ask(redis_port, "-a", WORD, "REPLICAOF", "127.0.0.1", "1")
    try:
        status, _, sections = check(good)
    finally:
        ask(redis_port, "-a", WORD, "REPLICAOF", "NO", "ONE")
    assert status == 1
    assert sections["Redis"].startswith("it is a replica: nothing can be written to it: ")
    assert "name the master in REDIS_URL" in sections["Redis"]


def test_embedded_services(good: dict[str, str]) -> None:
    with temporary_folder() as folder:
        status, output, sections = check({"DATA_DIR": str(folder / "data")})
    assert status == 0, output
    assert [sections[name][:3] for name in ("PostgreSQL", "Redis", "movie API")] == ["ok\n"] * 3
    assert all(", embedded\n" in sections[name] for name in ("PostgreSQL", "Redis", "movie API"))
    assert "warning" not in output


@pytest.mark.parametrize("settings, words", [
    ([("maxmemory", "1")], "its memory is full: it refuses writes"),
    ([("min-replicas-to-write", "1")], "it has too few replicas: it refuses writes"),
    ([("replica-read-only", "no"), None], "it is a replica: what is written to it is lost"),
])
def test_a_redis_that_refuses_writes(
    good: dict[str, str], redis_port: int, settings: list[tuple[str, str] | None], words: str
) -> None:
    for setting in settings:
        given = ("CONFIG", "SET", *setting) if setting else ("REPLICAOF", "127.0.0.1", "1")
        assert ask(redis_port, "-a", WORD, *given) == "OK"
    try:
        status, _, sections = check(good)
    finally:
        ask(redis_port, "-a", WORD, "REPLICAOF", "NO", "ONE")
        for name, value in (("maxmemory", "0"), ("min-replicas-to-write", "0"), ("replica-read-only", "yes")):
            ask(redis_port, "-a", WORD, "CONFIG", "SET", name, value)
    assert status == 1
    assert sections["Redis"].startswith(words) and "\n  what to do: " in sections["Redis"]


def test_a_redis_user_without_rights(good: dict[str, str], redis_port: int) -> None:
    complete = ["+@all", "-@dangerous", "~{movieserver}:*", "~movieserver:*", "resetchannels", "&{movieserver}:*"]
    users = {"reader": ["+@read", "~*"], "no-pages": [*complete[:3], *complete[4:]], "no-channel": complete[:-1]}
    for name, rights in {**users, "writer": complete}.items():
        ask(redis_port, "-a", WORD, "ACL", "SETUSER", name, "on", f">{WORD}", "+@connection", *rights)
    for name in users:
        own = good | {"REDIS_URL": good["REDIS_URL"].replace("//:", f"//{name}:")}
        status, _, sections = check(own)
        assert status == 1
        assert sections["Redis"].startswith("it does not let this user write: ")
        [advised] = re.findall("run `(ACL SETUSER <user> [^`]+)`", sections["Redis"])
        assert ask(redis_port, "-a", WORD, *advised.replace("<user>", name).split()) == "OK"
        assert check(own)[0] == 0
    status, _, sections = check(good | {"REDIS_URL": good["REDIS_URL"].replace("//:", "//writer:")})
    assert status == 0
    assert "warning: this user may not run INFO" in sections["Redis"]


@pytest.mark.parametrize("message", [
    "this user has no permissions to run the 'set' command or its subcommand", "No permissions to access a key",
    "No permissions to access a channel"])
def test_every_version_of_redis_is_understood(message: str) -> None:
    """The second and the third are those of Redis 7."""
    words = next(words for pattern, words, _ in REDIS_REASONS if re.search(pattern, message))
    assert words == "it does not let this user write"


def test_the_write_check_leaves_no_key(good: dict[str, str], redis_port: int) -> None:
    def state() -> list[str]:
        changes = re.findall(r"rdb_changes_since_last_save:\d+", ask(redis_port, "-a", WORD, "INFO", "persistence"))
        return [ask(redis_port, "-a", WORD, "DBSIZE"), *changes]

    before = state()
    assert len(before) == 2
    assert check(good)[0] == 0
    assert state() == before


@pytest.fixture
def database(good: dict[str, str]) -> Iterator[Callable[..., str]]:
    """Makes an empty database, with the options of CREATE DATABASE; points `good` at it, as the role bob."""
    postgres_url = good["DATABASE_URL"]
    made: list[str] = []
    execute(postgres_url, f"CREATE ROLE bob LOGIN PASSWORD '{WORD}'")

    def make(name: str, options: str = "") -> str:
        made.append(name)
        execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        good["DATABASE_URL"] = postgres_url.replace("/movieserver", f"/{name}").replace("ada:", "bob:")
        return postgres_url.replace("/movieserver", f"/{name}")

    yield make
    execute(postgres_url, *[f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in made])
    execute(postgres_url, "DROP ROLE bob")


def advised(output: str) -> str:
    """The SQL statement in the advice."""
    statement: str
    [statement] = set(re.findall(r"run `([A-Z]{4,} [^`]+;)`", output))
    return statement


def test_a_role_that_may_not_create_tables(good: dict[str, str], database: Callable[..., str]) -> None:
    url = database("closed")
    status, output, sections = check(good)
    assert status == 1
    assert sections["PostgreSQL"].startswith("this user may not create tables in schema public\n")
    assert advised(output) == "GRANT CREATE ON SCHEMA public TO bob;"
    done = command("migrate", cwd=Path("/"), **good)
    assert (done.returncode, advised(done.stderr)) == (1, advised(output))
    assert done.stderr.startswith("run.py: the database cannot be migrated: this user may not create tables")
    execute(url, advised(output))
    assert "run.py migrate" in check(good)[2]["PostgreSQL"]
    assert command("migrate", cwd=Path("/"), **good).returncode == 0
    assert check(good)[0] == 0
    execute(url, "REVOKE CREATE ON SCHEMA public FROM bob")
    assert check(good)[0] == 0, "nothing is left to migrate"


@pytest.mark.parametrize("path, statement", [
    ("app", 'CREATE SCHEMA app AUTHORIZATION bob;'),
    ('"$user", "An App"', 'CREATE SCHEMA "An App" AUTHORIZATION bob;'),
    ("closed", "GRANT USAGE, CREATE ON SCHEMA closed TO bob;"),
])
def test_a_schema_that_cannot_be_used(
    good: dict[str, str], database: Callable[..., str], path: str, statement: str
) -> None:
    url = database("schemas")
    execute(url, "CREATE SCHEMA closed", f"ALTER ROLE bob IN DATABASE schemas SET search_path = {path}")
    done = command("migrate", cwd=Path("/"), **good)
    assert (done.returncode, advised(done.stderr)) == (1, statement)
    execute(url, statement)
    assert command("migrate", cwd=Path("/"), **good).returncode == 0
    assert check(good)[0] == 0


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_in_another_encoding(
    good: dict[str, str], database: Callable[..., str], encoding: str
) -> None:
    name = f"in_{encoding.lower()}"
    url = database(name, f"OWNER bob ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'")
    status, output, sections = check(good)
    assert status == 1
    assert sections["PostgreSQL"].startswith(f"the encoding of the database is {encoding}, not UTF8\n")
    done = command("migrate", cwd=Path("/"), **good)
    assert (done.returncode, advised(done.stderr)) == (1, advised(output))
    assert tables(url) == 0
    execute(url, advised(output))
    good["DATABASE_URL"] = url.replace(f"/{name}", f"/{name}_utf8")
    assert command("migrate", cwd=Path("/"), **good).returncode == 0
    assert check(good)[0] == 0


def tables(url: str) -> int:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        [count] = cursor.fetchone() or [0]
    return int(count)


def test_tables_of_another_role(good: dict[str, str], database: Callable[..., str]) -> None:
    url = database("others")
    migrations.migrate(url)
    status, output, sections = check(good)
    assert status == 1
    assert sections["PostgreSQL"].startswith("this user may not read and write all tables\n")
    assert advised(output) == "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO bob;"
    execute(url, advised(output))
    assert check(good)[0] == 0
    migrations.rollback(url)
    execute(url, "GRANT CREATE ON SCHEMA public TO bob")
    done = command("migrate", cwd=Path("/"), **good)
    assert (done.returncode, advised(done.stderr)) == (1, "GRANT ada TO bob;")
    assert advised(check(good)[1]) == "GRANT ada TO bob;"
    execute(url, advised(done.stderr))
    assert command("migrate", cwd=Path("/"), **good).returncode == 0


def test_a_database_that_is_read_only(good: dict[str, str], database: Callable[..., str]) -> None:
    url = database("frozen", "OWNER bob")
    assert command("migrate", cwd=Path("/"), **good).returncode == 0
    execute(url, "ALTER DATABASE frozen SET default_transaction_read_only = on")
    status, output, sections = check(good)
    assert status == 1
    assert sections["PostgreSQL"].startswith("it is read-only: default_transaction_read_only is on\n")
    execute(url + "?options=-cdefault_transaction_read_only%3Doff", advised(output))
    assert check(good)[0] == 0


def test_the_manual_begins_with_what_the_database_needs(good: dict[str, str]) -> None:
    manual = (TOP / "docs" / "operations.md").read_text(encoding="utf-8")
    first = re.findall(r"^```sql\n(.*?)^```", manual, re.MULTILINE | re.DOTALL)[0]
    url = good["DATABASE_URL"]
    for statement in first.replace("movieserver", "manual").replace("…", WORD).splitlines():
        if statement.startswith("\\connect"):
            url = url.replace("/movieserver", "/manual")
        else:
            execute(url, statement)
    good["DATABASE_URL"] = url.replace("ada:", "manual:")
    assert command("migrate", cwd=Path("/"), **good).returncode == 0
    assert check(good)[0] == 0
