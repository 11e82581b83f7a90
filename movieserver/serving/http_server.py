"""The HTTP server under the application: how many connections there are, what is not HTTP, and an orderly end."""
from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Coroutine, Sequence
from http import HTTPStatus
from typing import Any

from tornado.httputil import HTTPMessageDelegate

from movieserver.observability import logs, metrics
from movieserver.errors import ApiError, BadRequest, Overloaded
from movieserver.http.headers import new_request_id
from movieserver.serving.connection import Connection
from movieserver.serving.request import QUERY_ARGUMENTS, MovieServer
from movieserver.observability.logs import Outage

DRAIN_SECONDS = 6.0
LAST_CALL_SECONDS = 1.5
QUIET_SECONDS = 0.05
WATCH_SECONDS = 0.5
ACCEPT_AGAIN_SECONDS = 0.5
MOST_CONNECTIONS = 1000
NO_HTTP = (
    "The message is not HTTP/1.1 as RFC 9112 has it, has no valid Host, or has more than "
    f"{QUERY_ARGUMENTS} query arguments."
)


class Server:
    """The HTTP server of the application. What is not HTTP is counted and answered like any other error.

    It has MOST_CONNECTIONS; for one more, that is closed on which nothing whole has arrived for the longest time.
    """

    def __init__(self, app: MovieServer) -> None:
        self.connections: set[Connection] = set()
        self._app = app
        self._turned_away: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[socket.socket] = []
        self._outage = Outage("connections")

    def add_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on bound sockets that listen."""
        for listening in sockets:
            listening.setblocking(False)
            self._sockets.append(listening)
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def stop_listening(self) -> None:
        """Close the port, with a place for everybody who has come to it already."""
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            while self._accept(listening):
                pass
            listening.close()
        self._sockets.clear()

    async def drain(self) -> None:
        """Wait until nothing is under way any more and everything is sent, for DRAIN_SECONDS at most.

        For LAST_CALL_SECONDS connections on which nothing is under way stay: what comes on them is answered, with
        the word that they close then. So nobody finds one closed in the moment in which they use it.
        """
        self._app.settings["draining"] = True
        began = time.monotonic()
        while self._busy and time.monotonic() < began + DRAIN_SECONDS:
            await asyncio.sleep(QUIET_SECONDS)
            if time.monotonic() > began + LAST_CALL_SECONDS:
                for connection in list(self.connections):
                    if connection.idle:
                        connection.transport.close()

    @property
    def _busy(self) -> bool:
        """Whether anybody is here, or something is done for somebody who has gone."""
        return bool(self.connections or self._tasks or self._app.active)

    async def watch(self) -> None:
        """Close, for ever, the connections whose time is over."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = time.monotonic()
            for connection in [*self.connections, *self._turned_away]:
                if connection.overdue(now):
                    connection.transport.abort()

    async def close(self) -> None:
        """Close what is open, whatever is under way on it."""
        while self._tasks or self.connections or self._turned_away:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for connection in [*self.connections, *self._turned_away]:
                connection.transport.abort()
            await asyncio.sleep(0)

    def made(self, connection: Connection) -> None:
        """Give it a place, or turn it away."""
        if len(self.connections) < MOST_CONNECTIONS:
            self._outage.record_success()
        elif not self._close_oldest():
            self._turned_away.add(connection)
            self._refuse(connection, Overloaded("The server has no free connection. Try again shortly."))
            return
        self.connections.add(connection)

    def lost(self, connection: Connection) -> None:
        """Its place is free."""
        self.connections.discard(connection)
        self._turned_away.discard(connection)

    def start_request(self, connection: Connection) -> HTTPMessageDelegate:
        """Let the application find who answers."""
        return self._app.start_request(connection, connection)

    def malformed(self, connection: Connection) -> None:
        """Tell the caller."""
        self._refuse(connection, BadRequest(NO_HTTP))

    def _accept(self, listening: socket.socket) -> bool:
        """Take one who has come, and leave the others for the next turn, or for another process."""
        try:
            arrived, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return False
        except OSError as error:  # no file is left for it
            self._outage.record_failure(error)
            self._pause(listening)
            return False
        self._spawn(self._welcome(arrived))
        return True

    def _pause(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(ACCEPT_AGAIN_SECONDS, lambda: listening in self._sockets and loop.add_reader(
            listening, self._accept, listening))

    async def _welcome(self, arrived: socket.socket) -> None:
        arrived.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: Connection(self), arrived)
        except OSError:  # gone already
            arrived.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _close_oldest(self) -> bool:
        """Close the connection that has waited longest for a whole request or for its caller to read, if one does."""
        others = [connection for connection in self.connections if not connection.answering]
        oldest = min(others, key=lambda connection: connection.since, default=None)
        if oldest is not None:
            self.connections.discard(oldest)
            oldest.transport.abort()
        self._outage.record_failure(
            f"all {MOST_CONNECTIONS} are in use; the longest idle one is closed for each that comes")
        return oldest is not None

    def _refuse(self, connection: Connection, error: ApiError) -> None:
        """Answer a message that never reaches the application."""
        connection.ignore()
        self._spawn(self._count_and_refuse(connection, error))

    async def _count_and_refuse(self, connection: Connection, error: ApiError) -> None:
        request_id = new_request_id()
        await self._app.resources.counter.count()
        body = json.dumps(error.problem(request_id)).encode()
        metrics.answered("malformed", None, error.status)
        logs.request(logs.Request(
            request_id, None, "malformed", error.status, None, None, len(body), connection.context.remote_ip))
        given = "".join(f"{name}: {value}\r\n" for name, value in error.headers.items())
        connection.refuse(
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nContent-Type: application/problem+json\r\n"
            "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
            f"Connection: close\r\nX-Request-ID: {request_id}\r\n{given}Content-Length: {len(body)}\r\n\r\n".encode()
            + body)
