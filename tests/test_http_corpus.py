"""Sends the corpus of requests to this server, and to unmodified Tornado where both should agree."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.platform.asyncio import AsyncIOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from tests.client import Api
from tests.http_corpus import GROUPS, LAST, Case
from tests.wire import Response, connect, port_of, responses


class AnyHandler(RequestHandler):
    """What unmodified Tornado responds with."""

    def get(self) -> None:
        self.write("ok")

    head = post = get


@pytest.fixture
def stock(io_loop: AsyncIOLoop) -> Iterator[int]:
    """The port of an unmodified Tornado server."""
    listening, port = bind_unused_port()
    server = HTTPServer(Application([(".*", AnyHandler)], log_function=lambda handler: None))

    async def listen() -> None:
        server.add_sockets([listening])

    async def stop() -> None:
        server.stop()
        await server.close_all_connections()

    io_loop.run_sync(listen)
    yield port
    io_loop.run_sync(stop)


async def received(port: int, case: Case) -> list[Response]:
    """The responses to a case."""
    streams = await connect(port)
    streams[1].write(case.sent if case.half_close else case.sent + LAST)
    if case.half_close:
        streams[1].write_eof()
    return await responses(streams)


def test_the_corpus_is_large() -> None:
    cases = [case for group in GROUPS.values() for case in group]
    assert len({case.sent for case in cases}) >= 150
    assert sum(case.tornado for case in cases) >= 100


@pytest.mark.parametrize("group", GROUPS)
async def test_each_request_is_accepted_or_refused(api: Api, group: str) -> None:
    wrong: dict[bytes, Any] = {}
    for case in GROUPS[group]:
        found = await received(port_of(api), case)
        if tuple(response.status for response in found) != case.statuses:
            wrong[case.sent[:200]] = (case.rule, found)
        assert all("Date" in response.headers for response in found)
    assert not wrong


@pytest.mark.parametrize("group", GROUPS)
async def test_stock_tornado_agrees(stock: int, group: str) -> None:
    wrong: dict[bytes, Any] = {}
    for case in GROUPS[group]:
        if case.tornado and [one.status for one in await received(stock, case)] != list(case.statuses):
            wrong[case.sent[:200]] = case.rule
    assert not wrong
