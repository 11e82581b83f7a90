"""The films of the demo catalogue, from films.csv. A film's uuid is the version 5 UUID of its title (RFC 9562)."""
from __future__ import annotations

import csv
import uuid
from functools import cache
from pathlib import Path
from typing import Any

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:movieserver:demo-catalogue")


@cache
def listing() -> list[dict[str, Any]]:
    """All films as the third party shows them; a description begins with the year."""
    with open(Path(__file__).with_suffix(".csv"), encoding="utf-8", newline="") as file:
        return [
            {
                "title": row["title"], "description": f"{row['year']}. {row['story']}", "genres": row["genres"],
                "uuid": str(uuid.uuid5(NAMESPACE, row["title"])), "year": int(row["year"]),
                "ids": {"imdb": row["imdb"]},
            }
            for row in csv.DictReader(file)
        ]


def search(words: str) -> list[dict[str, Any]]:
    """The films in whose title, year, genres or story all of the words occur, in either case."""
    wanted = words.casefold().split()
    return [film for film in listing() if all(word in _searched(film) for word in wanted)]


def _searched(film: dict[str, Any]) -> str:
    return " ".join((film["title"], film["genres"], film["description"])).casefold()
