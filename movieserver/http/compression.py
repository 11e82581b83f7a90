"""gzip for those who ask for it; what takes long is done in threads, and not at all when many wait for them."""
from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

LEAST_BYTES = 1024
LEVEL = 4
GZIP_FORMAT = 31  # zlib's word for a gzip header and trailer
GZIP_BYTES = 16 * 1024  # what takes no longer than about half a millisecond
DIGEST_BYTES = 512 * 1024
THREADS = 2
MOST_WAITING = 8

T = TypeVar("T")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is welcome, and no less so than no coding at all (RFC 9110 section 12.5.3)."""
    weights = dict(map(_weighed, accept_encoding.lower().split(",")))
    weight = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return weight > 0 and weight >= weights.get("identity", 0.0)


def _weighed(member: str) -> tuple[str, float]:
    coding, _, parameter = member.partition(";")
    name, _, value = parameter.partition("=")
    try:
        return coding.strip(), float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return coding.strip(), 0.0


class Compressor:
    """Compresses and digests the bodies of answers."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "compressor")
        self._waiting = 0

    def takes(self, accept_encoding: str, size: int) -> bool:
        """Whether a body of `size` bytes is to be gzipped for somebody who accepts that."""
        if size < LEAST_BYTES or size > GZIP_BYTES and self._waiting >= MOST_WAITING:
            return False
        return accepts_gzip(accept_encoding)

    async def gzip(self, body: bytes) -> bytes:
        """The body in gzip format, the same for the same body."""
        return await self._run(lambda: zlib.compress(body, LEVEL, GZIP_FORMAT), len(body) > GZIP_BYTES)

    async def digest(self, body: bytes) -> str:
        """128 bits that tell this body from every other."""
        return await self._run(
            lambda: hashlib.blake2b(body, digest_size=16).hexdigest(), len(body) > DIGEST_BYTES)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    async def _run(self, work: Callable[[], T], long: bool) -> T:
        if not long:
            return work()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
