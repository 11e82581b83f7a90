"""The page /docs/: its files, and registering, creating a collection and deleting the account on it."""
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
CREATE, LIST, READ, DELETE, DELETE_ACCOUNT = (f'[id="{call}"]' for call in (
    "POST/collection/", "GET/collection/", "GET/collection/{collection_uuid}/", "DELETE/collection/{collection_uuid}/",
    "DELETE/account/"))
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
async def test_other_files_are_404(api: Api, path: str) -> None:
    assert (await api.get(path)).status == 404


async def shown(page: Browser, call: str) -> tuple[str, Any]:
    """Click "Try it"; the status and the body that the page then shows."""
    await page.click(f"{call} .try button")
    status = await page.until(f"document.querySelector('{call} .status strong')?.textContent")
    return status, json.loads(await page.evaluate(f"document.querySelector('{call} .result .body').textContent"))


async def enter(page: Browser, pair: dict[str, Any], way: str) -> None:
    """Fill in the form at the top and click one of its buttons."""
    record.exchanged(pair)
    for name, text in pair.items():
        await page.type(f"#sign-in [name={name}]", text)
    await page.click(f"#sign-in [value='{way}']")


def own(api: Api, page: Browser) -> bool:
    """Whether the page sent requests only to this server."""
    return all(address.startswith((f"{api.base_url}/", "data:")) for address in page.requests)


@in_a_browser
async def test_creating_a_collection_on_the_page(api: Api, tmp_path: Path) -> None:
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
async def test_deleting_asks_first_and_deleting_the_account_signs_out(api: Api) -> None:
    pair = registration()
    async with browsing() as page:
        await page.open(f"{api.base_url}/docs/")
        await enter(page, pair, "/register/")
        await page.until("document.body.classList.contains('signed')")
        await page.click(f"{CREATE} > summary")
        assert (await shown(page, CREATE))[0] == "201 Created"
        for call in (DELETE, DELETE_ACCOUNT):
            await page.click(f"{call} > summary")
        page.accepts = False
        for call in (DELETE, DELETE_ACCOUNT):
            await page.click(f"{call} .try button")
        assert page.dialogs == [
            "Delete a collection? This cannot be undone.", "Delete my account? This cannot be undone."]
        assert (await api.post("/login/", pair)).status == 200
        assert not await page.evaluate("document.querySelector('.call[id^=DELETE] .status')")
        page.accepts = True
        assert (await shown(page, DELETE))[0] == "200 OK"
        assert (await shown(page, DELETE_ACCOUNT))[0] == "200 OK"
        await page.until("!document.body.classList.contains('signed')")
        assert await page.evaluate("document.getElementById('message').textContent") == "Your account is deleted."
        assert (await api.post("/login/", pair)).status == 401
        assert len(page.dialogs) == 4 and page.complaints == []


@in_a_browser
async def test_json_is_coloured_and_copied_and_the_sign_in_stays_in_view(api: Api) -> None:
    async with browsing() as page:
        await page.look(1280, 800)
        await page.open(f"{api.base_url}/docs/")
        await enter(page, registration(), "/register/")
        await page.until("document.body.classList.contains('signed')")
        await page.click(f"{CREATE} > summary")
        await shown(page, CREATE)
        body = f"document.querySelector('{CREATE} .result .body')"
        assert await page.evaluate(f"{body}.querySelector('.key').textContent") == '"collection_uuid"'
        await page.click(f"{CREATE} .result .copy")
        await page.until(f"document.querySelector('{CREATE} .result .copy').textContent === 'Copied'")
        assert await page.evaluate(f"getSelection().toString() === {body}.textContent")
        await page.evaluate("scrollTo(0, document.body.scrollHeight)")
        await page.until("document.getElementById('sign-out').getBoundingClientRect().top >= 0 && scrollY > 1000")
        assert await page.evaluate("document.querySelector('h1 small a').getAttribute('href')") == "/"
        assert page.complaints == []


@in_a_browser
async def test_optional_headers_can_be_filled_in(api: Api) -> None:
    async with browsing() as page:
        await page.open(f"{api.base_url}/docs/")
        await enter(page, registration(), "/register/")
        await page.until("document.body.classList.contains('signed')")
        await page.click(f"{LIST} > summary")
        await page.evaluate(f"document.querySelector('{LIST} details').open = true")
        await page.type(f"{LIST} [data-name=If-None-Match]", "*")
        await page.click(f"{LIST} .try button")
        assert await page.until(f"document.querySelector('{LIST} .status strong')?.textContent") == "304 Not Modified"


@in_a_browser
async def test_an_error_is_shown(api: Api) -> None:
    pair = registration()
    assert (await api.post("/register/", pair)).status == 201
    async with browsing() as page:
        await page.open(f"{api.base_url}/docs/")
        await enter(page, pair | {"password": "not this one"}, "/login/")
        assert "wrong" in await page.until("document.getElementById('message').textContent")
        await page.click(f"{LIST} > summary")
        status, problem = await shown(page, LIST)
        assert (status, problem["code"]) == ("401 Unauthorized", "unauthenticated")
        await enter(page, pair, "/login/")
        assert await page.until("document.getElementById('name').textContent") == pair["username"]
        await page.click("#sign-out")
        assert await page.until("document.getElementById('message').textContent") == "Logged out."
        await page.until("!document.getElementById('sign-in').hidden")
        assert not await page.evaluate("document.body.classList.contains('signed')")
        assert own(api, page)


@in_a_browser
async def test_the_page_has_every_operation_and_fits_a_phone(api: Api, sign_up: SignUp) -> None:
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
