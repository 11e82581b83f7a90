"""What the servers of this run of the suite logged, and the secrets that went into them and came out."""
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

SHORTEST = 8  # what is shorter stands in a log by chance
NAMES = ("password", "old_password", "new_password", "access_token", "refresh_token", "token")
SETTINGS = ("JWT_SECRET", "MOVIE_API_PASSWORD", "MOVIE_API_TOKEN", "COUNTER_RESET_TOKEN")
secrets: set[str] = set()
_kept: dict[Path, int] = {}


class _Log(io.TextIOWrapper):
    """A file; what is written to it is shown with a test that fails, too."""

    def write(self, text: str) -> int:
        sys.stderr.write(text)
        return super().write(text)


_log = _Log(tempfile.NamedTemporaryFile(prefix="ms-log-"), encoding="utf-8", write_through=True)


def begin() -> None:
    """Let this process log to the file; more than in production, where libraries are kept from DEBUG."""
    logs.configure("DEBUG", _log)
    logging.getLogger().setLevel(logging.DEBUG)
    for name in ("tornado.curl_httpclient", "factory", "faker"):  # the first would show headers; no server lets it
        logging.getLogger(name).setLevel(logging.WARNING)


def end() -> None:
    """Remove the file."""
    logging.getLogger().handlers.clear()
    _log.close()


def logged(start: int = 0) -> str:
    """What was logged, from a position on."""
    with open(_log.name, encoding="utf-8", errors="replace") as file:
        file.seek(start)
        return file.read()


def position() -> int:
    """Where the log ends."""
    return Path(_log.name).stat().st_size


def keep(text: bytes) -> None:
    """Add what another process logged."""
    _log.buffer.write(text)
    _log.buffer.flush()


def keep_file(file: Path) -> None:
    """Add what other processes logged to a file since it was last kept."""
    text = file.read_bytes()
    keep(text[_kept.get(file, 0):])
    _kept[file] = len(text)


def secret(*values: object) -> None:
    """Remember what must not be logged, from now or before on; a password that is refused as common is a mere word."""
    secrets.update(
        value for value in values
        if isinstance(value, str) and len(value.strip()) >= SHORTEST and not common_passwords.is_common(value))


def said(*bodies: object, authorization: str = "") -> None:
    """Remember the secrets of a request or its answer."""
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
    """The secrets that stand in a text, in any of the ways in which a log would write them."""
    written = {form: value for value in secrets for form in (
        value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], quote(value))}
    beginnings = {form[:SHORTEST] for form in written}
    pieces = (text[place:place + SHORTEST] for place in range(len(text)))
    suspects = {piece for piece in pieces if piece in beginnings}
    return sorted({value for form, value in written.items() if form[:SHORTEST] in suspects and form in text})
