"""Requests that no resource handles: OPTIONS *, and paths without a route."""
from __future__ import annotations

from movieserver.errors import NotFound
from movieserver.handlers.base import VERBS, OpenHandler


class ServerHandler(OpenHandler):
    """OPTIONS *: the methods that the server knows (RFC 9110 section 9.3.7). The path * comes with no other method."""

    def options(self, *path: str) -> None:
        super().options()
        self.set_header("Allow", ", ".join((*VERBS, "HEAD", "OPTIONS")))


class UnknownPathHandler(OpenHandler):
    """404 for every path without a route; the request counts."""

    async def prepare(self) -> None:
        raise NotFound
