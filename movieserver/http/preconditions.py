"""Entity tags, and the request headers that name them: If-Match and If-None-Match (RFC 9110 sections 8.8.3 and 13)."""
from __future__ import annotations

import re
from typing import NamedTuple

from movieserver.errors import BadRequest

ANY = "*"
GZIPPED = "-gzip"
TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
TAGS = re.compile(rf"(?:[ \t]*,)*[ \t]*{TAG.pattern}(?:[ \t]*,(?:[ \t]*{TAG.pattern})?)*[ \t]*")
# The suffix of a version that is read while a link shares it; If-Match ignores the suffix.
SHARED = "-shared"
# suffixes of a tag: our own, and those of proxies that compress
MARK = "--?(?:gzip|br|zstd|deflate)"
MARKS = re.compile(rf"(?:{SHARED})?(?:{MARK}){{0,2}}$")
CODINGS = re.compile(rf'(?:{MARK}){{1,2}}(?="$)')


def entity_tag(version: str, gzipped: bool = False) -> str:
    """The strong tag of a version; its gzipped bytes have a tag of their own."""
    return f'"{version}{GZIPPED if gzipped else ""}"'


class Precondition(NamedTuple):
    """The tags of If-Match (None without that header) and of If-None-Match, as they were sent, or ANY."""

    match: list[str] | None
    none_match: list[str]

    @classmethod
    def parse(cls, if_match: str | None, if_none_match: str | None) -> Precondition:
        """The preconditions in the headers. Raises BadRequest if one is malformed."""
        match = None if if_match is None else _tags("If-Match", if_match)
        return cls(match, [] if if_none_match is None else _tags("If-None-Match", if_none_match))

    def parameters(self) -> dict[str, object]:
        """The parameters of a statement that changes a version: one of `match` (None: any), and none of `none_match`.

        RFC 9110 requires a strong comparison. But a proxy that compresses weakens or marks the tags, and a client
        behind it could never change anything.
        """
        match = None if self.match is None or ANY in self.match else [_version(tag) for tag in self.match]
        return {
            "match": [] if ANY in self.none_match else match,
            "none_match": [_version(tag) for tag in self.none_match]}

    def allows(self, version: str) -> bool:
        """Whether If-Match allows reading this version."""
        return self.match is None or ANY in self.match or version.removesuffix(SHARED) in map(_version, self.match)

    def known(self, tag: str, accepts_codings: bool) -> str | None:
        """The tag of If-None-Match that names the same bytes as `tag` (weak comparison), or None.

        A tag with the mark of a coding names them too for a client that accepts codings: a proxy may have marked it.
        """
        if ANY in self.none_match:
            return tag
        uncoded = CODINGS.sub("", tag)
        for sent in self.none_match:
            strong = sent.removeprefix("W/")
            if strong == tag or accepts_codings and strong != uncoded == CODINGS.sub("", strong):
                return strong
        return None


def _tags(field: str, text: str) -> list[str]:
    if text.strip(" \t") == ANY:
        return [ANY]
    if not TAGS.fullmatch(text):
        raise BadRequest(f'{field} must be * or a list of entity tags, each in quotation marks, such as "abc".')
    return TAG.findall(text)


def _version(tag: str) -> str:
    return MARKS.sub("", tag.removeprefix("W/")[1:-1])
