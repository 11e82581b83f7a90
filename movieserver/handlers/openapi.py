"""The description of this API."""
from __future__ import annotations

from movieserver.handlers.base import OpenHandler
from movieserver.openapi.operation import Operation, Route
from movieserver.schemas import responses


class OpenApiHandler(OpenHandler):
    """GET /openapi.json"""

    @Operation("getDescription", "Read the OpenAPI document", responses.Document, etag=True, description="OpenAPI 3.1.")
    async def get(self) -> None:
        self.set_header("Cache-Control", "no-cache")  # clients may store it, but must revalidate it
        await self.write_representation(self.settings["openapi"]())


routes = [Route("/openapi.json", OpenApiHandler, protected=False)]
