"""gzip for clients that accept it; large bodies are compressed in threads, and not at all while many are waiting."""
from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import TypeVar

from movieserver.http.headers import weights
from movieserver.http.threads import Threads

MIN_BYTES = 1024
LEVEL = 4
GZIP_FORMAT = 31  # zlib's number for a gzip header and trailer
INLINE_GZIP_BYTES = 16 * 1024  # takes up to half a millisecond
INLINE_DIGEST_BYTES = 512 * 1024
THREADS = 2
MAX_WAITING = 8

T = TypeVar("T")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is acceptable, and preferred to no coding or equal to it (RFC 9110 section 12.5.3)."""
    codings = weights(accept_encoding)
    weight = codings.get("gzip", codings.get("x-gzip", codings.get("*", 0.0)))
    return weight > 0 and weight >= codings.get("identity", 0.0)


def accepts_codings(accept_encoding: str) -> bool:
    """Whether any coding is acceptable beside identity."""
    return not accept_encoding or any(
        weight > 0 for coding, weight in weights(accept_encoding).items() if coding != "identity")


class Compressor(Threads):
    """Compresses and hashes response bodies."""

    def __init__(self) -> None:
        super().__init__(THREADS, "compressor")

    def should_compress(self, accept_encoding: str, size: int) -> bool:
        """Whether to gzip a body of `size` bytes for a client with this Accept-Encoding."""
        if size < MIN_BYTES or size > INLINE_GZIP_BYTES and self.waiting >= MAX_WAITING:
            return False
        return accepts_gzip(accept_encoding)

    async def gzip(self, body: bytes) -> bytes:
        """The body in gzip format; equal bodies have equal results."""
        return await self._run(lambda: zlib.compress(body, LEVEL, GZIP_FORMAT), len(body) > INLINE_GZIP_BYTES)

    async def digest(self, body: bytes) -> str:
        """A hash of 128 bits that identifies the body."""
        return await self._run(
            lambda: hashlib.blake2b(body, digest_size=16).hexdigest(), len(body) > INLINE_DIGEST_BYTES)

    async def _run(self, work: Callable[[], T], in_thread: bool) -> T:
        return await self.run_in_thread(work) if in_thread else work()
