"""The root path: the web page in a browser, the addresses of the OpenAPI document and the docs for programs."""
from __future__ import annotations

from movieserver.handlers.base import OpenHandler
from movieserver.handlers.web import negotiate_page, write_page
from movieserver.openapi.operation import Operation, Route
from movieserver.schemas import responses

DOCUMENT, PAGE = "/openapi.json", "/docs/"


class RootHandler(OpenHandler):
    """GET /"""

    @Operation(
        "getRoot", "Find the OpenAPI document and the docs", responses.Root, response_texts=("text/html",),
        description="A browser (`Accept: text/html`) gets the web page.")
    async def get(self) -> None:
        if negotiate_page(self):
            await write_page(self)
        else:
            self.write_json({"openapi": self.relative_url(DOCUMENT), "docs": self.relative_url(PAGE)})


routes = [Route("/", RootHandler, protected=False)]
