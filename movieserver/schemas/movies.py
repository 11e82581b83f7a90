"""The movies of a collection: checked once, and made into what is stored."""
from __future__ import annotations

from collections import Counter, defaultdict
from typing import Annotated, Any, NamedTuple

from pydantic import Field, PlainValidator, TypeAdapter
from pydantic_core import to_json

from movieserver.formats import DESCRIPTION_CHARACTERS, GENRES_CHARACTERS, MOVIE_TITLE_CHARACTERS
from movieserver.schemas.genres import NO_GENRES, Genres, parse_genres
from movieserver.schemas.texts import Body, RawUuid, Text, text

MAX_MOVIES = 10_000
GenresText = Annotated[str, text(maximum=GENRES_CHARACTERS)]
DescriptionText = Annotated[str, text(maximum=DESCRIPTION_CHARACTERS)]
GenresValue = Annotated[
    Genres, PlainValidator(parse_genres, json_schema_input_type=GenresText | list[Text] | None)]


class Movie(Body):
    """A movie of a collection. `genres` is comma-separated text or a list of names; absent texts are empty."""

    uuid: RawUuid
    title: Annotated[str, text(1, MOVIE_TITLE_CHARACTERS)]
    description: DescriptionText | None = ""
    genres: GenresValue = NO_GENRES


Movies = Annotated[list[Movie], Field(max_length=MAX_MOVIES)]
movies_adapter = TypeAdapter(Movies)


class StoredMovies(NamedTuple):
    """Movies as the statements take them, in one order: the JSON array of responses, uuids, and genres for counting."""

    movies: str
    movie_uuids: list[str]
    movie_genres: str


def stored(movies: list[Movie]) -> StoredMovies:
    """Movies as they are stored: canonical uuids, missing texts blank, genres as comma-separated text."""
    uuids = [movie.uuid.lower() for movie in movies]
    entries: list[dict[str, Any]] = [
        {"uuid": uuid, "title": movie.title, "description": movie.description or "", "genres": movie.genres.text}
        for uuid, movie in zip(uuids, movies)
    ]
    return StoredMovies(to_json(entries).decode(), uuids, f"[{','.join([movie.genres.json for movie in movies])}]")


def genre_changes(movies: list[Movie]) -> str:
    """How often each genre and each of its spellings occurs: a JSON array of rows as genre_changes() in SQL returns."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for movie in movies:
        for genre, spelling in movie.genres.names:
            counts[genre][spelling] += 1
    return to_json([
        {
            "genre": genre, "times": spellings.total(), "spelling": min(spellings),
            "spellings": spellings if len(spellings) > 1 else None,
        }
        for genre, spellings in counts.items()
    ]).decode()
