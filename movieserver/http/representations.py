"""What a GET sends: a body under its entity tag, gzipped or not, or 304 Not Modified (RFC 9110 section 15.4.5)."""
from __future__ import annotations

from typing import NamedTuple

from movieserver.errors import PreconditionFailed
from movieserver.http.compression import Compressor, accepts_codings
from movieserver.http.preconditions import Precondition, entity_tag


class Representation(NamedTuple):
    """The entity tag and the body to send; None if the client already has the body."""

    tag: str
    body: bytes | None
    gzipped: bool = False


async def represent(
    body: bytes, version: str | None, precondition: Precondition, accept_encoding: str, compressor: Compressor
) -> Representation:
    """The representation that a request selects; a body without a version is identified by its bytes.

    PreconditionFailed if If-Match names another version.
    """
    version = version or await compressor.digest(body)
    if not precondition.allows(version):
        raise PreconditionFailed
    gzipped = compressor.takes(accept_encoding, len(body))
    tag = entity_tag(version, gzipped)
    if known := precondition.known(tag, accepts_codings(accept_encoding)):
        return Representation(known, None)
    return Representation(tag, await compressor.gzip(body) if gzipped else body, gzipped)
