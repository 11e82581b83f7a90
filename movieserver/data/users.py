"""Users: the statements of sql/users.sql."""
from __future__ import annotations

import hashlib
import unicodedata
import uuid
from typing import NamedTuple

from movieserver.bodies import NAME_CHARACTERS
from movieserver.database import Database
from movieserver.tokens import RefreshToken


class User(NamedTuple):
    """Who a name belongs to, and the hash of their password."""

    user_id: str
    password_hash: str


def username_key(username: str) -> bytes:
    """Equal for two names that are one name without regard to letter case and Unicode form (NFKC, case folding)."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())
    return hashlib.sha256(folded.encode()).digest()


async def register(db: Database, *, username: str, password_hash: str, lifetime: float) -> RefreshToken | None:
    """A new user and the refresh token of a first login, good for `lifetime` seconds; None when the name is taken."""
    token = RefreshToken.new(str(uuid.uuid4()))
    row = await db.write(
        "users.register", user_id=token.user_id, username=username, username_key=username_key(username),
        password_hash=password_hash, session_uuid=token.session_uuid, refresh_digest=token.digest, lifetime=lifetime,
    )
    return token if row else None


async def find(db: Database, *, username: str) -> User | None:
    """The user of that name."""
    if len(username) > NAME_CHARACTERS:
        return None  # nobody's, and folding it could take long
    row = await db.read("users.find", username_key=username_key(username))
    return User(*row) if row else None
