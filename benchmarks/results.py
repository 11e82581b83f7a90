"""What was measured, and ratios of it: taken within each round, then the median of them."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

OURS, BARE, RIVAL, TWO = "movieserver", "bare Tornado", "FastAPI", "movieserver, 2 processes"
SIMPLE, PREPARED = "pgbench simple", "pgbench prepared"


class Spread(NamedTuple):
    """The median of several rounds, and the least and the most."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """The spread of some values, at least one."""
        return cls(median(values), min(values), max(values))


class Place(NamedTuple):
    """What a rate belongs to; `connections` are those of the caller."""

    call: str
    connections: int
    contender: str


@dataclass
class Results:
    """By place, one value a round: rates, late latencies (99th percentile, ms), microseconds of processor that the
    serving processes took for a request. By name: what else was measured."""

    rates: dict[Place, list[float]] = field(default_factory=lambda: defaultdict(list))
    late: dict[Place, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[Place, list[float]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def rate(self, place: Place) -> Spread | None:
        """Requests a second."""
        found = self.rates.get(place)
        return Spread.of(found) if found else None

    def ratio(self, above: Place, below: Place) -> Spread | None:
        """The rate of one by that of another in the same round, where both were measured."""
        return _ratio(self.rates.get(above, []), self.rates.get(below, []))

    def cost(self, above: Place, below: Place) -> Spread | None:
        """The processor time for a request of one by that of another in the same round."""
        return _ratio(self.cpu.get(above, []), self.cpu.get(below, []))

    def number(self, name: str) -> Spread | None:
        """What else was measured."""
        found = self.numbers.get(name)
        return Spread.of(found) if found else None


def _ratio(above: list[float], below: list[float]) -> Spread | None:
    pairs = [*zip(above, below)]
    return Spread.of([one / other for one, other in pairs]) if pairs else None
