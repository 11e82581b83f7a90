"""Everything that is measured, each started as in production and stopped in the end: only on 127.0.0.1 and sockets."""
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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.calls import Request
from benchmarks.load import BenchmarkError
from movieserver.postgres import migrations
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis

TOP = Path(__file__).parents[1]
RIVAL = Path(sys.prefix) / "benchmarks"  # where `make bench` puts what fastapi_service.py stands on
POOL = 10
START_SECONDS = 60
STOP_SECONDS = 20
POLL_SECONDS = 0.002
CONNECTIONS = 100
ADDRESS = re.compile(r"http://[^:/]+:(\d+)")


class Ground(NamedTuple):
    """What every service stands on, as variables; and where its logs go."""

    folder: Path
    variables: dict[str, str]

    @property
    def database(self) -> str:
        return self.variables["DATABASE_URL"]


class Service(NamedTuple):
    """A running program: its port, its process, and the second at which it was asked to start."""

    port: int
    process: subprocess.Popen[str]
    began: float

    def workers(self) -> list[int]:
        """The processes that serve: those that the program started, or else itself."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return [int(child) for child in children] or [pid]

    def processor_seconds(self) -> float:
        """How long its workers have had a processor."""
        return sum(_processor_seconds(pid) for pid in self.workers())

    def wait_ready(self) -> float:
        """Wait for /readyz; the seconds since the start."""
        while time.monotonic() < self.began + START_SECONDS:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    return time.monotonic() - self.began
            except urllib.error.URLError:
                time.sleep(POLL_SECONDS)
        raise BenchmarkError("the server did not get ready")


def _processor_seconds(pid: int) -> float:
    """proc(5): fields 14 and 15 of stat, behind the name, which may have spaces."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
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
    """PostgreSQL (migrated), Redis and the demo catalogue."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        lock = stack.enter_context(open(folder / "lock", "w", encoding="ascii"))
        (folder / "run").mkdir()
        postgres = Postgres(folder / "postgres", folder / "run", lock.fileno(), max_connections=str(CONNECTIONS))
        redis = Redis(folder / "redis", folder / "run", lock.fileno())
        for program in (postgres, redis):
            stack.callback(program.stop)
            program.launch()
            program.wait_ready()
        migrations.migrate(postgres.url)
        login = {"MOVIE_API_USERNAME": "demo", "MOVIE_API_PASSWORD": "demo"}
        catalogue = stack.enter_context(
            program_on_port(folder / "catalogue.log", ["-m", "movieserver.embedded", "--port", "0"], login))
        yield Ground(folder, {
            "DATABASE_URL": postgres.url, "DATABASE_POOL_SIZE": str(POOL), "REDIS_URL": redis.url, **login,
            "MOVIE_API_URL": f"http://127.0.0.1:{catalogue.port}/movies/", "JWT_SECRET": secret,
            "ACCESS_TOKEN_MINUTES": "360",
        })


@contextmanager
def program_on_port(log: Path, arguments: list[str], variables: dict[str, str], said: str = "") -> Iterator[Service]:
    """A Python program that prints the address on which it listens; it is told `said` and ended with SIGTERM."""
    with open(log, "a", encoding="utf-8") as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            cwd=log.parent, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP), **variables})
    with process:
        try:
            assert process.stdin and process.stdout
            process.stdin.write(said)
            process.stdin.close()
            yield Service(_port(process, log), process, began)
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
    """The server, as `make serve` starts it, in an environment that names no more than `variables`."""
    given = {**variables, "HOST": "127.0.0.1", "PORT": "0", "PROCESSES": str(processes)}
    with program_on_port(log, [str(TOP / "run.py"), "serve", "--migrate"], given) as service:
        yield service


@contextmanager
def bare(log: Path, answers: list[tuple[Request, str]]) -> Iterator[Service]:
    """The yardstick, which answers each request with a text."""
    said = json.dumps([(request.method, request.path, request.status, body) for request, body in answers])
    with program_on_port(log, ["-m", "benchmarks.bare"], {}, said) as service:
        yield service


@contextmanager
def rival(log: Path, variables: dict[str, str]) -> Iterator[Service]:
    """The same service on FastAPI."""
    given = {**variables, "PYTHONPATH": f"{TOP}:{RIVAL}"}
    with program_on_port(log, ["-m", "benchmarks.fastapi_service"], given) as service:
        yield service
