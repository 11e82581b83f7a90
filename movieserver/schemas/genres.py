"""Genres of a movie: comma-separated text, and the names in it as they are counted."""
from __future__ import annotations

import hashlib
import json
import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from movieserver.formats import GENRES_CHARACTERS, MOVIE_GENRES

MAX_KEY = 200  # characters: an index entry has a maximum size
MAX_MARKS = 30  # combining marks in a row, as in the stream-safe text format (UAX #15, section 13)
CACHED_CHARACTERS = 200  # most movies share their genres with many others


class Genres(NamedTuple):
    """The genres of a movie: the text as it was sent, each name in it as (genre, spelling), and these as JSON.

    The genre is what identifies it (NFC, case folded); the spelling is how it was sent (NFC).
    """

    text: str
    names: list[tuple[str, str]]
    json: str


NO_GENRES = Genres("", [], "[]")


def parse_genres(value: object) -> Genres:
    """Genres from comma-separated text, a list of texts or None. Raises ValidationError or PydanticCustomError."""
    if value is None:
        return NO_GENRES
    if isinstance(value, list):
        _check_list(value)
        value = ",".join(value)
    if not isinstance(value, str):
        raise PydanticCustomError("genres", "Genres must be comma-separated text or a list of texts")
    if len(value) > GENRES_CHARACTERS:
        raise PydanticCustomError("genres", f"Genres must have at most {GENRES_CHARACTERS} characters")
    return _cached(value) if len(value) <= CACHED_CHARACTERS else _parse(value)


def _parse(text: str) -> Genres:
    names = [_genre(name) for part in text.split(",") if (name := _trim(part))]
    if len(names) > MOVIE_GENRES:
        raise PydanticCustomError("genres", f"A movie must not name more than {MOVIE_GENRES} genres")
    return Genres(text, names, json.dumps(names, ensure_ascii=False, separators=(",", ":")))


_cached = lru_cache(maxsize=4096)(_parse)


def _check_list(names: list[Any]) -> None:
    faults: list[InitErrorDetails] = []
    for index, name in enumerate(names):
        if not isinstance(name, str):
            faults.append(_fault(index, name, "A genre must be a text"))
        elif "," in name:
            faults.append(_fault(index, name, "A genre in a list must not contain a comma; send two genres instead"))
    if faults:
        raise ValidationError.from_exception_data("Genres", faults, hide_input=True)


def _fault(index: int, name: object, detail: Any) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("genre", detail), loc=(index,), input=name)


def _trim(name: str) -> str:
    """The name without white space and format characters at its ends."""
    if name.isascii():
        return name.strip()
    start, end = 0, len(name)
    while start < end and _is_invisible(name[start]):
        start += 1
    while end > start and _is_invisible(name[end - 1]):
        end -= 1
    return name[start:end]


def _is_invisible(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) == "Cf"


def _genre(name: str) -> tuple[str, str]:
    if name.isascii():
        spelling, key = name, name.lower()
    else:
        spelling = _normalize(name)
        key = _normalize(spelling.casefold())
    if len(key) > MAX_KEY:
        key = f"{key[:MAX_KEY // 2]} {hashlib.sha256(key.encode()).hexdigest()}"
    return key, spelling


def _normalize(name: str) -> str:
    """The name in NFC, or unchanged if it has too many marks in a row: ordering them takes quadratic time."""
    runs = (run for marks, run in groupby(name, lambda character: unicodedata.combining(character) > 0) if marks)
    if len(name) > MAX_MARKS and any(len([*run]) > MAX_MARKS for run in runs):
        return name
    return unicodedata.normalize("NFC", name)
