"""The bounds of a movie's fields, and the uuid that follows from them, for movies of every source."""
from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Mapping

MOVIE_TITLE_CHARACTERS = 500
DESCRIPTION_CHARACTERS = 10_000
GENRES_CHARACTERS = 10_000
MOVIE_GENRES = 100
MIN_YEAR, MAX_YEAR = 1870, 2100
POSTER_CHARACTERS = 2_000
POSTER_PATTERN = r'^https://[^\s/?#"<>\\]+([/?#][^\s"<>\\]*)?$'
MOVIE_IDS = 10
ID_CHARACTERS = 100  # of a name and of a value
ID_PATTERN = "^[a-z0-9_]+$"
NOTE_CHARACTERS = 2_000
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
# The name of a uuid of version 5 (RFC 9562) in NAMESPACE. The uuid is computed from the first of these ids that the
# movie has. TMDB comes first, so that a movie that names several is the one that TMDB lists.
NAMESPACE = uuid.NAMESPACE_URL
ID_ADDRESSES = {"tmdb": "https://www.themoviedb.org/movie/{}", "imdb": "https://www.imdb.com/title/{}/"}
OTHER_ID = "urn:movieserver:id:{}:{}"
TITLE_AND_YEAR = "urn:movieserver:title:{}:{}"


def parse_uuid(text: str) -> str | None:
    """The uuid in its canonical form (RFC 9562 section 4), or None if `text` is not a uuid."""
    lower = text.lower()
    return lower if UUID.fullmatch(lower) else None


def movie_uuid(ids: Mapping[str, str] | None, title: str, year: int | None) -> str | None:
    """The uuid that follows from an id (`tmdb`, `imdb`, else the first name of all) or from title and year; or None."""
    for name, address in ID_ADDRESSES.items():
        if ids and name in ids:
            return _version_5(address.format(ids[name]))
    if ids:
        name = min(ids)
        return _version_5(OTHER_ID.format(name, ids[name]))
    return None if year is None else _version_5(TITLE_AND_YEAR.format(year, _folded(title)))


def _version_5(name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, name))


def _folded(title: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", title.strip()).casefold())
