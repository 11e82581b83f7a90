"""The baseline: a Tornado handler on uvloop that sends, without any work, the bytes that the server would send.

It does what the server needs of Tornado and no more: no ETag is computed, and no access log is written. Standard input
has the responses: [method, path with query, token, status, body] in turn; the token "" matches all users.
"""
from __future__ import annotations

import asyncio
import json
import signal
import sys

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

MAX_BYTES = 64 * 1024 * 1024
Responses = dict[tuple[str, str, str], tuple[int, bytes]]


class Bare(RequestHandler):
    """Sends the response for a method, an address with its query, and a token."""

    def initialize(self, responses: Responses) -> None:
        self._responses = responses

    def get(self) -> None:
        method, uri = self.request.method or "", self.request.uri or ""
        token = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        status, body = self._responses.get((method, uri, token)) or self._responses[method, uri, ""]
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(body)

    post = get

    def compute_etag(self) -> None:
        return None


def make_bare(lines: list[tuple[str, str, str, int, str]]) -> Application:
    """The application."""
    responses: Responses = {(method, uri, token): (status, body.encode()) for method, uri, token, status, body in lines}
    return Application([(".*", Bare, {"responses": responses})], log_function=lambda handler: None)


async def serve(lines: list[tuple[str, str, str, int, str]]) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    listening = bind_sockets(0, "127.0.0.1")
    HTTPServer(make_bare(lines), max_body_size=MAX_BYTES).add_sockets(listening)
    print(f"listens on http://127.0.0.1:{listening[0].getsockname()[1]}", flush=True)
    await stop.wait()


if __name__ == "__main__":
    uvloop.run(serve(json.load(sys.stdin)))
