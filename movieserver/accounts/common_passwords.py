"""The passwords that attackers try first."""
from __future__ import annotations

import unicodedata
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path


def _folded(password: str) -> str:
    return unicodedata.normalize("NFKC", password).casefold()


def _passwords() -> list[str]:
    """The passwords that zxcvbn lists, most common first; importing all of zxcvbn would take 14 MB for good."""
    package = find_spec("zxcvbn")
    assert package and package.origin
    lists = spec_from_file_location("frequency_lists", Path(package.origin).with_name("frequency_lists.py"))
    assert lists and lists.loader
    module = module_from_spec(lists)
    lists.loader.exec_module(module)
    found: list[str] = module.FREQUENCY_LISTS["passwords"]
    return found


MAX_LISTED = 5000
MIN_CHARACTERS = 8  # of a password

COMMON = frozenset([_folded(each) for each in _passwords() if len(each) >= MIN_CHARACTERS][:MAX_LISTED])
MAX_CHARACTERS = max(map(len, COMMON))


def is_common(password: str) -> bool:
    """Whether it is one of the most common ones, whatever the case and Unicode form (NFKC) of its letters."""
    return len(password) <= MAX_CHARACTERS and _folded(password) in COMMON
