"""The page at /: share, import, export, tokens for scripts; and two windows that stay alike."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.web import Page, Person, browsing

HEAD = "Date,Name,Year,Letterboxd URI\r\n2026-01-01,M,1931,https://boxd.it/x\r\n2026-01-02,Lost,soon,\r\n"
LETTERBOXD = HEAD + "".join(
    f"2026-01-03,\"Film, the {number}th\",{1950 + number},https://boxd.it/{number}\r\n" for number in range(20))


@pytest.fixture
def downloads(page: Page, tmp_path: Path) -> Path:
    """The folder of downloads."""
    page.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    return tmp_path


def downloaded(page: Page, folder: Path, pattern: str) -> str:
    """The text of a file, once it is there."""
    page.wait(lambda: any(file.stat().st_size for file in folder.glob(pattern)))
    return next(folder.glob(pattern)).read_text(encoding="utf-8-sig")


def test_share_and_end(page: Page, person: Person) -> None:
    films = person.films()[:3]
    films[0]["note"] = "a secret"
    uuid = person.collection("Evenings", films, "For rainy days")
    page.sign_in(person, f"#/collections/{uuid}")
    page.see("Metropolis")
    page.click("Share")
    page.click("Make a link")
    link = str(page.named("Link").get_attribute("value"))
    page.click("Copy")
    page.named("Copied")
    page.run("localStorage.clear(); sessionStorage.clear()")  # from here on as somebody else
    page.driver.get(link)
    page.see("For rainy days")
    assert page.all(".card h3") == ["Metropolis", "Nosferatu", "The General"]
    assert page.all("h1") == ["Evenings"] and page.driver.title == "Evenings"
    assert "secret" not in page.text() and person.name not in page.text()
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not page.named_now("Print") and not page.named_now("Make your own list")
    assert page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    page.statuses = {"404"}
    page.sign_in(person, f"#/collections/{uuid}")
    page.click("Share")
    page.click("Make a link")
    page.named("Link")
    page.click("End the link")
    page.see("The link no longer works.")
    page.driver.get(link)
    page.see("This link does not work")


def test_shared_collections_are_marked(page: Page, person: Person) -> None:
    person.call("POST", f"/collection/{person.collection('Open', [])}/share/", {})
    person.collection("Closed", [])
    page.sign_in(person, "#/collections")
    page.see("Open")
    assert [text.partition("\n")[0] for text in page.all(".stack:has(.tag)")] == ["Open"]


def test_import_a_list_of_letterboxd(page: Page, person: Person, tmp_path: Path) -> None:
    file = tmp_path / "watchlist.csv"
    file.write_bytes(LETTERBOXD.encode())
    for added, existing in ((21, 0), (0, 21)):
        page.sign_in(person, "#/transfer")
        page.until("document.querySelector('input[type=file]')").send_keys(str(file))
        page.see("A list of Letterboxd · 22 films in this file")
        assert page.all(".preview li")[:3] == ["M (1931)", "Lost (soon)", "Film, the 0th (1950)"]
        page.see("and 14 more")
        page.click("Import this file")
        page.see("Import finished")
        page.see(f"{added} film{'' if added == 1 else 's'} added, {existing} already there, 1 left out")
        assert page.all("td")[0] == "3" and "year" in page.all("td")[1]
        page.click("Open the collection")
        page.see("21 films")


def test_a_file_is_dropped_into_a_collection(page: Page, person: Person) -> None:
    uuid = person.collection("Wanted", [])
    page.sign_in(person, "#/transfer")
    page.drop(LETTERBOXD)
    page.see("22 films in this file")
    page.until("[...document.querySelectorAll('option')].some((each) => each.innerText === 'Wanted')")
    page.named("Add to").send_keys("Wanted")
    page.click("Import this file")
    page.see("21 films added")
    assert len(person.titles(uuid)) == 21


def test_a_file_that_is_no_list_is_refused(page: Page, person: Person, tmp_path: Path) -> None:
    file = tmp_path / "letter.csv"
    file.write_text("Dear Ada,\nthank you.\n", encoding="utf-8")
    page.sign_in(person, "#/transfer")
    page.until("document.querySelector('input[type=file]')").send_keys(str(file))
    page.see("This file cannot be read as a list of films.")


def test_everything_goes_out_and_comes_in_again(page: Page, person: Person, downloads: Path) -> None:
    person.collection("One", person.films()[:2])
    person.collection("Two", person.films()[2:5])
    page.sign_in(person, "#/transfer")
    page.click("Download all collections")
    text = downloaded(page, downloads, "*.ndjson")
    assert [json.loads(line)["title"] for line in text.splitlines()] == ["Two", "One"]
    other = Person(person.server)
    page.sign_in(other, "#/transfer")
    page.until("document.querySelector('input[type=file]')").send_keys(str(next(downloads.glob("*.ndjson"))))
    page.see("An export of this service · 5 films in this file")
    page.click("Import this file")
    page.see("5 films added")
    page.click("See your collections")
    page.see("Two")


def test_a_collection_goes_out_as_csv_and_json(page: Page, person: Person, downloads: Path) -> None:
    uuid = person.collection("One", person.films()[:2])
    page.sign_in(person, f"#/collections/{uuid}")
    page.click("Download as CSV")
    assert '"Metropolis","1927"' in downloaded(page, downloads, "*.csv")
    page.click("Download as JSON")
    assert json.loads(downloaded(page, downloads, "*.json"))["uuid"] == uuid


def test_personal_tokens(page: Page, person: Person) -> None:
    page.sign_in(person, "#/account")
    page.see("You have no tokens.")
    page.fill("What is it for?", "backup")
    page.click("Make a token")
    page.see("it is not shown again")
    token = str(page.named("Token").get_attribute("value"))
    page.click("Copy")
    page.named("Copied")
    assert page.run("return getSelection().toString()") == token
    assert person.server.call("GET", "/collection/", None, token)[0] == 200
    assert person.server.call("POST", "/collection/", {"title": "No"}, token)[0] == 403
    page.see("only read · not used yet")
    page.driver.refresh()
    page.see("backup")
    assert token not in page.text() and not page.named_now("Token")
    page.click("End the token backup")
    page.see("You have no tokens.")


def test_a_link_ends_when_one_says(page: Page, person: Person) -> None:
    uuid = person.collection("Evenings", [])
    page.sign_in(person, f"#/collections/{uuid}")
    page.click("Share")
    page.named("The link ends").send_keys("after 7 days")
    page.click("Make a link")
    page.see("Works until")
    assert person.call("GET", f"/collection/{uuid}/")["shared"]


def test_an_import_shows_how_far_it_is(page: Page, person: Person, tmp_path: Path) -> None:
    file = tmp_path / "watchlist.csv"
    file.write_bytes(LETTERBOXD.encode())
    page.sign_in(person, "#/transfer")
    page.until("document.querySelector('input[type=file]')").send_keys(str(file))
    page.named("Import this file")
    page.run("""window.seen = [];
        new MutationObserver(() => document.querySelectorAll("progress").forEach((bar) => {
            seen.push(bar.ariaLabel);
        })).observe(document.body, {subtree: true, childList: true, attributes: true})""")
    page.click("Import this file")
    page.see("Import finished")
    assert set(page.run("return seen")) == {"Progress of the import"}
    assert page.all("progress") == []


def test_signing_out_in_one_window_signs_out_the_others(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.see("All genres")
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    try:
        page.open("/#/account")
        page.click("Sign out")
        page.named("Password")
    finally:
        page.driver.close()
        page.driver.switch_to.window(first)
    page.named("Password")


def test_a_pretty_export_and_a_list_with_semicolons_are_understood(page: Page, person: Person, tmp_path: Path) -> None:
    for name, text, seen in (
        ("one.json", json.dumps({"title": "One", "movies": person.films()[:2]}, indent=2), "2 films in this file"),
        ("list.csv", "Title;Year\n\"Film; the last\";1950\nM;1931\nSe7en;1995\n", "A CSV file · 3 films in this file"),
    ):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        page.sign_in(person, "#/transfer")
        page.until("document.querySelector('input[type=file]')").send_keys(str(file))
        page.see(seen)
        page.click("Import this file")
        page.see("Import finished")


def test_two_windows_stay_alike(page: Page, person: Person) -> None:
    uuid = person.collection("Evenings", person.films()[:2])
    page.sign_in(person, f"#/collections/{uuid}")
    page.see("Metropolis")
    person.call("PUT", f"/collection/{uuid}/", {"title": "Nights", "movies": person.films()[1:4]})
    page.see("City Lights")
    page.lose("Metropolis")
    assert page.named("Title").get_attribute("value") == "Nights"
    with browsing() as driver:
        other = Page(driver, person.server)
        other.sign_in(person, "#/collections")
        other.see("Nights")
        page.click("Remove City Lights (1931)")
        page.go("#/genres")
        other.see("2 films")
        page.see("2 films")
        person.call("DELETE", f"/collection/{uuid}/")
        other.see("Your first collection starts here")
        page.see("No genres yet")


def test_what_is_being_typed_is_not_overwritten(page: Page, person: Person) -> None:
    uuid = person.collection("Evenings", person.films()[:2])
    page.sign_in(person, f"#/collections/{uuid}")
    page.see("Metropolis")
    page.fill("Title", "Half a tit")
    person.call("PUT", f"/collection/{uuid}/", {"title": "Theirs", "movies": person.films()[:3]})
    page.see("The General")
    assert page.named("Title").get_attribute("value") == "Half a tit"
    page.press("le", Keys.ENTER)
    page.see("Changed somewhere else")
    page.click("Keep mine")
    page.wait(lambda: person.call("GET", f"/collection/{uuid}/")["title"] == "Half a title")


def test_a_collection_that_is_deleted_elsewhere_says_so(page: Page, person: Person) -> None:
    uuid = person.collection("Evenings", [])
    page.sign_in(person, f"#/collections/{uuid}")
    page.see("No films in here yet")
    person.call("DELETE", f"/collection/{uuid}/")
    page.see("This collection has been deleted")
