"""The page at /: all that somebody does who has never seen it, with nothing but what stands there."""
from __future__ import annotations

from pathlib import Path

from selenium.webdriver.common.keys import Keys

from tests.factories import registration
from tests.test_web_sharing import LETTERBOXD
from tests.web import Page, browsing

FILMS = ("Casablanca", "Metropolis", "Alien")
FOUND = "[...document.querySelectorAll('.card h3')].map((each) => each.innerText).join() === arguments[0]"
ORDERED = ["Alien", "Casablanca", "Metropolis"]


def test_a_newcomer_wonders_nothing(page: Page, tmp_path: Path) -> None:
    sign_up(page)
    collect(page)
    page.click("Collections")
    page.click("Rainy evenings")
    page.until("document.querySelectorAll('.row').length === 3")
    page.run("arguments[0].focus()", page.named("Move Alien (1979)"))
    page.press(Keys.HOME)
    page.click("Share")
    page.click("Make a link")
    link = str(page.named("Link").get_attribute("value"))
    page.press(Keys.ESCAPE)
    with browsing() as driver:
        other = Page(driver, page.server)

        def ordered() -> bool:  # the order is saved a moment after the last key
            driver.get(link)
            other.see("Rainy evenings")
            return other.all(".card h3") == ORDERED

        other.wait(ordered)
        other.click("Make your own list")
        other.named("Create account")
        assert other.complaints() == [] and other.foreign() == []
    bring(page, tmp_path / "watchlist.csv")
    page.click("Genres")
    page.see("Your genres")
    assert page.run("return document.querySelectorAll('.chart .marked').length") == 3
    page.click("API reference")
    page.until("location.pathname === '/docs/' && document.querySelector('#sign-in')")


def sign_up(page: Page) -> None:
    """Make an account."""
    pair = registration()
    page.open()
    page.fill("User name", pair["username"])
    page.fill("Password", pair["password"])
    page.press(Keys.ENTER)
    page.see("All genres")


def collect(page: Page) -> None:
    """Find three films, and put them into a collection that is made on the way."""
    for title in FILMS:
        page.click("Search films")
        page.fill("Search films", title)
        page.until(FOUND, title)
        page.run("arguments[0].click()", page.find(".card .add"))
        if title == FILMS[0]:
            page.fill("New collection", "Rainy evenings")
            page.press(Keys.ENTER)
        else:
            page.click("Rainy evenings")
        page.see("Added to “Rainy evenings”")
        page.click("Close")
        page.until("!document.querySelector('dialog')")


def bring(page: Page, file: Path) -> None:
    """Import a list."""
    file.write_bytes(LETTERBOXD.encode())
    page.click("Import")
    page.until("document.querySelector('input[type=file]')").send_keys(str(file))
    page.click("Import this file")
    page.see("21 films added")
    page.click("Open the collection")
    page.see("21 films")
