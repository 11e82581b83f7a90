"""The documentation page /docs/, which describes each operation and sends requests."""
from __future__ import annotations

from functools import cache
from pathlib import Path

from movieserver.handlers.base import OpenHandler
from movieserver.handlers.web import LINK, set_page_headers
from movieserver.openapi.operation import Operation, Route

FOLDER = Path(__file__).parents[1] / "pages"
HTML, CSS, JAVASCRIPT = "text/html", "text/css", "text/javascript"


class DocsHandler(OpenHandler):
    """A file of the page. A browser may store it, but must revalidate it."""

    async def write_file(self, name: str, media_type: str) -> None:
        """Respond with a file of FOLDER. In HTML, links get the path prefix of PUBLIC_URL."""
        self.set_header("Content-Type", f"{media_type}; charset=utf-8")
        set_page_headers(self, " data:")
        text = _text(name)
        if media_type == HTML:
            text = LINK.sub(rf"\g<0>{self.application.urls.prefix}", text)
        await self.write_representation(text)


class PageHandler(DocsHandler):
    """GET /docs/"""

    @Operation("getDocs", "Read the documentation page", HTML, etag=True, description="HTML, for browsers.")
    async def get(self) -> None:
        await self.write_file("docs.html", HTML)


class StyleHandler(DocsHandler):
    """GET /docs/docs.css"""

    @Operation("getDocsStyle", "Read the style sheet of the documentation page", CSS, etag=True)
    async def get(self) -> None:
        await self.write_file("docs.css", CSS)


class ScriptHandler(DocsHandler):
    """GET /docs/docs.js"""

    @Operation("getDocsScript", "Read the script of the documentation page", JAVASCRIPT, etag=True)
    async def get(self) -> None:
        await self.write_file("docs.js", JAVASCRIPT)


@cache
def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").removesuffix("\n")


routes = [
    Route("/docs/", PageHandler, protected=False),
    Route("/docs/docs.css", StyleHandler, protected=False),
    Route("/docs/docs.js", ScriptHandler, protected=False),
]
