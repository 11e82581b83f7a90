"""What the providers share: making a page of movies from entries, some of which may be invalid.

Every movie that is shown can be stored in a collection as it is, so texts are cut to the bounds of formats.py.
"""
from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from movieserver.errors import BadRequest
from movieserver.formats import (
    DESCRIPTION_CHARACTERS, GENRES_CHARACTERS, ID_CHARACTERS, ID_PATTERN, MAX_YEAR, MIN_YEAR, MOVIE_GENRES, MOVIE_IDS,
    MOVIE_TITLE_CHARACTERS, POSTER_CHARACTERS, POSTER_PATTERN, parse_uuid
)
from movieserver.third_party.client import Call, invalid_response

MAX_NUMBER = 2 ** 53 - 1  # the largest number that every JSON parser reads exactly (RFC 8259 section 6)
NUMBER_CHARACTERS = 20
NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
UUID_DIGITS = re.compile("[0-9a-f]{32}")
ID_NAME = re.compile(ID_PATTERN)
POSTER = re.compile(POSTER_PATTERN)

Get = Callable[[Call], Awaitable[bytes]]


class Movie(NamedTuple):
    """A movie as it is shown; genres are comma-separated text, and what is None is not shown."""

    title: str
    description: str
    genres: str
    uuid: str
    year: int | None = None
    poster: str | None = None
    ids: dict[str, str] | None = None

    def shown(self) -> dict[str, Any]:
        """The movie as JSON has it."""
        return {key: value for key, value in self._asdict().items() if value is not None}


@dataclass(frozen=True)
class MoviePage:
    """A page: `movies` is the text of a JSON array, `skipped` says why entries were left out.

    `complete` is false if genre names were not known yet. `fetched` is the Unix time of the response.
    """

    count: int
    has_next: bool
    has_previous: bool
    movies: str
    complete: bool = True
    skipped: Sequence[str] = ()
    fetched: float = field(default_factory=time.time)

    @property
    def age(self) -> float:
        """Seconds since the page was fetched; or until then, if the clock of the machine that fetched it is ahead."""
        return abs(time.time() - self.fetched)

    def dump(self) -> str:
        """The page as text, for `load_page`."""
        head = [self.count, self.has_next, self.has_previous, self.complete, self.fetched]
        return f"{json.dumps(head)}\n{self.movies}"


def load_page(text: str) -> MoviePage | None:
    """The page of a text that `dump` made; None if another version made it."""
    try:
        head, _, movies = text.partition("\n")
        count, has_next, has_previous, complete, fetched = json.loads(head)
    except (ValueError, TypeError):
        return None
    return MoviePage(count, has_next, has_previous, movies, complete, fetched=fetched)


class Provider:
    """A kind of movie API (MOVIE_API_KIND): what to request, and what its responses mean."""

    def check(self, query: str | None) -> None:
        """Raise BadRequest if the list cannot be searched for `query`."""
        if query is not None and not query.strip():
            raise BadRequest("The query parameter `query` is empty. Omit it, or send words to search for.")

    async def page(self, get: Get, number: int, query: str | None) -> MoviePage:
        """Page `number` (from 1) of the list, or of what `query` finds. Raises NoSuchPage past the end."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop the background calls."""


