"""Raw HTTP/1.1 connections, for tests of what no client library would send."""
from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import NamedTuple

import pytest
from tornado.httputil import HTTPHeaders

from movieserver.handlers.base import Handler
from tests.client import Api

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Response(NamedTuple):
    """A response as it was sent."""

    status: int
    headers: HTTPHeaders
    body: bytes


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    while not condition():
        await asyncio.sleep(0.01)


def port_of(api: Api) -> int:
    return int(api.base_url.rpartition(":")[2])


async def connect(port: int, *parts: bytes) -> Streams:
    """A connection on which something was sent; its client buffers little of what it does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=client)
    for part in parts:
        writer.write(part)
        await writer.drain()
    return reader, writer


def head(api: Api, path: str, method: str = "GET", **headers: object) -> bytes:
    """The head of a request, signed as `api` is."""
    fields = {"Host": "x", "Content-Type": "application/json", "Authorization": f"Bearer {api.token}", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def responses(streams: Streams, *, to_head: bool = False) -> list[Response]:
    """All responses until the server closes; responses to HEAD have no body."""
    reader, writer = streams
    text, found = await reader.read(), []
    writer.close()
    while text:
        before, _, text = text.partition(b"\r\n\r\n")
        line, _, fields = before.decode("latin1").partition("\r\n")
        headers = HTTPHeaders.parse(fields)
        length = 0 if to_head else int(headers.get("Content-Length", 0))
        found.append(Response(int(line.split()[1]), headers, text[:length]))
        text = text[length:]
    return found


async def exchange(api: Api, *parts: bytes, half_close: bool = False) -> list[Response]:
    """The responses to what is sent on one connection."""
    streams = await connect(port_of(api), *parts)
    if half_close:
        streams[1].write_eof()
    return await responses(streams)


async def statuses(api: Api, *parts: bytes, half_close: bool = False) -> list[int]:
    """The statuses of `exchange`."""
    return [response.status for response in await exchange(api, *parts, half_close=half_close)]


def reset(writer: asyncio.StreamWriter) -> None:
    """Go away in a way that the server notices at once."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def crowd(api: Api, count: int, *parts: bytes) -> AsyncIterator[list[Streams]]:
    """Connections, one after the other, on each of which the same was sent."""
    connections = []
    try:
        for _ in range(count):
            connections.append(await connect(port_of(api), *parts))
        yield connections
    finally:
        for _, writer in connections:
            writer.close()


class Gate:
    """Makes a handler's verb wait until the gate is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, handler: type[Handler], verb: str = "get") -> None:
        self._event = asyncio.Event()
        original = getattr(handler, verb)

        @wraps(original)
        async def waiting(handling: Handler, *path: str) -> None:
            await self._event.wait()
            await original(handling, *path)

        monkeypatch.setattr(handler, verb, waiting)

    def open(self) -> None:
        """Let all requests through from now on."""
        self._event.set()
