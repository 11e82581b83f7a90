"""Several processes on one port: forked from one parent, replaced when they die, stopped in order."""
from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from movieserver.logs import log

START_SECONDS = 30.0
STOP_SECONDS = 9.0
POLL_SECONDS = 0.1
PAUSE_SECONDS = 1.0
STOPPING = (signal.SIGINT, signal.SIGTERM)
PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent dies


class Child(Protocol):
    """A process of ours that should run."""

    name: str

    def alive(self) -> bool:
        """Whether it runs."""

    def start(self) -> None:
        """Start it, also in place of one that died."""


class Worker:
    """A forked process that runs `work(ready)`; it gets SIGTERM when its parent dies. `buried` is told its number."""

    def __init__(
        self, name: str, work: Callable[[Callable[[], None]], None],
        buried: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.name = name
        self._work = work
        self._buried = buried
        self.start()

    def start(self) -> None:
        """Fork; also to replace one that died."""
        self._reading, writing = os.pipe()
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until the child is out of its parent's hands
        self.pid = os.fork()
        if not self.pid:
            self._child(parent, writing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        os.close(writing)

    def wait_ready(self) -> bool:
        """Whether the work said that it is ready, within START_SECONDS."""
        readable, _, _ = select.select([self._reading], [], [], START_SECONDS)
        return bool(readable) and os.read(self._reading, 1) == b"!"

    def alive(self) -> bool:
        """Whether it runs; a dead one is reaped."""
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            os.close(self._reading)
            self._buried(self.pid)
            self.pid = 0
        return self.pid != 0

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Send a signal, where it runs."""
        if self.alive():
            os.kill(self.pid, signal_number)

    def _child(self, parent: int, writing: int) -> NoReturn:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() == parent:
                self._work(lambda: _say_ready(writing))
            status = 0
        except BaseException:
            log.exception("process failed", process=self.name)
        finally:
            os._exit(status)


def _say_ready(writing: int) -> None:
    os.write(writing, b"!")


def stop(workers: Sequence[Worker]) -> None:
    """Stop all of them at once; what has not ended in STOP_SECONDS is killed."""
    for worker in workers:
        worker.stop()
    deadline = time.monotonic() + STOP_SECONDS
    while any([worker.alive() for worker in workers]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 5)
    for worker in workers:
        worker.stop(signal.SIGKILL)


def supervise(children: Sequence[Child]) -> NoReturn:
    """Replace whatever dies, for ever; SIGTERM and SIGINT end it as KeyboardInterrupt."""
    started: dict[str, float] = {}
    while True:
        for child in children:
            if not child.alive() and time.monotonic() - started.get(child.name, 0) > PAUSE_SECONDS:
                log.error("process died and is started again", process=child.name)
                started[child.name] = time.monotonic()
                child.start()
        time.sleep(POLL_SECONDS)
