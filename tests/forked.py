"""run.py in a fork of a process that has imported the server: it starts ten times as fast as a new Python."""
from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = str(Path(__file__).parents[1] / "run.py")
SECONDS = 60
# the first hides what servers that tests start do not import either
IMPORTED = ["tests.production.sitecustomize", "tests.forked", "movieserver.server", "movieserver.check",
            "movieserver.administration", "movieserver.postgres.migrations"]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(IMPORTED)


def run(arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], sent: str | None,
        ) -> subprocess.CompletedProcess[str]:
    """Run `run.py` to its end, with `sent` as its standard input: as subprocess.run does."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("in", "out", "err")]
        for stream, text in zip(streams, (sent or "", "", "")):
            stream.write_text(text, encoding="utf-8", errors="surrogateescape")
        process = FORKS.Process(target=_main, args=(arguments, str(cwd), environment, [str(each) for each in streams]))
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([PROGRAM, *arguments], SECONDS)
        out, errors = (each.read_text(encoding="utf-8", errors="surrogateescape") for each in streams[1:])
        return subprocess.CompletedProcess([PROGRAM, *arguments], process.exitcode, out, errors)


def _main(arguments: tuple[str, ...], cwd: str, environment: dict[str, str], streams: list[str]) -> None:
    for number, (stream, flags) in enumerate(zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY))):
        opened = os.open(stream, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path = [str(Path(PROGRAM).parent), *filter(None, sys.path)]
    sys.argv = [PROGRAM, *arguments]
    runpy.run_path(PROGRAM, run_name="__main__")
