"""Movies as the CSV of this server, which spreadsheets read, and the importers of other services (RFC 4180)."""
from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

HEADER = (
    "Position", "Title", "Year", "imdbID", "tmdbID", "Description", "Genres", "Note", "Poster", "ids", "uuid")
BOM = "\ufeff"  # without it, Excel takes UTF-8 for the encoding of its country; it spoils a column that nobody needs
# What a spreadsheet takes for a formula; and what looks like a text that is marked so, for that to be reversible.
MARKED = re.compile(r"'*[=+\-@\t\r\n]|'+\Z")
MARK = "'"


def mark(text: str) -> str:
    """A text that no spreadsheet takes for a formula: with an apostrophe in front where it is needed."""
    return MARK + text if MARKED.match(text) else text


def unmark(cell: str) -> str:
    """The text of a cell: what `mark` was given."""
    return cell[1:] if cell.startswith(MARK) and MARKED.match(cell) else cell


def movies_as_csv(collection: bytes) -> bytes:
    """The movies of a collection, which is JSON text, as CSV."""
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)  # or a semicolon would begin another cell in some countries
    file.write(f"{BOM}{','.join(HEADER)}\r\n")
    for position, movie in enumerate(json.loads(collection)["movies"], 1):
        writer.writerow(_cells(position, movie))
    return file.getvalue().encode()


def _cells(position: int, movie: dict[str, Any]) -> list[str]:
    ids, note = movie.get("ids"), movie.get("note")
    known = ids or {}
    return [
        str(position), mark(movie["title"]), str(movie.get("year", "")), mark(known.get("imdb", "")),
        mark(known.get("tmdb", "")), mark(movie["description"]), mark(movie["genres"]),
        MARK if note == "" else mark(note or ""), movie.get("poster", ""),
        "" if ids is None else json.dumps(ids, ensure_ascii=False), movie["uuid"]]


def movie_of(row: dict[str, str]) -> dict[str, Any]:
    """The keys of a movie in a row of such a file; a person may have written it, with some of the columns only.

    `row` has the names of columns in lower case. ValueError or RecursionError if the cell `ids` cannot be read.
    """
    note, ids = row.get("note"), json.loads(row["ids"]) if row.get("ids") else None
    written = {name: unmark(row[f"{name}id"]) for name in ("imdb", "tmdb") if row.get(f"{name}id")}
    if written and (ids is None or isinstance(ids, dict)):
        ids = (ids or {}) | written
    return {
        "uuid": row.get("uuid") or None, "title": unmark(row["title"]), "year": row.get("year"),
        "description": unmark(row.get("description", "")), "genres": unmark(row.get("genres", "")),
        "note": unmark(note) if note else None, "poster": row.get("poster") or None, "ids": ids,
    }
