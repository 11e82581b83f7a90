"""The page at /: responses that are cut off or lost, requests that overtake others, tokens that change meanwhile."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.web import Page, Person

# how the page receives the next response to a request of a method to an address with a text in it
NEXT_RESPONSE = """const whole = fetch, [method, text, change] = arguments, changes = {
    cut: async (response) => new Response(
        new ReadableStream({start: (body) => body.error(new TypeError("cut"))}), await response),
    lost: async (response) => { await response; throw new TypeError("lost"); },
};
window.fetch = (address, init = {}) => {
    if ((init.method ?? "GET") !== method || !String(address).includes(text)) return whole(address, init);
    window.fetch = whole;
    if (change !== "late") return changes[change](whole(address, init));
    window.held = true;
    return new Promise((resolve) => setTimeout(resolve, 700)).then(() => whole(address, init))
        .finally(() => { window.late = true; });
}"""
STORED = "JSON.parse(sessionStorage.getItem('movieserver:/') ?? localStorage.getItem('movieserver:/'))"


@pytest.fixture
def uuid(person: Person) -> str:
    return person.collection("Evenings", person.films()[:2])


def test_a_view_whose_response_was_cut_off_is_shown_later(page: Page, person: Person, uuid: str) -> None:
    page.sign_in(person)
    page.see("All genres")
    page.run(NEXT_RESPONSE, "GET", uuid, "cut")
    page.go(f"#/collections/{uuid}")
    page.until("document.querySelector('.title input')?.value === 'Evenings'")


def test_another_title_after_a_lost_response_is_another_collection(page: Page, person: Person) -> None:
    page.sign_in(person, "#/collections")
    page.click("New collection")
    page.fill("Title", "One")
    page.run(NEXT_RESPONSE, "POST", "/collection/", "lost")
    page.click("Create collection")
    page.see("The server does not respond. Check your connection.")
    page.fill("Title", "Two")
    page.click("Create collection")
    page.until("document.querySelector('.title input')?.value === 'Two'")
    titles = [each["title"] for each in person.call("GET", "/collection/")["data"]["collections"]]
    assert titles == ["Two", "One"]


def test_a_tick_that_is_taken_back_at_once_stays_taken_back(page: Page, person: Person, uuid: str) -> None:
    page.sign_in(person)
    page.see("The General")
    page.click("Add The General (1926) to a collection")
    page.named("Evenings")
    page.run(NEXT_RESPONSE, "POST", "/movies/", "late")
    for _ in range(2):
        page.run("document.querySelector('.ticks input').click()")
    page.see("Removed from “Evenings”")
    assert "The General" not in person.titles(uuid)


def test_signing_out_while_tokens_are_renewed(page: Page, person: Person) -> None:
    page.sign_in(person, "#/account")
    page.named("Sign out")
    page.run(f"""const tokens = {STORED}; tokens.expires = 0;
        localStorage.setItem("movieserver:/", JSON.stringify(tokens))""")
    page.run(NEXT_RESPONSE, "POST", "/refresh/", "late")
    page.go("#/collections")
    page.until("window.held")
    page.run("localStorage.removeItem('movieserver:/'); location.hash = '#/account'")
    page.named("Password")
    page.until("window.late")
    page.run("return fetch('/healthz').then((response) => response.text())")  # by then the late response is read
    assert page.run(f"return {STORED}") is None


def test_a_duplicated_tab_takes_the_tokens_that_the_other_one_renews(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.see("All genres")
    page.run(f"""const tokens = {STORED};
        sessionStorage.setItem("movieserver:/", JSON.stringify({{...tokens, stay: false}}));
        localStorage.clear();
        window.open(location.href)""")
    first, second = page.driver.window_handles
    try:
        page.driver.switch_to.window(second)
        page.see("All genres")
        before = tokens_of(page)["refresh"]
        page.driver.switch_to.window(first)
        page.run(f"""const tokens = {STORED}; tokens.expires = 0;
            sessionStorage.setItem("movieserver:/", JSON.stringify(tokens))""")
        page.go("#/genres")
        page.until(f"{STORED}.refresh !== arguments[0]", before)
        renewed = tokens_of(page)
        page.driver.switch_to.window(second)
        page.until(f"{STORED}.refresh === arguments[0]", renewed["refresh"])
    finally:
        page.driver.switch_to.window(second)
        page.driver.close()
        page.driver.switch_to.window(first)


def tokens_of(page: Page) -> dict[str, Any]:
    tokens: dict[str, Any] = page.run(f"return {STORED}")
    return tokens


def choose(page: Page, person: Person, file: Path) -> None:
    """Choose a file to import."""
    page.sign_in(person, "#/transfer")
    page.until("document.querySelector('input[type=file]')").send_keys(str(file))


def test_a_file_of_more_collections_than_a_request_may_have(page: Page, person: Person, tmp_path: Path) -> None:
    """Errors have the numbers of the lines in the file."""
    lines = [json.dumps({"title": f"t{number}"}) for number in range(1_001)]
    file = tmp_path / "collections.ndjson"
    file.write_text("\n".join([*lines, "", "no JSON", ""]), encoding="utf-8")
    choose(page, person, file)
    page.see("This file cannot be read")
    file.write_text("\n".join([*lines, "", '{"title": 1, "movies": []}', ""]), encoding="utf-8")
    choose(page, person, file)
    page.click("Import this file")
    page.see("Import finished")
    assert page.all("td:first-child") == ["1003"]
    assert person.call("GET", "/collection/?limit=1")["count"] == 1_001


def test_an_import_whose_response_is_not_json_has_failed(page: Page, person: Person, tmp_path: Path) -> None:
    """Such as that of a proxy."""
    file = tmp_path / "list.csv"
    file.write_text("Title\nM\n", encoding="utf-8")
    choose(page, person, file)
    page.named("Import this file")
    page.run("""const {open} = XMLHttpRequest.prototype;
        XMLHttpRequest.prototype.open = function () { open.call(this, "GET", "/docs/"); }""")
    page.click("Import this file")
    page.until("document.querySelector('[role=alert]')?.innerText")
