"""The log of all servers of a test run, and the secrets that were sent and received."""
from __future__ import annotations

import io
import json
import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from movieserver.accounts import common_passwords
from movieserver.observability import logs

SHORTEST = 8  # shorter texts are in the log by chance
NAMES = ("password", "old_password", "new_password", "access_token", "refresh_token", "token")
SETTINGS = ("JWT_SECRET", "MOVIE_API_PASSWORD", "MOVIE_API_TOKEN", "COUNTER_RESET_TOKEN")
secrets: set[str] = set()
_added: dict[Path, int] = {}


class _Log(io.TextIOWrapper):
    """A file that is also shown with a failing test."""

    def write(self, text: str) -> int:
        sys.stderr.write(text)
        return super().write(text)


_log = _Log(tempfile.NamedTemporaryFile(prefix="ms-log-"), encoding="utf-8", write_through=True)


def begin() -> None:
    """Log to the file, with the DEBUG messages of libraries, which production omits."""
    logs.configure("DEBUG", _log)
    logging.getLogger().setLevel(logging.DEBUG)
    for name in ("tornado.curl_httpclient", "factory", "faker"):  # the first logs headers, and is off in every server
        logging.getLogger(name).setLevel(logging.WARNING)


def end() -> None:
    """Remove the file."""
    logging.getLogger().handlers.clear()
    _log.close()


def logged(start: int = 0) -> str:
    """The log from a position on."""
    with open(_log.name, encoding="utf-8", errors="replace") as file:
        file.seek(start)
        return file.read()


def position() -> int:
    """The end of the log."""
    return Path(_log.name).stat().st_size


def add(text: bytes) -> None:
    """Add the log of another process."""
    _log.buffer.write(text)
    _log.buffer.flush()


def add_file(file: Path) -> None:
    """Add what was appended to a log file since the last call."""
    text = file.read_bytes()
    add(text[_added.get(file, 0):])
    _added[file] = len(text)


def secret(*values: object) -> None:
    """Remember texts that must not be in the log; passwords that are refused as common do not matter."""
    secrets.update(
        value for value in values
        if isinstance(value, str) and len(value.strip()) >= SHORTEST and not common_passwords.is_common(value))


def exchanged(*bodies: object, authorization: str = "") -> None:
    """Remember the secrets of a request or its response."""
    secret(authorization.partition(" ")[2])
    for body in bodies:
        if isinstance(body, dict):
            secret(*[body.get(name) for name in NAMES])


def settings(given: Mapping[str, Any]) -> None:
    """Remember the secrets of settings, or of the environment that holds them."""
    for name, value in given.items():
        if isinstance(value, SecretStr):
            secret(value.get_secret_value())
        elif name.upper() in SETTINGS:
            secret(value)
        elif name.upper().endswith("_URL") and value:
            secret(_password(value))


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:  # a test of a bad form
        return None


def found(text: str) -> list[str]:
    """The secrets in a text, in any form in which a log would write them."""
    written = {form: value for value in secrets for form in (
        value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], quote(value))}
    beginnings = {form[:SHORTEST] for form in written}
    pieces = (text[start:start + SHORTEST] for start in range(len(text)))
    suspects = {piece for piece in pieces if piece in beginnings}
    return sorted({value for form, value in written.items() if form[:SHORTEST] in suspects and form in text})
