"""The yardstick: Tornado handlers on uvloop that answer, without any work, the bytes that the server answers.

They do what the server needs of Tornado and no more: no ETag is made, since the server sends none, and no access log
is written. Standard input says what to answer: [method, path with query, status, body] in turn.
"""
from __future__ import annotations

import asyncio
import json
import re
import signal
import sys

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

MOST_BYTES = 64 * 1024 * 1024


class Bare(RequestHandler):
    """Answers what is said for a method and an address, its query included."""

    def initialize(self, answers: dict[tuple[str, str], tuple[int, bytes]]) -> None:
        self._answers = answers

    def get(self) -> None:
        status, body = self._answers[self.request.method or "", self.request.uri or ""]
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(body)

    post = get

    def compute_etag(self) -> None:
        return None


def make_bare(said: list[tuple[str, str, int, str]]) -> Application:
    """The application."""
    answers = {(method, uri): (status, body.encode()) for method, uri, status, body in said}
    paths = {uri.partition("?")[0] for _, uri in answers}
    return Application(
        [(re.escape(path), Bare, {"answers": answers}) for path in sorted(paths)], log_function=lambda handler: None)


async def serve(answers: list[tuple[str, str, int, str]]) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    listening = bind_sockets(0, "127.0.0.1")
    HTTPServer(make_bare(answers), max_body_size=MOST_BYTES).add_sockets(listening)
    print(f"listens on http://127.0.0.1:{listening[0].getsockname()[1]}", flush=True)
    await stop.wait()


if __name__ == "__main__":
    uvloop.run(serve(json.load(sys.stdin)))
