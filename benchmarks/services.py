"""The services that are measured, started as in production, only on 127.0.0.1 and Unix sockets."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg2
import redis

from benchmarks.client import BenchmarkError
from benchmarks.fastapi_storage import STORAGES
from movieserver.embedded.postgres import DATABASE, Postgres
from movieserver.embedded.redis import Redis

TOP = Path(__file__).parents[1]
RIVAL = Path(sys.prefix) / "benchmarks"  # where `make bench` installs the packages of fastapi_service.py
NODE_RIVAL = RIVAL / "node"  # and those of fastify_service.mjs, if there is Node
POOL = 10
START_SECONDS = 60
STOP_SECONDS = 20
POLL_SECONDS = 0.002
MAX_CONNECTIONS = 100
ADDRESS = re.compile(r"http://[^:/]+:(\d+)")


class Ground(NamedTuple):
    """The environment of every service: settings as environment variables, a folder for logs, other programs."""

    folder: Path
    variables: dict[str, str]
    programs: tuple[int, int]  # process ids of PostgreSQL and Redis

    def on_database(self, name: str) -> dict[str, str]:
        """The variables with another database of the same PostgreSQL."""
        return self.variables | {"DATABASE_URL": self.variables["DATABASE_URL"].replace(f"/{DATABASE}?", f"/{name}?")}


class Service(NamedTuple):
    """A running program: its port, its process, and the database it uses."""

    port: int
    process: subprocess.Popen[str]
    database: str

    def workers(self) -> list[int]:
        """The serving processes: the children of the program, or itself."""
        return _children(self.process.pid) or [self.process.pid]

    def cpu_seconds(self, programs: tuple[int, ...] = ()) -> dict[int, float]:
        """The processor time by process, of the workers and of other programs with their children."""
        beside = [pid for program in programs for pid in (program, *_children(program))]
        return {pid: _cpu_seconds(pid) for pid in (*self.workers(), *beside)}

    def wait_ready(self) -> None:
        """Wait for /readyz."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    return
            except urllib.error.URLError:
                time.sleep(POLL_SECONDS)
        raise BenchmarkError("the server did not become ready")


def cpu_used(before: dict[int, float], after: dict[int, float]) -> float:
    """The processor seconds between two readings, without processes that have ended."""
    return sum(seconds - before.get(pid, 0) for pid, seconds in after.items() if seconds)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def _cpu_seconds(pid: int) -> float:
    """proc(5): fields 14 and 15 of stat, after the name, which may have spaces. 0 if the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder with a path short enough for Unix sockets, open to the user that PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="ms-bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ground(secret: str) -> Iterator[Ground]:
    """PostgreSQL, Redis and the demo catalogue."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        lock = stack.enter_context(open(folder / "lock", "w", encoding="ascii"))
        (folder / "run").mkdir()
        postgres = Postgres(folder / "postgres", folder / "run", lock.fileno(), max_connections=str(MAX_CONNECTIONS))
        cache = Redis(folder / "redis", folder / "run", lock.fileno())
        for program in (postgres, cache):
            stack.callback(program.stop)
            program.start()
            program.wait_ready()
        login = {"MOVIE_API_USERNAME": "demo", "MOVIE_API_PASSWORD": "demo"}
        catalogue = stack.enter_context(
            program_on_port(folder / "catalogue.log", ["-m", "movieserver.embedded", "--port", "0"], login))
        with redis.Redis.from_url(cache.url) as client:
            pids = int((folder / "postgres" / "postmaster.pid").read_text().split()[0]), client.info()["process_id"]
        yield Ground(folder, {
            "DATABASE_URL": postgres.url, "DATABASE_POOL_SIZE": str(POOL), "REDIS_URL": cache.url, **login,
            "MOVIE_API_URL": f"http://127.0.0.1:{catalogue.port}/movies/", "JWT_SECRET": secret,
            "ACCESS_TOKEN_MINUTES": "360", "BCRYPT_ROUNDS": "4",
        }, pids)


@contextmanager
def program_on_port(
    log: Path, arguments: list[str], variables: dict[str, str], text: str = "", program: str = sys.executable,
) -> Iterator[Service]:
    """A Python program that prints the address on which it listens; it gets `text` and is ended with SIGTERM."""
    with open(log, "a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            cwd=log.parent, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP), **variables})
    with process:
        try:
            assert process.stdin and process.stdout
            process.stdin.write(text)
            process.stdin.close()
            yield Service(_port(process, log), process, variables.get("DATABASE_URL", ""))
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def _port(process: subprocess.Popen[str], log: Path) -> int:
    assert process.stdout
    for line in process.stdout:
        if found := ADDRESS.search(line):
            return int(found[1])
    raise BenchmarkError(f"a program did not start: {log.read_text(encoding='utf-8')[-2000:]}")


@contextmanager
def server(log: Path, variables: dict[str, str], processes: int = 1) -> Iterator[Service]:
    """The server, as `make serve` starts it, with only `variables` in its environment."""
    settings = {
        **variables, "HOST": "127.0.0.1", "PORT": "0", "PROCESSES": str(processes), "TRUSTED_PROXIES": "127.0.0.1"}
    with program_on_port(log, [str(TOP / "run.py"), "serve", "--migrate"], settings) as service:
        service.wait_ready()
        yield service


@contextmanager
def bare(log: Path, responses: list[tuple[str, str, str, int, str]]) -> Iterator[Service]:
    """The bare handler with its responses: (method, path, token, status, body); the token "" matches all."""
    with program_on_port(log, ["-m", "benchmarks.bare"], {}, json.dumps(responses)) as service:
        yield service


@contextmanager
def fastapi(ground: Ground, storage: str, **settings: str) -> Iterator[Service]:
    """The same service on FastAPI, with a database of its own; `storage` is `rows` or `whole`."""
    variables = ground.on_database(f"fastapi_{storage}") | settings
    with closing(psycopg2.connect(ground.variables["DATABASE_URL"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", [f"fastapi_{storage}"])
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE fastapi_{storage}")
    variables |= {"PYTHONPATH": f"{TOP}:{RIVAL}"}
    log = ground.folder / f"{storage}.log"
    with program_on_port(log, ["-m", "benchmarks.fastapi_service", storage], variables) as service:
        yield service


@contextmanager
def fastify(ground: Ground) -> Iterator[Service]:
    """The reads on Fastify, with the database and the users of FastAPI on rows."""
    variables = ground.on_database("fastapi_rows") | {"PACKAGES": str(NODE_RIVAL)}
    statements = json.dumps(STORAGES["rows"]._asdict())
    log = ground.folder / "fastify.log"
    with program_on_port(log, [str(TOP / "benchmarks/fastify_service.mjs")], variables, statements, "node") as service:
        yield service
