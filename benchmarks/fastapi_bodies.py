"""The request bodies of the FastAPI service: validated from the bytes, by patterns, without Python calls per field."""
from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints, TypeAdapter
from typing_extensions import NotRequired, TypedDict

MAX_GENRES = 100
TRIMMED = "".join(char for char in map(chr, range(0x110000)) if char.isspace() or unicodedata.category(char) == "Cf")
NO_NUL, NO_NUL_NO_COMMA = r"^[^\x00]*$", r"^[^\x00,]*$"
UUID = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"

Uuid = Annotated[str, StringConstraints(pattern=UUID, to_lower=True)]
Text = Annotated[str, StringConstraints(pattern=NO_NUL)]
LongText = Annotated[str, StringConstraints(max_length=10_000, pattern=NO_NUL)]
Genre = Annotated[str, StringConstraints(pattern=NO_NUL_NO_COMMA)]


class Movie(TypedDict):
    """A movie of a collection."""

    uuid: Uuid
    title: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=NO_NUL)]
    description: NotRequired[LongText | None]
    genres: NotRequired[Annotated[LongText | list[Genre] | None, Field(union_mode="left_to_right")]]


class NewCollection(TypedDict):
    """The body of a new collection."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=NO_NUL)]
    description: NotRequired[Text | None]
    movies: NotRequired[Annotated[list[Movie], Field(max_length=10_000)]]


class Credentials(BaseModel):
    """The body of a registration or a login."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=150, pattern=NO_NUL)]
    password: Annotated[str, StringConstraints(min_length=8, pattern=NO_NUL)]


CREDENTIALS, MOVIE, NEW_COLLECTION = TypeAdapter(Credentials), TypeAdapter(Movie), TypeAdapter(NewCollection)


def genre_counts(movies: list[dict[str, Any]]) -> Counter[str]:
    """How often each genre occurs; fills in missing texts. ValueError for too many in a movie."""
    for movie in movies:
        if movie.get("description") is None:
            movie["description"] = ""
        if movie.get("genres").__class__ is not str:
            movie["genres"] = ",".join(movie.get("genres") or ())
    counts: Counter[str] = Counter()
    for genres, times in Counter([movie["genres"] for movie in movies]).items():
        for name in genre_names(genres):
            counts[name] += times
    return counts


@lru_cache(1024)
def genre_names(genres: str) -> tuple[str, ...]:
    """The genres of a movie, trimmed of white space and format characters, in NFC."""
    names = (unicodedata.normalize("NFC", part.strip(TRIMMED)) for part in genres.split(","))
    found = tuple(filter(None, names))
    if len(found) > MAX_GENRES:
        raise ValueError(f"A movie has at most {MAX_GENRES} genres.")
    return found
