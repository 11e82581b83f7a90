"""The page at /: accounts. Sign up, sign in, stay or not, renew, change the password, leave."""
from __future__ import annotations

import pytest

from tests.factories import registration
from tests.web import Page, Person

PASSWORD = "a better horse"


def enter(page: Page, name: str, password: str, action: str) -> None:
    """Fill in the form and send it."""
    page.fill("User name", name)
    page.fill("Password", password)
    page.click(action)


def stored(page: Page) -> tuple[bool, bool]:
    """Whether tokens are kept until the browser ends, and for longer."""
    here, longer = page.run(
        "return [sessionStorage, localStorage].map((place) => Boolean(place.getItem('movieserver:/')))")
    return here, longer


@pytest.mark.parametrize("stay", [False, True])
def test_a_new_user_signs_up_and_stays_if_they_say_so(page: Page, stay: bool) -> None:
    pair = registration()
    page.open()
    page.see("The films you love")
    if stay:
        page.click("Stay signed in on this device")
    enter(page, pair["username"], pair["password"], "Create account")
    page.see("All genres")
    assert stored(page) == (not stay, stay)
    page.driver.refresh()
    page.see("All genres")


def test_a_user_signs_in_and_out(page: Page, person: Person) -> None:
    page.statuses = {"401"}
    page.open()
    page.click("You have an account? Sign in")
    enter(page, person.name, "not this one", "Sign in")
    page.see("The user name or the password is wrong.")
    assert page.named("User name").get_attribute("value") == person.name
    page.fill("Password", person.pair["password"])
    page.click("Sign in")
    page.see("All genres")
    page.click("Account")
    page.see(f"Signed in as {person.name}")
    page.click("Sign out")
    page.see("New here? Create an account")
    assert stored(page) == (False, False)
    page.go("#/collections")
    page.named("Password")


def test_a_name_that_is_taken_is_said(page: Page, person: Person) -> None:
    page.statuses = {"409"}
    page.open()
    enter(page, person.name, "correct horse battery", "Create account")
    page.see("taken")


def test_tokens_are_renewed_silently(page: Page, person: Person) -> None:
    page.sign_in(person)
    page.see("All genres")
    page.run("""const stored = JSON.parse(localStorage['movieserver:/']);
        localStorage['movieserver:/'] = JSON.stringify({...stored, access: 'old', expires: 0})""")
    page.go("#/genres")
    page.see("No genres yet")
    kept = page.run("return JSON.parse(localStorage['movieserver:/'])")
    assert kept["access"] != "old" and kept["refresh"] != person.tokens["refresh_token"] and kept["name"] == person.name


def test_a_session_that_has_ended_elsewhere_is_said(page: Page, person: Person) -> None:
    page.statuses = {"401"}
    page.sign_in(person)
    page.see("All genres")
    person.call("POST", "/logout/all/")
    page.run("""const stored = JSON.parse(localStorage['movieserver:/']);
        localStorage['movieserver:/'] = JSON.stringify({...stored, expires: 0})""")
    page.go("#/genres")
    page.see("Your session has ended.")
    page.named("Password")


def test_the_password_is_changed(page: Page, person: Person) -> None:
    page.statuses = {"403"}
    page.sign_in(person, "#/account")
    page.fill("Current password", "not this one")
    page.fill("New password", PASSWORD)
    page.click("Change password")
    page.see("password")
    page.until("document.querySelector('.wrong:not(:empty)')")
    page.fill("Current password", person.pair["password"])
    page.click("Change password")
    page.see("Your password is changed.")
    assert person.server.call("POST", "/login/", person.pair)[0] == 401
    assert person.server.call("POST", "/login/", person.pair | {"password": PASSWORD})[0] == 200


def test_sign_out_everywhere(page: Page, person: Person) -> None:
    page.statuses = set()
    other = person.server.call("POST", "/login/", person.pair)[1]
    page.sign_in(person, "#/account")
    page.see("this one")
    page.click("Sign out everywhere")
    page.named("Password")
    for tokens in (other, person.tokens):
        assert person.server.call("POST", "/refresh/", {"refresh_token": tokens["refresh_token"]})[0] == 401


def test_the_account_is_deleted_once_its_name_is_typed_again(page: Page, person: Person) -> None:
    page.statuses = set()
    page.sign_in(person, "#/account")
    field = f"Type “{person.name}” to confirm"
    page.fill(field, person.name[:-1])
    assert not page.named("Delete my account").is_enabled()
    page.fill(field, person.name)
    page.click("Delete my account")
    page.see("Your account is deleted.")
    assert person.server.call("POST", "/login/", person.pair)[0] == 401
