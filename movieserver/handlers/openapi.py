"""The description of this API."""
from __future__ import annotations

from movieserver.schemas import responses
from movieserver.openapi.operation import Operation
from movieserver.handlers.base import OpenHandler, Route


class OpenApiHandler(OpenHandler):
    """GET /openapi.json"""

    @Operation("Read this description", responses.Document, tagged=True, detail="OpenAPI 3.1.")
    async def get(self) -> None:
        self.set_header("Cache-Control", "no-cache")  # kept, but asked for again by its tag
        await self.represent(*self.settings["openapi"]())


routes = [Route("/openapi.json/", OpenApiHandler, protected=False)]
