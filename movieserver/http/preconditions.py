"""Entity tags and what requests say of them: If-Match and If-None-Match (RFC 9110 sections 8.8.3 and 13)."""
from __future__ import annotations

import re
from typing import NamedTuple

from movieserver.errors import BadRequest

ANY = "*"
GZIPPED = "-gzip"
TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
TAGS = re.compile(rf"(?:[ \t]*,)*[ \t]*{TAG.pattern}(?:[ \t]*,(?:[ \t]*{TAG.pattern})?)*[ \t]*")


def entity_tag(version: str, gzipped: bool = False) -> str:
    """The strong tag of a version: the gzipped bytes have one of their own."""
    return f'"{version}{GZIPPED if gzipped else ""}"'


class Precondition(NamedTuple):
    """The tags of If-Match (None: no such header) and of If-None-Match, as they were written, or ANY."""

    only: list[str] | None
    unless: list[str]

    @classmethod
    def parse(cls, if_match: str | None, if_none_match: str | None) -> Precondition:
        """BadRequest where one of the headers is malformed."""
        only = None if if_match is None else _tags("If-Match", if_match)
        return cls(only, [] if if_none_match is None else _tags("If-None-Match", if_none_match))

    @property
    def only_versions(self) -> list[str] | None:
        """One of them has to be in force; None: any may be. A weak tag never matches (strong comparison)."""
        if ANY in self.unless:
            return []
        if self.only is None or ANY in self.only:
            return None
        return [_version(tag) for tag in self.only if not tag.startswith("W/")]

    @property
    def unless_versions(self) -> list[str]:
        """None of them may be in force."""
        return [_version(tag) for tag in self.unless]

    def is_known(self, tag: str) -> bool:
        """Whether the caller has what `tag` stands for (weak comparison)."""
        return ANY in self.unless or any(tag == known.removeprefix("W/") for known in self.unless)

    def is_stale(self, version: str) -> bool:
        """Whether the caller means other versions than this one."""
        return self.only is not None and ANY not in self.only and version not in (self.only_versions or ())


def _tags(field: str, text: str) -> list[str]:
    if text.strip(" \t") == ANY:
        return [ANY]
    if not TAGS.fullmatch(text):
        raise BadRequest(f"{field} is a list of entity tags, each in quotation marks, or *.")
    return TAG.findall(text)


def _version(tag: str) -> str:
    return tag.removeprefix("W/")[1:-1].removesuffix(GZIPPED)
