"""The log: one JSON object a line on standard error, or a coloured line on a terminal."""
from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TextIO

import structlog
from structlog.typing import Processor

QUIET_SECONDS = 3.0

log = structlog.stdlib.get_logger("movieserver")


def configure(level: str, to: TextIO = sys.stderr) -> None:
    """Send what this service logs, from `level` up, to standard error; what its libraries do, from WARNING up."""
    lowest = getattr(logging, level)
    marking: list[Processor] = [
        structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)
    ]
    rendering = _rendering(to.isatty())
    structlog.configure(
        processors=[*marking, *rendering], cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.WriteLoggerFactory(to),
    )
    global _request_line
    _request_line = _request_by_structlog if to.isatty() or lowest > logging.INFO else partial(
        _request_as_json, _writer(to))
    handler = logging.StreamHandler(to)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        foreign_pre_chain=[*marking, structlog.stdlib.add_logger_name],
    ))
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, lowest), force=True)


def request(
    request_id: str, method: str | None, route: str, status: int, ms: float | None, user_id: str | None, size: int
) -> None:
    """Log that a request was answered with `size` bytes, if the level is INFO or lower."""
    _request_line(request_id, method, route, status, ms, user_id, size)


def _request_by_structlog(
    request_id: str, method: str | None, route: str, status: int, ms: float | None, user_id: str | None, size: int
) -> None:
    log.info(
        "request", request_id=request_id, method=method, route=route, status=status, ms=ms, user_id=user_id, bytes=size)


def _request_as_json(
    write: Callable[[str], object], request_id: str, method: str | None, route: str, status: int, ms: float | None,
    user_id: str | None, size: int,
) -> None:
    """The same line without the detour: there is one for each request, and nothing in it has to be escaped."""
    now = datetime.now(UTC).isoformat()[:-len("+00:00")]
    write(
        f'{{"request_id": "{request_id}", "method": {_quoted(method)}, "route": "{route}", "status": {status}, '
        f'"ms": {"null" if ms is None else ms}, "user_id": {_quoted(user_id)}, "bytes": {size}, "event": "request", '
        f'"level": "info", "timestamp": "{now}Z"}}\n')


def _writer(to: TextIO) -> Callable[[str], object]:
    def write(line: str) -> None:
        to.write(line)
        to.flush()

    return write


def _quoted(token: str | None) -> str:
    return "null" if token is None else f'"{token}"'


_request_line: Callable[..., None] = _request_by_structlog


def _rendering(on_terminal: bool) -> list[Processor]:
    """Tracebacks come without the local variables: passwords are among them."""
    if on_terminal:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]


class Outage:
    """Logs once when something begins to fail, and once when nothing has failed for QUIET_SECONDS."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0
        self._first = 0.0
        self._last = 0.0
        self._succeeded = True
        self._ending: asyncio.TimerHandle | None = None

    def record_failure(self, error: BaseException | str) -> None:
        """Something failed; the first failure of an outage is logged with its reason."""
        self._last = time.monotonic()
        self._succeeded = False
        self._failures += 1
        if self._failures == 1:
            self._first = self._last
            reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}".strip()
            log.warning(f"{self._what}: outage began", reason=reason)

    def record_success(self) -> None:
        """Something succeeded; an outage ends with this, unless something fails in the next QUIET_SECONDS."""
        self._succeeded = True
        if self._failures and not self._ending:
            quiet = self._last + QUIET_SECONDS - time.monotonic()
            self._ending = asyncio.get_running_loop().call_later(max(0.0, quiet), self._settle, self._last)

    def _settle(self, last: float) -> None:
        self._ending = None
        if last == self._last:
            log.warning(
                f"{self._what}: outage ended", failures=self._failures, seconds=round(self._last - self._first, 1))
            self._failures = 0
        elif self._succeeded:
            self.record_success()
