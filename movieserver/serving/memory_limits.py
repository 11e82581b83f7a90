"""What a process holds in memory for its callers is bounded: large bodies on the way in, large answers on the way out.

What is small (LARGE_BYTES at the most) is bounded by the number of connections.
"""
from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from movieserver.errors import Unavailable

MIB = 1024 * 1024
LARGE_BYTES = 64 * 1024
BODIES_BYTES, BODIES_BYTES_EACH = 64 * MIB, 16 * MIB
ANSWERS_BYTES, ANSWERS_BYTES_EACH = 128 * MIB, 48 * MIB


class Overloaded(Unavailable):
    """503: there is no room for a body or an answer of that size, or for one more connection, at this moment."""

    code = "overloaded"


class Bodies:
    """Bytes of large bodies: so many in all, so many of one owner; strangers are one owner."""

    def __init__(self) -> None:
        self._held: Counter[str | None] = Counter()
        self._total = 0

    def take(self, owner: str | None, size: int) -> None:
        """Hold `size` more bytes for an owner; Overloaded where there is no room."""
        if self._total + size > BODIES_BYTES or self._held[owner] + size > BODIES_BYTES_EACH:
            raise Overloaded(
                f"Large bodies on their way are at most {BODIES_BYTES_EACH} bytes of one user at once, and "
                f"{BODIES_BYTES} of all. Try again shortly.")
        self._held[owner] += size
        self._total += size

    def give(self, owner: str | None, size: int) -> None:
        """Hold them no longer."""
        self._total -= size
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]


class _Answer(NamedTuple):
    connection: Any
    owner: str | None
    size: int


class Answers:
    """Large answers, each until its connection has sent it or is closed."""

    def __init__(self) -> None:
        self._unsent: list[_Answer] = []

    def take(self, connection: Any, owner: str | None, size: int) -> None:
        """Hold an answer of `size` bytes, which is written right after; Overloaded for want of room."""
        self._unsent = [answer for answer in self._unsent if answer.connection.writing()]
        owned = sum(answer.size for answer in self._unsent if answer.owner == owner)
        if owned + size > ANSWERS_BYTES_EACH or sum(answer.size for answer in self._unsent) + size > ANSWERS_BYTES:
            raise Overloaded(
                f"Large answers that are not read yet are at most {ANSWERS_BYTES_EACH} bytes of one user at once, and "
                f"{ANSWERS_BYTES} of all. Try again shortly.")
        self._unsent.append(_Answer(connection, owner, size))
