"""Writes the responses of one connection to its transport, and watches whether the client reads them."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from tornado.concurrent import Future
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPOutputError, RequestStartLine, ResponseStartLine

from movieserver.http.headers import date

STALL_SECONDS, STALL_BYTES = 10.0, 64 * 1024
REPLACED = ("Server", "Date")  # Tornado's own
WITHOUT_CONTENT = frozenset((204, 304))


class Peer(NamedTuple):
    """The client's address, as `context` of HTTPServerRequest."""

    remote_ip: str
    protocol: str = "http"


class ResponseWriter(HTTPConnection):
    """Writes responses of a declared Content-Length; one of another length aborts the connection."""

    def __init__(self, transport: asyncio.Transport, finished: Callable[[], None]) -> None:
        peer = transport.get_extra_info("peername")
        self.context = Peer(peer[0] if isinstance(peer, tuple) else "0.0.0.0")
        self.keep_alive = True  # after this response
        self.request_id = ""  # of the current request
        self.body_bytes = 0  # of this response, written to an open connection
        self.closed = False
        self.close_callback: Callable[[], None] | None = None
        self._transport = transport
        self._finished = finished
        self._done: Future[None] = asyncio.get_running_loop().create_future()
        self._done.set_result(None)
        self._method = self._version = ""
        self._unwritten: int | None = None  # declared bytes; None before the head
        self._written = 0
        self._last_check: tuple[float, int] | None = None  # the time of the last check, and the bytes sent until then

    def begin(self, request: RequestStartLine, keep_alive: bool) -> None:
        """Prepare to write the response to this request."""
        self._method, self._version, self.keep_alive = request.method, request.version, keep_alive
        self._unwritten = None
        self.body_bytes = 0

    def writing(self) -> bool:
        """Whether there are unsent bytes."""
        return not self.closed and self._transport.get_write_buffer_size() > 0

    def is_stalled(self, now: float) -> bool:
        """Whether the client read less than STALL_BYTES in STALL_SECONDS; to be called about twice a second."""
        if not self.writing():
            self._last_check = None
            return False
        sent = self._written - self._transport.get_write_buffer_size()
        since, before = self._last_check or (now, sent)
        if not self._last_check or now - since >= STALL_SECONDS:
            self._last_check = (now, sent)
        return now - since >= STALL_SECONDS and sent - before < STALL_BYTES

    def send(self, *parts: bytes) -> None:
        """Write the parts together; they are dropped if the connection is closing."""
        if not self._transport.is_closing():
            self._written += sum(map(len, parts))
            self._transport.writelines(parts)

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called if the client half-closes or closes the connection before the response is complete."""
        self.close_callback = callback

    def write_headers(  # type: ignore[override]
        self, start_line: ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> Future[None]:
        if not self.keep_alive:
            headers["Connection"] = "close"
        elif self._version == "HTTP/1.0":
            headers["Connection"] = "keep-alive"
        if "Connection" in headers:
            self.keep_alive = headers["Connection"] != "close"
        try:
            head = response_head(start_line, self.request_id, headers)
            without_content = self._method == "HEAD" or start_line.code in WITHOUT_CONTENT
            self._unwritten = 0 if without_content else int(headers.get("Content-Length", 0))
        except ValueError as error:
            self._fail(error)
        self._write(head, chunk or b"")
        return self._done

    def write(self, chunk: bytes) -> Future[None]:
        self._write(chunk)
        return self._done

    def finish(self) -> None:
        self.close_callback = None
        if self._transport.is_closing():
            return
        if self._unwritten != 0:
            self._fail(HTTPOutputError("the response is shorter than its Content-Length"))
        self._finished()

    def _write(self, *parts: bytes) -> None:
        """Write the head, if it is among the parts, and a part of the body."""
        if self._transport.is_closing():
            return
        if self._unwritten is None or len(parts[-1]) > self._unwritten:
            self._fail(HTTPOutputError("the response is longer than its Content-Length"))
        self._unwritten -= len(parts[-1])
        self.body_bytes += len(parts[-1])
        self.send(*parts)

    def _fail(self, error: Exception) -> NoReturn:
        self._transport.abort()
        raise error


def response_head(start_line: ResponseStartLine, request_id: str, headers: HTTPHeaders) -> bytes:
    """The head as it is sent. Raises ValueError if a line of it cannot be sent as one line."""
    lines = [
        f"HTTP/1.1 {start_line.code} {start_line.reason}", f"Date: {date()}", f"X-Request-ID: {request_id}",
        "X-Content-Type-Options: nosniff"]
    if "Cache-Control" not in headers:
        lines.append("Cache-Control: no-store")
    lines += [f"{name}: {value}" for name, value in headers.get_all() if name not in REPLACED]
    head = "\r\n".join([*lines, "", ""])
    if head.count("\r") > len(lines) + 1 or head.count("\n") > len(lines) + 1:
        raise ValueError("the head of the response has CR or LF within a line")
    return head.encode("latin1")
