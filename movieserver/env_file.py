"""The file .env in the working directory: its values, and what in it is probably a mistake."""
from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from dotenv import dotenv_values
from dotenv.parser import parse_stream

ENV_FILE = ".env"
ENCODING = "utf-8-sig"  # editors on Windows write a byte order mark
MIN_SIMILARITY = 0.8  # of a misspelt name, as a ratio of difflib
SERVICES = {  # the setting by the prefix of its address
    "postgres://": "DATABASE_URL", "postgresql": "DATABASE_URL", "redis://": "REDIS_URL", "rediss://": "REDIS_URL",
    "redis+": "REDIS_URL",
}

logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # `mistakes` says what python-dotenv would warn of


def env_values() -> dict[str, str | None]:
    """The values by name. Raises OSError or UnicodeError if the file is there and cannot be read."""
    return dotenv_values(ENV_FILE, encoding=ENCODING)


def unknown_names(known: Collection[str]) -> list[str]:
    """The names in .env that are not in `known` (upper case)."""
    return [name for name in env_values() if name.upper() not in known]


def mistakes(known: Collection[str], configured: Collection[str]) -> dict[str, str]:
    """The mistakes in .env, by setting or by file, without values. `configured` are the settings that have a value."""
    if line := _unreadable_line():
        return {ENV_FILE: f"line {line} cannot be read: it must have the form NAME=value, with both quotes or none"}
    values = env_values()
    found = {name: "has no = and no value in .env: write NAME=value, or remove the line"
             for name, value in values.items() if value is None and name.upper() in known}
    for name in unknown_names(known):
        value = (values[name] or "").strip().lower()
        service = next((setting for prefix, setting in SERVICES.items() if value.startswith(prefix)), None)
        if meant := _most_similar(name.upper(), known):
            found[name] = f"is not a setting; {meant} is probably meant"
        elif service and service not in configured:
            found[name] = f"is not a setting, but has the form of {service}, which is not set and probably meant"
    return found


def _unreadable_line() -> int | None:
    """The number of the first line that is not an assignment; python-dotenv would skip it."""
    try:
        with open(ENV_FILE, encoding=ENCODING) as file:
            bad = next((part.original for part in parse_stream(file) if part.error), None)
    except FileNotFoundError:
        return None
    return bad and bad.line + bad.string[:-len(bad.string.lstrip())].count("\n")


def _most_similar(name: str, known: Iterable[str]) -> str | None:
    """The setting that is probably meant: of those that are close, one that begins with `name`."""
    swapped = [each for each in known if sorted(each) == sorted(name)]
    close = get_close_matches(name, known, 5, MIN_SIMILARITY)
    begun = [each for each in close if each.startswith(name)]
    return next(iter(swapped or begun or close), None)
