"""The page /docs/: its files, and registering, creating a collection and deleting the account on it."""
from __future__ import annotations

import json
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from movieserver.handlers.docs import CSS, HTML, JAVASCRIPT
from tests import record
from tests.client import Api
from tests.factories import collection, registration
from tests.web import Page, Person

FILES = {"/docs/": HTML, "/docs/docs.css": CSS, "/docs/docs.js": JAVASCRIPT}
CREATE, LIST, READ, DELETE, DELETE_ACCOUNT = (f'[id="{call}"]' for call in (
    "POST/collection/", "GET/collection/", "GET/collection/{collection_uuid}/", "DELETE/collection/{collection_uuid}/",
    "DELETE/account/"))
VERBS = ("get", "post", "put", "patch", "delete")


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


def click(page: Page, selector: str) -> None:
    element = page.find(selector)
    page.run("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def fill(page: Page, selector: str, text: str) -> None:
    click(page, selector)
    page.find(selector).send_keys(Keys.CONTROL, "a")
    page.find(selector).send_keys(text)


def text(page: Page, selector: str) -> str:
    """The text of an element, once it has one."""
    found: str = page.until("document.querySelector(arguments[0])?.textContent", selector)
    return found


def shown(page: Page, call: str) -> tuple[str, Any]:
    """Click "Try it"; the status and the body that the page then shows."""
    click(page, f"{call} .try button")
    return text(page, f"{call} .status strong"), json.loads(text(page, f"{call} .result .body"))


def enter(page: Page, pair: dict[str, Any], way: str) -> None:
    """Fill in the form at the top and click one of its buttons."""
    record.exchanged(pair)
    for name, value in pair.items():
        fill(page, f"#sign-in [name={name}]", value)
    click(page, f"#sign-in [value='{way}']")


def opened(page: Page, *calls: str) -> dict[str, Any]:
    """The page with some calls unfolded, and a new user signed in there."""
    pair = registration()
    page.open("/docs/")
    enter(page, pair, "/register/")
    page.until("document.body.classList.contains('signed')")
    assert text(page, "#name") == pair["username"]
    for call in calls:
        click(page, f"{call} > summary")
    return pair


def confirm(page: Page, call: str, yes: bool) -> str:
    """Click "Try it", and answer the question that the page then asks."""
    click(page, f"{call} .try button")
    dialog = page.driver.switch_to.alert
    question = dialog.text
    if yes:
        dialog.accept()
    else:
        dialog.dismiss()
    return question


def test_creating_a_collection_on_the_page(page: Page) -> None:
    opened(page, CREATE, LIST, READ)
    new = collection()
    fill(page, f"{CREATE} textarea", json.dumps(new))
    status, created = shown(page, CREATE)
    assert status == "201 Created"
    status, listed = shown(page, LIST)
    assert status == "200 OK"
    assert listed["data"]["collections"][0]["uuid"] == created["collection_uuid"]
    _, read = shown(page, READ)  # the uuid has been filled in
    assert (read["title"], read["movies"]) == (new["title"], new["movies"])
    assert {f"{page.server.url}/{path}" for path in ("register/", "collection/")} < set(page.requests())


def test_deleting_asks_first_and_deleting_the_account_signs_out(page: Page) -> None:
    pair = opened(page, CREATE, DELETE, DELETE_ACCOUNT)
    assert shown(page, CREATE)[0] == "201 Created"
    questions = ["Delete a collection? This cannot be undone.", "Delete my account? This cannot be undone."]
    assert [confirm(page, call, False) for call in (DELETE, DELETE_ACCOUNT)] == questions
    assert page.server.call("POST", "/login/", pair)[0] == 200
    assert not page.run("return document.querySelector('.call[id^=DELETE] .status')")
    for call, question in zip((DELETE, DELETE_ACCOUNT), questions):
        assert confirm(page, call, True) == question
        assert text(page, f"{call} .status strong") == "200 OK"
    page.until("!document.body.classList.contains('signed')")
    assert text(page, "#message") == "Your account is deleted."
    assert page.server.call("POST", "/login/", pair)[0] == 401


def test_json_is_coloured_and_copied_and_the_sign_in_stays_in_view(page: Page) -> None:
    opened(page, CREATE)
    shown(page, CREATE)
    assert text(page, f"{CREATE} .result .body .key") == '"collection_uuid"'
    click(page, f"{CREATE} .result .copy")
    page.until("document.querySelector(arguments[0]).textContent === 'Copied'", f"{CREATE} .result .copy")
    assert page.run("return getSelection().toString()") == text(page, f"{CREATE} .result .body")
    page.run("scrollTo(0, document.body.scrollHeight)")
    page.until("document.getElementById('sign-out').getBoundingClientRect().top >= 0 && scrollY > 1000")
    assert page.run("return document.querySelector('h1 small a').getAttribute('href')") == "/"


def test_optional_headers_can_be_filled_in(page: Page) -> None:
    opened(page, LIST)
    page.run("document.querySelector(arguments[0]).open = true", f"{LIST} details")
    fill(page, f"{LIST} [data-name=If-None-Match]", "*")
    click(page, f"{LIST} .try button")
    assert text(page, f"{LIST} .status strong") == "304 Not Modified"


def test_an_error_is_shown(page: Page, person: Person) -> None:
    page.statuses = {"401"}
    page.open("/docs/")
    enter(page, person.pair | {"password": "not this one"}, "/login/")
    assert "wrong" in text(page, "#message")
    click(page, f"{LIST} > summary")
    status, problem = shown(page, LIST)
    assert (status, problem["code"]) == ("401 Unauthorized", "unauthenticated")
    enter(page, person.pair, "/login/")
    assert text(page, "#name") == person.name
    click(page, "#sign-out")
    page.until("document.getElementById('message').textContent === 'Logged out.'")
    page.until("!document.getElementById('sign-in').hidden")
    assert not page.run("return document.body.classList.contains('signed')")


def test_the_page_has_every_operation_and_fits_a_phone(page: Page, person: Person) -> None:
    paths = person.call("GET", "/openapi.json")["paths"]
    calls = {f"{verb.upper()}{path}" for path, item in paths.items() for verb in VERBS if verb in item}
    page.look(360, 740, "dark")
    page.open("/docs/")
    page.until("document.querySelectorAll('.call').length === arguments[0]", len(calls))
    assert set(page.run("return [...document.querySelectorAll('.call')].map(({id}) => id)")) == calls
    page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    assert page.run(
        "return [...document.querySelectorAll('input, select, textarea')].every((each) => each.labels.length)")
    fill(page, "#authorise input", person.tokens["access_token"])
    click(page, "#authorise button")
    assert shown(page, LIST)[0] == "200 OK"
    page.look(1280, 800, "light")
