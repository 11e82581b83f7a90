"""A TCP proxy between the server and its dependencies that fails on demand."""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import unquote, urlsplit


class Proxy:
    """Forwards bytes: with a delay, in small parts, not at all, or only in one direction."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.delay = 0.0
        self.black_hole = False
        self.lose_replies = False
        self.drip = False
        self.refuse = False
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection and its counterpart."""
        self._writers.add(writer)
        if not self.refuse:
            with contextlib.suppress(OSError):
                other_reader, other_writer = await self._connect()
                self._writers.add(other_writer)
                await asyncio.gather(
                    self._pass(reader, other_writer, reply=False), self._pass(other_reader, writer, reply=True))
        writer.close()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._target)
        if parts.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(parts.path))
        return await asyncio.open_connection(parts.hostname, parts.port)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: bool) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # uvloop raises the latter for a closed connection
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay)
                while self.black_hole:
                    await asyncio.sleep(0.01)
                if reply and self.lose_replies:
                    self.cut()
                    return
                for place in range(len(data)) if self.drip and reply else ():
                    writer.write(data[place:place + 1])
                    await asyncio.sleep(0.05)
                if not (self.drip and reply):
                    writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def proxy(target: str) -> AsyncIterator[Proxy]:
    """A Proxy in front of `target`, on a port of 127.0.0.1."""
    between = Proxy(target)
    server = await asyncio.start_server(between.accept, "127.0.0.1", 0)
    between.port = server.sockets[0].getsockname()[1]
    try:
        yield between
    finally:
        server.close()
        between.black_hole = False
        between.cut()
        await asyncio.sleep(0.05)
