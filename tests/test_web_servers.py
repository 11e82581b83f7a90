"""The page at /: servers that are set up in another way, that fail, or that come back from a backup."""
from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
import trustme
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from tests.conftest import SECRET, temporary_folder
from tests.factories import registration
from tests.test_docs import LIST, click, enter, shown, text
from tests.test_redis_kinds import free_port
from tests.test_run import Server, serving
from tests.web import Page, Person

PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="300"><rect width="200" height="300"/></svg>'
STOPPED = {"ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE"}
HAS_TITLE = "document.querySelector('.title input').value === arguments[0]"
NOWHERE = "http://127.0.0.1:1/"
POSTERS = "[...document.querySelectorAll('.row .poster')].map((each) => each.tagName + (each.naturalWidth ?? ''))"


@pytest.fixture
def base(postgres: Postgres, redis: Redis) -> dict[str, str]:
    """Settings of a server in a process of its own."""
    return {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "JWT_SECRET": SECRET}


@pytest.fixture
def port() -> dict[str, str]:
    """The port of a server that is started again."""
    return {"PORT": str(free_port())}


@contextmanager
def browsed(browser: Chrome, settings: dict[str, str]) -> Iterator[tuple[Server, Page]]:
    """A server of its own and its page; in the end there is no message in the console that is not expected."""
    with temporary_folder() as folder, serving(folder / "data", **settings) as server:
        page = Page(browser, server)
        try:
            yield server, page
            assert page.complaints() == []
        finally:
            page.forget()


