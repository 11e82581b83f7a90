"""The HTTP server: accepts connections, bounds their number, refuses what is not HTTP, and drains before it stops."""
from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Coroutine, Sequence
from http import HTTPStatus
from typing import Any

from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine

from movieserver.errors import ApiError, Overloaded
from movieserver.http.headers import new_request_id
from movieserver.observability import logs, metrics
from movieserver.observability.logs import Outage
from movieserver.serving.connection import Connection
from movieserver.serving.request import IncomingRequest, MovieServer
from movieserver.serving.response import response_head

DRAIN_SECONDS = 6.0
IDLE_GRACE_SECONDS = 1.5
DRAIN_POLL_SECONDS = 0.05
WATCH_SECONDS = 0.5
ACCEPT_AGAIN_SECONDS = 0.5
MAX_CONNECTIONS = 1000


class Server:
    """The HTTP server of the application, with at most MAX_CONNECTIONS.

    Beyond that, a new connection replaces the one that has waited longest for a complete request, or is refused.
    """

    def __init__(self, app: MovieServer) -> None:
        self.connections: set[Connection] = set()
        self.memory = app.memory
        self._app = app
        self._refused: set[Connection] = set()  # those beyond MAX_CONNECTIONS
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
        """Close the port, after accepting the connections in its queue."""
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            while self._accept(listening):
                pass
            listening.close()
        self._sockets.clear()

    async def drain(self) -> None:
        """Wait until every request is handled and every response sent, for at most DRAIN_SECONDS.

        Requests that wait for a change get a response at once. Idle connections stay open for IDLE_GRACE_SECONDS: a
        request that arrives meanwhile gets its response, with `Connection: close`. So a client does not lose a request
        to a connection that is just being closed.
        """
        self._app.settings["draining"] = True
        self._app.resources.changes.stop()
        began = time.monotonic()
        while (self.connections or self._tasks or self._app.active) and time.monotonic() < began + DRAIN_SECONDS:
            await asyncio.sleep(DRAIN_POLL_SECONDS)
            if time.monotonic() > began + IDLE_GRACE_SECONDS:
                for connection in list(self.connections):
                    if connection.idle:
                        connection.transport.close()

    async def watch(self) -> None:
        """Enforce the time limits of the connections, forever."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = time.monotonic()
            for connection in [*self.connections, *self._refused]:
                connection.check_timeouts(now)

    async def close(self) -> None:
        """Abort every connection."""
        while self._tasks or self.connections or self._refused:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for connection in [*self.connections, *self._refused]:
                connection.transport.abort()
            await asyncio.sleep(0)

    def connected(self, connection: Connection) -> None:
        """Add the connection, or refuse it."""
        if len(self.connections) < MAX_CONNECTIONS:
            self._outage.record_success()
        elif not self._abort_longest_waiting():
            self._refused.add(connection)
            connection.refuse(Overloaded("The server has no free connection. Try again shortly."))
            return
        self.connections.add(connection)

    def disconnected(self, connection: Connection) -> None:
        """Remove the connection."""
        self.connections.discard(connection)
        self._refused.discard(connection)

    def start_request(
        self, connection: Connection, start: RequestStartLine, headers: HTTPHeaders
    ) -> IncomingRequest:
        """Let the application receive a request."""
        return IncomingRequest(self._app, connection, start, headers)

    def refuse(self, connection: Connection, error: ApiError) -> None:
        """Count and log input that is refused before it becomes a request, and respond with an error document."""
        self._spawn(self._refuse(connection, error))

    async def _refuse(self, connection: Connection, error: ApiError) -> None:
        request_id = new_request_id()
        await self._app.resources.counter.count()
        body = json.dumps(error.problem(request_id)).encode()
        metrics.count_request("malformed", None, error.status)
        logs.request(logs.Request(
            request_id, connection.writer.context.remote_ip, None, "malformed", error.status, None, None, len(body)))
        headers = HTTPHeaders(error.headers | {
            "Content-Type": "application/problem+json", "Content-Length": str(len(body)), "Connection": "close"})
        start = ResponseStartLine("", error.status, HTTPStatus(error.status).phrase)
        connection.send_last(response_head(start, request_id, headers) + body)

    def _accept(self, listening: socket.socket) -> bool:
        """Accept one connection; others are left to the next iteration or another process."""
        try:
            accepted, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return False
        except OSError as error:  # out of file descriptors
            self._outage.record_failure(error)
            self._pause_accepting(listening)
            return False
        self._spawn(self._connect(accepted))
        return True

    def _pause_accepting(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(ACCEPT_AGAIN_SECONDS, lambda: listening in self._sockets and loop.add_reader(
            listening, self._accept, listening))

    async def _connect(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: Connection(self), accepted)
        except OSError:  # closed already
            accepted.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _abort_longest_waiting(self) -> bool:
        """Abort the connection that has waited longest for a request or for its client to read, if there is one."""
        waiting = [connection for connection in self.connections if not connection.responding]
        longest = min(waiting, key=lambda connection: connection.waiting_since, default=None)
        if longest is not None:
            self.connections.discard(longest)
            longest.transport.abort()
        self._outage.record_failure(
            f"all {MAX_CONNECTIONS} are in use: each new one replaces the one that has waited longest")
        return longest is not None
