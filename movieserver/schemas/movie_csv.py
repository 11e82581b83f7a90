"""Movies as the CSV of this server (RFC 4180), for spreadsheets and the importers of other services."""
from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

HEADER = (
    "Position", "Title", "Year", "imdbID", "tmdbID", "Description", "Genres", "Note", "Poster", "ids", "uuid")
BOM = "\ufeff"  # without it, Excel does not read UTF-8; elsewhere it spoils at most the name of the first column
# texts that a spreadsheet takes for formulas, and texts that already begin with our mark, so that `unmark` restores
# every text
MARKED = re.compile(r"'*[=+\-@\t\r\n]|'+\Z")
MARK = "'"


def mark(text: str) -> str:
    """The text, with an apostrophe in front if a spreadsheet would take it for a formula."""
    return MARK + text if MARKED.match(text) else text


def unmark(cell: str) -> str:
    """The text of a cell that `mark` made."""
    return cell[1:] if cell.startswith(MARK) and MARKED.match(cell) else cell


def movies_as_csv(collection: bytes) -> bytes:
    """The movies of a collection, which is JSON text, as CSV."""
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)  # Excel splits at semicolons in some countries
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
    """The keys of a movie in a row of such a file, which may be hand-written and lack columns.

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
