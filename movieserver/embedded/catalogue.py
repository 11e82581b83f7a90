"""A demo movie catalogue that responds like the third party, and fails on demand.

GET /movies/?page=N&query=words   {"count", "next", "previous", "results"}, 10 a page, basic authentication
PUT /faults/                      {"errors": 0.3, "hangs": 0.1, "halves": 0.1}: the shares of calls that get a 500,
                                  no response, or half a response
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
from urllib.parse import urlencode

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from movieserver.embedded.films import search

PAGE = 10
PATH = "/movies/"
SEARCH = "?query={query}"


@dataclass
class Faults:
    """Shares of calls that fail in each way, from 0 to 1."""

    errors: float = 0.0
    hangs: float = 0.0
    halves: float = 0.0

    def draw(self) -> str | None:
        """The fault of the next call, or None."""
        shares = asdict(self)
        return random.choices([*shares, None], [*shares.values(), max(0.0, 1.0 - sum(shares.values()))])[0]


class CatalogueHandler(RequestHandler):
    """Requires the user name and the password."""

    def prepare(self) -> None:
        sent = self.request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(sent, self.settings["authorization"]):
            self.set_header("WWW-Authenticate", 'Basic realm="catalogue"')
            self.set_status(401)
            self.finish({"detail": "Authentication credentials were not provided."})


class MoviesHandler(CatalogueHandler):
    """GET /movies/"""

    async def get(self) -> None:
        fault = self.settings["faults"].draw()
        if fault == "errors":
            raise HTTPError(500)
        if fault == "hangs":
            await self.settings["never_set"].wait()  # a hang
        text = json.dumps(self._page())
        if fault == "halves":
            await self._half(text.encode())
        else:
            self.set_header("Content-Type", "application/json")
            self.finish(text)

    def _page(self) -> dict[str, object]:
        words = self.get_query_argument("query", "")
        films = search(words)
        number = self.get_query_argument("page", "1")
        page = int(number) if number.isdecimal() and len(number) < 19 else 0
        first = (page - 1) * PAGE
        if not 0 <= first < max(len(films), 1):
            raise HTTPError(404)
        return {
            "count": len(films),
            "next": self._link(page + 1, words) if first + PAGE < len(films) else None,
            "previous": self._link(page - 1, words) if page > 1 else None,
            "results": films[first:first + PAGE],
        }

    def _link(self, page: int, words: str) -> str:
        parameters = {"page": str(page)} | ({"query": words} if words else {})
        return f"http://{self.request.host}{PATH}?{urlencode(parameters)}"

    async def _half(self, body: bytes) -> None:
        stream = self.detach()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.write(head.encode() + body[:len(body) // 2])
        stream.close()


class FaultsHandler(CatalogueHandler):
    """GET and PUT /faults/"""

    def get(self) -> None:
        self.finish(asdict(self.settings["faults"]))

    def put(self) -> None:
        self.settings["faults"] = Faults(**json.loads(self.request.body))
        self.get()


def make_catalogue(username: str, password: str, faults: Faults | None = None) -> Application:
    """A stand-in for the third party, as a Tornado application; `faults` are simulated."""
    credentials = base64.b64encode(f"{username}:{password}".encode())
    return Application(
        [(PATH, MoviesHandler), ("/faults/", FaultsHandler)],
        authorization=b"Basic " + credentials, faults=faults or Faults(),
        never_set=asyncio.Event(), log_function=lambda handler: None,
    )


def listen(port: int = 0) -> tuple[socket.socket, str]:
    """A listening socket on 127.0.0.1, and the MOVIE_API_URL of its list."""
    listening = bind_sockets(port, "127.0.0.1")[0]
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}{PATH}{SEARCH}"


def serve(
    listening: socket.socket, username: str, password: str,
    ready: Callable[[], None], faults: Faults | None = None,
) -> None:
    """Serve until SIGTERM."""

    async def until_stopped() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        HTTPServer(make_catalogue(username, password, faults)).add_socket(listening)
        ready()
        await stop.wait()

    asyncio.run(until_stopped())
