"""Collections that are shared by a link: the statements of sql/shares.sql."""
from __future__ import annotations

from typing import NamedTuple

from movieserver.accounts.share_tokens import ShareToken, ShareTokens, digest_of
from movieserver.postgres.database import Database


class Share(NamedTuple):
    """The token of a share, when it expires (None: never), and whether it is new."""

    token: str
    expires_at: str | None
    new: bool


class Shared(NamedTuple):
    """A shared collection as JSON text, and its version."""

    text: str
    version: str


async def create(
    db: Database, *, tokens: ShareTokens, user_id: str, collection_uuid: str, days: int | None,
    lost_digest: bytes | None = None
) -> Share | None:
    """Share a collection for `days` (None: it does not expire), or return the valid share.

    A share whose key is no longer in JWT_SECRET cannot be shown again, so it is replaced.
    """
    new = tokens.new()
    row = await db.write(
        "shares.create", user_id=user_id, collection_uuid=collection_uuid, nonce=new.nonce, digest=new.digest,
        days=days, lost_digest=lost_digest)
    if row is None:
        return None
    nonce, digest, expires_at = bytes(row[0]), bytes(row[1]), row[2]
    token: ShareToken | None = tokens.find(nonce, digest)
    if token is None:
        return await create(
            db, tokens=tokens, user_id=user_id, collection_uuid=collection_uuid, days=days, lost_digest=digest)
    return Share(token.text, expires_at, token == new)


async def delete(db: Database, *, user_id: str, collection_uuid: str) -> bool:
    """End the share of a collection. False if there is no valid one."""
    return await db.write("shares.delete", user_id=user_id, collection_uuid=collection_uuid) is not None


async def get(db: Database, *, token: str) -> Shared | None:
    """The collection that a token shares, without the owner's notes; None if the share is not valid."""
    row = await db.read("shares.get", digest=digest_of(token))
    return Shared(*row) if row else None
