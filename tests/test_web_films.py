"""The page at /: films. Browse, search, filter by genre, put into collections; and what one likes."""
from __future__ import annotations

from selenium.webdriver.common.keys import Keys

from tests.web import Page, Person

CARDS = ".card h3"


def test_more_films_come_while_scrolling(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.see("Metropolis")
    first = len(page.all(CARDS))
    assert page.all(".card p")[:1] == ["1927"]
    while len(page.all(CARDS)) < 70:
        page.run("scrollTo(0, document.body.scrollHeight)")
        page.until("document.querySelectorAll('.card').length > arguments[0]", first)
        first = len(page.all(CARDS))
    page.until("document.querySelector('.more').hidden")
    assert len(set(page.all(CARDS))) == len(page.all(CARDS)) == 70
    page.run("scrollTo(0, 0)")
    page.requests()
    page.fill("Search films", "e")
    page.see("films found")
    page.until("!document.querySelector('[aria-busy]')")
    assert [url for url in page.requests() if "page=3" in url] == []


def test_search_as_you_type(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.see("Metropolis")
    page.fill("Search films", "alien")
    page.see("1 film found")
    assert page.all(CARDS) == ["Alien"]
    page.driver.refresh()
    page.see("1 film found")
    page.fill("Search films", "no such film")
    page.see("No film found for “no such film”")
    page.fill("Search films", Keys.BACKSPACE)
    page.see("Metropolis")


def test_a_genre_filters(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.see("Metropolis")
    page.click("War")
    page.until("document.querySelectorAll('.card').length >= 4")
    page.lose("Nosferatu")
    assert page.all("[aria-pressed=true]") == ["War"]
    page.click("All genres")
    page.see("Nosferatu")


def test_a_drawn_card_is_the_same_everywhere_and_needs_no_picture(page: Page, person: Person) -> None:
    person.collection("One", [person.films()[0] | {"poster": "https://elsewhere.example/a.jpg"}])
    page.sign_in(person)
    page.see("Metropolis")
    drawing = "document.querySelector('.drawn').outerHTML"
    first = page.run(f"return {drawing}")
    page.go("#/collections")
    page.see("One")
    assert page.until(drawing) == first and not page.all("img")


def test_add_to_collections(page: Page, person: Person) -> None:
    films = person.films()
    inside, outside = person.collection("Inside", films[:1]), person.collection("Outside", [])
    page.sign_in(person)
    page.click("Add Metropolis (1927) to a collection")
    assert page.named("Inside").is_selected() and not page.named("Outside").is_selected()
    page.click("Outside")
    page.see("Added to “Outside”")
    page.click("Inside")
    page.see("Removed from “Inside”")
    assert (person.titles(inside), person.titles(outside)) == ([], ["Metropolis"])
    page.fill("New collection", "Third")
    page.click("Create and add")
    page.see("Added to “Third”")
    assert page.named("Third").is_selected()
    page.press(Keys.ESCAPE)
    page.until("!document.querySelector('dialog')")
    assert page.run("return document.activeElement.ariaLabel") == "Add Metropolis (1927) to a collection"
    assert [each["title"] for each in person.call("GET", "/collection/")["data"]["collections"]] == [
        "Third", "Outside", "Inside"]


def test_the_first_collection_is_made_from_a_film(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.click("Add Metropolis (1927) to a collection")
    page.see("You have no collections yet. Name your first one:")
    page.fill("New collection", "First")
    page.press(Keys.ENTER)
    page.see("Added to “First”")
    page.lose("You have no collections yet")


def test_genres_and_decades(page: Page, person: Person) -> None:
    page.sign_in(person, "#/genres")
    page.see("No genres yet")
    person.collection("All", person.films(1) + person.films(2))
    page.driver.refresh()
    counted = person.call("GET", "/genres/")["genres"]
    page.see("Your genres")
    bars = page.run("return [...document.querySelectorAll('[data-key=genre]')].map((bar) => bar.ariaLabel)")
    assert [bar.partition(":")[0] for bar in bars] == [each["genre"] for each in counted]
    assert [bar.endswith("favourite") for bar in bars] == [True] * 3 + [False] * (len(bars) - 3)
    page.until("document.querySelectorAll('.card').length == 20")
    page.run("document.querySelector('[data-value=War]').focus()")
    page.press(Keys.ENTER)
    war = next(each["count"] for each in counted if each["genre"] == "War")
    page.see(f"{war} films in War")
    assert len(page.all(CARDS)) == war
    assert page.run("return document.activeElement.dataset.value") == "War"
    page.run("document.querySelector('[data-value=\"1940\"]').dispatchEvent(new Event('click'))")
    page.see("in War from the 1940s")
    page.click("Show all")
    page.until("document.querySelectorAll('.card').length == 20")
