"""A demo movie catalogue with the API of the plain provider. It can be set to fail. Basic authentication.

GET /movies/?page=N     {"count", "next", "previous", "results"}, 10 movies a page
GET, PUT /faults/       {"errors": 0.3, "hangs": 0.1, "halves": 0.1}: the shares of requests that get a 500, no
                        response, and half a response
"""
from __future__ import annotations

import asyncio
import base64
import hmac
import json
import random
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from movieserver.embedded.films import listing

PAGE = 10
PATH = "/movies/"


@dataclass
class Faults:
    """How often a request fails in each way: shares from 0 to 1."""

    errors: float = 0.0
    hangs: float = 0.0
    halves: float = 0.0

    def draw(self) -> str | None:
        """The fault of the next request, chosen at random; None for most."""
        chance = random.random()
        for name, share in asdict(self).items():
            if chance < share:
                return name
            chance -= share
        return None


class CatalogueHandler(RequestHandler):
    """Requires basic authentication."""

    def prepare(self) -> None:
        sent = self.request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(sent, self.settings["authorization"]):
            self.set_header("WWW-Authenticate", 'Basic realm="catalogue"')
            self.set_status(401)
            self.finish({"detail": "Authentication credentials were not provided."})


class MoviesHandler(CatalogueHandler):
    """GET /movies/?page=N: one page of the films."""

    async def get(self) -> None:
        fault = self.settings["faults"].draw()
        if fault == "errors":
            raise HTTPError(500)
        if fault == "hangs":
            await self.settings["never"].wait()
        text = json.dumps(self._page())
        if fault == "halves":
            await self._send_half(text.encode())
        else:
            self.set_header("Content-Type", "application/json")
            self.finish(text)

    def _page(self) -> dict[str, object]:
        films = self.settings["films"]
        number = self.get_query_argument("page", "1")
        first = (int(number) - 1) * PAGE if number.isdecimal() and len(number) < 19 else -1
        if not 0 <= first < len(films):
            raise HTTPError(404)
        page = int(number)
        return {
            "count": len(films),
            "next": self._link(page + 1) if first + PAGE < len(films) else None,
            "previous": self._link(page - 1) if page > 1 else None,
            "results": films[first:first + PAGE],
        }

    def _link(self, page: int) -> str:
        return f"http://{self.request.host}{PATH}?page={page}"

    async def _send_half(self, body: bytes) -> None:
        stream = self.detach()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.write(head.encode() + body[:len(body) // 2])
        stream.close()


class FaultsHandler(CatalogueHandler):
    """GET and PUT /faults/: how often requests to /movies/ fail."""

    def get(self) -> None:
        self.finish(asdict(self.settings["faults"]))

    def put(self) -> None:
        self.settings["faults"] = Faults(**json.loads(self.request.body))
        self.get()


def make_catalogue(username: str, password: str, faults: Faults | None = None) -> Application:
    """The catalogue as a Tornado application."""
    credentials = base64.b64encode(f"{username}:{password}".encode())
    return Application(
        [(PATH, MoviesHandler), ("/faults/", FaultsHandler)],
        authorization=b"Basic " + credentials, films=listing(), faults=faults or Faults(),
        never=asyncio.Event(), log_function=lambda handler: None,
    )


def listen(port: int = 0) -> tuple[socket.socket, str]:
    """A listening socket on 127.0.0.1 (port 0: any free one) and the URL of the movie list on it."""
    listening = bind_sockets(port, "127.0.0.1")[0]
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}{PATH}"


def serve(
    listening: socket.socket, username: str, password: str,
    ready: Callable[[], None], faults: Faults | None = None,
) -> None:
    """Serve until SIGTERM; calls `ready` once it listens."""

    async def until_stopped() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        HTTPServer(make_catalogue(username, password, faults)).add_socket(listening)
        ready()
        await stop.wait()

    asyncio.run(until_stopped())
