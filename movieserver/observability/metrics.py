"""The metrics. docs/metrics.md says what each means and what to alert on.

If PROMETHEUS_MULTIPROC_DIR is set before this module is imported, each process writes to files of its own in that
folder, and each process reports the sum over all of them. Otherwise a process reports only its own metrics.
"""
from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
)
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# the file of a new process is empty for a moment, and reading it then fails
EMPTY_FILE_RETRIES, EMPTY_FILE_SECONDS = 50, 0.01
CONTENT_TYPE = CONTENT_TYPE_LATEST
REGISTRY = CollectorRegistry()
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def _gauge(name: str, meaning: str) -> Gauge:
    return Gauge(f"movieserver_{name}", meaning, registry=REGISTRY, multiprocess_mode="livesum")


def _gauges(name: str, meaning: str, label: str, *values: str) -> dict[str, Gauge]:
    """A gauge for each value of a label."""
    family = Gauge(f"movieserver_{name}", meaning, [label], registry=REGISTRY, multiprocess_mode="livesum")
    return {value: family.labels(value) for value in values}


def _counters(name: str, meaning: str, label: str, *values: str) -> dict[str, Counter]:
    """A counter for each value of a label."""
    family = Counter(f"movieserver_{name}", meaning, [label], registry=REGISTRY)
    return {value: family.labels(value) for value in values}


disable_created_metrics()
requests = Counter(
    "movieserver_requests", "Requests that got a response.", ["route", "method", "status"], registry=REGISTRY)
request_seconds = Histogram(
    "movieserver_request_seconds", "Time from the headers of a request to its response.", ["route", "method"],
    registry=REGISTRY, buckets=BUCKETS)
pool_size = _gauge("pool_size", "Maximum number of connections to PostgreSQL.")
pool_in_use = _gauge("pool_in_use", "Connections to PostgreSQL in use.")
pool_waiting = _gauge("pool_waiting", "Operations waiting for a connection to PostgreSQL.")
pool_timeouts = _counters(
    "pool_timeouts", "Timeouts of waiting for a connection, and of statements.", "kind", "place", "statement")
upstream_tries = Counter("movieserver_upstream_tries", "Requests sent to the third party.", registry=REGISTRY)
upstream_failures = _counters(
    "upstream_failures", "Failed requests to the third party, by reason.", "reason",
    "connection", "timeout", "status", "nonsense")
upstream_skipped_entries = Counter(
    "movieserver_upstream_skipped_entries", "Skipped entries of the third party's pages.", registry=REGISTRY)
upstream_breaker = _gauges(
    "upstream_breaker", "Processes whose circuit breaker is in this state.", "state", "open", "half_open")
page_cache_results = _counters(
    "page_cache_results", "Requested movie pages, by state of the cache.", "result", "fresh", "stale", "miss")
counter_backlog = _gauge("counter_backlog", "Requests that Redis has not counted yet.")
changes_waiting = _gauge("changes_waiting", "Requests that wait for a change.")
logins = _counters("logins", "Logins, by result.", "result", "success", "refused", "slowed", "busy")
passwords_waiting = _gauge("passwords_waiting", "Passwords being hashed or waiting for it.")


@cache
def _series(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return requests.labels(route, method, str(status)), request_seconds.labels(route, method)


def count_request(route: str, method: str | None, status: int, seconds: float | None = None) -> None:
    """Count a request, and its time if known; an unknown method is `other`."""
    count, timing = _series(route, method if method in METHODS else "other", status)
    count.inc()
    if seconds is not None:
        timing.observe(seconds)


def exposition() -> bytes:
    """All metrics in the Prometheus text format, aggregated across all processes. Blocks for milliseconds."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return generate_latest(REGISTRY)
    for _ in range(EMPTY_FILE_RETRIES):
        with suppress(struct.error), _locked(folder, fcntl.LOCK_SH):
            registry = CollectorRegistry()
            MultiProcessCollector(registry, folder)
            return generate_latest(registry)
        time.sleep(EMPTY_FILE_SECONDS)
    raise RuntimeError(f"a metrics file in {folder} is still empty, or corrupt")


def forget(pid: int) -> None:
    """Drop the gauges of a dead process, and add its counters to the file of all dead processes.

    Unreadable files are dropped: metrics are no reason to stop serving.
    """
    folder = os.environ[FOLDER]
    with suppress(OSError), _locked(folder, fcntl.LOCK_EX):
        mark_process_dead(pid, folder)
        for kind in ("counter", "histogram"):
            file = Path(folder, f"{kind}_{pid}.db")
            if file.exists():
                with suppress(RuntimeError, struct.error):
                    _add(file, file.with_name(f"{kind}_dead.db"))
                file.unlink()


def _add(file: Path, to: Path) -> None:
    total = MmapedDict(str(to))
    for key, value, moment, _ in MmapedDict.read_all_values_from_file(file):
        total.write_value(key, total.read_value(key)[0] + value, moment)
    total.close()


@contextmanager
def _locked(folder: str, how: int) -> Iterator[None]:
    """A lock on the folder, so that nothing is read while values move from one file to another."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
