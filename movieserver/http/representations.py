"""What a GET sends: a body under its entity tag, gzipped or not, or 304 Not Modified (RFC 9110 section 15.4.5)."""
from __future__ import annotations

from movieserver.errors import PreconditionFailed
from movieserver.http.compression import Compressor, accepts_codings
from movieserver.http.preconditions import Precondition, entity_tag


async def represent(
    body: bytes, version: str | None, precondition: Precondition, accept_encoding: str, compressor: Compressor
) -> tuple[str, bytes | None, bool]:
    """The entity tag, the body (None if the client already has it), and whether it is gzipped.

    A body without a version is identified by its bytes. PreconditionFailed if If-Match names another version.
    """
    version = version or await compressor.digest(body)
    if not precondition.allows(version):
        raise PreconditionFailed
    gzipped = compressor.should_compress(accept_encoding, len(body))
    tag = entity_tag(version, gzipped)
    if known := precondition.known(tag, accepts_codings(accept_encoding)):
        return known, None, False
    return tag, await compressor.gzip(body) if gzipped else body, gzipped
