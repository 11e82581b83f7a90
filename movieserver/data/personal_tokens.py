"""Personal tokens: the statements of sql/personal_tokens.sql."""
from __future__ import annotations

from typing import NamedTuple

from movieserver.accounts.personal_tokens import MAX_TOKENS, PersonalToken, TooManyTokens
from movieserver.postgres.database import Database
from movieserver.schemas.requests import NewPersonalToken


class Created(NamedTuple):
    """A new token, as lists name it."""

    uuid: str
    created_at: str
    expires_at: str | None


class Found(NamedTuple):
    """A valid token: its scope, the seconds until it expires (None: never), whether today's use is written."""

    scope: str
    lifetime: float | None
    used_today: bool


async def create(db: Database, *, token: PersonalToken, login: str | None, new: NewPersonalToken) -> Created | None:
    """Store a new token. None if the user is gone or `login` has ended. Raises TooManyTokens."""
    row = await db.write(
        "personal_tokens.create", user_id=token.user_id, login=login, token_digest=token.digest, token_name=new.name,
        scope=new.scope, expires_in_days=new.expires_in_days, max_tokens=MAX_TOKENS)
    if row and row[0] is None:
        raise TooManyTokens
    return Created(*row) if row else None


async def find(db: Database, *, token: PersonalToken) -> Found | None:
    """The token, or None if it is not valid."""
    row = await db.read_batched(
        "personal_tokens.find", user_id=token.user_id, token_digest=rf"\x{token.digest.hex()}")
    return Found(row[0].decode(), row[1], row[2]) if row else None


async def record_use(db: Database, *, token: PersonalToken) -> None:
    """Record that the token was used today, unless the user is writing: then a later call records it."""
    await db.run("personal_tokens.record_use", {"user_id": token.user_id, "token_digest": token.digest})


async def list_all(db: Database, *, user_id: str) -> str:
    """The user's tokens as a JSON array."""
    [tokens] = await db.read_one("personal_tokens.list_all", user_id=user_id)
    return str(tokens)


async def delete(db: Database, *, user_id: str, token_uuid: str) -> bool:
    """Delete a token. False if the user has none with that uuid."""
    return await db.write("personal_tokens.delete", user_id=user_id, token_uuid=token_uuid) is not None
