"""The files of the page at /: what browsers get, how long they keep it, what it may load, and how large it is."""
from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from tornado.httpclient import HTTPResponse

from movieserver.handlers.web import FILES, FOLDER, VERSION
from movieserver.settings import Settings
from tests.client import Api
from tests.test_root import FIREFOX

HTML = {"Accept": FIREFOX}
LINES, BYTES = 2000, 60 * 1024
ADDRESS = re.compile('(?:href|src)="(/web/[^"]+)"')


async def sent(api: Api, path: str, **headers: str) -> HTTPResponse:
    """The response as it goes over the wire."""
    fetched: HTTPResponse = await api.http.fetch(
        api.base_url + path, headers=headers, raise_error=False, decompress_response=False)
    return fetched


async def test_a_browser_gets_the_page(api: Api) -> None:
    page = await sent(api, "/", **HTML)
    assert page.code == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache" and page.headers["Referrer-Policy"] == "no-referrer"
    assert set(page.headers["Vary"].split(",")) == {"Accept", "Accept-Encoding"}
    again = await sent(api, "/", **HTML, **{"If-None-Match": page.headers["ETag"]})
    assert (again.code, again.body) == (304, b"")


async def test_nothing_runs_that_is_not_a_file_of_the_server(api: Api) -> None:
    page = await sent(api, "/", **HTML)
    assert page.headers["Content-Security-Policy"].split("; ") == [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
        "img-src 'self' https://image.tmdb.org", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    ]
    text = page.body.decode()
    assert not re.search(r"<script>|<style| style=| on\w+=", text)
    assert len(re.findall("<script", text)) == 1


@pytest.mark.usefixtures("app")
class TestPosters:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"poster_hosts": ["image.tmdb.org", "posters.example:8443"]})

    async def test_posters_come_from_the_hosts_of_the_setting(self, api: Api) -> None:
        page = await sent(api, "/", **HTML)
        policy = page.headers["Content-Security-Policy"]
        assert "img-src 'self' https://image.tmdb.org https://posters.example:8443;" in policy
        assert 'name="poster-hosts" content="image.tmdb.org posters.example:8443"' in page.body.decode()


async def test_files_have_the_version_in_their_address_and_are_kept_for_a_year(api: Api) -> None:
    addresses = ADDRESS.findall((await sent(api, "/", **HTML)).body.decode())
    assert {address.rpartition("/")[2] for address in addresses} == set(FILES)
    for address in addresses:
        assert address.startswith(f"/web/{VERSION}/")
        file = await sent(api, address)
        assert file.code == 200 and file.body.decode().rstrip("\n") == FILES[address.rpartition("/")[2]].rstrip("\n")
        assert file.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert file.headers["Content-Type"].partition(";")[0] in ("text/javascript", "text/css", "image/svg+xml")


@pytest.mark.parametrize("path", [
    f"/web/{VERSION}/none.js", "/web/0123456789abcdef/app.js", f"/web/{VERSION}/index.html",
    f"/web/{VERSION}/../app.py", f"/web/{VERSION}/..%2fapp.py", "/web/", f"/web/{VERSION}/",
])
async def test_nothing_else_is_served_there(api: Api, path: str) -> None:
    assert (await sent(api, path)).code == 404


async def test_everything_together_is_small(api: Api) -> None:
    addresses = ["/", *ADDRESS.findall((await sent(api, "/", **HTML)).body.decode())]
    sizes = []
    for address in addresses:
        file = await sent(api, address, **HTML, **{"Accept-Encoding": "gzip"})
        assert file.code == 200
        if file.headers.get("Content-Encoding") == "gzip":
            assert gzip.decompress(file.body)
        sizes.append(len(file.body) + 400)  # its headers
    assert sum(sizes) <= BYTES


def test_the_source_is_short_and_needs_no_build() -> None:
    files = [*FOLDER.iterdir()]
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= LINES
    for file in (Path(FOLDER, name) for name in FILES if name.endswith(".js")):
        text = file.read_text(encoding="utf-8")
        assert set(re.findall(r'from "(?!\./\w+\.js")([^"]*)"', text)) == set(), file.name
        assert not re.search("innerHTML|outerHTML|insertAdjacentHTML|document.write|eval", text), file.name
