"""User names: which may be registered, and which are the same name."""
from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_CHARACTERS = 150
MAX_CODE_POINTS = 4 * MAX_CHARACTERS  # a character has at most 4 in NFD; folding a much longer text takes long
REFUSED = {"Cc": "control", "Cf": "format", "Zl": "format", "Zp": "format"}
# invisible characters: names that differ only in these are the same name, as in Unicode's NFKC_Casefold
INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def username_fault(username: str) -> str | None:
    """Why this name may not be registered, or None if it may. NUL is checked with the whole body."""
    length = _length(username)
    if not 0 < length <= MAX_CHARACTERS:
        return f"A user name must have 1 to {MAX_CHARACTERS} characters; this one has {length}"
    for index, character in enumerate(username):
        kind = REFUSED.get(unicodedata.category(character))
        if kind and character != "\0":
            return f"A user name must not contain {kind} characters: remove {_named(character)} at index {index}"
    visible = [*filter(_visible, username)]
    if not visible:
        return "A user name must contain at least one visible character"
    for end, character in (("begin", visible[0]), ("end", visible[-1])):
        if character.isspace():
            return f"A user name must not {end} with a space: remove {_named(character)}"
    return None


def username_key(username: str) -> bytes:
    """The same for all spellings of a name: case, Unicode form (NFKC) and surrounding spaces make no difference."""
    name = username.strip()
    if len(name) <= MAX_CODE_POINTS:
        name = unicodedata.normalize("NFKC", _visible(name).casefold())
    return hashlib.sha256(name.encode()).digest()


def _visible(name: str) -> str:
    """The name in NFKD, without invisible characters: some appear only in this form."""
    return INVISIBLE.sub("", unicodedata.normalize("NFKD", name))


def _length(username: str) -> int:
    """The number of characters of a name, in NFC."""
    return len(unicodedata.normalize("NFC", username)) if len(username) <= MAX_CODE_POINTS else len(username)


def _named(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
