"""The report: tables in Markdown, readable in a terminal too."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import chart, growth
from benchmarks.calls import TITLES
from benchmarks.people import USERS
from benchmarks.results import ALL_CPU, BARE, CPU, NODE, OURS, P99, RATE, ROWS, TWO, WHOLE, Series, Results, Spread
from benchmarks.services import POOL
from benchmarks.targets import CONNECTIONS, targets

REACHED = {True: "yes", False: "no", None: "–"}
EXTRA = {growth.NEIGHBOUR: "list, `?movies=false`, while others create 10,000 movies", growth.SMALL: growth.SMALL,
         growth.LARGE: growth.LARGE}
MARK = "<!-- the table between these lines is written by make bench -->\n"
WHY = f"""\
## Why goals are missed

- **Beside {BARE}.** It sends bytes from memory. The server also checks the token, counts in Redis, logs, keeps metrics
  and sends entity tags; that is what a movie page and the count cost more. A list needs PostgreSQL too, which on two
  cores takes its processor time from the server.
- **Reads beside FastAPI.** asyncpg is compiled and reads PostgreSQL's binary protocol; aiopg and psycopg2 take several
  iterations of the event loop for a reply. The server makes up for that with batches, which grow with the number
  of connections; at 1 connection a batch is a single read. Batches save processor time in PostgreSQL, and
  the driver spends it again.
- **The request count.** It is one command of Redis in every service, and only the framework around it differs:
  Tornado's RequestHandler and metrics here, FastAPI without metrics there.
- **Beside {NODE}.** At 16 connections both lists keep up with it. The less PostgreSQL does for a call, the more Node
  leads, most of all with a movie page and the count: there the framework is nearly all that counts, and V8 compiles
  what Python interprets.
- **Creates.** psycopg2 writes every value as a quoted literal into the text of the statement. And each genre of a
  user is a row with an index by frequency, so that favourites are three index entries, however many genres a user
  has. The services on FastAPI rewrite one JSON value with all genres of the user: faster for the twenty genres here.
- **Neighbours of large creates.** While 10,000 movies are validated, the process does nothing else. So
  it is with {WHOLE}; the difference is the processor time of a create.
"""
METHOD = f"""\
## How it is measured

`make bench` starts an embedded PostgreSQL (as `make serve` does, fsync on), Redis, the demo catalogue, and every
contender as a process of its own, all on this machine, on 127.0.0.1 and Unix sockets. `QUICK=1 make bench` takes less
than 12 minutes; `make bench OPTIONS=--help` lists the options.

{USERS} users with ten collections of ten movies each are created in every contender, all through its
HTTP API. Their tokens, movies and collections differ; the load generator sends the users' requests in turn, so that no
two concurrent ones are equal. Creates, single adds and the mixed load have {USERS} new users for each
measurement, whose accounts are deleted and vacuumed after it: nothing grows from round to round.

- **{OURS}** runs by `run.py` as in production: counter, token, log line (into a file), {POOL} connections to
  PostgreSQL.
- **{BARE}** is one process of Tornado on uvloop that sends each user the same bodies from memory: no token, no log, no
  ETag (`benchmarks/bare.py`). Its rate is the most that the framework allows.
- **{ROWS}** and **{WHOLE}** are the same service on FastAPI, uvicorn (uvloop, httptools), asyncpg with {POOL}
  connections, redis-py with hiredis, and orjson (`benchmarks/fastapi_service.py`), on schemas of their own
  (`benchmarks/fastapi_storage.py`): a row for each movie, or the movies of a collection as the JSON that is sent. They
  validate bodies as the server does, check tokens (and cache those that they have checked), count exactly and write
  a log line. They have no metrics, no entity tags, no memory limits and no limit on the size of a page, all of which
  makes them faster.
- **{NODE}** has the five reads on Node, where `make bench` finds it (`benchmarks/fastify_service.mjs`): Fastify,
  postgres.js with {POOL} connections, ioredis and fast-jwt, on the users, the database and the statements of {ROWS}. It
  leaves out what the services on FastAPI leave out.

Before the measurements, every user's response from every contender is compared by content, 16 at a time. Under load,
every response is checked by status and length; a wrong one, or a broken connection, makes the run invalid.
In each round every contender is measured with every call, in the opposite order in the next. A ratio is taken within a
round; the tables show the median of the rounds, and the smallest and the largest in parentheses. Collections of 10,000
movies are created over 16 connections at most: 64 such bodies are more than the server holds in memory at once.

Processor time is taken from `/proc`. "All" is that of the service, PostgreSQL and Redis, without the load
generator and other programs on the machine.

