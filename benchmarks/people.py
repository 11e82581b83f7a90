"""The users of a run: each with a token and collections, all created through the HTTP API."""
from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import psycopg2

from benchmarks.client import ask
from benchmarks.messages import UNIQUE, Request
from movieserver.embedded.films import listing

USERS = 200
COLLECTIONS = 10
MOVIES = 10  # in each collection
PASSWORD = "seven silent samurai at noon"
FILMS = [{key: film[key] for key in ("title", "description", "genres", "uuid")} for film in listing()]


class Person(NamedTuple):
    """A user: the number for the uuids of their movies, a token, and the uuids of their collections."""

    number: int
    name: str
    token: str
    collections: tuple[str, ...] = ()


def movie(owner: int, number: int) -> dict[str, str]:
    """A film with the uuid of this owner and number."""
    return FILMS[number % len(FILMS)] | {"uuid": str(uuid.UUID(int=(owner << 64) + number + 1, version=4))}


def unique_movie() -> bytes:
    """The body of a movie with another uuid each time that it is sent."""
    marked = FILMS[0] | {"uuid": f"ffffffff-0000-4000-8000-{UNIQUE.decode()}"}
    return json.dumps(marked).encode()


def collection(owner: int, number: int, movies: list[dict[str, str]]) -> bytes:
    """The body of a collection; those of all owners are equally long."""
    title = f"Silent evenings {owner:05}-{number:02}"
    return json.dumps({"title": title, "description": "For rainy days", "movies": movies}).encode()


def register(port: int, count: int = USERS) -> list[Person]:
    """New users without collections."""
    names = [f"{secrets.token_hex(8)}-{number}" for number in range(count)]
    bodies = ask(port, [credentials("/register/", name, 201) for name in names])
    return [Person(number, names[number], json.loads(body)["access_token"]) for number, body in enumerate(bodies)]


def credentials(path: str, name: str, status: int = 200) -> Request:
    """A request that registers a user or logs one in."""
    return Request(path, "POST", body=json.dumps({"username": name, "password": PASSWORD}).encode(), status=status)


def fill(port: int, people: Sequence[Person], count: int = COLLECTIONS, movies: int = MOVIES) -> list[Person]:
    """Create the collections of each, oldest first: the same films in different order, so all have the same length."""
    made: list[list[str]] = [[] for _ in people]
    for number in range(count):
        bodies = ask(port, [
            Request("/collection/", "POST", person.token, _filled(person.number, number, count, movies), 201)
            for person in people], connections=8 if movies < 1000 else 2)
        for own, body in zip(made, bodies):
            own.append(json.loads(body)["collection_uuid"])
    return [person._replace(collections=tuple(own)) for person, own in zip(people, made)]


def _filled(owner: int, number: int, count: int, movies: int) -> bytes:
    block = (number + owner) % count * movies
    return collection(owner, number, [movie(owner, block + (index + owner) % movies) for index in range(movies)])


def forget(port: int, people: Sequence[Person]) -> None:
    """Delete their accounts with all of their data."""
    ask(port, [Request("/account/", "DELETE", person.token) for person in people])


@contextmanager
def crowd(port: int, database: str, *, filled: bool = False, count: int = USERS) -> Iterator[list[Person]]:
    """Users for one measurement; afterwards they are deleted."""
    people = register(port, count)
    if filled:
        people = fill(port, people)
    tidy(database)
    yield people
    forget(port, people)
    tidy(database)


def tidy(database: str) -> None:
    """Vacuum and checkpoint now, so that neither happens during a measurement."""
    with closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")
            cursor.execute("CHECKPOINT")


def comparable(value: Any) -> Any:
    """A JSON value without what always differs: uuids of collections, times, tokens, links, the count."""
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if not isinstance(value, dict):
        return value
    natural = {"collection_uuid", "created_at", "updated_at", "next", "previous", "requests", "access_token",
               "refresh_token", "expires_in"} | ({"uuid"} if "created_at" in value else set())
    return {name: None if name in natural else comparable(item) for name, item in value.items()}
