"""The page at / for everybody: axe's rules in both color schemes, a phone of 360 pixels, keyboards, reduced motion."""
from __future__ import annotations

from importlib.resources import files
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.keys import Keys

from tests.web import Page, Person

AXE = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
LIST = "Date,Name,Year,Letterboxd URI\r\n2026-01-01,M,1931,https://boxd.it/x\r\n2026-01-02,Lost,soon,\r\n"
VIEWS = {
    "#/movies": "Show more", "#/collections": "New collection", "#/genres": "Your genres",
    "#/transfer": "Bring your lists",
    "#/account": "Personal tokens", "#/nowhere": "There is nothing here",
}


def serious(page: Page, scheme: str) -> list[str]:
    """What axe finds wrong, if it is serious or worse; in the dark scheme, which changes only colors, with colors."""
    page.run(AXE)
    options = {"resultTypes": ["violations"]} | ({"runOnly": ["color-contrast"]} if scheme == "dark" else {})
    found = page.driver.execute_async_script("axe.run(document, arguments[0]).then(arguments[1])", options)
    return [
        f"{each['id']}: {each['help']} {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found["violations"] if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, person: Person, scheme: str) -> None:
    uuid = person.collection("Evenings", person.films()[:4], "For rainy days")
    page.look(1280, 800, scheme)
    page.open()
    page.see("The films you love")
    assert serious(page, scheme) == []
    page.sign_in(person)
    for path, text in (VIEWS | {f"#/collections/{uuid}": "Metropolis"}).items():
        page.go(path)
        page.see(text)
        assert serious(page, scheme) == [], path
    page.click("Select")
    page.click("Select Metropolis (1927)")
    assert serious(page, scheme) == []
    page.click("Share")
    page.named("Make a link")
    assert serious(page, scheme) == []
    page.press(Keys.ESCAPE)
    page.go("#/movies")
    page.click("Add Metropolis (1927) to a collection")
    page.named("Evenings")
    assert serious(page, scheme) == []
    page.look(1280, 800, "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_what_opens_later(page: Page, person: Person, scheme: str) -> None:
    uuid = person.collection("Evenings", person.films()[:4], "For rainy days")
    link = urlsplit(person.call("POST", f"/collection/{uuid}/share/", {})["url"])
    page.statuses = {"404", "412"}
    page.look(1280, 800, scheme)
    for path, text in ((link.path, "For rainy days"), (f"{link.path.rstrip('/')}x/", "This link does not work")):
        page.open(path)
        page.see(text)
        assert serious(page, scheme) == [], path
    page.sign_in(person, f"#/collections/{uuid}")
    page.fill("Title", "Mine")
    person.call("PUT", f"/collection/{uuid}/", {"title": "Theirs"})
    page.press(Keys.ENTER)
    page.see("Changed somewhere else")
    assert serious(page, scheme) == []
    page.click("Keep mine")
    page.click("Remove Metropolis (1927)")
    page.named("Undo")
    assert serious(page, scheme) == []
    page.go("#/transfer")
    page.drop(LIST)
    page.named("Import this file")
    assert serious(page, scheme) == []
    page.click("Import this file")
    page.see("Import finished")
    assert serious(page, scheme) == []
    page.look(1280, 800, "light")


def test_a_phone_of_360_pixels_needs_no_scrolling_sideways(page: Page, person: Person) -> None:
    uuid = person.collection("Rindfleischetikettierungsüberwachungsaufgaben" * 3, person.films()[:4])
    page.look(360, 740, "dark")
    try:
        page.open()
        page.see("The films you love")
        assert page.run("return document.documentElement.scrollWidth") <= 360
        page.sign_in(person)
        for path, text in (VIEWS | {f"#/collections/{uuid}": "Metropolis"}).items():
            page.go(path)
            page.see(text)
            assert page.run("return document.documentElement.scrollWidth") <= 360, path
        page.open(urlsplit(person.call("POST", f"/collection/{uuid}/share/", {})["url"]).path)
        page.see("Make your own list")
        assert page.run("return document.documentElement.scrollWidth") <= 360
        small = page.run("""return [...document.querySelectorAll('main button, nav a')]
            .filter((each) => each.checkVisibility() && each.offsetHeight < 32).map((each) => each.outerHTML)""")
        assert small == []
    finally:
        page.look(1280, 800, "light")


def test_everything_can_be_done_with_the_keyboard(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.see("Show more")
    page.press(Keys.TAB)
    assert page.run("return document.activeElement.textContent") == "Skip to the content"
    page.press(Keys.ENTER)
    assert page.run("return document.activeElement.id") == "main"
    reached = set()
    for _ in range(40):
        page.press(Keys.TAB)
        reached.add(page.run("return document.activeElement.ariaLabel ?? document.activeElement.textContent"))
        assert page.run("return document.activeElement.matches(':focus-visible')")
    assert {"Search films", "All genres", "Drama", "Add Metropolis (1927) to a collection"} <= reached


def test_a_new_view_has_the_focus_and_a_title(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.see("Show more")
    assert page.driver.title == "Movies · movieserver"
    page.click("Genres")
    page.see("No genres yet")
    assert page.driver.title == "Genres · movieserver"
    assert page.run("return document.activeElement.id") == "main"
    assert page.run("return document.querySelector('[aria-current=page]').innerText.trim()") == "Genres"
    page.driver.back()
    page.see("Show more")


def test_nothing_moves_for_those_who_ask_for_that(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.see("Show more")
    assert page.run("return document.getAnimations().length") == 0
    assert page.run("return getComputedStyle(document.querySelector('main')).animationName") == "none"


def test_offline_it_says_so_and_loses_nothing_that_was_typed(page: Page, person: Person) -> None:
    page.statuses = {"ERR_INTERNET_DISCONNECTED"}
    uuid = person.collection("Evenings", person.films()[:2])
    page.sign_in(person, f"#/collections/{uuid}")
    page.see("Metropolis")
    page.offline(True)
    page.fill("Title", "Nights")
    page.press(Keys.ENTER)
    page.see("Not saved yet.")
    page.see("You are offline, or the server does not respond.")
    page.fill("Note on Metropolis (1927)", "With the organ")
    page.press(Keys.TAB)
    page.go("#/genres")
    page.see("This could not be loaded")
    page.offline(False)
    page.lose("You are offline")
    page.see("Your genres")
    page.go(f"#/collections/{uuid}")
    page.wait(lambda: person.call("GET", f"/collection/{uuid}/")["title"] == "Nights")
    page.wait(lambda: person.call("GET", f"/collection/{uuid}/")["movies"][0].get("note") == "With the organ")
    assert page.named("Title").get_attribute("value") == "Nights"


def test_a_click_that_fails_says_so(page: Page, person: Person) -> None:
    page.statuses = {"ERR_INTERNET_DISCONNECTED"}
    page.sign_in(person, "#/account")
    page.see("this one")
    page.offline(True)
    page.click("Sign out everywhere")
    page.see("The server does not respond. Check your connection.")
    page.offline(False)
    page.lose("You are offline")
    page.click("Sign out everywhere")
    page.named("Password")


def test_the_first_view_of_a_user_takes_one_round_trip_after_the_modules(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.see("Show more")
    page.requests()
    page.driver.refresh()
    page.see("Show more")
    paths = page.run("""return performance.getEntriesByType('resource').map(({name, initiatorType}) =>
        [initiatorType, new URL(name).pathname])""")
    modules = [path for kind, path in paths if path.endswith(".js")]
    assert len(modules) == len(set(modules))
    fetched = [path for kind, path in paths if kind == "fetch"]
    assert fetched[0] in ("/movies/", "/changes/") and "/refresh/" not in fetched
