"""The movies of a collection: validation, and conversion to what is stored."""
from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain
from typing import Annotated, Any, NamedTuple

from pydantic import Field, PlainValidator, TypeAdapter
from pydantic_core import to_json

from movieserver.errors import Fault, InvalidBody
from movieserver.formats import DESCRIPTION_CHARACTERS, GENRES_CHARACTERS, MOVIE_GENRES, MOVIE_TITLE_CHARACTERS
from movieserver.schemas.genres import NO_GENRES, Genres, parse_genres
from movieserver.schemas.texts import Body, RawUuid, text

MAX_MOVIES = 10_000
MAX_GENRES = 200_000  # different ones in one body; PostgreSQL can count these within its time limit
GenresText = Annotated[str, text(maximum=GENRES_CHARACTERS)]
DescriptionText = Annotated[str, text(maximum=DESCRIPTION_CHARACTERS)]
GenreName = Annotated[str, Field(pattern=r"^[^\u0000,]*$")]
GenresValue = Annotated[
    Genres, PlainValidator(parse_genres, json_schema_input_type=GenresText | list[GenreName] | None),
    Field(
        description=f"At most {MOVIE_GENRES} names: comma-separated text, or a list of names without commas")]


class Movie(Body):
    """A movie of a collection. `genres` is comma-separated text or a list of names; absent texts are empty."""

    uuid: RawUuid
    title: Annotated[str, text(1, MOVIE_TITLE_CHARACTERS)]
    description: DescriptionText | None = ""
    genres: GenresValue = NO_GENRES


Movies = Annotated[list[Movie], Field(max_length=MAX_MOVIES)]
movies_adapter = TypeAdapter(Movies)


class StoredMovies(NamedTuple):
    """Movies as the statements take them: the JSON of responses, an array of uuids, and a JSON array of genres."""

    movies: str
    movie_uuids: str
    movie_genres: str


def stored(movies: list[Movie]) -> StoredMovies:
    """Movies as they are stored: canonical uuids, missing texts blank, genres as text; InvalidBody."""
    _check_genres(movies)
    uuids = [movie.uuid.lower() for movie in movies]
    entries: list[dict[str, Any]] = [
        {"uuid": uuid, "title": movie.title, "description": movie.description or "", "genres": movie.genres.text}
        for uuid, movie in zip(uuids, movies)
    ]
    genres = ",".join([movie.genres.json for movie in movies])
    return StoredMovies(to_json(entries).decode(), "{" + ",".join(uuids) + "}", f"[{genres}]")


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
