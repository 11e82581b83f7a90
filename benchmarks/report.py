"""The report: tables in Markdown, which a terminal shows well too."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import chart
from benchmarks.growth import CONNECTIONS
from benchmarks.results import BARE, OURS, PREPARED, RIVAL, SIMPLE, TWO, Place, Results, Spread
from benchmarks.services import POOL
from benchmarks.targets import TITLES, targets

SAID = {True: "yes", False: "no", None: "not measured"}
METHOD = f"""\
## How it is measured

`make bench` starts an embedded PostgreSQL (as `make serve` does, fsync on), Redis and the demo catalogue, and beside
them every contender as a process of its own; all of it is on this machine, on 127.0.0.1 and Unix sockets. `make bench
OPTIONS=--quick` takes less than three minutes and writes nothing; `OPTIONS=--help` names the others.

- **movieserver** runs by `run.py` as in production: counter, token, log line (into a file), {POOL} connections to
  PostgreSQL a process.
- **bare Tornado** is one process of Tornado on uvloop that gets the same requests and answers the same bodies from
  memory: no token, no log, no ETag (`benchmarks/bare.py`). What it reaches is what the framework leaves to us.
- **FastAPI** is the same service on FastAPI, uvicorn, asyncpg and redis-py (`benchmarks/fastapi_service.py`): the same
  statements, the same token, count and log line. Its count is exact too: an answer waits for its `INCRBY`, which
  requests that come together share. It keeps no metrics and bounds nothing, and gives connections back without asking
  PostgreSQL to reset them, all of which is to its advantage.
- **pgbench** runs the statement of the call by itself over {POOL} connections, with the same data: `simple` has the
  parameters in the text, `prepared` binds them to a plan that is kept. A body of 10,000 movies is too long for it to
  bind.

Before anything is measured every contender is asked every call, and all have to give the same answer. One load process
asks over kept connections; one answer that is an error, or one connection that breaks, and the run is worthless.
In each round every contender has its turn on every call, in rising order in one round and falling in the next. A ratio
is taken within a round; what stands here is the median of the rounds, with the least and the most behind it. What a
create leaves behind is deleted and vacuumed before the next one. A collection of 10,000 movies is created over 4
connections at the most: more such bodies of one user at once than the server holds are answered with 503.

Processor time is what the serving process itself had, from `/proc`: that of PostgreSQL, Redis and the load is not in
it, and neither is what others do on the machine. It is the number to look at when one change is compared with another
on a busy machine. Its ratios (more is better) are what those of the rates would be if PostgreSQL cost nothing.

Contenders, PostgreSQL and the load share the cores of the machine. Where there are only two, two processes cannot be
much faster than one, and everything that PostgreSQL does is taken from Python. Rates of different runs say little
about each other; ratios do.
"""


def written(results: Results, facts: dict[str, str]) -> str:
    """The whole report."""
    return "\n".join([
        "# Benchmarks\n", "Written by `make bench`.\n", table(["", ""], facts.items()),
        "\n![Rates next to the yardsticks](benchmarks.svg)\n",
        "## What is to be reached\n", _targets(results),
        "\n## Requests a second\n", _rates(results),
        "\n## Ratios\n", _ratios(results),
        "\n## Processor time of Python a request, µs\n", _costs(results),
        "\n## The statement by itself\n", _statements(results),
        "\n## Growth, memory, time to ready\n", _growth(results), "", _numbers(results), "", METHOD,
    ])


def write(folder: Path, text: str, results: Results) -> None:
    """Write the report and its chart."""
    (folder / "benchmarks.md").write_text(text, encoding="utf-8")
    (folder / "benchmarks.svg").write_text(chart.drawn(results), encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown, its columns aligned."""
    lines = [list(head), *map(list, rows)]
    if len(lines) == 1:
        return "Not measured."
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * max(width, 3) for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines)


def ratio(spread: Spread | None) -> str:
    """A ratio with its spread."""
    return f"{spread.middle:.2f} ({spread.least:.2f}–{spread.most:.2f})" if spread else "–"


