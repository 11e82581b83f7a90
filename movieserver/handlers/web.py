"""The web page: its HTML, and its files at addresses that contain a hash of them."""
from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from movieserver.errors import NotFound
from movieserver.handlers.base import Handler, OpenHandler
from movieserver.http.headers import prefers_html
from movieserver.openapi.operation import Operation, Route

FOLDER = Path(__file__).parents[1] / "web"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {file.name: file.read_text(encoding="utf-8") for file in sorted(FOLDER.iterdir()) if file.suffix in KINDS}
VERSION = hashlib.sha256("\0".join(FILES.values()).encode()).hexdigest()[:16]
LINK = re.compile(' (?:href|src)="(?=/)')
YEAR_SECONDS = 365 * 24 * 3600
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'{images}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def write_page(handler: Handler) -> None:
    """Respond with the HTML of the page, which shows what its address names."""
    hosts = handler.settings["poster_hosts"]
    handler.set_header("Content-Type", "text/html; charset=utf-8")
    set_page_headers(handler, "".join(f" https://{host}" for host in hosts))
    await handler.write_representation(
        _html(handler.application.urls.prefix, " ".join(hosts), handler.settings["registration"]))


def set_page_headers(handler: Handler, images: str) -> None:
    """The headers of a page that may load images from its server and from other sources, each after a space."""
    handler.set_header("Cache-Control", "no-cache")
    handler.set_header("Content-Security-Policy", POLICY.format(images=images))
    handler.set_header("Referrer-Policy", "no-referrer")


def negotiate_page(handler: Handler) -> bool:
    """Whether the client prefers HTML, as a browser does; adds Vary, as the response depends on Accept."""
    handler.add_header("Vary", "Accept")
    return prefers_html(handler.request.headers.get("Accept", ""))


class FileHandler(OpenHandler):
    """GET /web/<version>/<name>: only the current version, so that no cache stores other bytes at this address."""

    @Operation("getWebFile", "Read a file of the page", KINDS[".js"], etag=True)
    async def get(self, version: str, name: str) -> None:
        if version != VERSION or name not in FILES:
            raise NotFound
        self.set_header("Content-Type", f"{KINDS[Path(name).suffix]}; charset=utf-8")
        self.set_header("Cache-Control", f"public, max-age={YEAR_SECONDS}, immutable")
        await self.write_representation(FILES[name], VERSION)


@cache
def _html(prefix: str, poster_hosts: str, registration: str) -> str:
    """The shell: it names all modules, so that a browser loads them at once, and the settings that the page needs."""
    modules = "".join(
        f'<link rel="modulepreload" href="/web/{name}">\n' for name in FILES if name.endswith(".js"))
    html = (FOLDER / "index.html").read_text(encoding="utf-8").removesuffix("\n")
    html = html.replace("<!-- modules -->\n", modules).replace("<!-- poster hosts -->", poster_hosts)
    html = html.replace("<!-- registration -->", registration)
    return LINK.sub(rf"\g<0>{prefix}", html).replace(f"{prefix}/web/", f"{prefix}/web/{VERSION}/")


routes = [Route("/web/{version}/{name}", FileHandler, protected=False)]
