"""A server program from a wheel, run as a child that ends with its parent."""
from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.01
UNPRIVILEGED = "nobody"


class EmbeddedError(Exception):
    """Something embedded could not be started; the message says what and where."""


def package_folder(name: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(f"the package {name} is not installed: `make serve` installs it")
    return Path(spec.submodule_search_locations[0])


def prefix(death: signal.Signals, *paths: Path, drop_root: bool = False) -> list[str]:
    """The setpriv(1) command that a program is started with.

    The program gets the signal `death` when its parent dies. With `drop_root` it is not run as root; when `paths` lie
    where an unprivileged user may not look (a checkout in root's home), it keeps the right to look anywhere.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    command = [setpriv, "--pdeathsig", death.name.removeprefix("SIG")]
    if drop_root and os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        command += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        if not all(parent.stat().st_mode & 0o001 for path in paths for parent in path.parents):
            # with the fix-up, access(2) would not know of it, and initdb asks access(2)
            command += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override",
                        "--securebits=+no_setuid_fixup"]
    return command


class Program:
    """A program of a name; its output goes to a log file, its end is orderly with the signal `ending`."""

    name: str
    ending: signal.Signals

    def __init__(self, command: Sequence[str], log: Path, lock: int) -> None:
        self._command = command
        self.log = log
        self._lock = lock
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start it, without waiting until it is ready."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[self._lock], start_new_session=True, cwd="/",
            )

    def start(self) -> None:
        """Start it in place of one that died."""
        self.launch()

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def ready(self) -> bool:
        """Whether it can be used."""
        raise NotImplementedError

    def wait_ready(self) -> None:
        """Wait until it can be used; EmbeddedError with the end of its log where that fails."""
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if not self.alive() or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace").splitlines()[-5:]
                raise EmbeddedError("\n  ".join([f"{self.name} did not start; {self.log} ends with:", *tail]))
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End it, at the latest after STOP_SECONDS."""
        if self.process is None:
            return
        self.process.send_signal(self.ending)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
