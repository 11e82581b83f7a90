"""The page at / in a headless Chromium with its driver: what a person sees, clicks and types there."""
from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.factories import registration

if TYPE_CHECKING:
    from tests.test_run import Server

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the first is the lightest
BROWSER = next(filter(None, map(shutil.which, PROGRAMS)), None)
DRIVER = shutil.which("chromedriver")
MISSING = "there is no Chromium with its driver (apt-get install chromium chromium-driver)"
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--force-prefers-reduced-motion",
)
SECONDS = 15
NAMED = """(() => {
    const area = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document;
    const name = (each) => each.ariaLabel ?? each.labels?.[0]?.innerText ?? each.innerText;
    const all = [...area.querySelectorAll("button, a, input, select, option, textarea, [role=button]"),
        ...document.querySelectorAll("#toasts button")];
    return all.find((each) => each.checkVisibility() && name(each)?.split("\\n")[0].trim() === arguments[0]);
})()"""
Movie = dict[str, Any]


class Person:
    """A registered user, who can also be served without the page."""

    def __init__(self, server: Server) -> None:
        self.pair = registration()
        self.server = server
        status, self.tokens = server.call("POST", "/register/", self.pair)
        assert status == 201
        self.name: str = self.pair["username"]

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """The body of a successful response of the API."""
        status, response = self.server.call(method, path, body, self.tokens["access_token"], headers)
        assert status < 300, response
        return response

    def films(self, page: int = 1) -> list[Movie]:
        """A page of the catalogue."""
        films: list[Movie] = self.call("GET", f"/movies/?page={page}")["data"]
        return films

    def collection(self, title: str, movies: list[Movie], description: str = "") -> str:
        """The uuid of a new collection."""
        created: str = self.call(
            "POST", "/collection/", {"title": title, "description": description, "movies": movies})["collection_uuid"]
        return created

    def titles(self, uuid: str) -> list[str]:
        """The titles of the movies of a collection, in their order."""
        return [movie["title"] for movie in self.call("GET", f"/collection/{uuid}/")["movies"]]


class Page:
    """The browser. `statuses` are those that a test expects to be logged in the console; nothing else may be."""

    def __init__(self, driver: Chrome, server: Server) -> None:
        self.driver = driver
        self.server = server
        self.statuses: set[str] = set()
        self.cut = False
        self.look(1280, 800, "light")
        driver.execute_cdp_cmd("Network.enable", {})
        self.log()  # of the test before
        self.requests()

    def open(self, path: str = "/") -> None:
        """Load an address."""
        self.driver.get(self.server.url + path)

    def sign_in(self, person: Person, path: str = "#/movies") -> None:
        """Open a view as somebody who has signed in before."""
        self.open("/web/")  # an address of the same origin on which nothing runs
        tokens = person.tokens
        stored = {
            "name": person.name, "stay": True, "access": tokens["access_token"], "refresh": tokens["refresh_token"],
            "expires": int(time.time() * 1000) + 800_000,
        }
        self.run("localStorage.setItem('movieserver:/', arguments[0])", json.dumps(stored))
        self.log()
        self.open(f"/{path}")

    def go(self, path: str) -> None:
        """Follow a link within the page."""
        self.run("location.hash = arguments[0]", path)

    def run(self, script: str, *arguments: object) -> Any:
        """The result of a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: object) -> Any:
        """Wait until an expression is true in the page; its value."""
        end = time.monotonic() + SECONDS
        while not (value := self._try(f"return {script}", *arguments)):
            assert time.monotonic() < end, f"not so within {SECONDS} s: {script} {arguments}\n{self.text()}"
            time.sleep(0.03)
        return value

    def _try(self, script: str, *arguments: object) -> Any:
        try:
            return self.run(script, *arguments)
        except WebDriverException:  # the document is being replaced
            return None

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true outside the page."""
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end, f"not so within {SECONDS} s\n{self.text()}"
            time.sleep(0.05)

    def text(self) -> str:
        """Everything that can be read."""
        return str(self.run("return document.body.innerText"))

    def see(self, text: str) -> None:
        """Wait for a text."""
        self.until("document.body.innerText.includes(arguments[0])", text)

    def lose(self, text: str) -> None:
        """Wait until a text is gone."""
        self.until("!document.body.innerText.includes(arguments[0])", text)

    def find(self, selector: str) -> WebElement:
        """Wait for an element that can be seen."""
        element: WebElement = self.until(
            "[...document.querySelectorAll(arguments[0])].find((each) => each.checkVisibility())", selector)
        return element

    def named(self, name: str) -> WebElement:
        """Wait for a button, a link, a field or a choice of this name, in the dialog if there is one."""
        element: WebElement = self.until(NAMED, name)
        return element

    def named_now(self, name: str) -> bool:
        """Whether there is such an element."""
        return self.run(f"return {NAMED}", name) is not None

    def click(self, name: str) -> None:
        """Click what has this name."""
        element = self.named(name)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def fill(self, name: str, text: str) -> None:
        """Replace the text of a field."""
        field = self.named(name)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def drop(self, text: str) -> None:
        """Drop a file list.csv on the place for it."""
        self.find(".drop")
        self.run("""const data = new DataTransfer();
            data.items.add(new File([arguments[0]], "list.csv"));
            const event = new DragEvent("drop", {dataTransfer: data, bubbles: true});
            document.querySelector(".drop").dispatchEvent(event)""", text)

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def all(self, selector: str) -> list[str]:
        """The texts of all elements."""
        texts: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)", selector)
        return texts

    def look(self, width: int, height: int, scheme: str) -> None:
        """The size of the window, and the color scheme: light or dark."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def offline(self, yes: bool) -> None:
        """Cut the connection, or bring it back."""
        self.cut = yes
        rate = 0 if yes else -1
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {
            "offline": yes, "latency": 0, "downloadThroughput": rate, "uploadThroughput": rate})

    def log(self) -> list[str]:
        """What the console has got since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def complaints(self) -> list[str]:
        """Messages in the console that the test does not expect."""
        known = {*self.statuses, "/favicon.ico"}
        return [line for line in self.log() if not any(status in line for status in known)]

    def requests(self) -> list[str]:
        """The addresses that were requested since this was asked last."""
        lines = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        messages = [json.loads(line["message"])["message"] for line in lines]
        return [message["params"]["request"]["url"] for message in messages
                if message["method"] == "Network.requestWillBeSent"]

    def foreign(self) -> list[str]:
        """Requests to other hosts."""
        own = urlsplit(self.server.url).netloc
        return [url for url in self.requests() if urlsplit(url).netloc not in (own, "") and url.startswith("http")]

    def forget(self) -> None:
        """A new profile, as far as pages can tell."""
        if self.cut:
            self.offline(False)
        self.run("localStorage.clear(); sessionStorage.clear()")
        self.driver.get("about:blank")
        self.statuses = set()


@contextmanager
def browsing() -> Iterator[Chrome]:
    """A browser of its own."""
    if not (BROWSER and DRIVER):
        pytest.skip(MISSING)
    for name in ("selenium", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    options = ChromeOptions()
    options.binary_location = BROWSER
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(DRIVER))
    try:
        yield driver
    finally:
        # in Debian the program is a script that starts the browser, and quit() ends only the script
        with suppress(WebDriverException):  # the browser closes before it replies
            driver.execute_cdp_cmd("Browser.close", {})
        driver.quit()
