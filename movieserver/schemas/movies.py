"""The movies of a collection: checked once, and made into what is stored."""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import chain
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, PlainValidator, TypeAdapter
from pydantic_core import PydanticCustomError, to_json

from movieserver.errors import Fault, InvalidBody
from movieserver.formats import (
    DESCRIPTION_CHARACTERS, GENRES_CHARACTERS, ID_CHARACTERS, ID_PATTERN, MAX_YEAR, MIN_YEAR, MOVIE_GENRES, MOVIE_IDS,
    MOVIE_TITLE_CHARACTERS, NOTE_CHARACTERS, POSTER_CHARACTERS, POSTER_PATTERN, movie_uuid
)
from movieserver.schemas.genres import NO_GENRES, Genres, parse_genres
from movieserver.schemas.texts import Body, RawUuid, text

MAX_MOVIES = 10_000
MAX_GENRES = 200_000  # different ones in one body: what PostgreSQL counts within its time limit
GenresText = Annotated[str, text(maximum=GENRES_CHARACTERS)]
DescriptionText = Annotated[str, text(maximum=DESCRIPTION_CHARACTERS)]
GenreName = Annotated[str, Field(pattern=r"^[^\u0000,]*$")]
GenresValue = Annotated[
    Genres, PlainValidator(parse_genres, json_schema_input_type=GenresText | list[GenreName] | None),
    Field(
        description=f"At most {MOVIE_GENRES} names: comma-separated text, or a list of names without commas")]
OPTIONAL = ("year", "poster", "ids", "note")  # in the order in which they are stored


def _matching(pattern: str, detail: Any) -> Callable[[str], str]:
    """A check that a text has a form."""
    form = re.compile(pattern)

    def check(value: str) -> str:
        if not form.fullmatch(value):
            raise PydanticCustomError("form", detail)
        return value

    return check


_id_name = _matching(ID_PATTERN, f"A name of ids must be 1 to {ID_CHARACTERS} characters of a-z, 0-9 and _")


def _id_names(ids: dict[str, str]) -> dict[str, str]:
    for name in ids:
        _id_name(name if len(name) <= ID_CHARACTERS else "")
    return ids


Poster = Annotated[
    str, Field(max_length=POSTER_CHARACTERS, json_schema_extra={"pattern": POSTER_PATTERN}),
    AfterValidator(_matching(POSTER_PATTERN, "A poster must be an address that begins with https://"))]
Ids = Annotated[
    dict[str, Annotated[str, text(1, ID_CHARACTERS)]], AfterValidator(_id_names), Field(
        max_length=MOVIE_IDS, description='What other services call it, such as {"imdb": "tt0133093"}',
        json_schema_extra={"propertyNames": {"pattern": ID_PATTERN, "maxLength": ID_CHARACTERS}})]


class Movie(Body):
    """A movie of a collection. `genres` is comma-separated text or a list of names; absent texts are empty.

    Without `uuid` it has the one that follows from its `ids`, or from its title and year; one of these is required.
    """

    uuid: RawUuid | None = None
    title: Annotated[str, text(1, MOVIE_TITLE_CHARACTERS)]
    description: DescriptionText | None = ""
    genres: GenresValue = NO_GENRES
    year: Annotated[int, Field(strict=True, ge=MIN_YEAR, le=MAX_YEAR)] | None = None
    poster: Poster | None = None
    ids: Ids | None = None
    note: Annotated[str, text(maximum=NOTE_CHARACTERS)] | None = None

    @property
    def identity(self) -> str | None:
        """Its uuid in the canonical form, also where it follows from other keys; None if nothing identifies it."""
        return movie_uuid(self.ids, self.title, self.year) if self.uuid is None else self.uuid.lower()


Movies = Annotated[list[Movie], Field(max_length=MAX_MOVIES)]
movies_adapter = TypeAdapter(Movies)


class StoredMovies(NamedTuple):
    """Movies as the statements take them: the JSON of responses, an array of uuids, and a JSON array of genres."""

    movies: str
    movie_uuids: str
    movie_genres: str


def stored(movies: list[Movie]) -> StoredMovies:
    """Movies as they are stored: canonical uuids, missing texts blank, genres as text; InvalidBody.

    Each must have an identity.
    """
    _check_genres(movies)
    uuids = identities(movies)
    entries: list[dict[str, Any]] = [
        {"uuid": uuid, "title": movie.title, "description": movie.description or "", "genres": movie.genres.text}
        for uuid, movie in zip(uuids, movies)
    ]
    for entry, movie in zip(entries, movies):
        if not movie.model_fields_set.isdisjoint(OPTIONAL):
            entry |= {name: value for name in OPTIONAL if (value := getattr(movie, name)) is not None}
    genres = ",".join([movie.genres.json for movie in movies])
    return StoredMovies(to_json(entries).decode(), "{" + ",".join(uuids) + "}", f"[{genres}]")


def identities(movies: list[Movie]) -> list[str]:
    """The uuid of each movie in its canonical form; blank where nothing identifies it."""
    return [movie.uuid.lower() if movie.uuid else movie.identity or "" for movie in movies]


def _check_genres(movies: list[Movie]) -> None:
    if sum(len(movie.genres.names) for movie in movies) > MAX_GENRES:
        if len({genre for movie in movies for genre, _ in movie.genres.names}) > MAX_GENRES:
            raise InvalidBody([Fault("/movies", f"The movies must not name more than {MAX_GENRES} different genres")])


def genre_changes(movies: list[Movie]) -> str:
    """How often each genre and each of its spellings occurs: a JSON array of rows as genre_changes() in SQL returns.

    The rows are sorted, which makes their index entries cheap.
    """
    genres: dict[str, dict[str, int]] = defaultdict(dict)
    for (genre, spelling), times in Counter(chain.from_iterable(movie.genres.names for movie in movies)).items():
        genres[genre][spelling] = times
    return to_json([
        {
            "genre": genre, "times": sum(spellings.values()), "spelling": min(spellings),
            "spellings": spellings if len(spellings) > 1 else None,
        }
        for genre, spellings in sorted(genres.items())
    ]).decode()
