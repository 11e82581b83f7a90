"""A stand-in for the third party: a real server on a free port whose behaviour a test sets."""
from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

USERNAME = "third-party-user"
PASSWORD = "third-party-password"
SECRETS = (USERNAME, PASSWORD, base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode())

Behaviour = Callable[["ThirdPartyHandler"], Awaitable[None]]


class ThirdParty:
    """The server; `behaviour` responds to each request, `calls` are the query parameters of each."""

    def __init__(self) -> None:
        listening, port = bind_unused_port()
        self.url = f"http://127.0.0.1:{port}/api/v1/list/"
        self.calls: list[dict[str, str]] = []
        self.connections: set[object] = set()
        self.authorization: str | None = None
        self.behaviour: Behaviour = page({"count": 0, "next": None, "previous": None, "results": []})
        self.over = asyncio.Event()
        self._app = Application([(".*", ThirdPartyHandler, {"party": self})], log_function=_silent)
        self._servers = [HTTPServer(self._app)]
        self._servers[0].add_socket(listening)

    def serve_tls(self, context: ssl.SSLContext) -> str:
        """Serve over TLS too; returns the address."""
        listening, port = bind_unused_port()
        self._servers.append(HTTPServer(self._app, ssl_options=context))
        self._servers[-1].add_socket(listening)
        return f"https://localhost:{port}/api/v1/list/"

    async def close(self) -> None:
        """Close the ports and the connections, and end hanging requests."""
        self.over.set()
        for server in self._servers:
            server.stop()
            await server.close_all_connections()


class ThirdPartyHandler(RequestHandler):
    """Handles every request with the behaviour."""

    def initialize(self, party: ThirdParty) -> None:
        self.party = party

    async def get(self) -> None:
        self.party.calls.append({name: self.get_query_argument(name) for name in self.request.query_arguments})
        self.party.authorization = self.request.headers.get("Authorization")
        connection: Any = self.request.connection
        self.party.connections.add(connection.context.address)
        await self.party.behaviour(self)


def _silent(handler: RequestHandler) -> None:
    pass


def page(body: Any, status: int = 200, **headers: str) -> Behaviour:
    """Respond with this JSON (or these bytes)."""

    async def behave(handler: ThirdPartyHandler) -> None:
        handler.set_status(status)
        for name, value in headers.items():
            handler.set_header(name.replace("_", "-"), value)
        handler.finish((body if isinstance(body, bytes) else json.dumps(body).encode()) or None)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Each request gets the next behaviour; the last one stays."""
    left = list(behaviours)

    async def behave(handler: ThirdPartyHandler) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(handler)

    return behave


async def hang(handler: ThirdPartyHandler) -> None:
    """Do not respond until the test ends."""
    await handler.party.over.wait()


def raw(sent: bytes) -> Behaviour:
    """Send these bytes and close the connection."""

    async def behave(handler: ThirdPartyHandler) -> None:
        stream = handler.detach()
        await stream.write(sent)
        stream.close()

    return behave


break_off = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"count\": 1")  # in the middle of the body
