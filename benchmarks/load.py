"""Load on 127.0.0.1 from a separate process: wrk if it is installed, otherwise benchmarks/client.py."""
from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import messages
from benchmarks.client import BenchmarkError
from benchmarks.messages import Request

HERE = Path(__file__).parent
GRACE_SECONDS = 30


class Window(NamedTuple):
    """A result: responses per second, and the 50th and 99th percentile of latency in milliseconds."""

    rate: float
    p50: float
    p99: float
    responses: int


def wrk_is_installed() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def measure(requests: Sequence[Request], port: int, connections: int, seconds: float, *, wrk: bool) -> Window:
    """Send the requests in a loop on keep-alive connections; BenchmarkError if any response is wrong."""
    with background(requests, port, connections, seconds, wrk=wrk) as process:
        out, errors = process.communicate(timeout=seconds + 2 * GRACE_SECONDS)
    if process.returncode:
        raise BenchmarkError(f"{process.args!r} failed: {errors.strip()}")
    return read_window(f"{requests[0].method} {requests[0].path}", out)


@contextmanager
def background(requests: Sequence[Request], port: int, connections: int, seconds: float, *, wrk: bool,
               ) -> Iterator[subprocess.Popen[str]]:
    """The same load as a running process, killed at the end."""
    with tempfile.TemporaryDirectory(prefix="ms-load-") as folder:
        messages.write(Path(folder), requests)
        command = [sys.executable, "-m", "benchmarks.client", folder, str(port), str(connections), str(seconds)]
        if wrk:
            whole = math.ceil(seconds)
            command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", f"{whole + GRACE_SECONDS}s",
                       "-s", str(HERE / "wrk.lua"), f"http://127.0.0.1:{port}/", "--", folder]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE.parent)
        with process:
            try:
                yield process
            finally:
                process.kill()


def read_window(title: str, output: str) -> Window:
    """The window from the last line that a load generator printed."""
    found = json.loads(output.strip().splitlines()[-1])
    if any(found["faults"].values()) or not found["responses"]:
        raise BenchmarkError(f"{title}: {found['responses']} responses, wrong ones: {found['faults']}")
    return Window(found["responses"] / found["seconds"], found["p50"], found["p99"], found["responses"])
