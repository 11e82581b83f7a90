"""Sessions, one a login: the statements of sql/sessions.sql. Lifetimes in seconds."""
from __future__ import annotations

from movieserver.database import Database
from movieserver.tokens import RefreshToken


async def open(db: Database, *, user_id: str, lifetime: float) -> RefreshToken | None:
    """The refresh token of a new login; None when the user is gone."""
    token = RefreshToken.new(user_id)
    row = await db.write(
        "sessions.open", user_id=user_id, session_uuid=token.session_uuid,
        refresh_digest=token.digest, lifetime=lifetime,
    )
    return token if row else None


async def rotate(db: Database, *, token: RefreshToken, lifetime: float) -> RefreshToken | None:
    """The token that follows; None when `token` is not in force (spent, logged out, run out, never ours)."""
    successor = RefreshToken.new(token.user_id, token.session_uuid)
    row = await db.write(
        "sessions.rotate", user_id=token.user_id, session_uuid=token.session_uuid,
        refresh_digest=token.digest, next_digest=successor.digest, lifetime=lifetime,
    )
    return successor if row else None


async def close(db: Database, *, token: RefreshToken) -> bool:
    """End the login of `token`, also of a spent one: its session's uuid is secret enough. Whether it was there."""
    row = await db.write("sessions.close", user_id=token.user_id, session_uuid=token.session_uuid)
    return row is not None
