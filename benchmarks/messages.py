"""Requests for the load generators: a folder with one line per request and a file per body."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNIQUE = b"@@@@@@@@@@@@"  # in a body: replaced by the request's number, in 12 hexadecimal digits
ANY_BYTES = 10**9


@dataclass(frozen=True)
class Request:
    """A request, and its expected status and length of the body."""

    path: str
    method: str = "GET"
    token: str = ""
    body: bytes = b""
    status: int = 200
    min_bytes: int = 1
    max_bytes: int = ANY_BYTES

    def message(self, number: int) -> bytes:
        """The bytes to send as the request of that number."""
        return self._head(number) + self.body.replace(UNIQUE, b"%012x" % number, 1)

    def _head(self, number: int) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1"]
        if self.path == "/register/":  # from different addresses: each may register 100 users a minute
            lines.append(f"X-Forwarded-For: 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode()


def write(folder: Path, requests: Sequence[Request]) -> None:
    """Write requests for `read` and for wrk.lua; equal bodies become one file."""
    files: dict[bytes, str] = {b"": "-"}
    lines = []
    for request in requests:
        if request.body not in files:
            files[request.body] = f"body-{len(files)}"
            (folder / files[request.body]).write_bytes(request.body)
        lines.append(f"{request.method} {request.path} {request.token or '-'} {request.status} {request.min_bytes}"
                     f" {request.max_bytes} {files[request.body]}\n")
    (folder / "requests").write_text("".join(lines), encoding="ascii")


def read(folder: Path) -> list[Request]:
    """The requests that `write` wrote."""
    bodies = {"-": b""} | {path.name: path.read_bytes() for path in folder.glob("body-*")}
    found = []
    for line in (folder / "requests").read_text(encoding="ascii").splitlines():
        method, path, token, status, min_bytes, max_bytes, body = line.split(" ")
        found.append(Request(path, method, "" if token == "-" else token, bodies[body], int(status), int(min_bytes),
                             int(max_bytes)))
    return found
