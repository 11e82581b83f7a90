"""Several processes under load: rolling restarts, kill and stop lose no request."""
from __future__ import annotations

import os
import pty
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from tests.conftest import ENVIRONMENT, SECRET
from tests.factories import registration
from tests.test_run import TOP, Server, gone, serving, sign_up, until

CLIENTS = 8
PAUSE_SECONDS = 0.02  # of each client between two requests
HALF_LOADED = 40 * 1024 * 1024  # bytes of a process that imports its modules


class Load:
    """Clients on keep-alive connections that send requests in a loop; `lost` has every response that is not 200."""

    def __init__(self, server: Server, token: str) -> None:
        self._port = int(server.url.rpartition(":")[2])
        self._headers = {"Authorization": f"Bearer {token}"}
        self._over = threading.Event()
        self.responses = 0
        self.losses: list[str] = []

    def _ask(self, fresh: bool) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._over.is_set():
            kept_alive = connection.sock is not None
            try:
                connection.request("GET", "/collection/", headers=self._headers)
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.losses.append(f"status {response.status}")
                if fresh or response.will_close:
                    connection.close()
            except OSError as error:
                self.losses.append(f"{'kept_alive' if kept_alive else 'fresh'}: {error!r}")
                connection.close()
            self.responses += 1
            self._over.wait(PAUSE_SECONDS)
        connection.close()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Load during the block, on keep-alive and on new connections."""
        with ThreadPoolExecutor(CLIENTS) as threads:
            asking = [threads.submit(self._ask, bool(number % 2)) for number in range(CLIENTS)]
            until(lambda: self.responses > 2 * CLIENTS)
            try:
                yield
            finally:
                self._over.set()
        for each in asking:
            each.result()


def test_a_rolling_restart_loses_no_request(folder: Path) -> None:
    with serving(folder, PROCESSES="2") as server:
        load = Load(server, sign_up(server, registration()))
        before = workers(server)
        counted = server.count()
        with load.running():
            server.process.send_signal(signal.SIGHUP)
            until(lambda: all(map(gone, before)))
            until(lambda: "rolling restart ended" in server.log.read_text(encoding="utf-8"))
            seen = load.responses
            until(lambda: load.responses > seen + 10 * CLIENTS)
        assert load.losses == []
        assert server.count() == counted + load.responses + 1
        assert len(workers(server)) == 2
        assert server.stop() == 0


def test_a_rolling_restart_takes_the_settings_as_they_are_now(folder: Path) -> None:
    (folder.parent / ".env").write_text("LOG_LEVEL=INFO\n", encoding="ascii")
    with serving(folder) as server:
        before = workers(server)
        (folder.parent / ".env").write_text("COUNTER_RESET_TOKEN=let-me\n", encoding="ascii")
        assert server.call("POST", "/request-count/reset/")[0] == 200
        server.process.send_signal(signal.SIGHUP)
        until(lambda: all(map(gone, before)))
        assert server.call("POST", "/request-count/reset/")[0] == 401
        assert server.call("POST", "/request-count/reset/", token="let-me")[0] == 200
        assert server.stop() == 0
    (folder.parent / ".env").unlink()


def test_a_failed_rolling_restart_changes_nothing(folder: Path) -> None:
    with serving(folder, PROCESSES="2") as server:
        before = workers(server)
        (folder.parent / ".env").write_text("BCRYPT_ROUNDS=\nACCESS_TOKEN_MINUTES=never\n", encoding="ascii")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "rolling restart aborted" in server.log.read_text(encoding="utf-8"))
        (folder.parent / ".env").unlink()
        assert "ACCESS_TOKEN_MINUTES" in server.log.read_text(encoding="utf-8")
        assert workers(server) == before
        assert server.call("GET", "/readyz")[0] == 200
        assert server.stop() == 0


def test_a_killed_worker_is_replaced_and_the_others_go_on(folder: Path) -> None:
    with serving(folder, PROCESSES="2") as server:
        first, second = workers(server)
        os.kill(first, signal.SIGKILL)
        until(lambda: len(workers(server)) == 2 and first not in workers(server))
        assert second in workers(server)
        assert server.call("GET", "/readyz")[0] == 200
        assert server.stop() == 0


def test_shutdown_under_load(folder: Path) -> None:
    with serving(folder, PROCESSES="2") as server:
        token = sign_up(server, registration())
        kept_alive = HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=20)
        kept_alive.request("GET", "/healthz")
        assert kept_alive.getresponse().read()
        load = Load(server, token)
        with load.running():
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            until(lambda: ready(kept_alive) == (503, "close"))
            until(lambda: refused(server))
            assert server.process.poll() is None
            assert server.process.wait(20) == 0
            assert time.monotonic() - began < 10
        assert load.losses and all(loss.startswith("fresh: Connection") for loss in load.losses)


def test_a_shutdown_during_a_rolling_restart_resets_no_connection(folder: Path) -> None:
    """A process that is still starting holds the listening sockets, but accepts nothing: it must not be the last."""
    with serving(folder, PROCESSES="2") as server:
        before = workers(server)
        load = Load(server, sign_up(server, registration()))
        with load.running():
            server.process.send_signal(signal.SIGHUP)
            until(lambda: any(resident(pid) > HALF_LOADED for pid in workers(server) if pid not in before))
            server.process.send_signal(signal.SIGTERM)
            until(lambda: refused(server))
            assert server.process.wait(20) == 0
        assert load.losses and not [loss for loss in load.losses if "Refused" not in loss]


def test_a_start_right_after_a_kill_waits_for_the_port(folder: Path) -> None:
    with serving(folder) as server:
        port = server.url.rpartition(":")[2]
        kept_alive = HTTPConnection("127.0.0.1", int(port), timeout=20)
        kept_alive.connect()  # the remaining worker still responds on it while it drains
        server.process.kill()
        server.process.wait()
        with serving(folder, PORT=port) as second:
            assert second.call("GET", "/readyz")[0] == 200
            assert second.stop() == 0
        kept_alive.close()


def test_a_worker_whose_parent_dies_first_stops_in_order(postgres: Postgres, redis: Redis, empty: Path) -> None:
    """It cannot report that it is ready; SIGTERM comes a moment later."""
    reading, writing = os.pipe()
    os.close(reading)
    settings = {
        "DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "JWT_SECRET": SECRET,
        "MOVIE_API_URL": "http://127.0.0.1:1/"}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        arguments = ["--parent", str(os.getpid()), "--ready", str(writing), "--socket", str(listening.fileno())]
        with subprocess.Popen(
            [sys.executable, "-m", "movieserver", *arguments], cwd=empty.parent, pass_fds=[writing, listening.fileno()],
            env={**ENVIRONMENT, **settings, "PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}:{TOP}"},
        ) as process:
            os.close(writing)
            connection = HTTPConnection("127.0.0.1", listening.getsockname()[1], timeout=20)
            connection.request("GET", "/openapi.json")
            assert connection.getresponse().status == 200
            connection.close()
            process.terminate()
            assert process.wait() == 0


@pytest.mark.parametrize("first, second", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGTERM)])
def test_signals_at_the_same_time(folder: Path, first: int, second: int) -> None:
    with serving(folder, PROCESSES="2") as server:
        family = server.family()
        server.process.send_signal(first)
        server.process.send_signal(second)
        assert server.process.wait(20) == 0
        until(lambda: all(map(gone, family)))


def test_closing_the_terminal_stops_the_server(empty: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(TOP / "run.py")], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        cwd=empty.parent, env={**ENVIRONMENT, "PORT": "0", "DATA_DIR": str(empty)},
    )
    os.close(slave)
    output = b""
    while not (b"Ctrl-C" in output and output.endswith(b"\n")):  # the announcement is written whole
        output += os.read(master, 4096)
    os.close(master)
    process.send_signal(signal.SIGHUP)  # the kernel sends this to the session leader when a terminal closes
    assert process.wait(20) == 0


INTERRUPTED = """
import random, signal, sys
from pathlib import Path
from movieserver.embedded.programs import Program

signal.signal(signal.SIGALRM, signal.default_int_handler)
program = Program(["sleep", "60"], Path(sys.argv[1]), 0)
program.stop_signal = signal.SIGTERM
program.start()
for _ in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.001))
        while program.alive():
            pass
    except KeyboardInterrupt:
        pass
program.stop()
sys.exit(program.alive())
"""


def test_an_interrupted_look_at_a_process_does_not_hinder_its_stop(tmp_path: Path) -> None:
    """An exception at the wrong moment would leave a lock of subprocess locked, and the stop would never end."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "log")], cwd=TOP, capture_output=True, timeout=30,
        check=False)
    assert done.returncode == 0, done.stderr


def ready(connection: HTTPConnection) -> tuple[int, str | None]:
    """The status of /readyz on a keep-alive connection, and whether the connection then closes."""
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    response.read()
    return response.status, response.getheader("Connection")


def workers(server: Server) -> list[int]:
    """The serving processes."""
    return [pid for pid in server.children() if b"\0movieserver\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def resident(pid: int) -> int:
    """The bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def refused(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))).close()
    except ConnectionRefusedError:
        return True
    return False
