"""For operators: liveness, readiness and metrics. These requests are not counted."""
from __future__ import annotations

import asyncio

from movieserver.data import operations
from movieserver.errors import Unavailable
from movieserver.handlers.base import OpenHandler
from movieserver.observability import metrics
from movieserver.openapi.operation import DATABASE_ERRORS, Operation, Route
from movieserver.schemas import responses


class NotReady(Unavailable):
    """503: the server should get no requests; `detail` says why."""

    code = "not_ready"


class OperationsHandler(OpenHandler):
    """Requests that are not counted."""

    counted = False


class HealthHandler(OperationsHandler):
    """GET /healthz"""

    @Operation(
        "getHealth", "Check whether the process is alive", responses.Status, description="Does no I/O. Not counted.")
    def get(self) -> None:
        self.write_json({"status": "ok"})


class ReadyHandler(OperationsHandler):
    """GET /readyz"""

    @Operation(
        "getReadiness", "Check whether the server is ready", responses.Status, errors=(NotReady(), *DATABASE_ERRORS),
        description="The database is migrated, database and Redis can be written to, and the server is not "
        "shutting down. Not counted.")
    async def get(self) -> None:
        if self.settings["draining"]:
            raise NotReady("The server is shutting down.")
        await self._check_database()
        if not await self.resources.counter.writable():
            raise NotReady("Redis cannot be written to. `python run.py check` says why.")
        self.write_json({"status": "ready"})

    async def _check_database(self) -> None:
        if obstacle := await operations.obstacle(self.db):
            raise NotReady(f"The database cannot be used: {obstacle.problem}. `python run.py check` says what to do.")
        if missing := operations.needed_migrations() - await operations.migrations(self.db):
            names = ", ".join(sorted(missing))
            raise NotReady(f"The database lacks the migrations {names}: run `python run.py migrate`.")


class MetricsHandler(OperationsHandler):
    """GET /metrics; in a thread, because the files of many processes take time."""

    @Operation(
        "getMetrics", "Read the metrics", "text/plain",
        description="In the text format of Prometheus. Not counted.")
    async def get(self) -> None:
        exposition = await asyncio.to_thread(metrics.exposition)
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        self.finish(exposition)


routes = [
    Route("/healthz/", HealthHandler, protected=False),
    Route("/readyz/", ReadyHandler, protected=False),
    Route("/metrics/", MetricsHandler, protected=False),
]
