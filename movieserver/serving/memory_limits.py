"""Bounds on what a process holds in memory for its clients: large request bodies and large unsent responses.

Small ones (up to LARGE_BYTES) are bounded by the number of connections.
"""
from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol

from movieserver.errors import Overloaded

MIB = 1024 * 1024
LARGE_BYTES = 64 * 1024
REQUEST_BYTES, REQUEST_BYTES_PER_USER = 64 * MIB, 16 * MIB
RESPONSE_BYTES, RESPONSE_BYTES_PER_USER = 128 * MIB, 48 * MIB


class RequestMemory:
    """Bytes held for large request bodies, in all and per user; clients without a token count as one user."""

    def __init__(self) -> None:
        self.total = 0
        self._held: Counter[str | None] = Counter()

    def take(self, user_id: str | None, size: int) -> None:
        """Hold `size` more bytes for a user; Overloaded if that exceeds a limit."""
        if self.total + size > REQUEST_BYTES or self._held[user_id] + size > REQUEST_BYTES_PER_USER:
            raise Overloaded(
                f"Too many large request bodies are being received: at most {REQUEST_BYTES_PER_USER} bytes per user "
                f"and {REQUEST_BYTES} in all at a time. Try again shortly.")
        self._held[user_id] += size
        self.total += size

    def release(self, user_id: str | None, size: int) -> None:
        """Hold `size` fewer bytes for a user."""
        self.total -= size
        self._held[user_id] -= size
        if not self._held[user_id]:
            del self._held[user_id]


class Writer(Protocol):
    """A connection that responses are written to."""

    def writing(self) -> bool:
        """Whether it still has bytes to send."""


class _Response(NamedTuple):
    connection: Writer
    user_id: str | None
    size: int


class ResponseMemory:
    """Bytes of large responses, each held until its connection has sent it or is closed."""

    def __init__(self) -> None:
        self._unsent: list[_Response] = []

    def take(self, connection: Writer, user_id: str | None, size: int) -> None:
        """Hold a response of `size` bytes, written right afterwards; Overloaded if that exceeds a limit."""
        self._unsent = [response for response in self._unsent if response.connection.writing()]
        total = sum(response.size for response in self._unsent)
        owned = sum(response.size for response in self._unsent if response.user_id == user_id)
        if owned + size > RESPONSE_BYTES_PER_USER or total + size > RESPONSE_BYTES:
            raise Overloaded(
                f"Too many large responses have not been read yet: at most {RESPONSE_BYTES_PER_USER} bytes per user "
                f"and {RESPONSE_BYTES} in all at a time. Try again shortly.")
        self._unsent.append(_Response(connection, user_id, size))
