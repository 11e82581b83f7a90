"""What a movie may hold, wherever it comes from: the bounds of its texts, and how a uuid is written."""
from __future__ import annotations

import re

MOVIE_TITLE_CHARACTERS = 500
DESCRIPTION_CHARACTERS = 10_000
GENRES_CHARACTERS = 10_000
MOVIE_GENRES = 100
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def parse_uuid(text: str) -> str | None:
    """The uuid in its canonical form (RFC 9562 section 4), or None if `text` is not a uuid."""
    lower = text.lower()
    return lower if UUID.fullmatch(lower) else None
