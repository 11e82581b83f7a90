"""HTTP under the application: how many connections there are, how long each may take, and what is not HTTP."""
from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.iostream import IOStream, StreamClosedError

from movieserver import metrics
from movieserver.app import MovieServer
from movieserver.budgets import Overloaded
from movieserver.errors import ApiError, BadRequest
from movieserver.handlers.base import HEADER_BYTES, new_request_id
from movieserver.handlers.limits import QUERY_ARGUMENTS
from movieserver.logs import Trouble, log

DRAIN_SECONDS = 6.0
LAST_CALL_SECONDS = 1.5
QUIET_SECONDS = 0.05
IDLE_SECONDS = 75.0
BODY_SECONDS = 60.0
READ_HEADER_BYTES = 1024 * 1024  # what is longer than it may be, but no longer than this, is told so
STALL_SECONDS = 10.0
STALL_BYTES = 64 * 1024
TURN_AWAY_SECONDS = 1.0
MOST_CONNECTIONS = 1000
TORNADOS_REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"
NO_HTTP = (
    "The message is not HTTP/1.1 as RFC 9112 has it, has no valid Host, or has more than "
    f"{QUERY_ARGUMENTS} query arguments."
)


class Server(HTTPServer):
    """The HTTP server of the application. What is not HTTP is counted and answered like any other error.

    It has MOST_CONNECTIONS; for one more, that is closed on which nothing whole has arrived for the longest time.
    """

    def initialize(self, app: MovieServer) -> None:  # type: ignore[override]
        self._app = app
        self._since: dict[IOStream, float] = {}  # each connection: when it began to wait for its next request
        self._trouble = Trouble("connections")
        super().initialize(
            app, idle_connection_timeout=IDLE_SECONDS, body_timeout=BODY_SECONDS, max_header_size=READ_HEADER_BYTES,
            max_body_size=sys.maxsize,  # the application bounds bodies, with an answer that says so
        )

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        if len(self._since) < MOST_CONNECTIONS:
            self._trouble.end()
        elif not self._close_oldest():
            asyncio.ensure_future(self._turn_away(stream))
            return
        self._since[stream] = time.monotonic()
        plain = stream.write

        def write(data: bytes | memoryview) -> Awaitable[None]:
            if data != TORNADOS_REFUSAL:
                return plain(data)
            return asyncio.ensure_future(self._refuse(plain, BadRequest(NO_HTTP)))

        stream.write = write  # type: ignore[assignment, method-assign]
        _measure_headers(stream)
        super().handle_stream(stream, address)

    def start_request(self, server_conn: Any, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        self._since[server_conn.stream] = time.monotonic()
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: Any) -> None:
        self._since.pop(server_conn.stream, None)
        super().on_close(server_conn)

    def stop_listening(self, sockets: list[socket.socket]) -> None:
        """Close the port, with a place for everybody who has come to it already."""
        for listening in sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._handle_connection(*listening.accept())
        self.stop()

    async def drain(self) -> None:
        """Wait until nothing is under way any more and everything is sent, for DRAIN_SECONDS at most.

        For LAST_CALL_SECONDS connections on which nothing is under way stay: what comes on them is answered, with
        the word that they close then. So nobody finds one closed in the moment in which they use it.
        """
        self._app.settings["draining"] = True
        began = time.monotonic()
        while self._since and time.monotonic() < began + DRAIN_SECONDS:
            await asyncio.sleep(QUIET_SECONDS)
            if time.monotonic() > began + LAST_CALL_SECONDS:
                for stream in self._waiting():
                    stream.close()

    async def close_stalled(self) -> None:
        """Close, for ever, the connections on which an answer hardly moves: STALL_BYTES in STALL_SECONDS are few."""
        sent: dict[IOStream, int] = {}
        while True:
            await asyncio.sleep(STALL_SECONDS)
            moving = {stream: stream._total_write_done_index for stream in self._since if stream.writing()}
            for stream, total in moving.items():
                if total - sent.get(stream, -STALL_BYTES) < STALL_BYTES:
                    stream.close()
            sent = moving

    def _waiting(self) -> list[IOStream]:
        """The connections on which no request is under way and nothing is left to send."""
        requests: list[Any] = [request.connection for request in self._app.under_way]
        answering = {connection.stream for connection in requests}
        return [stream for stream in self._since if stream not in answering and not stream.writing()]

    def _close_oldest(self) -> bool:
        """Close the connection that has waited longest for a whole request or for its caller to read, if one does."""
        requests: list[Any] = [request.connection for request, body in self._app.under_way.items() if body.complete]
        working = {connection.stream for connection in requests}
        others = [stream for stream in self._since if stream not in working]
        oldest = min(others, key=self._since.__getitem__, default=None)
        if oldest is not None:
            del self._since[oldest]
            oldest.close()
        self._trouble.begin(f"all {MOST_CONNECTIONS} are in use; the longest idle one is closed for each that comes")
        return oldest is not None

    async def _turn_away(self, stream: IOStream) -> None:
        """Answer 503, and wait a moment until the caller has read it."""
        with contextlib.suppress(StreamClosedError, TimeoutError, OSError):
            async with asyncio.timeout(TURN_AWAY_SECONDS):
                await self._refuse(stream.write, Overloaded("The server has no free connection. Try again shortly."))
                stream.socket.shutdown(socket.SHUT_WR)
                await stream.read_until_close()
        stream.close()

    async def _refuse(self, write: Callable[[bytes], Awaitable[None]], error: ApiError) -> None:
        """Answer a message that never reaches the application; its connection is closed then."""
        request_id = new_request_id()
        await self._app.settings["resources"].counter.count()
        body = json.dumps(error.problem(request_id)).encode()
        metrics.answered("malformed", None, error.status)
        log.info(
            "request", request_id=request_id, method=None, route="malformed", status=error.status, ms=None,
            user_id=None, bytes=len(body),
        )
        given = "".join(f"{name}: {value}\r\n" for name, value in error.headers.items())
        await write(
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nContent-Type: application/problem+json\r\n"
            "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
            f"Connection: close\r\nX-Request-ID: {request_id}\r\n{given}Content-Length: {len(body)}\r\n\r\n".encode()
            + body)


def _measure_headers(stream: IOStream) -> None:
    """Have `stream.headers_too_large` tell when a head is over HEADER_BYTES; Tornado would close without a word."""
    stream.headers_too_large = False  # type: ignore[attr-defined]
    within = stream._check_max_bytes

    def check(delimiter: Any, size: int) -> None:
        if size > HEADER_BYTES:
            stream.headers_too_large = True  # type: ignore[attr-defined]
        within(delimiter, size)

    stream._check_max_bytes = check  # type: ignore[method-assign]
