"""The results, and their ratios: taken within each round, then the median."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

OURS, TWO, BARE = "movieserver", "movieserver, 2 processes", "bare Tornado"
ROWS, WHOLE, NODE = "FastAPI, rows", "FastAPI, whole", "Fastify, rows"
RATE, P99, CPU, ALL_CPU = "rate", "p99", "cpu", "all cpu"  # a second; ms; µs a request: of its workers, of everything


class Spread(NamedTuple):
    """The median of several rounds, the smallest and the largest."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        """The spread of some values; None if there are none."""
        return cls(median(values), min(values), max(values)) if values else None


class Series(NamedTuple):
    """What is measured: a call at a number of connections, on one service."""

    call: str
    connections: int
    contender: str


@dataclass
class Results:
    """The values per round by metric and series; other numbers by name."""

    values: dict[tuple[str, Series], list[float]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def note(self, series: Series, **metrics: float) -> None:
        """The values of one round."""
        for metric, value in metrics.items():
            self.values[metric.replace("_", " "), series].append(value)

    def spread(self, metric: str, series: Series) -> Spread | None:
        """The values of all rounds."""
        return Spread.of(self.values.get((metric, series), []))

    def ratio(self, metric: str, above: Series, below: Series) -> Spread | None:
        """The ratios within the same round, if both were measured."""
        pairs = zip(self.values.get((metric, above), []), self.values.get((metric, below), []))
        return Spread.of([one / other for one, other in pairs if other])
