"""A headless Chromium over its DevTools protocol: what a person clicks and types, what the page requests and logs."""
from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--disable-extensions", "--remote-debugging-port=0",
)
COMPLAINTS = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
SECONDS = 20


class Browser:
    """One page: the addresses of its `requests`, the errors in its console, and the texts of its `dialogs`.

    It confirms dialogs, or cancels them, as `accepts` says.
    """

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        self.accepts = True
        self._connection = connection
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: dict[str, str] = {}

    async def attach(self) -> None:
        """Open an empty page and listen to it."""
        target = await self.command("Target.createTarget", url="about:blank")
        attached = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.command(f"{domain}.enable")

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._connection.write_message(json.dumps(
            {"id": number, "method": method, "params": parameters, **self._session}))
        message = await asyncio.wait_for(future, SECONDS)
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def hear(self, text: str | bytes | None) -> None:
        """Handle a message of the browser: the result of a command, or an event."""
        message = json.loads(text or "{}")
        waiting = self._waiting.pop(message.get("id"), None)
        if waiting and not waiting.done():
            waiting.set_result(message)
        parameters = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif message.get("method") == "Page.javascriptDialogOpening":
            self.dialogs.append(parameters["message"])
            self._closing = asyncio.ensure_future(self.command("Page.handleJavaScriptDialog", accept=self.accepts))
        elif message.get("method") in COMPLAINTS:
            level = parameters.get("entry", {}).get("level") or parameters.get("type") or "error"
            if level == "error":
                self.complaints.append(json.dumps(parameters))

    async def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = await self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until an expression is true in the page; its value."""
        async with asyncio.timeout(SECONDS):
            while not (value := await self.evaluate(script)):
                await asyncio.sleep(0.02)
        return value

    async def open(self, address: str) -> None:
        """Load a page."""
        await self.command("Page.navigate", url=address)
        await self.until(f"document.readyState == 'complete' && location.href.startsWith({json.dumps(address)})")

    async def click(self, selector: str) -> None:
        """Click in the middle of an element, once it is visible and nothing covers it."""
        point = await self.until(f"""(() => {{
            const found = document.querySelector({json.dumps(selector)});
            found?.scrollIntoView({{block: "center"}});
            const box = found?.getBoundingClientRect();
            const [x, y] = box?.width ? [box.x + box.width / 2, box.y + box.height / 2] : [-1, -1];
            return found?.contains(document.elementFromPoint(x, y)) && {{x, y}};
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            await self.command("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **point)

    async def type(self, selector: str, text: str) -> None:
        """Click into a field and replace its text."""
        await self.click(selector)
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        await self.command("Input.insertText", text=text)

    async def look(self, width: int, height: int, scheme: str = "light") -> None:
        """Set the size of the window, and the color scheme: light or dark."""
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        await self.command(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def screenshot(self, file: Path) -> None:
        """Save a picture of the visible part of the page."""
        image = await self.command("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(image["data"]))


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser with an empty profile, until the block ends."""
    assert PROGRAM
    with tempfile.TemporaryDirectory(prefix="ms-browser-", ignore_cleanup_errors=True) as profile:
        with subprocess.Popen(
            [PROGRAM, *OPTIONS, f"--user-data-dir={profile}"], env={**os.environ, "HOME": profile},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        ) as process:
            try:
                address = await _address(process, Path(profile, "DevToolsActivePort"))
                async with _connected(address) as browser:
                    await browser.attach()
                    yield browser
            finally:
                os.killpg(process.pid, signal.SIGKILL)


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[Browser]:
    connection = await websocket_connect(address)
    browser = Browser(connection)
    listening = asyncio.ensure_future(_listen(connection, browser))
    try:
        yield browser
    finally:
        connection.close()
        await listening


async def _address(process: subprocess.Popen[bytes], file: Path) -> str:
    async with asyncio.timeout(SECONDS):
        while not file.exists() or file.read_text(encoding="ascii").count("\n") < 1:
            assert process.poll() is None, "the browser ended at once"
            await asyncio.sleep(0.02)
    port, path = file.read_text(encoding="ascii").split("\n")
    return f"ws://127.0.0.1:{port}{path}"


async def _listen(connection: WebSocketClientConnection, browser: Browser) -> None:
    while (text := await connection.read_message()) is not None:
        browser.hear(text)