class InvalidEntry(Exception):
    """An entry that cannot be shown; the message says why."""


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises UpstreamFault if it is none. Bytes that are not UTF-8 are replaced, NaN is null."""
    try:
        value = json.loads(
            body.decode("utf-8", "replace").lstrip("\ufeff"), parse_constant=lambda name: None,
            parse_int=lambda digits: int(digits[:NUMBER_CHARACTERS]))
    except (ValueError, RecursionError) as error:
        raise invalid_response(f"the page cannot be read: it is not JSON: {error}")
    if not isinstance(value, dict):
        raise invalid_response("the page cannot be read: it is not an object")
    return value


def read_movies(entries: object, read: Callable[[dict[str, Any]], Movie]) -> tuple[str, tuple[str, ...]]:
    """The movies as JSON, each uuid once, and why entries were left out. Raises UpstreamFault if all of them were."""
    if not isinstance(entries, list):
        raise invalid_response("the page cannot be read: it has no list of movies")
    movies: dict[str, Movie] = {}
    skipped = []
    for index, entry in enumerate(entries):
        try:
            if not isinstance(entry, dict):
                raise InvalidEntry("is not an object")
            movie = read(entry)
            if movie.uuid in movies:
                raise InvalidEntry("repeats a uuid")
            movies[movie.uuid] = movie
        except InvalidEntry as reason:
            skipped.append(f"entry {index} {reason}")
    if entries and not movies:
        raise invalid_response(f"the page cannot be read: {'; '.join(skipped[:3])}")
    return json.dumps([movie.shown() for movie in movies.values()], ensure_ascii=False), tuple(skipped)


def read_count(value: object, entries: list[Any] | None) -> int:
    """The size of the list, or of this page if the count cannot be read; UpstreamFault if the page is empty too."""
    count = whole_number(value)
    if count is None and not entries:
        raise invalid_response("the page cannot be read: it has no movies, and its count is not a whole number")
    return len(entries or ()) if count is None else count


def make_movie(identity: str | None, titles: list[object], description: object, genres: object) -> Movie:
    """A movie with the first title that is not blank. Raises InvalidEntry if it has no title, or no uuid."""
    title = next(filter(str.strip, (text(title, MOVIE_TITLE_CHARACTERS) for title in titles)), None)
    if title is None:
        raise InvalidEntry("has no title")
    if identity is None:
        raise InvalidEntry("has no uuid")
    return Movie(title, text(description, DESCRIPTION_CHARACTERS), genre_text(genres), identity)


def year_of(value: object) -> int | None:
    """A year, also the one that a text such as 1972-03-20 begins with; None if it is out of bounds."""
    year = whole_number(value[:4] if isinstance(value, str) and re.match(r"[0-9]{4}(-|$)", value) else value)
    return year if year is not None and MIN_YEAR <= year <= MAX_YEAR else None


def poster_of(value: object) -> str | None:
    """An https address that can be stored, or None."""
    poster = text(value, POSTER_CHARACTERS + 1)
    return poster if len(poster) <= POSTER_CHARACTERS and POSTER.fullmatch(poster) else None


def ids_of(value: object) -> dict[str, str] | None:
    """The first MOVIE_IDS ids that can be stored, whole numbers as strings; None if there are none."""
    found = value if isinstance(value, dict) else {}
    ids = {
        name: written for name, each in found.items()
        if ID_NAME.fullmatch(name) and len(name) <= ID_CHARACTERS
        if 0 < len(written := text(each, ID_CHARACTERS + 1)) <= ID_CHARACTERS}
    return dict([*ids.items()][:MOVIE_IDS]) or None


def text(value: object, max_characters: int) -> str:
    """What can be stored of a text, cut to `max_characters`; a whole number becomes its digits, other types ""."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return NOT_STORABLE.sub("", value)[:max_characters] if isinstance(value, str) else ""


def genre_text(value: object) -> str:
    """Comma-separated text, from such a text, an object with a name, or a list of these."""
    joined = ""
    for name in _genre_names(value)[:MOVIE_GENRES]:
        longer = f"{joined},{name}" if joined else name
        if len(longer) <= GENRES_CHARACTERS:
            joined = longer
    return joined


def _genre_names(value: object) -> list[str]:
    found = value if isinstance(value, list) else [value]
    texts = (each.get("name") if isinstance(each, dict) else each for each in found)
    names = (NOT_STORABLE.sub("", each).split(",") for each in texts if isinstance(each, str))
    return [name for part in names for name in part if name.strip()]


def whole_number(value: object) -> int | None:
    """A whole number from 0, cut to MAX_NUMBER, also if sent as "7" or 7.0; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:NUMBER_CHARACTERS])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return min(value, MAX_NUMBER)


def canonical_uuid(value: object) -> str | None:
    """A uuid in canonical form, also if sent in capitals, in braces, without dashes or as a urn; or None."""
    if not isinstance(value, str):
        return None
    spelling = value.strip().lower().removeprefix("urn:uuid:").removeprefix("{").removesuffix("}")
    return str(uuid.UUID(spelling)) if UUID_DIGITS.fullmatch(spelling) else parse_uuid(spelling)