def rate(spread: Spread | None) -> str:
    """A rate with its spread; slow ones with a decimal."""
    digits = 0 if spread and spread.middle >= 100 else 1
    return f"{spread.middle:,.{digits}f} ({spread.least:,.{digits}f}–{spread.most:,.{digits}f})" if spread else "–"


def _targets(results: Results) -> str:
    return table(["ratio", "bound", "measured (16, then 64 connections)", "reached"], [
        (target.title, target.bound, ", ".join(map(ratio, target.measured)) or "–", SAID[target.reached])
        for target in targets(results)])


def _measured(results: Results) -> list[tuple[str, int]]:
    """Calls and their connections."""
    found = {(place.call, place.connections) for place in results.rates if place.contender == BARE}
    order = [*TITLES]
    return sorted((pair for pair in found if pair[0] in TITLES), key=lambda pair: (order.index(pair[0]), pair[1]))


def _rates(results: Results) -> str:
    names = (BARE, OURS, RIVAL, TWO)
    return table(["call", "connections", *names, "movieserver, 99th percentile"], [
        (TITLES[call], str(many), *(rate(results.rate(Place(call, many, name))) for name in names),
         _milliseconds(results, Place(call, many, OURS)))
        for call, many in _measured(results)])


def _milliseconds(results: Results, place: Place) -> str:
    found = results.late.get(place)
    return f"{Spread.of(found).middle:.1f} ms" if found else "–"


def _ratios(results: Results) -> str:
    pairs = {"movieserver / bare": (OURS, BARE), "FastAPI / bare": (RIVAL, BARE),
             "movieserver / FastAPI": (OURS, RIVAL), "2 processes / 1": (TWO, OURS)}
    return table(["call", "connections", *pairs], [
        (TITLES[call], str(many),
         *(ratio(results.ratio(Place(call, many, one), Place(call, many, other))) for one, other in pairs.values()))
        for call, many in _measured(results)])


def _costs(results: Results) -> str:
    names = (BARE, OURS, RIVAL)
    return table(["call", "connections", *names, "bare / movieserver", "FastAPI / movieserver"], [
        (TITLES[call], str(many),
         *(rate(Spread.of(found)) if (found := results.cpu.get(Place(call, many, name))) else "–" for name in names),
         *(ratio(results.cost(Place(call, many, name), Place(call, many, OURS))) for name in (BARE, RIVAL)))
        for call, many in _measured(results)])


def _statements(results: Results) -> str:
    modes = (SIMPLE, PREPARED)
    rows = []
    for call, many in _measured(results):
        below = [Place(call, POOL, mode) for mode in modes]
        if any(results.rate(place) for place in below):
            rows.append((TITLES[call], str(many), *(rate(results.rate(place)) for place in below),
                         *(ratio(results.ratio(Place(call, many, OURS), place)) for place in below)))
    return table(["call", "connections", *modes, *(f"movieserver / {mode}" for mode in modes)], rows)


def _growth(results: Results) -> str:
    names = [place.call for place in results.rates if place.call not in TITLES and place.contender == OURS]
    rows = []
    for name in names:
        ours, bare = (Place(name, CONNECTIONS, contender) for contender in (OURS, BARE))
        rows.append((name, rate(results.rate(ours)), ratio(results.ratio(ours, bare)), _milliseconds(results, ours)))
    head = f"list, `?movies=false`, {CONNECTIONS} connections, of a user with"
    return table([head, OURS, "by bare Tornado", "99th percentile"], rows)


def _numbers(results: Results) -> str:
    rows = [(name, f"{Spread.of(values).middle:.2f} s ({min(values):.2f}–{max(values):.2f})")
            for name, values in results.numbers.items() if name.startswith("ready")]
    if memory := results.numbers.get("memory"):
        served = f"{sum(results.numbers['requests']):,.0f} lists"
        rows.insert(0, (f"memory of a process after start, then after each tenth of {served}, MB",
                        ", ".join(f"{value:.1f}" for value in memory)))
    return table(["", ""], rows)
