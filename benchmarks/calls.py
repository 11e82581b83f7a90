"""The calls that are measured. All users send each in turn."""
from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from benchmarks import people
from benchmarks.messages import Request
from benchmarks.people import COLLECTIONS, Person

VARIANTS = 4  # varies the body of a create, so that successive ones differ
READS, ADDS, CREATES = 16, 3, 1  # the mixed load, of each user: 80 %, 15 %, 5 %


@dataclass(frozen=True)
class Call:
    """A call to measure. `long` ones are measured for longer, by a client that waits for the last response."""

    name: str
    title: str
    requests: Callable[[Sequence[Person]], list[Request]]
    writes: bool = False
    exact: bool = True  # whether a response's length is always the same
    long: bool = False
    connections: tuple[int, ...] = (1, 16, 64)


def of_each(path: str) -> Callable[[Sequence[Person]], list[Request]]:
    """A GET by each user."""
    return lambda crowd: [Request(path, token=person.token) for person in crowd]


def one(crowd: Sequence[Person]) -> list[Request]:
    """For each user the collection with the same movies as the others', so that all are equally long."""
    return [Request(f"/collection/{person.collections[-person.number % COLLECTIONS]}/", token=person.token)
            for person in crowd]


def created(count: int, crowd: Sequence[Person]) -> list[Request]:
    """A new collection by each user."""
    return [Request("/collection/", "POST", person.token, body(count, person.number % VARIANTS), 201)
            for person in crowd]


@lru_cache
def body(count: int, variant: int) -> bytes:
    """The body that creates a collection."""
    return people.collection(variant, 0, [people.movie(variant, number) for number in range(count)])


def mixed(crowd: Sequence[Person]) -> list[Request]:
    """Reads, single adds and creates by all users, shuffled the same way each time."""
    requests = []
    for person in crowd:
        reads = [Request(path, token=person.token) for path in
                 ("/collection/?movies=false", "/collection/", f"/collection/{person.collections[0]}/")]
        add = Request(f"/collection/{person.collections[0]}/movies/", "POST", person.token, people.unique_movie())
        requests += [reads[number % 3] for number in range(READS)] + [add] * ADDS + created(2, [person]) * CREATES
    random.Random(1).shuffle(requests)
    return requests


CALLS = (
    Call("list", "list, `?movies=false`, 10 collections", of_each("/collection/?movies=false")),
    Call("list-movies", "list with movies, 10 × 10", of_each("/collection/")),
    Call("one", "one collection, 10 movies", one),
    Call("movies", "cached movie page", of_each("/movies/?page=2")),
    Call("count", "request count", lambda crowd: [Request("/request-count/")], exact=False),
    Call("create-2", "create with 2 movies", partial(created, 2), writes=True),
    Call("create-100", "create with 100 movies", partial(created, 100), writes=True),
    # 64 bodies of 2.5 MB are more than the server holds at once (64 MiB): it would refuse some with 503
    Call("create-10000", "create with 10,000 movies", partial(created, 10_000), writes=True, long=True,
         connections=(1, 16)),
)
MIXED = Call("mixed", "mixed load: 80 % reads, 15 % single adds, 5 % creates, a login a second", mixed, writes=True,
             exact=False, connections=(16,))
TITLES = {call.name: call.title for call in (*CALLS, MIXED)}
