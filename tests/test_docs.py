"""The reference page: its files, and a person who registers and creates a collection by clicking."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from movieserver.handlers.docs import CSS, HTML, JAVASCRIPT
from tests import browser, record
from tests.browser import Browser, browsing
from tests.client import Api
from tests.conftest import SignUp
from tests.factories import collection, registration

FILES = {"/docs/": HTML, "/docs/docs.css": CSS, "/docs/docs.js": JAVASCRIPT}
CREATE, LIST, READ = (f'[id="{call}"]' for call in (
    "POST/collection/", "GET/collection/", "GET/collection/{collection_uuid}/"))
VERBS = ("get", "post", "put", "patch", "delete")
in_a_browser: Callable[..., Any] = pytest.mark.skipif(
    not browser.PROGRAM, reason="there is no Chromium on this machine (apt-get install chromium)")


@pytest.mark.parametrize("path", FILES)
async def test_the_files_of_the_page(api: Api, path: str) -> None:
    whole = await api.get(path)
    assert whole.status == 200
    assert whole.headers["Content-Type"] == f"{FILES[path]}; charset=utf-8"
    assert whole.headers["Cache-Control"] == "no-cache"
    assert whole.headers["Referrer-Policy"] == "no-referrer"
    assert whole.headers["Content-Security-Policy"].split("; ") == [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
        "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    ]
    again = await api.get(path, headers={"If-None-Match": whole.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert (await api.get(path.rstrip("/"))).body == whole.body
    assert (await api.call("HEAD", path)).headers["ETag"] == whole.headers["ETag"]
    assert (await api.post(path)).headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", [
    "/docs/other.js", "/docs/docs.html", "/docs/../app.py", "/docs/%2e%2e/app.py", "/docs/..%2fapp.py",
    "/docs//docs.js",
])
async def test_there_are_no_other_files(api: Api, path: str) -> None:
    assert (await api.get(path)).status == 404


async def shown(page: Browser, call: str) -> tuple[str, Any]:
    """Try a call whose form is filled in; what the page then shows as status and body of the answer."""
    await page.click(f"{call} .try button")
    status = await page.until(f"document.querySelector('{call} .status strong')?.textContent")
    return status, json.loads(await page.evaluate(f"document.querySelector('{call} .shown .body').textContent"))


async def enter(page: Browser, pair: dict[str, Any], way: str) -> None:
    """Fill in the form at the top and press one of its buttons."""
    record.said(pair)
    for name, text in pair.items():
        await page.type(f"#sign-in [name={name}]", text)
    await page.click(f"#sign-in [value='{way}']")


def own(api: Api, page: Browser) -> bool:
    """Whether the page asked nobody but this server."""
    return all(address.startswith((f"{api.base_url}/", "data:")) for address in page.requests)


@in_a_browser
async def test_a_person_creates_a_collection_by_clicking(api: Api, tmp_path: Path) -> None:
    pair, new = registration(), collection()
    async with browsing() as page:
        await page.look(1280, 900)
        await page.open(f"{api.base_url}/docs")
        await enter(page, pair, "/register/")
        assert await page.until("document.getElementById('name').textContent") == pair["username"]
        await page.click(f"{CREATE} > summary")
        await page.type(f"{CREATE} textarea", json.dumps(new))
        status, created = await shown(page, CREATE)
        assert status == "201 Created"
        await page.click(f"{LIST} > summary")
        status, listed = await shown(page, LIST)
        assert status == "200 OK"
        assert listed["data"]["collections"][0]["uuid"] == created["collection_uuid"]
        await page.click(f"{READ} > summary")
        _, read = await shown(page, READ)  # the uuid has been filled in
        assert (read["title"], read["movies"]) == (new["title"], new["movies"])
        await page.screenshot(tmp_path / "docs.png")
        assert page.complaints == []
        assert own(api, page)
        assert {f"{api.base_url}/register/", f"{api.base_url}/collection/"} < set(page.requests)


@in_a_browser
async def test_what_is_refused_is_said(api: Api) -> None:
    pair = registration()
    assert (await api.post("/register/", pair)).status == 201
    async with browsing() as page:
        await page.open(f"{api.base_url}/docs/")
        await enter(page, pair | {"password": "not this one"}, "/login/")
        assert "wrong" in await page.until("document.getElementById('said').textContent")
        await page.click(f"{LIST} > summary")
        status, problem = await shown(page, LIST)
        assert (status, problem["code"]) == ("401 Unauthorized", "unauthenticated")
        await enter(page, pair, "/login/")
        assert await page.until("document.getElementById('name').textContent") == pair["username"]
        await page.click("#sign-out")
        assert await page.until("document.getElementById('said').textContent") == "Logged out."
        await page.until("!document.getElementById('sign-in').hidden")
        assert not await page.evaluate("document.body.classList.contains('signed')")
        assert own(api, page)


@in_a_browser
async def test_the_page_has_every_call_and_fits_a_phone(api: Api, sign_up: SignUp) -> None:
    paths = (await api.get("/openapi.json")).json["paths"]
    calls = {f"{verb.upper()}{path}" for path, item in paths.items() for verb in VERBS if verb in item}
    token = (await sign_up()).token
    assert token
    async with browsing() as page:
        await page.look(360, 740, "dark")
        await page.open(f"{api.base_url}/docs/")
        assert await page.until("document.querySelectorAll('.call').length") == len(calls)
        assert set(await page.evaluate("[...document.querySelectorAll('.call')].map(({id}) => id)")) == calls
        await page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await page.evaluate(
            "[...document.querySelectorAll('input, select, textarea')].every((each) => each.labels.length)")
        await page.type("#authorise input", token)
        await page.click("#authorise button")
        assert (await shown(page, LIST))[0] == "200 OK"
        assert page.complaints == []
