"""The calls that are measured: what is sent, what must come back, and the statement behind it."""
from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from movieserver.data.collections import PAGE_BYTES
from movieserver.embedded.films import listing

JSON = {"Content-Type": "application/json"}
CONNECTIONS = (1, 16, 64)
# sixteen bodies of 10,000 movies are more than the server holds at once for one user
FEW_CONNECTIONS = (1, 4)
LONG_SECONDS = 2


@dataclass(frozen=True)
class Request:
    """What is sent, the same to every contender; `status` is what all of them must answer."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    status: int = 200


@dataclass(frozen=True)
class Statement:
    """A statement of sql/ by name, with its parameters."""

    name: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One thing to measure; `least_seconds` is for what is too slow for a shorter look."""

    name: str
    title: str
    request: Request
    statement: Statement | None = None
    connections: tuple[int, ...] = CONNECTIONS
    least_seconds: float = 0

    @property
    def writes(self) -> bool:
        """Whether it leaves something behind."""
        return self.request.method != "GET"


def movies(count: int) -> list[dict[str, str]]:
    """Movies with the films of the demo catalogue in turn, no two of one uuid."""
    films = listing()
    return [films[number % len(films)] | {"uuid": str(uuid.UUID(int=number + 1, version=4))} for number in range(count)]


def collection(count: int) -> bytes:
    """The body that creates a collection of `count` movies."""
    return json.dumps({"title": "Silent evenings", "description": "For rainy days", "movies": movies(count)}).encode()


def listed(name: str, title: str, user_id: str, sign: dict[str, str], with_movies: bool = False) -> Call:
    """The list of a user's collections."""
    return Call(
        name, title, Request("/collection/" if with_movies else "/collection/?movies=false", headers=sign),
        Statement("collections.list", alone(
            user_id=user_id, limit=20, movies=with_movies, after_microseconds="NULL", after_uuid="NULL",
            bytes=PAGE_BYTES, apart=False)))


def one(user_id: str, sign: dict[str, str], collection_uuid: str) -> Call:
    """One collection."""
    return Call(
        "one", "one collection, 10 movies", Request(f"/collection/{collection_uuid}/", headers=sign),
        Statement("collections.read", alone(user_id=user_id, collection_uuid=collection_uuid, apart=False)))


def alone(**values: object) -> dict[str, str]:
    """The parameters of a statement that many can share, for one who asks: arrays of one."""
    return {name: f"{{{value}}}" for name, value in values.items()}


def created(user_id: str, sign: dict[str, str], count: int) -> Call:
    """A new collection of `count` movies."""
    body, large = collection(count), count > 1000
    text = json.dumps(movies(count), ensure_ascii=False, separators=(",", ":"))
    return Call(
        f"create-{count}", f"create a collection of {count:,} movies",
        Request("/collection/", "POST", sign | JSON, body, 201),
        Statement("collections.create", {"user_id": user_id, **json.loads(body), "movies": text}),
        FEW_CONNECTIONS if large else CONNECTIONS, LONG_SECONDS if large else 0)


def all_calls(reader: str, reads: dict[str, str], collection_uuid: str, writer: str, writes: dict[str, str],
              ) -> list[Call]:
    """Every call, of a user who reads and one who writes; what stands in the headers of each is given too."""
    return [
        listed("list", "list, `?movies=false`, 10 collections", reader, reads),
        listed("list-movies", "list with movies, 10 × 10", reader, reads, with_movies=True),
        one(reader, reads, collection_uuid),
        Call("movies", "cached movie page", Request("/movies/?page=2", headers=reads)),
        Call("count", "request count", Request("/request-count/")),
        *(created(writer, writes, count) for count in (2, 100, 10_000)),
    ]
