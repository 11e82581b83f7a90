"""What is to be reached, and whether it is."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.growth import CONNECTIONS, own
from benchmarks.results import BARE, OURS, PREPARED, RIVAL, SIMPLE, TWO, Place, Results, Spread
from benchmarks.services import POOL

TITLES = {
    "list": "list, `?movies=false`, 10 collections", "list-movies": "list with movies, 10 × 10",
    "one": "one collection, 10 movies", "movies": "cached movie page", "count": "request count",
    "create-2": "create with 2 movies", "create-100": "create with 100 movies",
    "create-10000": "create with 10,000 movies",
}
MANY = (16, 64)
SHARES = {"list": 0.55, "list-movies": 0.40, "one": 0.50, "movies": 0.60, "count": 0.65}
LEADS = {"list": 1.3, "count": 0.9}
CREATE_SHARE = 0.6
GROWN = 1.5
MEGABYTES = 90
LEAK_MEGABYTES = 2  # an allocator never gives back the same to the byte
PROCESSES = 1.6


class Target(NamedTuple):
    """What is measured, the bound as text, the measured values, and whether they keep it (None: not measured)."""

    title: str
    bound: str
    measured: list[Spread]
    reached: bool | None


def targets(results: Results) -> list[Target]:
    """All of them, in the order in which they are shown."""
    return [*_shares(results), *_creates(results), *_growth(results), *_memory(results), *_processes(results),
            *_leads(results)]


def _target(title: str, bound: str, measured: list[Spread | None], keeps: Callable[[float], bool]) -> Target:
    found = [spread for spread in measured if spread]
    return Target(title, bound, found, all(keeps(spread.middle) for spread in found) if found else None)


def _at_least(title: str, least: float, measured: list[Spread | None]) -> Target:
    return _target(title, f"≥ {least:.2f}", measured, lambda value: value >= least)


def _pairs(results: Results, call: str, above: str, below: str) -> list[Spread | None]:
    return [results.ratio(Place(call, many, above), Place(call, many, below)) for many in MANY]


def _shares(results: Results) -> Iterator[Target]:
    for call, least in SHARES.items():
        yield _at_least(f"{TITLES[call]}, by the bare handler", least, _pairs(results, call, OURS, BARE))


def _creates(results: Results) -> Iterator[Target]:
    for mode in (SIMPLE, PREPARED):
        below = Place("create-100", POOL, mode)
        yield _at_least(f"{TITLES['create-100']}, by {mode}", CREATE_SHARE, [
            results.ratio(Place("create-100", many, OURS), below) for many in MANY])


def _growth(results: Results) -> Iterator[Target]:
    few, many = Place(own(10), CONNECTIONS, OURS), Place(own(100_000), CONNECTIONS, OURS)
    yield _target("list for a user with 10 movies, by one with 100,000", f"≤ {GROWN:.2f}", [results.ratio(few, many)],
                  lambda value: value <= GROWN)


def _memory(results: Results) -> Iterator[Target]:
    start, *later = results.numbers.get("memory", [0.0])
    yield _target("memory after start, MB", f"< {MEGABYTES}", [Spread(start, start, start) if start else None],
                  lambda value: value < MEGABYTES)
    grown = later[-1] - later[0] if later else 0.0
    yield _target("its growth from the first tenth of the requests to the last, MB", f"≤ {LEAK_MEGABYTES}",
                  [Spread(grown, grown, grown) if later else None], lambda value: value <= LEAK_MEGABYTES)


def _processes(results: Results) -> Iterator[Target]:
    yield _at_least("two processes, by one, on the list (where two cores are free)", PROCESSES,
                    _pairs(results, "list", TWO, OURS))


def _leads(results: Results) -> Iterator[Target]:
    for call, title in TITLES.items():
        measured = _pairs(results, call, OURS, RIVAL)
        if call == "create-10000":
            measured = [results.ratio(Place(call, 4, OURS), Place(call, 4, RIVAL))]
        yield _at_least(f"{title}, by FastAPI", LEADS.get(call, 1.0), measured)
