"""Imported files: the collections in each, and what cannot be read."""
from __future__ import annotations

import codecs
import hashlib
import re
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError, PydanticSerializationError, from_json, to_json

from movieserver.errors import BadRequest, FieldError, InvalidBody
from movieserver.formats import NAMESPACE
from movieserver.http.headers import JSON
from movieserver.schemas.csv_formats import BadLine, read_table
from movieserver.schemas.movies import MAX_MOVIES, Movie, StoredMovies, identities, stored
from movieserver.schemas.parsing import parse
from movieserver.schemas.requests import TITLE_CHARACTERS, MovieList, NewCollection
from movieserver.schemas.texts import RawUuid

CSV, NDJSON = "text/csv", "application/x-ndjson"
MAX_COLLECTIONS = 1_000
MAX_ERRORS = 100
MAX_DETAIL = 300
TIMESTAMP = re.compile("^(19[7-9]|20[0-9]|21[0-9])[0-9]-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z$")


def _timestamp(text: str) -> str:
    try:
        if TIMESTAMP.fullmatch(text):
            datetime.fromisoformat(text)
            return text
    except ValueError:
        pass
    raise PydanticCustomError("time", "A timestamp must have the form 2026-11-24T20:15:00.120345Z, from 1970 to 2199")


Timestamp = Annotated[
    str, AfterValidator(_timestamp), Field(json_schema_extra={"format": "date-time", "pattern": TIMESTAMP.pattern})]


class ImportedCollection(NewCollection):
    """A collection of an export. Without `uuid` it gets one that is computed from the text."""

    uuid: RawUuid | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None


class LineError(NamedTuple):
    """The number of a line (from 1), and why it, or a movie in it, is not imported."""

    line: int
    detail: str


class FileCollection(NamedTuple):
    """A collection of a file, with its movies; `line` is where it begins."""

    line: int
    collection_uuid: str
    title: str
    description: str
    created_at: str | None
    updated_at: str | None
    movies: StoredMovies
    movie_count: int


class ImportFile:
    """A file: its collections, how many movies are in it repeatedly, and what cannot be read.

    `errors` has the first MAX_ERRORS errors; `skipped` counts the movies and lines of all of them.
    """

    def __init__(self) -> None:
        self.collections: list[FileCollection] = []
        self.repeated = 0
        self.errors: list[LineError] = []
        self.error_count = 0
        self.skipped = 0

    def skip(self, line: int, detail: str, movies: int = 1) -> None:
        """Record why a line, or a number of movies in it, is not imported."""
        self.error_count += 1
        self.skipped += movies
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(LineError(line, detail[:MAX_DETAIL]))


def read_file(kind: str, body: bytes) -> ImportFile:
    """The file of a media type. Raises BadRequest if nothing of it can be read, InvalidBody for JSON with any fault."""
    file = ImportFile()
    if kind == JSON:
        file.collections.append(_collection(1, body, parse(ImportedCollection, body)))
    elif kind == NDJSON:
        _read_lines(file, body)
    else:
        _read_csv(file, body)
    return file


def _collection(line: int, text: bytes, new: ImportedCollection) -> FileCollection:
    collection_uuid = new.uuid.lower() if new.uuid else _uuid_of(text)
    return FileCollection(
        line, collection_uuid, new.title, new.description or "", new.created_at, new.updated_at, stored(new.movies),
        len(new.movies))


def _uuid_of(text: bytes) -> str:
    """The uuid of a collection without one: the same whenever the file is imported."""
    return str(uuid.uuid5(NAMESPACE, f"urn:movieserver:import:{hashlib.sha256(text).hexdigest()}"))


