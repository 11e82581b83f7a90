"""The movies of a collection: validation, and conversion to what is stored."""
from __future__ import annotations

from collections import Counter, defaultdict
from typing import Annotated, NamedTuple

from pydantic import Field, PlainValidator, StringConstraints, TypeAdapter
from pydantic_core import to_json
from typing_extensions import NotRequired, TypedDict

from movieserver.errors import Fault, InvalidBody
from movieserver.formats import DESCRIPTION_CHARACTERS, GENRES_CHARACTERS, MOVIE_GENRES, MOVIE_TITLE_CHARACTERS
from movieserver.schemas.genres import NO_GENRES, Genres, parse_genres
from movieserver.schemas.texts import RawUuid, text

MAX_MOVIES = 10_000
MAX_GENRES = 200_000  # different ones in one body; PostgreSQL can count these within its time limit
GenresText = Annotated[str, text(maximum=GENRES_CHARACTERS)]
DescriptionText = Annotated[str, text(maximum=DESCRIPTION_CHARACTERS)]
GenreName = Annotated[str, Field(pattern=r"^[^\u0000,]*$")]
GenresValue = Annotated[
    Genres, PlainValidator(parse_genres, json_schema_input_type=GenresText | list[GenreName] | None),
    Field(
        description=f"At most {MOVIE_GENRES} names: comma-separated text, or a list of names without commas")]


class Movie(TypedDict):
    """A movie of a collection. `genres` is comma-separated text or a list of names; absent texts are empty."""

    uuid: Annotated[RawUuid, StringConstraints(to_lower=True)]
    title: Annotated[str, text(1, MOVIE_TITLE_CHARACTERS)]
    description: NotRequired[DescriptionText | None]
    genres: NotRequired[GenresValue]


Movies = Annotated[list[Movie], Field(max_length=MAX_MOVIES)]
movies_adapter = TypeAdapter(Movies)


class StoredMovies(NamedTuple):
    """Movies as the statements take them: the JSON of responses, an array of uuids, and a JSON array of genres."""

    movies: str
    movie_uuids: str
    movie_genres: str


def stored(movies: list[Movie]) -> StoredMovies:
    """Movies as they are stored: missing texts blank, genres as text; InvalidBody."""
    genres = genres_of(movies)
    _check_count({each.text: each.names for each in genres})
    entries = [
        {**movie, "description": movie.get("description") or "", "genres": each.text}
        for movie, each in zip(movies, genres)
    ]
    return StoredMovies(
        to_json(entries).decode(), "{" + ",".join([movie["uuid"] for movie in movies]) + "}",
        "[" + ",".join([each.json for each in genres]) + "]")


def genres_of(movies: list[Movie]) -> list[Genres]:
    """The genres of each movie."""
    return [movie.get("genres", NO_GENRES) for movie in movies]


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
            raise InvalidBody([Fault("/movies", f"The movies must not name more than {MAX_GENRES} different genres")])
