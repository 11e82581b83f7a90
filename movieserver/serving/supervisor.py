"""Several processes on one port: started by one parent, restarted when they die, stopped in order.

Each is a Python interpreter that inherits the listening sockets: no connection is lost between an old process and its
replacement, and the replacement has the code and the settings that are on the disk at that moment.
"""
from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from movieserver.observability.logs import log
from movieserver.terminal import CommandError

TOP = Path(__file__).parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 9.0
STARTING_SECONDS = 0.5  # until a process that is still starting has ended
POLL_SECONDS = 0.1
PAUSE_SECONDS = 1.0
PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent dies


class Child(Protocol):
    """A process that should run."""

    name: str

    def alive(self) -> bool:
        """Whether it runs."""

    def start(self) -> None:
        """Start it, or start it again after it died."""


@dataclass(eq=False)
class Worker:
    """A process that runs `python -m <module>` on inherited sockets; it gets SIGTERM when its parent dies.

    `environment` is added to that of this process. `on_exit` is called with its process id when it has ended. With
    `check` it checks the services in the settings.
    """

    name: str
    module: str
    sockets: Sequence[socket.socket]
    environment: Mapping[str, str]
    on_exit: Callable[[int], None] = lambda pid: None
    check: bool = False

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start it in its own process group, or start it again after it died."""
        self._reading, writing = os.pipe()
        inherited = [listening.fileno() for listening in self.sockets]
        arguments = ["--parent", str(os.getpid()), "--ready", str(writing), *(["--check"] if self.check else [])]
        for number in inherited:
            arguments += ["--socket", str(number)]
        paths = [str(TOP), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", self.module, *arguments], stdin=subprocess.DEVNULL,
            pass_fds=[writing, *inherited], process_group=0,
            env={**os.environ, **self.environment, "PYTHONPATH": os.pathsep.join(paths)})
        os.close(writing)

    def replacement(self) -> Worker:
        """A second worker like this one."""
        return replace(self)

    def wait_ready(self) -> bool:
        """Whether it reported within START_SECONDS that it is ready."""
        readable, _, _ = select.select([self._reading], [], [], START_SECONDS)
        return bool(readable) and os.read(self._reading, 1) == b"!"

    def alive(self) -> bool:
        """Whether it runs; a dead one is reaped."""
        if is_running(self._process):
            return True
        if self._reading >= 0:
            os.close(self._reading)
            self._reading = -1
            self.on_exit(self._process.pid)
        return False

    def starting(self) -> bool:
        """Whether it runs and has not reported yet that it is ready."""
        return self.alive() and not select.select([self._reading], [], [], 0)[0]

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Send a signal, if it runs."""
        if is_running(self._process):
            os.kill(self._process.pid, signal_number)


def is_running(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process runs; a dead one is reaped.

    Signals wait meanwhile: a handler that raises within Popen.poll() can leave its lock locked. From then on the
    process would seem to run, and a wait for its end would never return.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return process.poll() is None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def inherit() -> tuple[list[socket.socket], Callable[[], None], bool]:
    """Read the command line that Worker writes; from now on this process ends with its parent.

    Returns the listening sockets, a function that reports that this process is ready, and the worker's `check`.
    """
    parser = argparse.ArgumentParser(description="A process that run.py starts.")
    for name in ("--parent", "--ready"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--socket", type=int, action="append", required=True)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != options.parent:
        sys.exit("the process that started this one is gone")
    os.set_inheritable(options.ready, False)

    def report_ready() -> None:
        with suppress(BrokenPipeError):  # the parent has just died: SIGTERM follows
            os.write(options.ready, b"!")
        os.close(options.ready)

    return [socket.socket(fileno=number) for number in options.socket], report_ready, options.check


def stop(workers: Sequence[Worker]) -> None:
    """Stop all of them; one that has not ended in STOP_SECONDS is killed.

    Those that are still starting end first. They hold the listening sockets, but accept no connection: as the last ones
    to end they would reset the connections in the queue.
    """
    _terminate([worker for worker in workers if worker.starting()], STARTING_SECONDS)
    _terminate(workers, STOP_SECONDS)
    for worker in workers:
        worker.stop(signal.SIGKILL)


def _terminate(workers: Sequence[Worker], seconds: float) -> None:
    for worker in workers:
        worker.stop()
    deadline = time.monotonic() + seconds
    while any([worker.alive() for worker in workers]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 5)


@contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder for files that the processes share. Raises CommandError if there can be none."""
    try:
        folder = TemporaryDirectory(prefix="movieserver-")
    except OSError as error:
        raise CommandError(f"no temporary folder: {error.strerror}; make /tmp writable, or set TMPDIR") from None
    with folder as name:
        yield name


class Supervisor:
    """Watches children and workers: restarts what dies and, on request, replaces all workers one by one."""

    def __init__(self, children: Sequence[Child]) -> None:
        self.workers: list[Worker] = []
        self._children = children
        self._stopping: dict[Worker, float] = {}  # each with the time after which it is killed
        self._started: dict[str, float] = {}
        self._restart_requested = False

    def stop(self) -> None:
        """Stop all workers, also those that a rolling restart has started or is ending."""
        stop([*self.workers, *self._stopping])

    def request_restart(self) -> None:
        """Replace all workers soon; for signal handlers."""
        self._restart_requested = True

    def watch(self) -> None:
        """Watch forever; SIGTERM and SIGINT end it with KeyboardInterrupt."""
        while True:
            for child in [*self._children, *self.workers]:
                if not child.alive():
                    self._revive(child)
            self._reap()
            if self._restart_requested:
                self._restart_requested = False
                self._restart()
            time.sleep(POLL_SECONDS)

    def _revive(self, child: Child) -> None:
        if time.monotonic() - self._started.get(child.name, 0) > PAUSE_SECONDS:
            log.error("process died and is started again", process=child.name)
            self._started[child.name] = time.monotonic()
            child.start()

    def _restart(self) -> None:
        """Start the new one before stopping the old one, which stays if the new one does not start."""
        log.warning("rolling restart began")
        for index, old in enumerate(self.workers):
            fresh = old.replacement()
            self._stopping[fresh] = time.monotonic()  # it is killed, unless it becomes ready
            if not fresh.wait_ready():
                fresh.stop(signal.SIGKILL)
                log.error("rolling restart aborted: the processes not yet replaced keep serving", process=fresh.name)
                return
            self._stopping[old] = time.monotonic() + STOP_SECONDS
            self.workers[index] = fresh
            del self._stopping[fresh]
            old.stop()
        log.warning("rolling restart ended")

    def _reap(self) -> None:
        """Kill what should have left, and drop what has."""
        for worker, deadline in [*self._stopping.items()]:
            if not worker.alive():
                del self._stopping[worker]
            elif time.monotonic() > deadline:
                worker.stop(signal.SIGKILL)
