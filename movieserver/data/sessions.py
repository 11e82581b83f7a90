"""Sessions, one per login: the statements of sql/sessions.sql. Lifetimes in seconds."""
from __future__ import annotations

from collections.abc import Sequence

from movieserver.accounts.tokens import RefreshToken
from movieserver.data.users import User
from movieserver.postgres.database import Database

GRACE_SECONDS = 30.0  # for a client that lost the response to a refresh, or sent two at the same time


async def open_session(db: Database, *, user: User, lifetime: float) -> RefreshToken | None:
    """The refresh token of a new login; None if the user is gone or has changed the password meanwhile."""
    token = RefreshToken.new(user.user_id)
    row = await db.write(
        "sessions.open_session", user_id=user.user_id, password_changes=user.password_changes,
        session_uuid=token.session_uuid, refresh_digest=token.digest, lifetime=lifetime,
    )
    return token if row else None


async def rotate(
    db: Database, *, token: RefreshToken, successors: Sequence[RefreshToken], lifetime: float
) -> RefreshToken | None:
    """Spend `token` and return its successor: the first of `successors`, or the one that another process stored.

    A spent token gets the same successor for GRACE_SECONDS. None if `token` is not valid: it has expired, its login
    has ended, it is unknown, or it was spent earlier, which ends its login.
    """
    row = await db.write(
        "sessions.rotate", user_id=token.user_id, session_uuid=token.session_uuid, refresh_digest=token.digest,
        next_digest=successors[0].digest, lifetime=lifetime, grace=GRACE_SECONDS,
    )
    return next((each for each in successors if row and each.digest == bytes(row[0])), None)


async def close_session(db: Database, *, token: RefreshToken) -> None:
    """End the login of `token`, if there is one, even of a spent token: its session's uuid is secret."""
    await db.write("sessions.close_session", user_id=token.user_id, session_uuid=token.session_uuid)


async def list_all(db: Database, *, user_id: str, login: str | None) -> str:
    """The user's logins as a JSON array; `login` is the current one."""
    [sessions] = await db.read_one("sessions.list_all", user_id=user_id, login=login)
    return str(sessions)


async def revoke(db: Database, *, user_id: str, login: str) -> bool:
    """End the login with that public uuid. False if the user has none."""
    return await db.write("sessions.revoke", user_id=user_id, login=login) is not None


async def revoke_all(db: Database, *, user_id: str) -> None:
    """End every login of the user."""
    await db.write("sessions.revoke_all", user_id=user_id)