class Pictures:
    """A host of pictures over TLS: all but /missing.svg are there; `paths` were requested."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.paths.append(self.path)
                found = "missing" not in self.path
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "image/svg+xml")
                self.end_headers()
                self.wfile.write(PICTURE if found else b"")

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("localhost").configure_cert(context)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.name = f"localhost:{self.server.server_port}"

    def __enter__(self) -> Pictures:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def trusting(browser: Chrome) -> Iterator[Chrome]:
    """The browser, which accepts every certificate for the time of a test."""
    browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
    yield browser
    browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": False})


def test_posters_of_the_hosts_of_the_setting_are_shown_and_others_not_requested(
    trusting: Chrome, base: dict[str, str]
) -> None:
    with Pictures() as ours, Pictures() as theirs, browsed(
        trusting, base | {"POSTER_HOSTS": ours.name},
    ) as (server, page):
        person = Person(server)
        posters = (f"{ours.name}/there.svg", f"{ours.name}/missing.svg", f"{theirs.name}/there.svg")
        films = [film | {"poster": f"https://{poster}"} for film, poster in zip(person.films(), posters)]
        uuid = person.collection("Evenings", films)
        page.statuses = {"404"}
        page.sign_in(person, f"#/collections/{uuid}")
        page.until(f"String({POSTERS}) === 'IMG200,DIV,DIV'")
        assert page.all(".row .drawn b") == ["Nosferatu", "The General"]
        page.go("#/collections")
        page.until("document.querySelectorAll('.stack img').length === 1")
        assert set(ours.paths) == {"/there.svg", "/missing.svg"} and theirs.paths == []
        assert {url.split("/")[2] for url in page.foreign()} == {ours.name}


def test_where_registration_is_closed_the_page_says_so_and_one_can_sign_in(
    browser: Chrome, base: dict[str, str]
) -> None:
    with temporary_folder() as folder, serving(folder / "data", **base) as other:
        person = Person(other)
    with browsed(browser, base | {"REGISTRATION": "closed"}) as (_, page):
        page.open()
        page.see("Nobody can register on this server. Ask its operator for an account.")
        assert not page.named_now("Create account") and not page.named_now("New here? Create an account")
        page.fill("User name", person.name)
        page.fill("Password", person.pair["password"])
        page.click("Sign in")
        page.see("All genres")


def test_the_page_works_below_a_path(browser: Chrome, base: dict[str, str], port: dict[str, str]) -> None:
    """PUBLIC_URL: everything is there, the link of a collection too, and tokens are kept apart from other paths."""
    with browsed(browser, base | port | {"PUBLIC_URL": f"http://localhost:{port['PORT']}/films"}) as (server, page):
        person = Person(server)
        uuid = person.collection("Evenings", person.films()[:2])
        page.open("/films/")
        page.click("You have an account? Sign in")
        page.fill("User name", person.name)
        page.fill("Password", person.pair["password"])
        page.click("Sign in")
        page.see("All genres")
        page.requests()
        assert page.run("return Object.keys(sessionStorage)") == ["movieserver:/films/"]
        page.go(f"#/collections/{uuid}")
        page.click("Share")
        page.click("Make a link")
        page.driver.get(str(page.named("Link").get_attribute("value")))
        page.see("Metropolis")
        assert page.run("return location.pathname").startswith("/films/shared/")
        page.open("/films/docs")
        enter(page, registration(), "/register/")
        page.until("document.body.classList.contains('signed')")
        click(page, f"{LIST} > summary")
        assert shown(page, LIST)[0] == "200 OK"
        assert "/films/collection/" in text(page, f"{LIST} .curl")
        paths = {urlsplit(url).path for url in page.requests() if url.startswith(server.url)} - {"/favicon.ico"}
        assert {f"/films/{path}" for path in ("docs/docs.css", "openapi.json", "collection/")} < paths
        assert all(path.startswith("/films/") for path in paths)


def test_films_that_do_not_come_are_said_and_collections_go_on(browser: Chrome, base: dict[str, str]) -> None:
    with browsed(browser, base | {"MOVIE_API_URL": NOWHERE}) as (server, page):
        page.statuses = {"502", "503", "504"}
        person = Person(server)
        person.collection("Evenings", [])
        page.sign_in(person)
        page.see("The list of films does not respond right now")
        page.named("Try again")
        assert not page.find("#main").find_elements("css selector", ".card")
        page.click("Collections")
        page.see("Evenings")


def test_a_server_that_is_stopped_and_started_again_loses_nothing_that_was_typed(
    browser: Chrome, base: dict[str, str], port: dict[str, str]
) -> None:
    with browsed(browser, base | port) as (server, page):
        page.statuses = STOPPED
        person = Person(server)
        uuid = person.collection("Evenings", person.films()[:2])
        page.sign_in(person, f"#/collections/{uuid}")
        page.see("Metropolis")
        assert server.stop() == 0
        page.see("You are offline, or the server does not respond.")
        page.fill("Description", "For rainy days")
        page.press(Keys.TAB)
        page.see("Not saved yet.")
        with temporary_folder() as folder, serving(folder / "data", **base, **port):
            page.lose("the server does not respond.")
            page.wait(lambda: person.call("GET", f"/collection/{uuid}/")["description"] == "For rainy days")


def test_two_windows_stay_alike_when_the_database_comes_back_from_a_backup(
    browser: Chrome, base: dict[str, str], port: dict[str, str], postgres: Postgres
) -> None:
    """The cursor of the page is then none of this database any more: 410."""
    with browsed(browser, base | port) as (server, page):
        page.statuses = {*STOPPED, "410"}
        person = Person(server)
        uuid = person.collection("Evenings", person.films()[:2])
        page.sign_in(person, f"#/collections/{uuid}")
        page.see("Metropolis")
        person.call("PUT", f"/collection/{uuid}/", {"title": "Nights"})
        page.until(HAS_TITLE, "Nights")
        assert server.stop() == 0
        page.see("You are offline, or the server does not respond.")
        restore(postgres, uuid, "Mornings")
        with temporary_folder() as folder, serving(folder / "data", **base, **port):
            page.until(HAS_TITLE, "Mornings")
            person.call("PUT", f"/collection/{uuid}/", {"title": "Noons"})
            page.until(HAS_TITLE, "Noons")


def restore(postgres: Postgres, uuid: str, title: str) -> None:
    """Bring a collection back to its first change, under this title."""
    with psycopg2.connect(postgres.url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE collections SET title = %s, version = gen_random_uuid(), change_number = created_number "
            "WHERE collection_uuid = %s RETURNING user_id, change_number", (title, uuid))
        user_id, number = cursor.fetchone() or ("", 0)
        cursor.execute("UPDATE users SET change_number = %s WHERE user_id = %s", (number, user_id))
    connection.close()
