"""The movies of a collection: validation, and conversion to what is stored."""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints, TypeAdapter
from pydantic_core import PydanticCustomError, to_json
from typing_extensions import NotRequired, TypedDict

from movieserver.errors import FieldError, InvalidBody
from movieserver.formats import (
    DESCRIPTION_CHARACTERS, GENRES_CHARACTERS, ID_CHARACTERS, ID_PATTERN, MAX_YEAR, MIN_YEAR, MOVIE_GENRES, MOVIE_IDS,
    MOVIE_TITLE_CHARACTERS, NOTE_CHARACTERS, POSTER_CHARACTERS, POSTER_PATTERN, movie_uuid
)
from movieserver.schemas.genres import NO_GENRES, Genres, parse_genres
from movieserver.schemas.texts import RawUuid, text

MAX_MOVIES = 10_000
MAX_COLLECTION_BYTES = 16 * 1024 * 1024  # of its movies as JSON, so that every page of collections can be sent
MAX_GENRES = 100_000  # different ones in one body; PostgreSQL can count these within its time limit
GenresText = Annotated[str, text(maximum=GENRES_CHARACTERS)]
DescriptionText = Annotated[str, text(maximum=DESCRIPTION_CHARACTERS)]
GenreName = Annotated[str, Field(pattern=r"^[^\u0000,]*$")]
GenresValue = Annotated[
    Genres, PlainValidator(parse_genres, json_schema_input_type=GenresText | list[GenreName] | None),
    Field(
        description=f"At most {MOVIE_GENRES} names: comma-separated text, or a list of names without commas")]
ID_NAME_DETAIL: Any = f"A name of ids must be 1 to {ID_CHARACTERS} characters of a-z, 0-9 and _"
OPTIONAL = ("year", "poster", "ids", "note")  # in the order in which they are stored


def _id_names(ids: dict[str, str]) -> dict[str, str]:
    if any(len(name) > ID_CHARACTERS or not re.fullmatch(ID_PATTERN, name) for name in ids):
        raise PydanticCustomError("id_name", ID_NAME_DETAIL)
    return ids


Ids = Annotated[
    dict[str, Annotated[str, text(1, ID_CHARACTERS)]], AfterValidator(_id_names), Field(
        max_length=MOVIE_IDS, description='Its ids in other services, such as {"imdb": "tt0133093"}',
        json_schema_extra={"propertyNames": {"pattern": ID_PATTERN, "maxLength": ID_CHARACTERS}})]


class Movie(TypedDict):
    """A movie of a collection. `genres` is comma-separated text or a list of names; absent texts are empty.

    Without `uuid` it has the one that follows from its `ids`, or from its title and year; one of these is required.
    """

    uuid: NotRequired[Annotated[RawUuid, StringConstraints(to_lower=True)] | None]
    title: Annotated[str, text(1, MOVIE_TITLE_CHARACTERS)]
    description: NotRequired[DescriptionText | None]
    genres: NotRequired[GenresValue]
    year: NotRequired[Annotated[int, Field(strict=True, ge=MIN_YEAR, le=MAX_YEAR)] | None]
    poster: NotRequired[Annotated[str, Field(max_length=POSTER_CHARACTERS, pattern=POSTER_PATTERN)] | None]
    ids: NotRequired[Ids | None]
    note: NotRequired[Annotated[str, text(maximum=NOTE_CHARACTERS)] | None]


Movies = Annotated[list[Movie], Field(max_length=MAX_MOVIES)]
movie_adapter = TypeAdapter(Movie)
movies_adapter = TypeAdapter(Movies)


class StoredMovies(NamedTuple):
    """Movies as the statements take them: the JSON of responses, an array of uuids, and a JSON array of genres."""

    movies: str
    movie_uuids: str
    movie_genres: str


def stored(movies: list[Movie]) -> StoredMovies:
    """Movies as they are stored: with uuids, missing texts blank, genres as text. Raises InvalidBody.

    Each must have an identity.
    """
    genres, uuids = genres_of(movies), identities(movies)
    _check_count({each.text: each.names for each in genres})
    entries: list[dict[str, Any]] = [
        {"uuid": uuid, "title": movie["title"], "description": movie.get("description") or "", "genres": each.text}
        for uuid, movie, each in zip(uuids, movies, genres)
    ]
    for entry, movie in zip(entries, movies):
        if not movie.keys().isdisjoint(OPTIONAL):
            entry |= {name: value for name in OPTIONAL if (value := movie.get(name)) is not None}
    joined = ",".join([each.json for each in genres])
    return StoredMovies(to_json(entries).decode(), "{" + ",".join(uuids) + "}", f"[{joined}]")


def genres_of(movies: list[Movie]) -> list[Genres]:
    """The genres of each movie."""
    return [movie.get("genres", NO_GENRES) for movie in movies]


def identities(movies: list[Movie]) -> list[str]:
    """The uuid of each movie, sent or computed from its other keys; blank where nothing identifies it."""
    return [
        movie.get("uuid") or movie_uuid(movie.get("ids"), movie["title"], movie.get("year")) or "" for movie in movies]


def genre_changes(movies: list[Movie]) -> str:
    """How often each genre and each of its spellings occurs: a JSON array of rows as genre_changes() in SQL returns.

    The rows are sorted, which makes their index entries cheap.
    """
    parsed = genres_of(movies)
    names = {each.text: each.names for each in parsed}
    genres: dict[str, dict[str, int]] = defaultdict(dict)
    for text_, times in Counter([each.text for each in parsed]).items():
        for genre, spelling in names[text_]:
            spellings = genres[genre]
            spellings[spelling] = spellings.get(spelling, 0) + times
    return to_json([
        {
            "genre": genre, "times": sum(spellings.values()), "spelling": min(spellings),
            "spellings": spellings if len(spellings) > 1 else None,
        }
        for genre, spellings in sorted(genres.items())
    ]).decode()


def _check_count(names: dict[str, list[tuple[str, str]]]) -> None:
    if sum(map(len, names.values())) > MAX_GENRES:
        if len({genre for pairs in names.values() for genre, _ in pairs}) > MAX_GENRES:
            raise InvalidBody([
                FieldError("/movies", f"The movies must not name more than {MAX_GENRES} different genres")])
