"""One serving process: its event loop, its HTTP server, its orderly end."""
from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakSet

import uvloop
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from movieserver.app import MovieServer, make_app
from movieserver.errors import BadRequest
from movieserver.handlers.base import HEADER_BYTES, new_request_id
from movieserver.handlers.limits import QUERY_ARGUMENTS
from movieserver.logs import log
from movieserver.resources import open_resources
from movieserver.settings import Settings

DRAIN_SECONDS = 6.0
READ_HEADER_BYTES = 1024 * 1024  # what is longer than it may be, but no longer than this, is told so
QUIET_SECONDS = 0.05
IDLE_SECONDS = 75.0
BODY_SECONDS = 60.0
TORNADOS_REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class Server(HTTPServer):
    """The HTTP server of the application. What is not HTTP is counted and answered like any other error."""

    def initialize(self, app: MovieServer) -> None:  # type: ignore[override]
        self._app = app
        self._streams: WeakSet[IOStream] = WeakSet()
        super().initialize(
            app, idle_connection_timeout=IDLE_SECONDS, body_timeout=BODY_SECONDS, max_header_size=READ_HEADER_BYTES,
            max_body_size=sys.maxsize,  # the application bounds bodies, with an answer that says so
        )

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        self._streams.add(stream)
        plain = stream.write

        def write(data: bytes | memoryview) -> Awaitable[None]:
            return plain(data) if data != TORNADOS_REFUSAL else asyncio.ensure_future(self._refuse(plain))

        stream.write = write  # type: ignore[assignment, method-assign]
        stream.headers_too_large = False  # type: ignore[attr-defined]
        within = stream._check_max_bytes

        def check(delimiter: Any, size: int) -> None:
            if size > HEADER_BYTES:
                stream.headers_too_large = True  # type: ignore[attr-defined]
            within(delimiter, size)

        stream._check_max_bytes = check  # type: ignore[method-assign]
        super().handle_stream(stream, address)

    async def drain(self) -> None:
        """Wait until nothing is under way any more and everything is sent, for DRAIN_SECONDS at most."""
        self._app.settings["draining"] = True
        deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
        await asyncio.sleep(QUIET_SECONDS)
        while self._close_idle() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(QUIET_SECONDS)

    def _close_idle(self) -> bool:
        """Close the connections on which nothing is under way; whether others are left."""
        requests: set[Any] = {request.connection for request in self._app.under_way}
        answering = {connection.stream for connection in requests}
        for stream in list(self._streams):
            if stream not in answering and not stream.writing():
                stream.close()
        return any(not stream.closed() for stream in self._streams)

    async def _refuse(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Say in our way what Tornado would say to a message that is malformed; it closes the connection then."""
        request_id = new_request_id()
        await self._app.settings["resources"].counter.count()
        log.info("request", request_id=request_id, method=None, route="malformed", status=400, ms=None, user_id=None)
        error = BadRequest(
            "The message is not HTTP/1.1 as RFC 9112 has it, has no valid Host, or has more than "
            f"{QUERY_ARGUMENTS} query arguments.")
        body = json.dumps(error.problem(request_id)).encode()
        await write(
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
            b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
            b"X-Request-ID: %s\r\nContent-Length: %d\r\n\r\n%s" % (request_id.encode(), len(body), body))


async def serve(settings: Settings, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """Serve on bound sockets until SIGTERM, then finish what is under way; `ready` is called once it listens."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_resources(settings) as resources:
        app = make_app(settings, resources)
        server = Server(app)
        server.add_sockets(sockets)
        ready()
        await stop.wait()
        server.stop()
        await server.drain()
        await server.close_all_connections()


def run(settings: Settings, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """`serve` on an event loop of its own."""
    uvloop.run(serve(settings, sockets, ready))
