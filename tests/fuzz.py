"""Requests that schemathesis makes up from the description, right and wrong ones, against a real server: nothing is
answered with 5xx, and everything as described.

    python -m tests.fuzz --cases 20000 --minutes 30 --seed 7
"""
from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.conftest import temporary_folder
from tests.factories import registration
from tests.test_run import Server, serving, sign_up

PROGRAM = Path(sys.executable).with_name("schemathesis")
# What is right by the schema may still be refused: a movie that is in its list twice, a stale version, a spent key.
CHECKS = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")
CONFIGURATION = """
[checks.negative_data_rejection]
expected-statuses = ["4xx"]
"""
GENERATED = re.compile(r"(\d+) generated")
OPTIONS = (
    "--no-color", "--continue-on-failure", "--no-shrink", "--generation-database", "none",
    "--warnings", "off", "--suppress-health-check", "all", "--request-timeout", "30", *CHECKS,
)
# what ends the user, or the logins, of the other requests
ENDS = ("/account/", "/logout/all/")
WITHOUT_ENDS = [option for path in ENDS for option in ("--exclude-path", path)]
ENDS_ALONE = [option for path in ENDS for option in ("--include-path", path)]
ALIASES = "^/collections/"
LONG_LIVED = {"ACCESS_TOKEN_MINUTES": "1000"}


class Outcome(NamedTuple):
    """How many requests were made, whether all was well, and the program's own words."""

    cases: int
    passed: bool
    report: str


def fuzz(description: str, *options: str, token: str | None = None, examples: int = 1, seed: int = 1) -> Outcome:
    """One run over what is described at an address, or in a file."""
    sign = ["--header", f"Authorization: Bearer {token}"] if token else []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "schemathesis.toml").write_text(CONFIGURATION, encoding="ascii")
        done = subprocess.run(
            [str(PROGRAM), "run", description, *OPTIONS, "--max-examples", str(examples), "--seed", str(seed), *sign,
             *options],
            cwd=folder, capture_output=True, text=True, check=False)
    found = GENERATED.search(done.stdout)
    return Outcome(int(found[1]) if found else 0, done.returncode == 0, done.stdout + done.stderr)


def round_of(server: Server, examples: int, seed: int) -> list[Outcome]:
    """Everything by somebody who is signed in, everything by a stranger, and the end of an account."""
    description = f"{server.url}/openapi.json"
    tokens = [sign_up(server, registration()) for _ in range(2)]
    return [
        fuzz(description, *WITHOUT_ENDS, token=tokens[0], examples=examples, seed=seed),
        fuzz(description, "--phases", "examples,fuzzing", examples=max(1, examples // 4), seed=seed),
        fuzz(
            description, "--phases", "coverage,fuzzing", *ENDS_ALONE, token=tokens[1], examples=examples, seed=seed),
    ]


def main() -> int:
    """Rounds until there are so many cases, or no time is left, or something is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--examples", type=int, default=50, help="of each operation in a round")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    cases, end = 0, time.monotonic() + 60 * options.minutes
    with temporary_folder() as folder, serving(folder / "data", **LONG_LIVED) as server:
        while cases < options.cases and time.monotonic() < end:
            for outcome in round_of(server, options.examples, seed):
                cases += outcome.cases
                if not outcome.passed:
                    print(outcome.report)
                    return 1
            print(f"seed {seed}: {cases} cases, all answered as described", flush=True)
            seed += 1
    return 0 if cases >= options.cases else 2


if __name__ == "__main__":
    sys.exit(main())
