"""What was measured, and ratios of it: taken within each round, then the median of them."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

OURS, TWO, BARE = "movieserver", "movieserver, 2 processes", "bare Tornado"
ROWS, WHOLE = "FastAPI, rows", "FastAPI, whole"
RATE, P99, CPU, ALL_CPU = "rate", "p99", "cpu", "all cpu"  # a second; ms; µs a request: of its workers, of everything


class Spread(NamedTuple):
    """The median of several rounds, the smallest and the largest."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        """The spread of some values; None of none."""
        return cls(median(values), min(values), max(values)) if values else None


class Place(NamedTuple):
    """What was measured: a call at a number of connections, and who answered it."""

    call: str
    connections: int
    contender: str


@dataclass
class Results:
    """By metric and place, one value a round; by name, what else was measured."""

    values: dict[tuple[str, Place], list[float]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def note(self, place: Place, **metrics: float) -> None:
        """The values of one round."""
        for metric, value in metrics.items():
            self.values[metric.replace("_", " "), place].append(value)

    def spread(self, metric: str, place: Place) -> Spread | None:
        """What was measured in all rounds."""
        return Spread.of(self.values.get((metric, place), []))

    def ratio(self, metric: str, above: Place, below: Place) -> Spread | None:
        """One by another in the same round, where both were measured."""
        pairs = zip(self.values.get((metric, above), []), self.values.get((metric, below), []))
        return Spread.of([one / other for one, other in pairs if other])
