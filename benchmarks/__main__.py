"""python -m benchmarks: measure, print a report, and write docs/benchmarks.md and docs/benchmarks.svg."""
from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import growth, load, report, rounds, services
from benchmarks.client import BenchmarkError
from benchmarks.machine import facts
from benchmarks.results import OURS, Results
from benchmarks.rounds import Plan

DOCS = Path(__file__).parents[1] / "docs"
QUICK = Plan(rounds=2, mixed_seconds=3, requests=20_000, two=False)


def main() -> int:
    """Run the benchmarks; the exit status is 1 if the run is invalid."""
    chosen = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also stops the started programs
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    try:
        results, found = run(_plan(chosen), say)
    except BenchmarkError as error:
        print(f"this run is invalid: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    text = report.written(results, found)
    print(text)
    folder = chosen.folder or (None if chosen.calls or chosen.connections or chosen.no_growth else DOCS)
    if folder:
        report.write(folder, text, results)
        say(f"wrote {folder / 'benchmarks.md'} and {folder / 'benchmarks.svg'}")
    return 0


def run(plan: Plan, say: rounds.Say) -> tuple[Results, dict[str, str]]:
    """Run the plan: the results, and a description of the machine."""
    results, (load_average, *_) = Results(), os.getloadavg()
    with services.ground(secrets.token_urlsafe(48)) as ground:
        say("starting the services and creating their users")
        with rounds.field(ground, plan) as field:
            found = facts(plan, field.contenders[OURS].service.database, load_average)
            rounds.measure_rounds(field, plan, results, say)
            if plan.growth:
                growth.measure_mixed(field, plan, results, say)
                growth.measure_neighbours(field, plan, results, say)
                growth.measure_large(field, plan, results, say)
        if plan.growth:
            growth.measure_memory(ground, plan, results, say)
    return results, found


def _plan(chosen: argparse.Namespace) -> Plan:
    changes = {name: getattr(chosen, name) for name in ("calls", "connections", "rounds", "seconds", "requests")}
    return replace(QUICK if chosen.quick else Plan(), **{name: value for name, value in changes.items() if value},
                   wrk=load.wrk_is_installed() and chosen.client != "own", growth=not chosen.no_growth)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK", "0") not in ("", "0"),
                        help="in less than 12 minutes; QUICK=1 in the environment does the same")
    parser.add_argument("--calls", type=_names, help="only these, as list,list-movies,one,movies,count,create-2,...")
    parser.add_argument("--connections", type=_numbers, help="only these, as 16,64")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="seconds of one measurement (with wrk: an integer)")
    parser.add_argument("--requests", type=int, help="requests of the mixed load, while memory is watched")
    parser.add_argument("--no-growth", action="store_true", help="only the calls: no mixed load, neighbours, memory")
    parser.add_argument("--client", choices=("wrk", "own"), help="the load generator; wrk if it is installed")
    parser.add_argument("--folder", type=Path, help="where to write the report")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    sys.exit(main())
