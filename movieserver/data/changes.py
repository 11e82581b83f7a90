"""Changes of a user's collections, in the order of their commits: the statements of sql/changes.sql."""
from __future__ import annotations

import struct
import uuid
from typing import NamedTuple

from movieserver.data.collections import DELETION_DAYS
from movieserver.data.cursors import MAX_MICROSECONDS, pack, unpack
from movieserver.errors import ApiError
from movieserver.postgres.database import Database

CURSOR_DAYS = DELETION_DAYS - 1  # a day less, for statements in progress and for clocks that differ
DAY = 86400 * 1_000_000
STEADY = 600 * 1_000_000  # how long an empty page repeats its cursor, so that it keeps its entity tag
CURSOR = struct.Struct(">BqQ16s")
CURSOR_VERSION = 1


class CursorExpired(ApiError):
    """410: the changes since the cursor are no longer stored."""

    status = 410
    code = "cursor_expired"
    detail = (
        f"This cursor is more than {CURSOR_DAYS} days old, or from another database. Start again without `since`, "
        "and delete your copies of collections that are no longer listed.")


class Position(NamedTuple):
    """A position after a change, by its number and collection.

    `seen` is a time at which the client had all changes, in microseconds since 1970: the last one, or one at most
    STEADY before it.
    """

    number: int
    collection_uuid: str
    seen: int

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """The position written as `text`, or None if it is malformed."""
        version, number, seen, collection_uuid = unpack(CURSOR, text) or (None, 0, 0, "")
        return cls(number, collection_uuid, seen) if version == CURSOR_VERSION and seen < MAX_MICROSECONDS else None

    def __str__(self) -> str:
        return pack(CURSOR, CURSOR_VERSION, self.number, self.seen, self.collection_uuid)


class Page(NamedTuple):
    """A page of changes as JSON text, the position after them, whether there are any, and whether more follow."""

    changes: str
    next: Position
    found: bool
    more: bool


async def list_page(db: Database, *, user_id: str, limit: int, after: Position | None) -> Page:
    """The first `limit` changes after a position, or from the beginning. Raises CursorExpired."""
    number, collection_uuid = after[:2] if after else (-1, str(uuid.UUID(int=0)))
    changes, last_number, last_uuid, more, now, known = await db.read_one(
        "changes.list_page", user_id=user_id, limit=limit, after_number=number, after_uuid=collection_uuid)
    seen, found = after.seen if after else now, last_number is not None
    if not known or seen < now - CURSOR_DAYS * DAY:
        raise CursorExpired
    if more or not found and 0 <= now - seen < STEADY:
        now = seen
    following = Position(last_number if found else number, last_uuid or collection_uuid, now)
    return Page(changes, following, found, more)