Contenders, PostgreSQL and the load share the cores of the machine. Where there are only two, two processes cannot be
much faster than one. Compare the ratios of different runs, not the rates.
"""


def written(results: Results, facts: dict[str, str]) -> str:
    """The whole report."""
    return "\n".join([
        f"# Benchmarks\n\n{USERS} users, each with a token and collections of their own, send requests in turn. "
        "Written by `make bench`.\n", table(["", ""], facts.items()),
        "\n![Requests a second](benchmarks.svg)\n",
        "## Targets\n\nAt 16 connections unless stated.\n", _targets(results),
        "\n## Requests a second\n", _rates(results),
        "\n## Ratios of the rates\n", _ratios(results),
        "\n## Latency, 99th percentile, ms\n", _latencies(results),
        "\n## Processor time of a request, µs\n", _costs(results),
        "\n## Memory, files, connections\n", _numbers(results), "", WHY, METHOD,
    ])


def write(folder: Path, text: str, results: Results) -> None:
    """Write the report, its chart, and its summary into speed.md, if that is in the folder."""
    (folder / "benchmarks.md").write_text(text, encoding="utf-8")
    (folder / "benchmarks.svg").write_text(chart.drawn(results), encoding="utf-8")
    if (speed := folder / "speed.md").exists():
        before, _, after = speed.read_text(encoding="utf-8").split(MARK)
        speed.write_text(f"{before}{MARK}\n{summary(results)}\n\n{MARK}{after}", encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, without empty columns."""
    lines = [list(head), *map(list, rows)]
    if len(lines) == 1:
        return "Not measured."
    shown = [column for column in range(len(head)) if any(line[column] != "–" for line in lines[1:])]
    widths = [max(len(line[column]) for line in lines) for column in shown]
    lines.insert(1, ["-" * max(len(line[column]) for line in lines) for column in range(len(head))])
    return "\n".join(
        "| " + " | ".join(line[column].ljust(max(width, 3)) for column, width in zip(shown, widths)) + " |"
        for line in lines)


def spread(value: Spread | None, digits: int | None = None) -> str:
    """A median with its spread; without decimals where it is large."""
    if value is None:
        return "–"
    digits = digits if digits is not None else 0 if value.median >= 100 else 1
    return f"{value.median:,.{digits}f} ({value.min:,.{digits}f}–{value.max:,.{digits}f})"


def _targets(results: Results) -> str:
    return table(["", "minimum", "reached", "goal", "reached ", "measured"], [
        (target.title, target.minimum, REACHED[target.reached[0]], target.goal, REACHED[target.reached[1]],
         spread(target.measured, 2) if target.measured else "not measured") for target in targets(results)])


def summary(results: Results) -> str:
    """The medians of each call at the usual number of connections."""
    return table(["call", "requests a second", "99th percentile, ms", f"rate / {BARE}", f"rate / {WHOLE}"], [
        (TITLES[call], *(
            f"{value.median:,.{digits}f}" if value else "–" for value, digits in (
                (results.spread(RATE, ours), 0), (results.spread(P99, ours), 1),
                (results.ratio(RATE, ours, ours._replace(contender=BARE)), 2),
                (results.ratio(RATE, ours, ours._replace(contender=WHOLE)), 2))))
        for call, connections in _measured(results) if call in TITLES and connections == CONNECTIONS
        for ours in [Series(call, connections, OURS)]])


def _measured(results: Results) -> list[tuple[str, int]]:
    """Calls and numbers of connections, in the order of the report."""
    order = [*TITLES, *EXTRA]
    found = {series[:2] for _, series in results.values}
    return sorted(found, key=lambda pair: (order.index(pair[0]), pair[1]))


def _by_contender(results: Results, metrics: dict[str, tuple[str, str]]) -> str:
    """One row per call; one column per heading, with its metric and service."""
    return table(["call", "connections", *metrics], [
        ((TITLES | EXTRA)[call], str(connections),
         *(spread(results.spread(metric, Series(call, connections, name))) for metric, name in metrics.values()))
        for call, connections in _measured(results)])


def _rates(results: Results) -> str:
    return _by_contender(results, {name: (RATE, name) for name in (BARE, OURS, ROWS, WHOLE, NODE, TWO)})


def _latencies(results: Results) -> str:
    return _by_contender(results, {name: (P99, name) for name in (BARE, OURS, ROWS, WHOLE, NODE, TWO)})


def _costs(results: Results) -> str:
    return _by_contender(results, {f"{BARE}": (CPU, BARE)} | {
        f"{name}{kind}": (metric, name) for name in (OURS, ROWS, WHOLE, NODE)
        for kind, metric in ((": service", CPU), (": all", ALL_CPU))})


def _ratios(results: Results) -> str:
    pairs = ((OURS, BARE), (OURS, ROWS), (OURS, WHOLE), (OURS, NODE), (WHOLE, BARE), (TWO, OURS))
    return table(["call", "connections", *(f"{one} / {other}" for one, other in pairs)], [
        (TITLES[call], str(connections), *(
            spread(results.ratio(RATE, Series(call, connections, one), Series(call, connections, other)), 2)
            for one, other in pairs))
        for call, connections in _measured(results) if call in TITLES])


def _numbers(results: Results) -> str:
    served = f"after the start, then after each tenth of {sum(results.numbers['requests']):,.0f} requests of the mix"
    return table(["one process", served], [
        (title, ", ".join(f"{value:.{digits}f}" for value in results.numbers[name]))
        for name, title, digits in (("memory", "resident memory, MB", 1), ("files", "open files", 0),
                                    ("connections", "connections to PostgreSQL, all services'", 0))
        if results.numbers.get(name)])
