"""CSV files of movies, ours and those of other services, recognized by the names of their columns."""
from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from movieserver.errors import BadRequest
from movieserver.formats import NOTE_CHARACTERS
from movieserver.schemas.movie_csv import movie_of

Row = dict[str, str]  # its keys are the names of the columns in lower case; a cell that is missing is blank
MAX_LINES = 50_000
DELIMITERS = ",;\t"
LETTERBOXD_LIST = "letterboxd list export"
IMDB_ID = re.compile(r"tt[0-9]+")
YEAR = re.compile(r"\s*([0-9]{4})(\.0)?\s*")
UNCLOSED = "unexpected end of data"  # the message of csv.reader
EXPECTED = (
    "The file must be CSV in UTF-8, separated by commas, semicolons or tabs, and its first line must name the columns "
    "as in an export of this server (Title, Year, imdbID, tmdbID, uuid), Letterboxd, IMDb or Trakt.")


class BadLine(Exception):
    """A line that is not imported; the message says why."""


class CsvFormat(NamedTuple):
    """A kind of file: the columns that identify it, the title of its collection, and how a row is read (BadLine)."""

    columns: set[str]
    title: str
    read: Callable[[Row], dict[str, Any]]


class Table(NamedTuple):
    """A file: the title and the description of its list, and its movies, each with its line, or why it is skipped."""

    title: str
    description: str
    rows: Iterator[tuple[int, dict[str, Any] | BadLine]]


def _letterboxd(row: Row) -> dict[str, Any]:
    """The addresses in a diary are those of entries, not films.

    A film is identified by title and year; by its address only without a year.
    """
    address = row.get("url") or row.get("letterboxd uri")
    ids = {"letterboxd": address} if address and not row["year"] and "watched date" not in row else None
    note = _short(row.get("description") or row.get("review"))
    return {"title": row["name"], "year": row["year"], "ids": ids, "note": note}


def _imdb(row: Row) -> dict[str, Any]:
    if not IMDB_ID.fullmatch(imdb_id := row["const"].strip()):
        raise BadLine("Const must be an IMDb title id, such as tt0133093; others are not imported")
    return {
        "title": row["title"], "year": row.get("year"), "genres": row.get("genres", ""), "ids": {"imdb": imdb_id},
        "note": _short(row.get("description"))}


def _trakt(row: Row) -> dict[str, Any]:
    """Shows are refused: TMDB numbers them separately, so ids would collide."""
    if row["type"].strip().lower() != "movie":
        raise BadLine(f"The type is {row['type'][:50] or '(blank)'}; only movies are imported")
    found = {name: row.get(f"{name}_id", "").strip() for name in ("trakt", "imdb", "tmdb")}
    # 0 is not an id: all films with it would become one
    ids = {name: own for name, own in found.items() if own.strip("0")}
    year = row.get("year") or row.get("released", "")[:4]
    note = _short(row.get("notes"))
    return {"title": row["title"], "year": year, "genres": row.get("genres", ""), "ids": ids or None, "note": note}


def _own(row: Row) -> dict[str, Any]:
    try:
        return movie_of(row)
    except (ValueError, RecursionError):
        raise BadLine("ids must be a JSON object") from None


FORMATS = [
    *(CsvFormat({"type", "title", f"{name}_id"}, "Trakt list", _trakt) for name in ("trakt", "imdb", "tmdb")),
    CsvFormat({"position", "const", "title"}, "IMDb list", _imdb),
    CsvFormat({"const", "title"}, "IMDb ratings", _imdb),
    CsvFormat({"position", "name", "year", "url"}, "Letterboxd list", _letterboxd),
    CsvFormat({"name", "year", "letterboxd uri", "watched date"}, "Letterboxd diary", _letterboxd),
    CsvFormat({"name", "year", "letterboxd uri", "rating"}, "Letterboxd ratings", _letterboxd),
    CsvFormat({"name", "year", "letterboxd uri"}, "Letterboxd films", _letterboxd),
    *(CsvFormat({"title", name}, "Imported movies", _own) for name in ("uuid", "imdbid", "tmdbid", "year")),
]


def read_table(text: str) -> Table:
    """Parse a file, whose header line shows its format. Raises BadRequest that lists the known formats."""
    for delimiter in DELIMITERS:
        lines = _lines(text, delimiter)
        title, description, names = _head(lines)
        for kind in FORMATS:
            if kind.columns <= set(names):
                return Table(title or kind.title, description, _rows(lines, names, kind.read))
    raise BadRequest(EXPECTED)


def _year(text: str | None) -> int | None:
    """The year in a cell, None if it is blank; BadLine for anything else."""
    if not text or text.isspace():
        return None
    match = YEAR.fullmatch(text)
    if not match:
        raise BadLine("year must be a number of four digits")
    return int(match[1])


def _short(note: str | None) -> str | None:
    """The note of another service, cut to the maximum of ours."""
    return note[:NOTE_CHARACTERS] if note else None


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | BadLine]]:
    """The cells of each line that is not blank, with its number; a quoted cell may have line breaks."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = "a quotation mark is not closed in the rest of the file" if str(error) == UNCLOSED else error
            yield number, BadLine(f"This line is not valid CSV: {reason}")
            continue
        if any(cells):
            yield number, cells


def _head(lines: Iterator[tuple[int, list[str] | BadLine]]) -> tuple[str, str, list[str]]:
    """The title and the description that precede a list of Letterboxd, and the names of the columns."""
    found = _next_cells(lines)
    if found and found[0].lower().startswith("sep="):  # a line for Excel
        found = _next_cells(lines)
    if not found or not found[0].lower().startswith(LETTERBOXD_LIST):
        return "", "", _names(found)
    names, values = _names(_next_cells(lines)), _next_cells(lines)
    if "position" in _names(values):  # there was no line of values
        return "", "", _names(values)
    about = dict(zip(names, values))
    title, description = (about.get(name, "").replace("\0", "") for name in ("name", "description"))
    return title, description, _names(_next_cells(lines))


def _next_cells(lines: Iterator[tuple[int, list[str] | BadLine]]) -> list[str]:
    _, cells = next(lines, (0, []))
    return [] if isinstance(cells, BadLine) else cells


def _names(cells: list[str]) -> list[str]:
    return [name.strip().lower() for name in cells]


def _rows(
    lines: Iterator[tuple[int, list[str] | BadLine]], names: list[str], read: Callable[[Row], dict[str, Any]]
) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
    for count, (number, cells) in enumerate(lines, 1):
        if count > MAX_LINES:
            raise BadRequest(f"The file has more than {MAX_LINES} lines. Split it, and send each with ?into=<uuid>.")
        try:
            movie = read(_row(cells, names))
            yield number, movie | {"year": _year(movie["year"])}
        except BadLine as error:
            yield number, error


def _row(cells: list[str] | BadLine, names: list[str]) -> Row:
    if isinstance(cells, BadLine):
        raise cells
    if any(cells[len(names):]):
        raise BadLine("This line has more cells than the header")
    return dict.fromkeys(names, "") | dict(zip(names, cells))
