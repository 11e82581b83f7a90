"""python -m benchmarks: measure, print a table, and write docs/benchmarks.md and docs/benchmarks.svg."""
from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import time
from pathlib import Path

from benchmarks import growth, load, report, rounds, services
from benchmarks.machine import facts
from benchmarks.results import Results
from benchmarks.rounds import Plan

DOCS = Path(__file__).parents[1] / "docs"
QUICK = Plan(connections=(16,), rounds=2, others=(1_000,), movies=(10, 1_000), requests=20_000, starts=1, calls=(
    "list", "list-movies", "one", "movies", "count", "create-2", "create-100"))


def main() -> int:
    """Measure what the command line says; the exit status is 1 where the run is worthless."""
    given = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started too
    plan, began = _plan(given), time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    try:
        results, found = run(plan, say)
    except load.BenchmarkError as error:
        print(f"this run is worthless: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    text = report.written(results, found)
    print(text)
    folder = given.folder or (None if given.quick or given.calls or given.connections else DOCS)
    if folder:
        report.write(folder, text, results)
        say(f"wrote {folder / 'benchmarks.md'} and {folder / 'benchmarks.svg'}")
    return 0


def run(plan: Plan, say: rounds.Say) -> tuple[Results, dict[str, str]]:
    """Everything in the plan: what was measured, and on what."""
    results, (at_work, *_) = Results(), os.getloadavg()
    with services.ground(secrets.token_urlsafe(48)) as ground:
        say("starting the contenders")
        with rounds.field(ground, plan) as field:
            found = facts(plan, field.seed.version(), at_work)
            rounds.measure(field, plan, results, say)
            if plan.growth:
                growth.measure_growth(field, plan, results, say)
        if plan.growth:
            growth.measure_memory(ground, plan, results, say)
            growth.measure_starts(ground, plan, results, say)
    return results, found


def _plan(given: argparse.Namespace) -> Plan:
    plan = QUICK if given.quick else Plan()
    changes = {name: getattr(given, name) for name in ("calls", "connections", "rounds", "seconds")}
    return Plan(**{**vars(plan), **{name: value for name, value in changes.items() if value},
                   "wrk": load.wrk_is_here() and given.client != "own", "growth": not given.no_growth})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="in less than three minutes, on the terminal alone")
    parser.add_argument("--calls", type=_names, help="only these, as list,list-movies,one,movies,count,create-2,...")
    parser.add_argument("--connections", type=_numbers, help="only these, as 16,64")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one look (wrk: whole ones)")
    parser.add_argument("--no-growth", action="store_true", help="only the calls: no growth, memory, time to ready")
    parser.add_argument("--client", choices=("wrk", "own"), help="what makes the load; wrk where it is installed")
    parser.add_argument("--folder", type=Path, help="where to write the report")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    sys.exit(main())
