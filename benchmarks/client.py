"""An HTTP/1.1 client on keep-alive connections: it sends a list of requests once, or is the load generator without wrk.

python -m benchmarks.client FOLDER PORT CONNECTIONS SECONDS: the requests of a folder in turn, for so long; the last
line of what it prints is what wrk.lua prints too.
"""
from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count, cycle
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.messages import Request, read

ASK_SECONDS = 120
Source = Iterator[tuple[Request, bytes]]


class BenchmarkError(Exception):
    """A measurement is invalid; the message says why."""


class Response:
    """A response, its request, and the seconds that it took."""

    def __init__(self, request: Request, status: int, body: bytes, seconds: float) -> None:
        self.request, self.status, self.body, self.seconds = request, status, body, seconds

    @property
    def fault(self) -> str | None:
        """What is wrong with it, or None."""
        if self.status != self.request.status:
            return "status"
        return None if self.request.min_bytes <= len(self.body) <= self.request.max_bytes else "length"


class Connection(asyncio.Protocol):
    """Sends the next request of a shared source as soon as the response is complete, until the source ends."""

    def __init__(self, source: Source, take: Callable[[Response], None]) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._source = source
        self._take = take
        self._received: list[bytes] = []
        self._missing: int | None = None  # bytes of the body; None until the head is complete

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received.append(data)
        if self._missing is None:
            self._read_head()
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_exception(BenchmarkError(f"{self._request.method} {self._request.path}: disconnected"))

    def _send(self) -> None:
        try:
            self._request, message = next(self._source)
        except StopIteration:
            self.closed.set_result(None)
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(message)

    def _read_head(self) -> None:
        head, blank, body = b"".join(self._received).partition(b"\r\n\r\n")
        if blank:
            length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            self._status = int(head[9:12])
            self._missing = int(length or 0) - len(body)
            self._received = [body]

    def _finish(self) -> None:
        body, self._received, self._missing = b"".join(self._received), [], None
        self._take(Response(self._request, self._status, body, time.perf_counter() - self._began))
        self._send()


async def exchange(port: int, connections: int, source: Source, take: Callable[[Response], None]) -> None:
    """Send the requests of `source`, and wait for all responses."""
    connect = asyncio.get_running_loop().create_connection
    opened = [(await connect(lambda: Connection(source, take), "127.0.0.1", port))[1] for _ in range(connections)]
    await asyncio.gather(*(connection.closed for connection in opened))


def ask(port: int, requests: Sequence[Request], connections: int = 8) -> list[bytes]:
    """Send each request once; the bodies in the order of the requests; BenchmarkError for a wrong response."""
    bodies: dict[Request, bytes] = {}
    faults: list[str] = []

    def take(response: Response) -> None:
        if response.fault:
            sent, text = response.request, response.body[:500].decode("utf-8", "replace")
            faults.append(f"{sent.method} {sent.path}: {response.status} {text}")
        bodies[response.request] = response.body

    source = iter([(request, request.message(number)) for number, request in enumerate(requests)])
    everything = exchange(port, min(connections, len(requests)), source, take)
    uvloop.run(asyncio.wait_for(everything, ASK_SECONDS))
    if faults:
        raise BenchmarkError(faults[0])
    return [bodies[request] for request in requests]


async def load(requests: Sequence[Request], port: int, connections: int, seconds: float) -> dict[str, Any]:
    """The requests in a loop, for `seconds`."""
    took: list[float] = []
    faults = Counter({"status": 0, "length": 0})
    began = time.perf_counter()

    def take(response: Response) -> None:
        took.append(1000 * response.seconds)
        if response.fault:
            faults[response.fault] += 1

    def source() -> Source:
        for number, request in zip(count(), cycle(requests)):
            if time.perf_counter() >= began + seconds:
                return
            yield request, request.message(number)

    await exchange(port, connections, source(), take)
    ended = time.perf_counter() - began
    took.sort()
    return {"responses": len(took), "seconds": ended, "p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100],
            "faults": faults}


if __name__ == "__main__":
    folder, port, connections, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(load(read(Path(folder)), int(port), int(connections), float(seconds)))))
