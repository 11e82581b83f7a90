"""docs/api.md: runs every snippet against a server that run.py started."""
from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests import record
from tests.test_run import TOP, Server, serving

GUIDE = (TOP / "docs" / "api.md").read_text(encoding="utf-8")


def snippets(language: str, mark: str) -> str:
    """All snippets of the guide in one language, in order; `mark` is code that prints the title of a section."""
    sections = re.split(r"^## (.*)\n", GUIDE, flags=re.MULTILINE)[1:]
    code = []
    for title, text in zip(sections[::2], sections[1::2], strict=True):
        blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        assert len(blocks) == 1, title
        code += [mark.format(f"## {title}"), *blocks]
    return "\n".join(code)


def printed(server: Server, *command: str) -> dict[str, list[str]]:
    """The lines that each section of the guide prints, run by `command`."""
    *program, script = command
    script = script.replace("http://localhost:8000", server.url)
    done = subprocess.run([*program, script], capture_output=True, text=True, check=False, timeout=60)
    for token in re.findall(r'"(?:access|refresh)_token": "([^"]+)"', done.stdout):
        record.secret(token)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    parts = re.split(r"^## (.*)\n", done.stdout, flags=re.MULTILINE)[1:]
    return {title: text.splitlines() for title, text in zip(parts[::2], parts[1::2], strict=True)}


def test_the_curl_examples(empty: Path) -> None:
    record.secret("correct horse")
    with serving(empty) as server:
        tour = printed(server, "bash", "-euo", "pipefail", "-c", snippets("sh", "echo '{}'"))
        assert server.stop() == 0
    assert json.loads(tour["Register, log in"][0])["token_type"] == "Bearer"
    assert tour["Look at movies"] == ["Metropolis, Nosferatu, The General"]
    assert tour["Create a collection, once"] == ["one collection", "idempotency_key_reused"]
    assert tour["List them"] == [f"{title} Action,Comedy,Drama" for title in ("For the train", "Silent evenings")]
    assert tour["Change what you have seen, and nothing else"] == [
        "304", "Collection updated successfully", "412 precondition_failed", "Silent nights For rainy days"]
    added, holding, *messages, order = tour["Single movies"]
    assert json.loads(added)["items"][0]["result"] == "added"
    assert (holding, order) == ("Silent nights", "The General, Nosferatu, Metropolis")
    assert [json.loads(message)["message"] for message in messages] == [
        "Movie removed successfully", "Collection reordered successfully"]
    assert tour["Movies of other services"] == ["tt0133093 seen twice"]
    assert tour["Take everything with you"] == ['"1","The General","1926"', "0 3"]
    error = "[{'line': 3, 'detail': 'year must be a number of four digits'}]"
    assert tour["Import lists from Letterboxd, IMDb and Trakt"] == [f"1 0 {error}", f"0 1 {error}"]
    assert tour["Follow changes"] == ["['updated'] False"]
    assert tour["Share by a link"] == ["Silent nights 3", "True", "Share ended successfully", "404"]
    assert json.loads(tour["Genres, limits"][0])["genres"][0] == {"genre": "Action", "count": 1}
    problem, kind = tour["When something is wrong"]
    assert [error["pointer"] for error in json.loads(problem)["errors"]] == ["/title", "/movies/0/uuid"]
    assert kind == "400 application/problem+json"
    *attempts, refused = tour["When to retry"]
    assert attempts == ["200"] + 10 * ["401 "] and re.fullmatch(r"429 [1-9]\d*", refused)
    assert tour["Let a script in"] == ["3", "403 insufficient_scope", "backup read", "Token deleted successfully"]
    assert [json.loads(line).get("status") for line in tour["Stay, and leave"][1:]] == [None, 401]


def test_the_python_examples(empty: Path) -> None:
    with serving(empty) as server:
        assert_python_examples(server)
        assert server.stop() == 0


def assert_python_examples(server: Server) -> None:
    """Run the Python snippets of the guide against a new server."""
    record.secret("battery staple")
    script = snippets("python", "print('{}')")
    tour = printed(server, sys.executable, "-c", script)
    prints = re.findall(r"^print\('## (.*)'\)$|^print\(.*\)  # (.*)$", script, re.MULTILINE)
    title = ""
    for section, comment in prints:
        title = section or title
        assert section or comment in tour[title], title
    assert "Silent evenings" in tour["List them"][1]
    assert tour["Single movies"] == ["1 1 ['existing', 'added']", "Silent nights", "200", "200", "True"]
    assert tour["Follow changes"] == ["created", "updated Silent mornings"]
    assert tour["Share by a link"][-2:] == ["Share ended successfully", "404"]
    assert tour["When something is wrong"] == [
        "400 application/problem+json invalid_body", "/title String should have at least 1 character",
        "/movies/0/uuid Field required: a movie with neither ids nor a year needs a uuid"]
    assert tour["Stay, and leave"] == ["200 200", "Logged out successfully", "401"]


class Busy(BaseHTTPRequestHandler):
    """A server that sends the `statuses` in turn."""

    statuses: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        status = self.statuses.pop(0)
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("statuses", "status"), [([503, 503, 200], 200), (5 * [503], 503), ([404], 404)])
def test_patiently_retries_after_503(statuses: list[int], status: int) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    definitions = [block.partition("\n\n\nprint")[0] for block in blocks if "\ndef " in f"\n{block}"]
    names: dict[str, Any] = {}
    exec("\n".join(definitions), names)
    Busy.statuses = list(statuses)
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        names["API"] = f"http://127.0.0.1:{server.server_port}"
        try:
            assert names["patiently"]("GET", "/")[0] == status
        finally:
            server.shutdown()
    assert Busy.statuses == []
