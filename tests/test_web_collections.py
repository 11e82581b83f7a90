"""The page at /: collections. Rename, describe, order, note, remove with undo, several at once, conflicts."""
from __future__ import annotations

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.web import Page, Person

ROWS = ".row h2"


@pytest.fixture
def uuid(person: Person) -> str:
    """A collection of four films."""
    return person.collection("Evenings", person.films()[:4], "For rainy days")


@pytest.fixture
def view(page: Page, person: Person, uuid: str) -> Page:
    """The page with that collection."""
    page.sign_in(person, f"#/collections/{uuid}")
    page.see("Metropolis")
    return page


def stored(person: Person, uuid: str, key: str, value: object, page: Page) -> None:
    """Wait until the API has a value."""
    page.wait(lambda: person.call("GET", f"/collection/{uuid}/")[key] == value)


def test_collections_are_shown_as_stacks_and_made(page: Page, person: Person, uuid: str) -> None:
    person.collection("Empty", [])
    page.sign_in(person, "#/collections")
    page.see("Evenings")
    assert page.all(".stack h2") == ["Empty", "Evenings"]
    assert page.run("return [...document.querySelectorAll('.covers')].map((each) => each.children.length)") == [1, 4]
    page.click("New collection")
    page.fill("Title", "Mornings")
    page.fill("Description (optional)", "With coffee")
    page.click("Create collection")
    page.see("No films in here yet")
    assert page.named("Title").get_attribute("value") == "Mornings"
    page.click("Find films")
    page.see("All genres")


def test_a_deletion_that_fails_shows_the_collection_again(view: Page, person: Person, uuid: str) -> None:
    view.run("""const whole = fetch, lost = () => Promise.reject(new TypeError("lost"));
        window.fetch = (address, init) => (init?.method === "DELETE" ? lost() : whole(address, init))""")
    view.click("Delete")
    view.see("Your first collection starts here")
    view.until("document.querySelector('.stack h2')?.innerText === 'Evenings'")


def test_no_collections(page: Page, person: Person) -> None:
    page.sign_in(person, "#/collections")
    page.see("Your first collection starts here")
    page.click("Import from Letterboxd, IMDb or Trakt")
    page.see("Bring your lists")


def test_rename_in_place_and_describe(view: Page, person: Person, uuid: str) -> None:
    view.fill("Title", "Nights")
    view.press(Keys.ENTER)
    stored(person, uuid, "title", "Nights", view)
    view.until("document.title.startsWith('Nights')")
    view.fill("Description", "For dry days")
    view.press(Keys.TAB)
    stored(person, uuid, "description", "For dry days", view)
    view.fill("Title", "Never mind")
    view.press(Keys.ESCAPE)
    assert view.named("Title").get_attribute("value") == "Nights"
    assert person.call("GET", f"/collection/{uuid}/")["title"] == "Nights"


def test_order_by_keyboard(view: Page, person: Person, uuid: str) -> None:
    view.run("arguments[0].focus()", view.named("Move Metropolis (1927)"))
    view.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    view.until("[...document.querySelectorAll('[role=status]')].some((each) => "
               "each.textContent === 'Metropolis (1927) is now 3 of 4')")
    assert view.run("return document.activeElement.ariaLabel") == "Move Metropolis (1927)"
    view.wait(lambda: person.titles(uuid) == ["Nosferatu", "The General", "Metropolis", "City Lights"])
    view.press(Keys.END)
    view.wait(lambda: person.titles(uuid)[-1] == "Metropolis")
    view.wait(lambda: view.all(ROWS) == person.titles(uuid))


HOLD = (  # what the page stores gets no response before release()
    "const real = window.fetch, release = new Promise((resolve) => { window.release = resolve; });"
    "window.fetch = async (...call) => { const response = await real(...call);"
    "if (call[1]?.method === 'PUT') await release; return response; };")


def test_a_move_while_the_one_before_is_saved(view: Page, person: Person, uuid: str) -> None:
    view.run(HOLD)
    view.run("arguments[0].focus()", view.named("Move Metropolis (1927)"))
    view.press(Keys.ARROW_DOWN)
    view.wait(lambda: person.titles(uuid)[1] == "Metropolis")
    view.press(Keys.END)
    view.run("window.release()")  # the page shows what it has saved
    view.wait(lambda: person.titles(uuid)[-1] == "Metropolis")
    view.wait(lambda: view.all(ROWS) == person.titles(uuid))


def test_order_by_dragging(view: Page, person: Person, uuid: str) -> None:
    handle, target = view.named("Move City Lights (1931)"), view.named("Move Metropolis (1927)")
    drag = ActionChains(view.driver, 50).click_and_hold(handle).move_to_element(target)
    drag.move_by_offset(0, -10).release().perform()
    view.wait(lambda: person.titles(uuid) == ["City Lights", "Metropolis", "Nosferatu", "The General"])
    view.wait(lambda: view.all(ROWS) == person.titles(uuid))


def test_a_note_changed_while_it_is_saved(view: Page, person: Person, uuid: str) -> None:
    def stored() -> str | None:
        note: str | None = person.call("GET", f"/collection/{uuid}/")["movies"][1].get("note")
        return note

    view.run(HOLD)
    view.fill("Note on Nosferatu (1922)", "Seen with the organ")
    view.press(Keys.TAB)
    view.wait(lambda: stored() == "Seen with the organ")
    view.fill("Note on Nosferatu (1922)", "Seen with a piano")
    view.press(Keys.TAB)
    view.run("window.release()")
    view.wait(lambda: stored() == "Seen with a piano")
    assert view.named("Note on Nosferatu (1922)").get_attribute("value") == "Seen with a piano"


