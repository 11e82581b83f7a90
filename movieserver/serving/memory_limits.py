"""Bounds on what a process holds in memory for its clients: unparsed bytes, request bodies, responses not yet sent.

Requests up to SMALL_BYTES and responses up to LARGE_BYTES are not counted; the number of connections bounds them.
"""
from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from movieserver.errors import Overloaded

if TYPE_CHECKING:
    from movieserver.serving.response import ResponseWriter

MIB = 1024 * 1024
SMALL_BYTES, LARGE_BYTES = 16 * 1024, 64 * 1024
REQUEST_BYTES, REQUEST_BYTES_PER_USER = 64 * MIB, 16 * MIB
RESPONSE_BYTES, RESPONSE_BYTES_PER_USER = 128 * MIB, 48 * MIB


class RequestMemory:
    """Bytes of requests, in all and per user; all clients whose token is not known (None) count as one user."""

    def __init__(self) -> None:
        self.total = 0
        self._held: Counter[str | None] = Counter()

    def change(self, user_id: str | None, by: int) -> None:
        """Reserve (or, if negative, release) bytes for a user; Overloaded beyond a limit."""
        held = self._held[user_id] + by
        if by > 0 and (self.total + by > REQUEST_BYTES or held > REQUEST_BYTES_PER_USER):
            raise Overloaded(
                f"Too many large requests are being received: at most {REQUEST_BYTES_PER_USER} bytes per user "
                f"and {REQUEST_BYTES} in total at a time. Try again shortly.")
        self.total += by
        self._held[user_id] = held
        if not held:
            del self._held[user_id]


class ResponseMemory:
    """Bytes of large responses, each reserved until its connection has sent it or is closed."""

    def __init__(self) -> None:
        self._unsent: list[tuple[ResponseWriter, str | None, int]] = []

    def reserve(self, connection: ResponseWriter, user_id: str | None, size: int) -> None:
        """Reserve memory for a response that is about to be written; Overloaded beyond a limit."""
        self._unsent = [response for response in self._unsent if response[0].writing()]
        total = sum(unsent for _, _, unsent in self._unsent)
        owned = sum(unsent for _, owner, unsent in self._unsent if owner == user_id)
        if owned + size > RESPONSE_BYTES_PER_USER or total + size > RESPONSE_BYTES:
            raise Overloaded(
                f"Too many large responses are still being sent: at most {RESPONSE_BYTES_PER_USER} bytes per user and "
                f"{RESPONSE_BYTES} in total at a time. Read them, or try again shortly.")
        self._unsent.append((connection, user_id, size))
