"""The passwords that attackers try first."""
from __future__ import annotations

import unicodedata

from zxcvbn.frequency_lists import FREQUENCY_LISTS


def _plain(password: str) -> str:
    return unicodedata.normalize("NFKC", password).casefold()


MOST = 5000
SHORTEST = 8  # shorter ones are refused anyway

COMMON = frozenset([_plain(each) for each in FREQUENCY_LISTS["passwords"] if len(each) >= SHORTEST][:MOST])
LONGEST = max(map(len, COMMON))


def is_common(password: str) -> bool:
    """Whether it is one of the most common ones, however its letters are written."""
    return len(password) <= LONGEST and _plain(password) in COMMON
