"""The log: one JSON object a line on standard error, or a coloured line on a terminal."""
from __future__ import annotations

import asyncio
import logging
import sys
import time
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
    handler = logging.StreamHandler(to)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        foreign_pre_chain=[*marking, structlog.stdlib.add_logger_name],
    ))
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, lowest), force=True)


def _rendering(on_terminal: bool) -> list[Processor]:
    """Tracebacks come without the local variables: passwords are among them."""
    if on_terminal:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]


class Trouble:
    """A state of trouble that is logged once when it begins, and once when nothing failed for QUIET_SECONDS."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0
        self._first = 0.0
        self._last = 0.0
        self._well = True
        self._ending: asyncio.TimerHandle | None = None

    def begin(self, error: BaseException | str) -> None:
        """Something failed: say what, unless it is trouble already."""
        self._last = time.monotonic()
        self._well = False
        self._failures += 1
        if self._failures == 1:
            self._first = self._last
            reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}".strip()
            log.warning(f"{self._what}: trouble began", reason=reason)

    def end(self) -> None:
        """Something succeeded: the trouble, where there is any, is over unless something else fails soon."""
        self._well = True
        if self._failures and not self._ending:
            quiet = self._last + QUIET_SECONDS - time.monotonic()
            self._ending = asyncio.get_running_loop().call_later(max(0.0, quiet), self._settle, self._last)

    def _settle(self, last: float) -> None:
        self._ending = None
        if last == self._last:
            log.warning(
                f"{self._what}: trouble ended", failures=self._failures, seconds=round(self._last - self._first, 1))
            self._failures = 0
        elif self._well:
            self.end()
