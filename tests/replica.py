"""A primary and a streaming standby from the embedded programs, for failover tests."""
from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import psycopg2
from tornado.testing import bind_unused_port

from movieserver.embedded.postgres import DATABASE, SUPERUSER, Postgres
from movieserver.embedded.programs import chown_to_unprivileged
from movieserver.postgres import migrations
from tests.conftest import temporary_folder


class Node(Postgres):
    """A PostgreSQL on a port of 127.0.0.1; with `upstream`, a standby of that node."""

    def __init__(self, folder: Path, lock: int, upstream: Node | None = None, **settings: str) -> None:
        listening, self.port = bind_unused_port()
        listening.close()
        self._upstream = upstream
        sockets = folder / "run"
        sockets.mkdir(parents=True)
        super().__init__(
            folder / "data", sockets, lock, listen_addresses="127.0.0.1", port=str(self.port), **settings)
        self.url = url([self])

    def kill(self) -> None:
        """Kill all of its processes with -9."""
        assert self.process
        tasks = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        for pid in (self.process.pid, *map(int, tasks.split())):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def promote(self) -> None:
        """Promote a standby, and wait until it is a primary."""
        session = psycopg2.connect(self.url)
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SELECT pg_promote()")
            assert cursor.fetchone() == (True,)
        session.close()

    def create(self) -> None:
        if self._upstream is None:
            super().create()
            return
        self.folder.mkdir(mode=0o700)
        chown_to_unprivileged(self.folder)
        self.run(
            "pg_basebackup", "-d", self._upstream.url, "-D", str(self.folder), "-R", "-X", "stream", "-c", "fast")


def url(nodes: list[Node], **parameters: str) -> str:
    """The DATABASE_URL of several nodes."""
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    return f"postgresql://{hosts}/{DATABASE}?" + urlencode({"user": SUPERUSER, **parameters})


@contextmanager
def pair(commit: str) -> Iterator[tuple[Node, Node]]:
    """A migrated primary and its standby. A commit waits for the standby as synchronous_commit=`commit` says."""
    with temporary_folder() as folder, open(folder / "lock", "w", encoding="ascii") as lock:
        primary = Node(folder / "primary", lock.fileno(), synchronous_standby_names="*", synchronous_commit=commit)
        standby = Node(folder / "standby", lock.fileno(), primary)
        try:
            for node in (primary, standby):
                node.start()
                node.wait_ready()
            migrations.migrate(url([standby, primary], target_session_attrs="read-write"))
            yield primary, standby
        finally:
            for node in (primary, standby):
                node.stop_signal = signal.SIGQUIT
                node.stop()
