"""The log: one JSON object a line on standard error, or a coloured line on a terminal."""
from __future__ import annotations

import logging
import sys
import time

import structlog
from structlog.typing import Processor

QUIET_SECONDS = 3.0

log = structlog.stdlib.get_logger("movieserver")


def configure(level: str) -> None:
    """Send what this service and its libraries log to standard error, from `level` up."""
    lowest = getattr(logging, level)
    marking: list[Processor] = [
        structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)
    ]
    rendering = _rendering(sys.stderr.isatty())
    structlog.configure(
        processors=[*marking, *rendering], cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
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
    """A state of trouble that is logged once when it begins and once when nothing failed for QUIET_SECONDS."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lasting = False
        self._last = 0.0

    def begin(self, error: BaseException | str) -> None:
        """Say what went wrong, unless it is known already."""
        self._last = time.monotonic()
        if not self._lasting:
            self._lasting = True
            reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}".strip()
            log.warning(f"{self._what}: trouble began", reason=reason)

    def end(self) -> None:
        """Something succeeded: say that the trouble is over, where there was any and it did not just fail."""
        if self._lasting and time.monotonic() - self._last > QUIET_SECONDS:
            self._lasting = False
            log.warning(f"{self._what}: trouble ended")
