"""A load client for machines without wrk, in a process of its own; standard input says what to ask, as load.py does."""
from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from typing import Any

import uvloop


class Asking(asyncio.Protocol):
    """One connection: the next request as soon as an answer is whole. Takes no more of it than status and length."""

    def __init__(self, message: bytes, status: bytes, end: float) -> None:
        self.took: list[float] = []
        self.errors = {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}
        self.over = asyncio.get_running_loop().create_future()
        self._message = message
        self._head = b"HTTP/1.1 " + status
        self._end = end
        self._held = b""
        self._left = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._held += data
            if not self._begin_answer():
                return
        else:
            self._left -= len(data)
        if not self._left:
            self._count()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.errors["read"] += 1
            self.over.set_result(None)

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._message)

    def _begin_answer(self) -> bool:
        """Whether the head is there; then it is known how much of the answer is missing."""
        head, blank, body = self._held.partition(b"\r\n\r\n")
        if not blank:
            return False
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        self._right = head.startswith(self._head)
        self._left = int(length or 0) - len(body)
        self._held = b""
        return True

    def _count(self) -> None:
        now = time.perf_counter()
        if self._right:
            self.took.append(now - self._began)
        else:
            self.errors["status"] += 1
        if now < self._end:
            self._ask()
        else:
            self.over.set_result(None)
            self._transport.close()


def message(request: dict[str, Any]) -> bytes:
    """The bytes of a request."""
    body = base64.b64decode(request["body"])
    headers = {"Host": "127.0.0.1", **request["headers"], **({"Content-Length": str(len(body))} if body else {})}
    lines = [f"{request['method']} {request['path']} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def ask(port: int, connections: int, seconds: float, request: dict[str, Any]) -> dict[str, Any]:
    """What came back; a request that is under way at the end is waited for."""
    began = time.perf_counter()
    sent, status = message(request), str(request["status"]).encode()
    open_one = asyncio.get_running_loop().create_connection
    pairs = [await open_one(lambda: Asking(sent, status, began + seconds), "127.0.0.1", port)
             for _ in range(connections)]
    asking = [pair[1] for pair in pairs]
    await asyncio.gather(*(each.over for each in asking))
    took = sorted(1000 * duration for each in asking for duration in each.took) or [0.0]
    return {
        "answers": sum(len(each.took) for each in asking), "seconds": time.perf_counter() - began,
        "middle": took[len(took) // 2], "late": took[len(took) * 99 // 100],
        "errors": {name: sum(each.errors[name] for each in asking) for name in asking[0].errors},
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(ask(**json.load(sys.stdin)))))
