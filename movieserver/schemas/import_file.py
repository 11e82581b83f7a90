"""Imported files: the collections in each, and what cannot be read."""
from __future__ import annotations

import codecs
import hashlib
import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from movieserver.errors import BadRequest, FieldError, InvalidBody
from movieserver.formats import NAMESPACE
from movieserver.http.headers import JSON
from movieserver.schemas.csv_formats import MAX_LINES, BadLine, Row, Table, read_table, year_of
from movieserver.schemas.movies import MAX_MOVIES, Movie, StoredMovies, identity, movie_adapter, stored
from movieserver.schemas.parsing import UUID_DETAIL, is_repeated, parse
from movieserver.schemas.requests import TITLE_CHARACTERS, NewCollection
from movieserver.schemas.texts import RawUuid

CSV, NDJSON = "text/csv", "application/x-ndjson"
MAX_COLLECTIONS = 1_000
MAX_ERRORS = 100
MAX_DETAIL = 300
TIMESTAMP = re.compile("^(19[7-9]|20[0-9]|21[0-9])[0-9]-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z$")
MOVIE_POINTER = re.compile(r"/movies/([0-9]+)\b")


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
        _read_lines(file, body.removeprefix(codecs.BOM_UTF8))
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


def _read_lines(file: ImportFile, text: bytes) -> None:
    lines = [(number, line) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    if len(lines) > MAX_COLLECTIONS:
        raise BadRequest(f"The file has {len(lines)} lines; at most {MAX_COLLECTIONS} are imported at a time.")
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
    text = line
    kept: Sequence[int] = range(MAX_MOVIES)  # the index in the line of each movie in the text
    skipped: dict[int, str] = {}
    while True:
        try:
            collection = _collection(number, line, parse(ImportedCollection, text))
            break
        except InvalidBody as error:
            wrong = _invalid_movies(error)
        for index, faults in wrong.items():
            skipped[kept[index]] = _details([
                fault._replace(pointer=fault.pointer.replace(f"/{index}", f"/{kept[index]}", 1)) for fault in faults])
        body = _known(json.loads(text), ImportedCollection.model_fields)
        movies = [*enumerate(body["movies"])]
        kept = [kept[index] for index, _ in movies if index not in wrong]
        body["movies"] = [_known(movie, Movie.__annotations__) for index, movie in movies if index not in wrong]
        text = json.dumps(body).encode()
    for _, detail in sorted(skipped.items()):
        file.skip(number, detail)
    return collection


def _invalid_movies(error: InvalidBody) -> dict[int, list[FieldError]]:
    """The faults of each movie to leave out. Raises the error itself if anything else is wrong.

    A movie that only repeats an earlier one stays if that one is left out: then nothing is wrong with it.
    """
    found: dict[int, list[FieldError]] = defaultdict(list)
    for fault in error.faults:
        if not (match := MOVIE_POINTER.match(fault.pointer)):
            raise error
        found[int(match[1])].append(fault)
    return {index: faults for index, faults in found.items() if not all(map(is_repeated, faults))} or found


def _known(value: Any, keys: Iterable[str]) -> Any:
    """An object with only these keys. The others are ignored, and may have numbers that cannot be written again."""
    return {key: value[key] for key in keys if key in value} if isinstance(value, dict) else value


def _details(faults: list[FieldError]) -> str:
    return "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)


def _read_csv(file: ImportFile, body: bytes) -> None:
    try:
        table = read_table(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BadRequest("The file is not in UTF-8. Save it as UTF-8 (some programs call that CSV UTF-8).") from None
    movies: dict[str, Movie] = {}
    for count, (number, row) in enumerate(table.rows, 1):
        if count > MAX_LINES:
            raise BadRequest(f"The file has more than {MAX_LINES} lines. Split it, and send each with ?into=<uuid>.")
        try:
            movie = _movie(table, row)
            movie_uuid = identity(movie) or ""
            if movie_uuid in movies:
                file.repeated += 1
            elif len(movies) == MAX_MOVIES:
                raise BadLine(f"A collection holds at most {MAX_MOVIES} movies")
            else:
                movies[movie_uuid] = movie
        except BadLine as error:
            file.skip(number, str(error))
    if movies:
        file.collections.append(_table_collection(table, body, [*movies.values()]))


def _table_collection(table: Table, body: bytes, movies: list[Movie]) -> FileCollection:
    return FileCollection(
        1, _uuid_of(body), table.title[:TITLE_CHARACTERS], table.description, None, None, stored(movies), len(movies))


def _movie(table: Table, row: Row | BadLine) -> Movie:
    """The movie of a row. Raises BadLine."""
    if isinstance(row, BadLine):
        raise row
    _refuse_nul(row)
    fields = table.read(row)
    try:
        movie = movie_adapter.validate_python(fields | {"year": year_of(fields["year"])})
    except ValidationError as error:
        [line, *_] = error.errors(include_url=False, include_input=False)
        detail = UUID_DETAIL if line["type"] == "string_pattern_mismatch" else line["msg"]
        raise BadLine(f"{'/'.join(map(str, line['loc']))}: {detail}") from None
    _refuse_nul(movie.get("ids") or {})
    uuid = identity(movie)
    if uuid is None:
        raise BadLine("A movie needs a year, an id or a uuid to be identified")
    return {**movie, "uuid": uuid}


def _refuse_nul(texts: dict[str, str]) -> None:
    if any("\0" in text for text in texts.values()):
        raise BadLine("A text must not contain a NUL character")
