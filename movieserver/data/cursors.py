"""Cursors: positions in lists as text that clients send back unchanged."""
from __future__ import annotations

import base64
import struct
import uuid
from typing import Any

MAX_MICROSECONDS = 2**53  # the year 2255, and exact in PostgreSQL's arithmetic of intervals


def pack(layout: struct.Struct, *values: int | str) -> str:
    """Values as text in base64url; a str is a uuid."""
    packed = layout.pack(*[uuid.UUID(value).bytes if isinstance(value, str) else value for value in values])
    return base64.urlsafe_b64encode(packed).decode("ascii")


def unpack(layout: struct.Struct, text: str) -> list[Any] | None:
    """The values that `pack` was called with, or None if the text is malformed."""
    try:
        values = layout.unpack(base64.b64decode(text, b"-_", validate=True))
    except (ValueError, struct.error):
        return None
    return [str(uuid.UUID(bytes=value)) if isinstance(value, bytes) else value for value in values]
