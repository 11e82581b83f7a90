"""A page on which a person can read about every call and try it, and what belongs to it; files of our own."""
from __future__ import annotations

from functools import cache
from pathlib import Path

from movieserver.openapi.operation import Operation
from movieserver.handlers.base import OpenHandler, Route

FOLDER = Path(__file__).parents[1] / "pages"
PAGE, STYLE, SCRIPT = "text/html", "text/css", "text/javascript"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class FileHandler(OpenHandler):
    """What the files have in common; a browser asks each time whether its copy is still the newest."""

    async def show(self, name: str, kind: str) -> None:
        """Send a file of the page."""
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        await self.represent(_text(name))


class PageHandler(FileHandler):
    """GET /docs/"""

    @Operation("Read this page", PAGE, tagged=True)
    async def get(self) -> None:
        await self.show("docs.html", PAGE)


class StyleHandler(FileHandler):
    """GET /docs/docs.css"""

    @Operation("How the page looks", STYLE, tagged=True)
    async def get(self) -> None:
        await self.show("docs.css", STYLE)


class ScriptHandler(FileHandler):
    """GET /docs/docs.js"""

    @Operation("What the page does", SCRIPT, tagged=True)
    async def get(self) -> None:
        await self.show("docs.js", SCRIPT)


@cache
def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").removesuffix("\n")


routes = [
    Route("/docs/", PageHandler, protected=False),
    Route("/docs/docs.css", StyleHandler, protected=False),
    Route("/docs/docs.js", ScriptHandler, protected=False),
]