def _read_lines(file: ImportFile, body: bytes) -> None:
    lines = [(number, line.removeprefix(codecs.BOM_UTF8)) for number, line in enumerate(body.split(b"\n"), 1)
             if line.strip()]
    if len(lines) > MAX_COLLECTIONS:
        raise BadRequest(
            f"The file has {len(lines)} lines; at most {MAX_COLLECTIONS} can be imported at a time. Split it.")
    for number, line in lines:
        try:
            file.collections.append(_read_line(file, number, line))
        except BadRequest as error:
            file.skip(number, _details(error.faults) or error.detail)
    if lines and not file.collections:
        first = file.errors[0]
        raise BadRequest(
            "No line of the file is a collection in JSON, such as /export/ sends. If the file is a single collection, "
            f"send it as application/json. Line {first.line}: {first.detail}")


def _read_line(file: ImportFile, number: int, line: bytes) -> FileCollection:
    """A line without its invalid movies, which are recorded as errors. Raises BadRequest."""
    try:
        return _collection(number, line, parse(ImportedCollection, line))
    except InvalidBody:
        body = from_json(line)
        movies = body.get("movies") if isinstance(body, dict) else None
        if not isinstance(movies, list) or len(movies) > MAX_MOVIES:
            raise
    new = parse(ImportedCollection, _json(_known(body, ImportedCollection.model_fields) | {"movies": []}))
    entries = ((number, f"/movies/{index}/", movie) for index, movie in enumerate(movies))
    return _collection(number, line, new.model_copy(update={"movies": _valid_movies(file, entries)}))


def _read_csv(file: ImportFile, body: bytes) -> None:
    try:
        table = read_table(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BadRequest("The file is not in UTF-8. Save it as UTF-8 (some programs call that CSV UTF-8).") from None
    movies = _valid_movies(file, ((number, "", row) for number, row in table.rows))
    if movies:
        new = ImportedCollection.model_construct(
            title=table.title[:TITLE_CHARACTERS], description=table.description, movies=movies)
        file.collections.append(_collection(1, body, new))


def _valid_movies(file: ImportFile, entries: Iterable[tuple[int, str, Any]]) -> list[Movie]:
    """The valid movies, each once; the others are recorded.

    An entry has the number of a line, where a movie is in it (a JSON pointer), and the movie or why it is skipped.
    """
    movies: dict[str, Movie] = {}
    for line, place, entry in entries:
        try:
            movie = _movie(place, entry)
            [movie_uuid] = identities([movie])
            if movie_uuid in movies:
                file.repeated += 1
            elif len(movies) == MAX_MOVIES:
                raise BadLine(f"A collection holds at most {MAX_MOVIES} movies")
            else:
                movies[movie_uuid] = {**movie, "uuid": movie_uuid}
        except BadLine as error:
            file.skip(line, str(error))
    return [*movies.values()]


def _movie(place: str, entry: Any) -> Movie:
    if isinstance(entry, BadLine):
        raise entry
    try:
        [movie] = parse(MovieList, _json({"movies": [_known(entry, Movie.__annotations__)]})).movies
    except BadRequest as error:
        raise BadLine(_details(error.faults, place) or error.detail.replace("The body", "The movie")) from None
    except PydanticSerializationError:  # nested too deep, or a lone surrogate, in a cell of CSV
        raise BadLine("ids cannot be read as JSON") from None
    return movie


def _known(value: Any, keys: Iterable[str]) -> Any:
    """An object with only these keys. Others are ignored, even with a number that JSON cannot have, such as 1e400."""
    return {key: value[key] for key in keys if key in value} if isinstance(value, dict) else value


def _json(value: object) -> bytes:
    """JSON that may have Infinity, which `parse` refuses."""
    return to_json(value, inf_nan_mode="constants")


def _details(faults: list[FieldError], place: str = "/movies/0/") -> str:
    """What is wrong, in one line. `place` replaces the beginning of pointers into a movie that was parsed alone."""
    pointers = [f"{fault.pointer}/".replace("/movies/0/", place).removesuffix("/") for fault in faults]
    return "; ".join(f"{pointer}: {fault.detail}" for pointer, fault in zip(pointers, faults))
