"""run.py in a fork of a process that has imported the server: it starts ten times as fast as a new Python."""
from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Connection
from pathlib import Path

PROGRAM = str(Path(__file__).parents[1] / "run.py")
SECONDS = 60
# the first hides what servers that tests start do not import either
IMPORTED = ["tests.production.sitecustomize", "tests.forked", "movieserver.server", "movieserver.check",
            "movieserver.administration", "movieserver.postgres.migrations"]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(IMPORTED)
ENCODED = {"encoding": "utf-8", "errors": "surrogateescape"}


class Process:
    """A running `run.py`, with what tests need of subprocess.Popen; its standard error is appended to a file."""

    def __init__(
        self, arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], errors: Path,
        stdin: Path = Path(os.devnull),
    ) -> None:
        reading, writing = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(
            target=_main, args=(arguments, str(cwd), environment, str(stdin), writing, str(errors)))
        self._process.start()
        writing.close()
        self.stdout = open(os.dup(reading.fileno()), **ENCODED)  # type: ignore[call-overload]
        reading.close()
        assert self._process.pid
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float = SECONDS) -> int:
        """The exit status. Raises TimeoutExpired."""
        self._process.join(seconds)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(PROGRAM, seconds)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], sent: str | None,
        ) -> subprocess.CompletedProcess[str]:
    """Run `run.py` to its end, with `sent` as its standard input: as subprocess.run does."""
    with tempfile.TemporaryDirectory() as folder:
        stdin, errors = Path(folder) / "in", Path(folder) / "err"
        stdin.write_text(sent or "", **ENCODED)
        process = Process(arguments, cwd, environment, errors, stdin)
        overdue = threading.Timer(SECONDS, process.kill)
        overdue.start()
        try:
            with process.stdout:
                out = process.stdout.read()
            status = process.wait()
        finally:
            overdue.cancel()
            process.kill()
        return subprocess.CompletedProcess([PROGRAM, *arguments], status, out, errors.read_text(**ENCODED))


def _main(
    arguments: tuple[str, ...], cwd: str, environment: dict[str, str], stdin: str, stdout: Connection, errors: str,
) -> None:
    reading = os.open(stdin, os.O_RDONLY)
    appending = os.open(errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number, opened in enumerate((reading, stdout.fileno(), appending)):
        os.dup2(opened, number)
    for opened in (reading, appending):
        os.close(opened)
    stdout.close()
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path = [str(Path(PROGRAM).parent), *filter(None, sys.path)]
    sys.argv = [PROGRAM, *arguments]
    runpy.run_path(PROGRAM, run_name="__main__")
