#!/usr/bin/env python3
"""The command line: run.py serve | migrate | rollback | check | add-user | reset-password | delete-user | users"""
from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

try:
    from pydantic import SecretStr

    from movieserver.observability import logs
    from movieserver.serving.listening import listen, netloc
    from movieserver.serving.supervisor import Child, Supervisor, Worker, temporary_folder
    from movieserver.settings import Settings, SettingsError, load, reveal, sources, unknown_names
    from movieserver.terminal import CommandError, confirm
except ModuleNotFoundError as missing:  # usually because another Python than that of .venv runs this
    sys.exit(f"run.py: {missing.name} is not installed for {sys.executable}: run .venv/bin/python run.py "
             "(`make serve` creates .venv), or install requirements.txt")

ADMINISTRATION = {  # commands that movieserver.administration carries out
    "add-user": "Add a user; asks for a password at a terminal, or reads one line of standard input.",
    "reset-password": "Set a new password for a user, read in the same way; ends their logins and personal tokens.",
    "delete-user": "Delete a user and all of their data.",
    "users": "List the users: registration, last login, number of collections, name.",
}


def serve(configured: Settings, options: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    for free in listen(configured.host, configured.port):  # fail at once, not after the embedded servers have started
        free.close()
    with ExitStack() as stack:
        settings, children = stack.enter_context(_complete(configured))
        if options.migrate or not configured.database_url:
            _migrate(settings)
        supervisor, port = _start(stack, configured, settings, children)
        stack.callback(_ignore_signals)
        _restart_on_hangup(supervisor)
        print(_announcement(configured, settings, port), flush=True)
        supervisor.watch()


def _start(
    stack: ExitStack, configured: Settings, settings: Settings, children: list[Child]
) -> tuple[Supervisor, int]:
    """Start the serving processes, which end with the stack. Returns their supervisor and their port."""
    from movieserver.observability import metrics

    os.environ[metrics.FOLDER] = stack.enter_context(temporary_folder())
    supervisor = Supervisor(children)
    stack.callback(supervisor.stop)
    sockets = listen(settings.host, settings.port)
    for listening in sockets:
        stack.callback(listening.close)
    configured_services = bool(configured.database_url or configured.redis_url or configured.movie_api_url)
    for number in range(settings.processes):
        supervisor.workers.append(Worker(
            f"server process {number + 1}", "movieserver", sockets, _completions(configured, settings), metrics.forget,
            check=number == 0 and configured_services))  # embedded services need no check
    for worker in supervisor.workers:
        if not worker.wait_ready():
            raise CommandError(f"{worker.name} did not start; the log above says why")
    return supervisor, sockets[0].getsockname()[1]


def migrate(configured: Settings, options: argparse.Namespace) -> None:
    """Apply the migrations that the database lacks."""
    with _complete(configured) as (settings, _):
        _migrate(settings)
        print("the database is up to date")


def rollback(configured: Settings, options: argparse.Namespace) -> None:
    """Undo the newest migration, or all of them: the data in their tables is lost."""
    from movieserver.postgres import migrations

    with _complete(configured) as (settings, _):
        url, count = reveal(settings.database_url), None if options.all else 1
        plan = migrations.plan_rollback(url, count)
        if plan:
            _confirm(url, plan, options.yes)
        undone = migrations.rollback(url, count, [undo.migration for undo in plan])
        print("\n".join(f"rolled back {name}" for name in undone) or "there is no migration to roll back")


def _confirm(url: str, plan: list[Any], yes: bool) -> None:
    """Print what will be lost, and ask for confirmation unless `yes` is set. Raises CommandError without it."""
    from movieserver.postgres.hosts import describe

    print(f"This drops data that cannot be recovered, in {describe(url)}:")
    for undo in plan:
        print(f"  {undo.migration}: {', '.join(undo.losses) or 'no table and no column'}", flush=True)
    confirm("Type yes to drop it: ", "rollback", "nothing was rolled back", yes)


def check(configured: Settings, options: argparse.Namespace) -> None:
    """Check the settings and the services in them; the exit status is 1 if something cannot be used."""
    from movieserver import app

    with _complete(configured) as (settings, _):
        if not configured.database_url:
            _migrate(settings)
        usable = _report(configured, settings)
        app.check_prefix(urlsplit(settings.public_url).path)
        if not usable:
            raise CommandError("something above cannot be used")


def administer(configured: Settings, options: argparse.Namespace) -> None:
    """Run a command of ADMINISTRATION on the database; an embedded one may be that of a running server."""
    from movieserver import administration

    with _database(configured) as settings:
        logs.configure("ERROR", log_format=settings.log_format)  # an outage is in the message
        administration.COMMANDS[options.command](settings, options)


@contextmanager
def _database(configured: Settings) -> Iterator[Settings]:
    """The settings with the address of the database."""
    if configured.database_url:
        yield configured
        return
    from movieserver.embedded import services

    with services.database(configured) as (settings, started):
        if started:
            _migrate(settings)
        yield settings


def _report(configured: Settings, settings: Settings) -> bool:
    """Print the finding of each service; returns whether all can be used."""
    from movieserver.check import check as check_services

    logs.configure("ERROR", log_format=settings.log_format)  # an outage is in the report
    variables = {"PostgreSQL": "database_url", "Redis": "redis_url", "movie API": "movie_api_url"}
    found = asyncio.run(check_services(settings))
    for name, (where, problem, advice, warnings, note) in found.items():
        print(f"{name}: {problem or 'ok'}")
        print(f"  where: {where}, {_source(variables[name], configured, 'embedded')}")
        if note:
            print(f"  note: {note}")
        if problem:
            print(f"  what to do: {advice}")
        for warning in warnings:
            print(f"  warning: {warning}")
    return not any(finding.problem for finding in found.values())


def _source(name: str, configured: Settings, otherwise: str) -> str:
    """Where an address comes from."""
    return f"from {name.upper()} in {sources()[name]}" if getattr(configured, name) else otherwise


def _migrate(settings: Settings) -> None:
    from movieserver.postgres import migrations

    for name in migrations.migrate(reveal(settings.database_url)):
        print(f"applied {name}", flush=True)


@contextmanager
def _complete(configured: Settings) -> Iterator[tuple[Settings, list[Child]]]:
    """Settings with every address; missing services are started."""
    if configured.database_url and configured.redis_url and configured.movie_api_url:
        yield configured, []
        return
    from movieserver.embedded import services

    with services.running(configured) as (settings, children):
        yield settings, children


def _announcement(configured: Settings, settings: Settings, port: int) -> str:
    addresses = ", ".join(f"http://{netloc(host, port)}" for host in settings.host)
    local = "localhost" if settings.host[0] in ("*", "0.0.0.0", "::") else settings.host[0]
    folder, demo = configured.data_dir, reveal(settings.movie_api_url).partition("?")[0]
    lines = [
        f"movieserver listens on {addresses} ({settings.processes} process{'es' if settings.processes > 1 else ''})",
        f"  the page    http://{netloc(local, port)}/",
        f"  the API     http://{netloc(local, port)}/docs/",
        "  PostgreSQL  " + _source("database_url", configured, f"embedded, in {folder / 'postgres'}"),
        "  Redis       " + _source("redis_url", configured, f"embedded, in {folder / 'redis'}"),
        "  movie list  " + _source("movie_api_url", configured, f"demo, on {demo}"),
        "Ctrl-C stops it.",
    ]
    return "\n".join(lines)


def _completions(configured: Settings, settings: Settings) -> dict[str, str]:
    """The completed settings as environment variables for the workers, which read the others themselves."""
    found = {name: getattr(settings, name) for name in Settings.model_fields
             if getattr(settings, name) != getattr(configured, name)}
    return {name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in found.items()}


def _restart_on_hangup(supervisor: Supervisor) -> None:
    """SIGHUP is a rolling restart; but if the terminal was closed, the server stops."""
    attached = os.isatty(sys.stderr.fileno()) and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN

    def hang_up(number: int, frame: Any) -> None:
        if attached and not os.isatty(sys.stderr.fileno()):
            raise KeyboardInterrupt
        supervisor.request_restart()

    signal.signal(signal.SIGHUP, hang_up)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py", description="The movie collection server. Without a command it serves. Settings: .env.example.")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    parser.set_defaults(run=serve, migrate=False)
    for command in (serve, migrate, rollback, check):
        added = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__)
        added.set_defaults(run=command)
        if command is serve:
            added.add_argument("--migrate", action="store_true", help="apply missing migrations first")
        if command is rollback:
            added.add_argument("--all", action="store_true", help="undo every migration")
            added.add_argument("--yes", action="store_true", help="do not ask before data is dropped")
    for name, described in ADMINISTRATION.items():
        added = commands.add_parser(name, help=described, description=described)
        added.set_defaults(run=administer)
        if name != "users":
            added.add_argument("name", metavar="NAME")
        if name == "delete-user":
            added.add_argument("--yes", action="store_true", help="do not ask before the user is deleted")
    return parser.parse_args()


def main() -> int:
    """Run a command; returns the exit status, 0 for success and 1 for failure."""
    options = _arguments()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    try:
        settings = load()
        logs.configure(settings.log_level, log_format=settings.log_format)
        if unknown := unknown_names():
            logs.log.warning("unknown names in .env", names=", ".join(unknown))
        options.run(settings, options)
    except CommandError as error:
        if isinstance(error, SettingsError) and error.rest and options.run is check:
            _report(error.rest, error.rest)
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