def test_notes(view: Page, person: Person, uuid: str) -> None:
    view.fill("Note on Nosferatu (1922)", "Seen with the organ")
    view.press(Keys.TAB)
    view.wait(lambda: person.call("GET", f"/collection/{uuid}/")["movies"][1].get("note") == "Seen with the organ")
    view.driver.refresh()
    assert view.named("Note on Nosferatu (1922)").get_attribute("value") == "Seen with the organ"
    view.named("Note on Nosferatu (1922)").clear()
    view.press(Keys.TAB)
    view.wait(lambda: "note" not in person.call("GET", f"/collection/{uuid}/")["movies"][1])


def test_remove_and_undo(view: Page, person: Person, uuid: str) -> None:
    view.click("Remove Nosferatu (1922)")
    view.until("document.querySelectorAll('.row').length === 3")
    assert view.run("return document.activeElement.ariaLabel") == "Remove The General (1926)"
    assert len(person.titles(uuid)) == 4
    view.click("Undo")
    view.until("document.querySelectorAll('.row').length === 4")
    view.wait(lambda: view.all(ROWS) == person.titles(uuid))
    view.click("Remove Nosferatu (1922)")
    view.go("#/collections")
    view.wait(lambda: person.titles(uuid) == ["Metropolis", "The General", "City Lights"])


def test_a_removal_is_sent_when_it_cannot_be_undone_any_more(view: Page, person: Person, uuid: str) -> None:
    view.click("Remove Nosferatu (1922)")
    view.lose("Undo")
    view.wait(lambda: len(person.titles(uuid)) == 3)


def test_several_at_once(view: Page, person: Person, uuid: str) -> None:
    other = person.collection("Others", [])
    view.click("Select")
    view.click("Select Metropolis (1927)")
    view.click("Select City Lights (1931)")
    view.see("2 films selected")
    view.click("Copy to…")
    view.click("Others")
    view.wait(lambda: person.titles(other) == ["Metropolis", "City Lights"])
    view.click("Select")
    view.click("Select all")
    view.click("Remove")
    view.see("No films in here yet")
    view.driver.refresh()
    view.wait(lambda: person.titles(uuid) == [])


def test_delete_a_collection_and_undo(view: Page, person: Person, uuid: str) -> None:
    view.click("Delete")
    view.see("Deleted “Evenings”")
    view.see("Your first collection starts here")
    view.click("Undo")
    view.see("Metropolis")
    view.click("Delete")
    view.see("Deleted “Evenings”")
    view.go("#/movies")
    view.wait(lambda: person.call("GET", "/collection/")["count"] == 0)


@pytest.mark.parametrize("choice, title", [("Keep mine", "Mine"), ("Keep the other", "Theirs")])
def test_a_conflict_shows_both_and_lets_one_choose(
    view: Page, person: Person, uuid: str, choice: str, title: str
) -> None:
    view.statuses = {"412"}
    view.fill("Title", "Mine")
    person.call("PUT", f"/collection/{uuid}/", {"title": "Theirs"})
    view.press(Keys.ENTER)
    view.see("Changed somewhere else")
    assert view.all(".version") == ["Mine", "Theirs"]
    view.click(choice)
    stored(person, uuid, "title", title, view)
    view.until("document.querySelector('.title input').value === arguments[0]", title)


def test_a_conflict_without_a_choice_is_asked_again(view: Page, person: Person, uuid: str) -> None:
    view.statuses = {"412"}
    view.fill("Title", "Mine")
    person.call("PUT", f"/collection/{uuid}/", {"title": "Theirs"})
    view.press(Keys.ENTER)
    view.see("Changed somewhere else")
    view.press(Keys.ESCAPE)
    view.see("Not saved: it was changed in another window too.")
    assert view.named("Title").get_attribute("value") == "Mine"
    view.driver.refresh()
    view.click("Keep mine")
    stored(person, uuid, "title", "Mine", view)


def test_what_others_changed_elsewhere_in_it_is_kept_without_asking(view: Page, person: Person, uuid: str) -> None:
    view.statuses = {"412"}
    view.fill("Title", "Mine")
    person.call("PUT", f"/collection/{uuid}/", {"description": "Theirs"})
    view.press(Keys.ENTER)
    stored(person, uuid, "title", "Mine", view)
    stored(person, uuid, "description", "Theirs", view)
    view.until("document.querySelector('textarea').value === 'Theirs'")


def test_a_conflict_about_the_order(view: Page, person: Person, uuid: str) -> None:
    view.statuses = {"412"}
    films = person.films()[3:6]
    view.run("arguments[0].focus()", view.named("Move Metropolis (1927)"))
    view.press(Keys.END)
    person.call("PUT", f"/collection/{uuid}/", {"movies": films})
    view.see("Changed somewhere else")
    view.click("Keep the other")
    view.until("document.querySelectorAll('.row').length === 3")
    view.wait(lambda: view.all(ROWS) == person.titles(uuid) == ["City Lights", "M", "Modern Times"])
