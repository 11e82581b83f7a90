"""For operators: is the server alive, is it ready, what does it measure. Not counted."""
from __future__ import annotations

import asyncio

from movieserver.observability import metrics
from movieserver.schemas import responses
from movieserver.data import operations
from movieserver.openapi.operation import Operation
from movieserver.errors import Unavailable
from movieserver.handlers.base import STORED, VERBS, OpenHandler, Route


class NotReady(Unavailable):
    """503: the detail says what is missing."""

    code = "not_ready"


class OperationsHandler(OpenHandler):
    """Not counted."""

    counted = False


class HealthHandler(OperationsHandler):
    """GET /healthz: the process responds."""

    @Operation("Ask whether the process answers", responses.Status, detail="No I/O. Not counted.")
    def get(self) -> None:
        self.answer({"status": "ok"})


class ServerHandler(OpenHandler):
    """OPTIONS *: the methods that the server knows (RFC 9110 section 9.3.7). The path * comes with no other method."""

    def options(self, *path: str) -> None:
        super().options()
        self.set_header("Allow", ", ".join((*VERBS, "HEAD", "OPTIONS")))


class ReadyHandler(OperationsHandler):
    """GET /readyz: database and Redis can be written to, no migration is missing, the server is not draining."""

    @Operation(
        "Ask whether the server is ready", responses.Status, errors=(NotReady(), *STORED),
        detail="The database and Redis can be written to, no migration is missing, and the server is not about to "
               "stop. Not counted.")
    async def get(self) -> None:
        if self.settings["draining"]:
            raise NotReady("The server is about to stop.")
        await self._check_database()
        if await self.resources.counter.outage():
            raise NotReady("Redis cannot be written to. `python run.py check` says why.")
        self.answer({"status": "ready"})

    async def _check_database(self) -> None:
        database = self.resources.database
        if obstacle := await operations.obstacle(database):
            raise NotReady(f"The database cannot be used: {obstacle.problem}. `python run.py check` says what to do.")
        if missing := operations.needed_migrations() - await operations.migrations(database):
            raise NotReady(f"The database lacks {', '.join(sorted(missing))}: run `python run.py migrate`.")


class MetricsHandler(OperationsHandler):
    """GET /metrics: for Prometheus, in a thread, because the files of many processes take long to read."""

    @Operation("Read the metrics", "text/plain", detail="What Prometheus reads. Not counted.")
    async def get(self) -> None:
        exposition = await asyncio.to_thread(metrics.exposition)
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        self.finish(exposition)


routes = [
    Route("/healthz/", HealthHandler, protected=False),
    Route("/readyz/", ReadyHandler, protected=False),
    Route("/metrics/", MetricsHandler, protected=False),
]
