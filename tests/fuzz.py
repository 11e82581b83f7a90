"""Sends requests that schemathesis generates from /openapi.json, valid and invalid ones, to a real server: none
gets a 5xx, and every response is as described.

    python -m tests.fuzz --cases 20000 --minutes 30 --seed 7
"""
from __future__ import annotations

import argparse
import copy
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import temporary_folder
from tests.described import DOCUMENT
from tests.factories import registration
from tests.test_run import Server, serving, sign_up

PROGRAM = Path(sys.executable).with_name("schemathesis")
# A request that is valid by the schema may still be refused: the same movie twice, an old version, a used key.
CHECKS = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")
HOOKS = Path(__file__).with_name("fuzz_hooks.py")
CONFIGURATION = f"""
hooks = "{HOOKS}"

[checks.negative_data_rejection]
expected-statuses = ["4xx"]
"""
GENERATED = re.compile(r"(\d+) generated")
OPTIONS = (
    "--no-color", "--continue-on-failure", "--no-shrink", "--generation-database", "none",
    "--warnings", "off", "--suppress-health-check", "all", "--request-timeout", "30", *CHECKS,
)
# these would end the account or logins that the other requests need
ENDS = ("/account/", "/logout/all/")
WITHOUT_ENDS = [option for path in ENDS for option in ("--exclude-path", path)]
ENDS_ALONE = [option for path in ENDS for option in ("--include-path", path)]
LONG_LIVED = {"ACCESS_TOKEN_MINUTES": "1000"}


class Outcome(NamedTuple):
    """The number of requests, whether all checks passed, and the report of the program."""

    cases: int
    passed: bool
    report: str


def fuzz(description: str, *options: str, token: str | None = None, examples: int = 1, seed: int = 1) -> Outcome:
    """One run over a description, which is an address or a file."""
    sign = ["--header", f"Authorization: Bearer {token}"] if token else []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "schemathesis.toml").write_text(CONFIGURATION, encoding="ascii")
        done = subprocess.run(
            [str(PROGRAM), "run", description, *OPTIONS, "--max-examples", str(examples), "--seed", str(seed), *sign,
             *options],
            cwd=folder, capture_output=True, text=True, check=False)
    found = GENERATED.search(done.stdout)
    return Outcome(int(found[1]) if found else 0, done.returncode == 0, done.stdout + done.stderr)


def with_headers(folder: Path) -> str:
    """A file with /openapi.json, in which the optional headers are parameters, so that they are generated too."""
    document: Any = copy.deepcopy(DOCUMENT)
    for item in document["paths"].values():
        for operation in (operation for verb, operation in item.items() if verb != "parameters"):
            operation["parameters"] += [
                {"name": name, "in": "header", **document["x-request-headers"][name]}
                for name in operation["x-request-headers"]]
    file = folder / "openapi.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return str(file)


def personal_token(server: Server) -> str:
    """A personal token of a new user."""
    body = {"name": "fuzz", "scope": "write"}
    token: str = server.call("POST", "/tokens/", body, sign_up(server, registration()))[1]["token"]
    return token


def round_of(server: Server, description: str, examples: int, seed: int) -> list[Outcome]:
    """All operations with a token, with a personal one and without one, and those that end the account."""
    tokens, at = [sign_up(server, registration()) for _ in range(2)], ("--url", server.url)
    return [
        fuzz(description, *at, *WITHOUT_ENDS, token=tokens[0], examples=examples, seed=seed),
        fuzz(description, *at, *WITHOUT_ENDS, token=personal_token(server), examples=max(1, examples // 4), seed=seed),
        fuzz(description, *at, "--phases", "examples,fuzzing", examples=max(1, examples // 4), seed=seed),
        fuzz(
            description, *at, "--phases", "coverage,fuzzing", *ENDS_ALONE, token=tokens[1], examples=examples,
            seed=seed),
    ]


def main() -> int:
    """Rounds until there are enough cases, or no time is left, or a check fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--examples", type=int, default=50, help="of each operation in a round")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    cases, end = 0, time.monotonic() + 60 * options.minutes
    with temporary_folder() as folder, serving(folder / "data", **LONG_LIVED) as server:
        description = with_headers(folder)
        while cases < options.cases and time.monotonic() < end:
            for outcome in round_of(server, description, options.examples, seed):
                cases += outcome.cases
                if not outcome.passed:
                    print(outcome.report)
                    return 1
            print(f"seed {seed}: {cases} cases, all responses as described", flush=True)
            seed += 1
    return 0 if cases >= options.cases else 2


if __name__ == "__main__":
    sys.exit(main())
