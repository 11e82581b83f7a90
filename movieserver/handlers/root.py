"""GET /: the addresses of the description and of the docs."""
from __future__ import annotations

from movieserver.handlers.base import OpenHandler, Route
from movieserver.http.headers import prefers_html
from movieserver.openapi.operation import Operation
from movieserver.schemas import responses

DESCRIPTION, PAGE = "/openapi.json", "/docs/"


class RootHandler(OpenHandler):
    """GET /"""

    @Operation(
        "getRoot", "Find the description and the docs", responses.Root, redirects=True,
        description="A browser (`Accept: text/html`) is redirected to the docs.")
    def get(self) -> None:
        self.add_header("Vary", "Accept")
        if prefers_html(self.request.headers.get("Accept", "")):
            self.clear_header("Content-Type")
            self.redirect(self.reference(PAGE))
        else:
            self.write_json({"openapi": self.reference(DESCRIPTION), "docs": self.reference(PAGE)})


routes = [Route("/", RootHandler, protected=False)]
