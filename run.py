#!/usr/bin/env python3
"""The command line: run.py [serve [--migrate] | migrate | rollback [--all] | check]"""
from __future__ import annotations

import argparse
import asyncio
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import SecretStr
from tornado.netutil import bind_sockets

from movieserver.observability import logs, metrics
from movieserver.postgres import migrations
from movieserver.serving.supervisor import Child, Supervisor, Worker
from movieserver.settings import Settings, SettingsError, load

BACKLOG = 1024  # connections that wait to be accepted
LEFTOVER_SECONDS = 2.0
POLL_SECONDS = 0.05


class CannotStart(Exception):
    """What stops a command, in words for the operator."""


def serve(given: Settings, options: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    for free in _bind(given):
        free.close()
    with ExitStack() as stack:
        settings, children = stack.enter_context(_complete(given))
        if options.migrate or not given.database_url:
            _migrate(settings)
        os.environ[metrics.FOLDER] = stack.enter_context(TemporaryDirectory(prefix="movieserver-"))
        supervisor = Supervisor(children)
        stack.callback(supervisor.stop)
        sockets = _bind(settings)
        for listening in sockets:
            stack.callback(listening.close)
        for number in range(settings.processes):
            supervisor.add(Worker(
                f"server process {number + 1}", "movieserver", sockets, _completions(given, settings), metrics.forget))
        _wait_ready(supervisor.workers)
        stack.callback(_ignore_signals)
        _restart_on_hangup(supervisor)
        print(_announcement(given, settings, sockets[0].getsockname()[1]), flush=True)
        supervisor.watch()


def _wait_ready(workers: list[Worker]) -> None:
    for worker in workers:
        if not worker.wait_ready():
            raise CannotStart(f"{worker.name} did not start; the log above says why")


def migrate(given: Settings, options: argparse.Namespace) -> None:
    """Apply the migrations that the database lacks."""
    with _complete(given) as (settings, _):
        _migrate(settings)
        print("the database is up to date")


def rollback(given: Settings, options: argparse.Namespace) -> None:
    """Undo the newest migration, or all of them: the data in their tables is lost."""
    with _complete(given) as (settings, _):
        assert settings.database_url
        for name in migrations.rollback(settings.database_url, None if options.all else 1) or ["nothing"]:
            print(f"rolled back {name}")


def check(given: Settings, options: argparse.Namespace) -> None:
    """Say whether the settings are good and everything that they name can be used; the exit status says it too."""
    with _complete(given) as (settings, _):
        if not given.database_url:
            _migrate(settings)
        if not _report(settings):
            raise CannotStart("something above cannot be used")


def _report(settings: Settings) -> bool:
    """Say what is found of each service; whether all of them can be used."""
    from movieserver.observability import check

    logs.configure("ERROR")  # the same troubles, for programs
    found = asyncio.run(check.check(settings))
    for name, (where, trouble, advice, warnings) in found.items():
        print(f"{name}: {trouble or 'ok'}", f"  where: {where}", sep="\n")
        if trouble:
            print(f"  what to do: {advice}")
        for warning in warnings:
            print(f"  warning: {warning}")
    return not any(finding.trouble for finding in found.values())


def _migrate(settings: Settings) -> None:
    assert settings.database_url
    for name in migrations.migrate(settings.database_url):
        print(f"applied {name}", flush=True)


@contextmanager
def _complete(given: Settings) -> Iterator[tuple[Settings, list[Child]]]:
    """The settings with every address in them: what is missing is started here."""
    if given.database_url and given.redis_url and given.movie_api_url:
        yield given, []
        return
    from movieserver import embedded

    try:
        with embedded.running(given) as (settings, children):
            yield settings, children
    except embedded.EmbeddedError as error:
        raise CannotStart(str(error)) from None


def _bind(settings: Settings) -> list[socket.socket]:
    """Sockets on the port. What is left of a server that was killed may hold it for a moment yet."""
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while True:
        try:
            return bind_sockets(settings.port, settings.host, backlog=BACKLOG)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such name"
            if getattr(error, "errno", None) != errno.EADDRINUSE or time.monotonic() > deadline:
                where = f"{settings.host}:{settings.port}"
                raise CannotStart(f"cannot listen on {where}: {reason}; set HOST or PORT") from None
        time.sleep(POLL_SECONDS)


def _announcement(given: Settings, settings: Settings, port: int) -> str:
    folder = given.data_dir
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [
        f"movieserver listens on http://{host}:{port} ({settings.processes} process"
        f"{'es' if settings.processes > 1 else ''})",
        "  PostgreSQL  " + ("from DATABASE_URL" if given.database_url else f"embedded, in {folder / 'postgres'}"),
        "  Redis       " + ("from REDIS_URL" if given.redis_url else f"embedded, in {folder / 'redis'}"),
        "  movie list  " + ("from MOVIE_API_URL" if given.movie_api_url else f"demo, on {settings.movie_api_url}"),
        "Ctrl-C stops it.",
    ]
    return "\n".join(lines)


def _completions(given: Settings, settings: Settings) -> dict[str, str]:
    """What was completed, as variables for the workers, which read everything else themselves."""
    found = {name: getattr(settings, name) for name in Settings.model_fields
             if getattr(settings, name) != getattr(given, name)}
    return {name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in found.items()}


def _restart_on_hangup(supervisor: Supervisor) -> None:
    """SIGHUP is a rolling restart; but the end of the terminal that this was started on is the end."""
    attached = os.isatty(sys.stderr.fileno()) and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN

    def hang_up(number: int, frame: Any) -> None:
        if attached and not os.isatty(sys.stderr.fileno()):
            raise KeyboardInterrupt
        supervisor.ask_restart()

    signal.signal(signal.SIGHUP, hang_up)


def _ignore_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py", description="The movie collection server. Settings: .env.example.")
    commands = parser.add_subparsers(dest="command")
    parser.set_defaults(run=serve, migrate=False)
    for command in (serve, migrate, rollback, check):
        added = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__)
        added.set_defaults(run=command)
        if command is serve:
            added.add_argument("--migrate", action="store_true", help="apply missing migrations first")
        if command is rollback:
            added.add_argument("--all", action="store_true", help="undo every migration")
    return parser.parse_args()


def main() -> int:
    """Run a command; the exit status is 0 where it did what it says, else 1."""
    options = _arguments()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    try:
        settings = load()
        logs.configure(settings.log_level)
        options.run(settings, options)
    except (CannotStart, SettingsError, migrations.MigrationError) as error:
        if isinstance(error, SettingsError) and options.run is check:
            _report(error.rest)
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
