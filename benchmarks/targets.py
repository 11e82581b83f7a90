"""The targets, a minimum and a goal each, and whether they are met."""
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import growth
from benchmarks.calls import CALLS, MIXED, TITLES
from benchmarks.results import ALL_CPU, BARE, NODE, OURS, P99, RATE, ROWS, WHOLE, Series, Results, Spread

CONNECTIONS = 16
# by call: the ratio of the rates to reach, as minimum and goal (None: no target)
BY_BARE = {"list": (0.65, 0.80), "list-movies": (0.60, 0.65), "one": (0.85, 0.95), "movies": (None, 0.85),
           "count": (None, 1.25)}
BY_ROWS = {"list": 1.5, "list-movies": 1.6, "one": 1.8, "create-2": 1.2, "create-100": 1.0, "create-10000": 1.2}
BY_WHOLE = {"list": 1.7, "list-movies": 1.7, "one": 1.9, "movies": 1.6, "count": 1.2, "create-2": 1.2,
            "create-100": 1.2, "create-10000": 1.2}
BY_NODE = {"list": 0.6, "list-movies": 1.0}
ALONE = 1.1  # at 1 connection
CROWDED, CROWDED_CREATES = 1.5, 1.2  # at 64
LARGE = 1.5
NEIGHBOUR = 2.0
MIXED_P99 = 0.8
CPU = 0.7
LEAK_MEGABYTES = 2  # MB; memory allocators are not exact


class Target(NamedTuple):
    """A title, the minimum or the goal as text, the measured value, and whether it is met (None: not measured)."""

    title: str
    minimum: str
    goal: str
    measured: Spread | None
    reached: tuple[bool | None, bool | None]  # the minimum, the goal


def targets(results: Results) -> list[Target]:
    """All targets, in the order of the report."""
    return [*_rates(results), *_worst(results), *_company(results), *_growth(results)]


def _target(title: str, measured: Spread | None, sign: str, minimum: float | None, goal: float | None) -> Target:
    def reaches(bound: float | None) -> bool | None:
        if bound is None or measured is None:
            return None
        return measured.median >= bound if sign == "≥" else measured.median <= bound

    minimum_text, goal_text = ("–" if bound is None else f"{sign} {bound:.2f}" for bound in (minimum, goal))
    return Target(title, minimum_text, goal_text, measured, (reaches(minimum), reaches(goal)))


def _ratio(results: Results, call: str, below: str, connections: int = CONNECTIONS, metric: str = RATE,
           ) -> Spread | None:
    return results.ratio(metric, Series(call, connections, OURS), Series(call, connections, below))


def _rates(results: Results) -> Iterator[Target]:
    for call, (minimum, goal) in BY_BARE.items():
        yield _target(f"{TITLES[call]}, by {BARE}", _ratio(results, call, BARE), "≥", minimum, goal)
    for call, bound in BY_ROWS.items():
        yield _target(f"{TITLES[call]}, by {ROWS}", _ratio(results, call, ROWS), "≥", bound, None)
    for call, bound in BY_WHOLE.items():
        yield _target(f"{TITLES[call]}, by {WHOLE}", _ratio(results, call, WHOLE), "≥", None, bound)
    for call, bound in BY_NODE.items():
        yield _target(f"{TITLES[call]}, by {NODE}", _ratio(results, call, NODE), "≥", None, bound)


def _worst(results: Results) -> Iterator[Target]:
    """The call with the lowest ratio at another number of connections."""
    creates = [call.name for call in CALLS if call.writes]
    reads = [call.name for call in CALLS if not call.writes]
    for title, names, connections, bound in (
            ("calls", reads + creates, 1, ALONE), ("reads", reads, 64, CROWDED),
            ("creates", creates, 64, CROWDED_CREATES)):
        found = {name: ratio for name in names if (ratio := _ratio(results, name, WHOLE, connections))}
        worst = min(found, key=lambda name: found[name].median, default=None)
        title = f"all {title} at {connections} connection{'s' if connections > 1 else ''}, by {WHOLE}"
        title += f"; lowest: {TITLES[worst]}" if worst else ""
        yield _target(title, found[worst] if worst else None, "≥", None, bound)


def _company(results: Results) -> Iterator[Target]:
    small, large = (Series(name, growth.CONNECTIONS, OURS) for name in (growth.SMALL, growth.LARGE))
    yield _target("list for users with 10 movies, by users with 100,000", results.ratio(RATE, small, large),
                  "≤", LARGE, LARGE)
    for below in (ROWS, WHOLE):
        p99 = _ratio(results, growth.NEIGHBOUR, below, growth.NEIGHBOUR_CONNECTIONS, P99)
        yield _target(f"list while others create 10,000 movies, 99th percentile, by {below}", p99, "≤",
                      *((NEIGHBOUR, None) if below == ROWS else (None, NEIGHBOUR)))
    yield _target(f"mixed load, 99th percentile, by {WHOLE}", _ratio(results, MIXED.name, WHOLE, metric=P99), "≤",
                  None, MIXED_P99)
    yield _target(f"list with movies, processor time of all processes, by {WHOLE}",
                  _ratio(results, "list-movies", WHOLE, metric=ALL_CPU), "≤", None, CPU)


def _growth(results: Results) -> Iterator[Target]:
    """From the third tenth of the requests, when the pool of connections is full, to the last."""
    for name, title, bound in (("memory", "memory, MB", LEAK_MEGABYTES), ("files", "open files", 0),
                               ("connections", "connections to PostgreSQL", 0)):
        later = results.numbers.get(name, [])[3:]
        grown = Spread.of([later[-1] - later[0]] if later else [])
        yield _target(f"growth under the mixed load: {title}", grown, "≤", None, bound)
