"""Load on 127.0.0.1 from a process of its own: wrk where it is installed, else benchmarks/client.py."""
from __future__ import annotations

import base64
import json
import math
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.calls import Request

HERE = Path(__file__).parent
THREADS = 1
GRACE_SECONDS = 30
LONGEST_SECONDS = 16


class BenchmarkError(Exception):
    """What makes a measurement worthless, in words for people."""


class Window(NamedTuple):
    """What one look saw: answers of the right status a second, and the 50th and 99th percentile of latency in ms."""

    rate: float
    middle: float
    late: float
    answers: int


def look(request: Request, port: int, connections: int, seconds: float, *, wrk: bool) -> Window:
    """Ask again and again on kept connections; BenchmarkError where any answer was not the right one.

    Where no answer comes in `seconds`, it takes a longer look, up to LONGEST_SECONDS.
    """
    said = (_wrk if wrk else _client)(request, port, connections, seconds)
    window = read_window(f"{request.method} {request.path}", said)
    if window.answers:
        return window
    if seconds >= LONGEST_SECONDS:
        raise BenchmarkError(f"{request.method} {request.path}: no answer in {seconds} s")
    return look(request, port, connections, 4 * seconds, wrk=wrk)


def wrk_is_here() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def read_window(what: str, said: str) -> Window:
    """The window from the last line that a load program printed."""
    lines = said.strip().splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    if any(found["errors"].values()):
        raise BenchmarkError(f"{what}: {found['answers']} good answers, and {found['errors']}")
    return Window(found["answers"] / found["seconds"], found["middle"], found["late"], found["answers"])


def _wrk(request: Request, port: int, connections: int, seconds: float) -> str:
    with tempfile.NamedTemporaryFile() as body:
        body.write(request.body)
        body.flush()
        whole = math.ceil(seconds)
        command = ["wrk", f"-t{THREADS}", f"-c{connections}", f"-d{whole}s", "--timeout", f"{whole + GRACE_SECONDS}s",
                   "-s", str(HERE / "wrk.lua")]
        for name, value in request.headers.items():
            command += ["-H", f"{name}: {value}"]
        return _run([*command, f"http://127.0.0.1:{port}{request.path}", "--", request.method, body.name], seconds)


def _client(request: Request, port: int, connections: int, seconds: float) -> str:
    asked = {"port": port, "connections": connections, "seconds": seconds}
    sent = asdict(request) | {"body": base64.b64encode(request.body).decode()}
    return _run([sys.executable, "-m", "benchmarks.client"], seconds, json.dumps(asked | {"request": sent}))


def _run(command: list[str], seconds: float, text: str = "") -> str:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=seconds + 2 * GRACE_SECONDS, check=True,
            cwd=HERE.parent)
    except subprocess.CalledProcessError as error:
        raise BenchmarkError(f"{command[0]} failed: {error.stderr.strip()}") from None
    return done.stdout
