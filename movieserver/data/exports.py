"""Collections as lines of a file: the statements of sql/exports.sql."""
from __future__ import annotations

import struct
from typing import NamedTuple

from movieserver.data.cursors import MAX_MICROSECONDS, pack, unpack
from movieserver.postgres.database import Database
from movieserver.schemas.requests import MAX_BYTES

POSITION = struct.Struct(">Q16s16sIx")
PAGE_COLLECTIONS = 1_000
PAGE_BYTES = MAX_BYTES  # so that every page can be imported


class Position(NamedTuple):
    """The collection that a page begins with; if it has been deleted, the page begins with the next one.

    A collection that is larger than a page has several lines. `first` is the number (from 1) of the movie that the next
    line begins with, if the collection still has this version; 0 before the first line.
    """

    microseconds: int
    collection_uuid: str
    version: str
    first: int = 0

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """The position written as `text`, or None if it is malformed."""
        values = unpack(POSITION, text)
        return cls(*values) if values and values[0] < MAX_MICROSECONDS and values[-1] < 2**31 else None

    def __str__(self) -> str:
        return pack(POSITION, *self)


class Page(NamedTuple):
    """Lines of JSON, each with its line break, and where the next page begins."""

    lines: bytes
    next: Position | None


class Part(NamedTuple):
    """One of several lines of a collection, its version, and the number of the first movie of the next line."""

    line: bytes
    version: str
    next_first: int | None


async def list_page(db: Database, *, user_id: str, start: Position | None) -> Page:
    """The collections from `start` on, newest first, a line each.

    A collection larger than a page is sent alone, over several pages.
    """
    rows = await db.run("exports.list_page", {
        "user_id": user_id, "from_microseconds": start and start.microseconds,
        "from_uuid": start and start.collection_uuid, "limit": PAGE_COLLECTIONS, "max": PAGE_BYTES,
    }, retry_lost=True, as_bytes=True)
    positions = [Position(microseconds, uuid.decode(), version.decode()) for uuid, microseconds, version, _ in rows]
    begun = start if start and start.first and rows and positions[0][:2] == start[:2] else None
    if begun or rows and rows[0][3] is None:
        large = begun or positions[0]
        following = positions[1] if len(positions) > 1 else None
        return _page(large, await part(db, user_id=user_id, position=large), following)
    lines = [line for *_, line in rows if line is not None]
    return Page(b"".join(line + b"\n" for line in lines), positions[len(lines)] if len(lines) < len(rows) else None)


async def part(db: Database, *, user_id: str, position: Position) -> Part | None:
    """A line of a collection that is larger than a page."""
    rows = await db.run("exports.part", {
        "user_id": user_id, "collection_uuid": position.collection_uuid, "version": position.version,
        "first": position.first, "max": PAGE_BYTES,
    }, retry_lost=True, as_bytes=True)
    return Part(rows[0][0], rows[0][1].decode(), rows[0][2]) if rows else None


def _page(position: Position, line: Part | None, following: Position | None) -> Page:
    """A page of one line, or of none if its collection has been deleted."""
    if line is None:
        return Page(b"", following)
    rest = None if line.next_first is None else position._replace(version=line.version, first=line.next_first)
    return Page(line.line + b"\n", rest or following)
