"""The log on standard error: one JSON object a line, or lines for people on a terminal."""
from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, TextIO

import structlog
from structlog.typing import EventDict, Processor

QUIET_SECONDS = 3.0
COLUMNS = 100
COLOURS = {2: "\x1b[32m", 3: "\x1b[36m", 4: "\x1b[33m", 5: "\x1b[31m"}  # by the first digit of the status
RESET = "\x1b[0m"
FIRST = ("timestamp", "level", "pid", "event")

log = structlog.stdlib.get_logger("movieserver")


class Request(NamedTuple):
    """A request that got a response of `bytes`, `ms` after its headers. None: the message was not HTTP.

    Only `client` needs escaping in JSON.
    """

    request_id: str
    client: str
    method: str | None
    route: str
    status: int
    ms: float | None
    user_id: str | None
    bytes: int


def configure(level: str, to: TextIO = sys.stderr, log_format: str = "auto") -> None:
    """Log to `to`: the service's own events from `level` up, its libraries' from WARNING up.

    `log_format` is json, console or auto: console on a terminal.
    """
    lowest = getattr(logging, level)
    on_console = to.isatty() if log_format == "auto" else log_format == "console"
    marking, rendering = (_console if on_console else _json)(to)
    structlog.configure(
        processors=[structlog.processors.add_log_level, *marking, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.WriteLoggerFactory(to),
    )
    global _write_request
    line = partial(_request_line, to.isatty()) if on_console else _request_json
    write = structlog.WriteLogger(to).msg
    _write_request = (lambda entry: write(line(entry))) if lowest <= logging.INFO else _discard
    handler = logging.StreamHandler(to)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        foreign_pre_chain=[structlog.processors.add_log_level, structlog.stdlib.add_logger_name, *marking],
    ))
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, lowest), force=True)


def request(entry: Request) -> None:
    """Log a request, if the level is INFO or lower."""
    _write_request(entry)


def _discard(entry: Request) -> None:
    pass


_write_request: Callable[[Request], None] = _discard


def _json(to: TextIO) -> tuple[list[Processor], list[Processor]]:
    """Tracebacks are without local variables: these may hold passwords."""
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return (
        [structlog.processors.TimeStamper(fmt="iso", utc=True), _mark_process],
        [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()],
    )


def _console(to: TextIO) -> tuple[list[Processor], list[Processor]]:
    rendering = structlog.dev.ConsoleRenderer(
        colors=to.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0)
    return [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)], [rendering]


def _mark_process(logger: object, method: str, event: EventDict) -> EventDict:
    """The event with its process id; the time comes first."""
    marked = {**event, "pid": os.getpid()}
    return {name: marked[name] for name in FIRST} | marked


def _request_json(entry: Request) -> str:
    """The line that structlog would write, in a fraction of its time: there is one for each request."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")[:-len("+00:00")]
    request_id, client, method, route, status, ms, user_id, size = entry
    return (
        f'{{"timestamp": "{now}Z", "level": "info", "pid": {os.getpid()}, "event": "request", '
        f'"request_id": "{request_id}", "client": {json.dumps(client)}, "method": {_quoted(method)}, '
        f'"route": "{route}", "status": {status}, "ms": {"null" if ms is None else ms}, '
        f'"user_id": {_quoted(user_id)}, "bytes": {size}}}')


def _quoted(token: str | None) -> str:
    return "null" if token is None else f'"{token}"'


def _request_line(coloured: bool, entry: Request) -> str:
    """Time, method, route, status, milliseconds, user and id, cut at COLUMNS."""
    now, method = datetime.now(), entry.method or "-"
    route = re.sub(r"{\w+_", "{", entry.route)
    took = "-" if entry.ms is None else f"{entry.ms:.1f} ms"
    head = f"{now:%H:%M:%S} {method[:7]:7} {route:27} "
    tail = f" {took:>9} {(entry.user_id or '-')[:8]:8} {entry.request_id}"
    status = str(entry.status)
    colour = COLOURS.get(entry.status // 100) if coloured else None
    return head + (f"{colour}{status}{RESET}" if colour else status) + tail[:COLUMNS - len(head + status)]


class Outage:
    """Logs when something begins to fail, and when nothing has failed for QUIET_SECONDS."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0
        self._first = self._last = 0.0
        self._ending: asyncio.TimerHandle | None = None

    def record_failure(self, error: BaseException | str) -> None:
        """Something failed; the first failure of an outage is logged with its reason."""
        self._last = time.monotonic()
        self._failures += 1
        if self._ending:
            self._ending.cancel()
            self._ending = None
        if self._failures == 1:
            self._first = self._last
            reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}".strip()
            log.warning(f"{self._what}: outage began", reason=reason)

    def record_success(self) -> None:
        """Something succeeded. The outage ends once nothing has failed for QUIET_SECONDS."""
        if self._failures and not self._ending:
            quiet = self._last + QUIET_SECONDS - time.monotonic()
            self._ending = asyncio.get_running_loop().call_later(max(0.0, quiet), self._end)

    def _end(self) -> None:
        log.warning(f"{self._what}: outage ended", failures=self._failures, seconds=round(self._last - self._first, 1))
        self._failures, self._ending = 0, None
