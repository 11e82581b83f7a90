"""Users: the statements of sql/users.sql."""
from __future__ import annotations

import hashlib
import unicodedata
import uuid
from typing import NamedTuple

from movieserver.schemas.requests import NAME_CHARACTERS
from movieserver.postgres.connection import Row
from movieserver.postgres.database import Database
from movieserver.accounts.tokens import RefreshToken


class User(NamedTuple):
    """Whose a name is, the key of that name, the hash of their password, and how often they changed it."""

    user_id: str
    username_key: bytes
    password_hash: str
    password_changes: int


def username_key(username: str) -> bytes:
    """Equal for two names that are one name without regard to letter case and Unicode form (NFKC, case folding)."""
    folded = username
    if len(username) <= NAME_CHARACTERS:  # a longer one is nobody's, and folding it could take long
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


async def find(db: Database, *, username_key: bytes) -> User | None:
    """The user of that name."""
    return _user(await db.read("users.find", username_key=username_key))


async def get(db: Database, *, user_id: str) -> User | None:
    """That user."""
    return _user(await db.read("users.get", user_id=user_id))


async def rehash(db: Database, *, user: User, password_hash: str) -> bool:
    """Keep another hash of the same password. Whether the one that `user` has was still there."""
    row = await db.write(
        "users.rehash", user_id=user.user_id, outdated=user.password_hash, password_hash=password_hash)
    return row is not None


async def change_password(db: Database, *, user: User, password_hash: str, login: str | None) -> bool:
    """Keep the hash of another password and end every login but `login`. Whether nobody else was faster."""
    row = await db.write(
        "users.change_password", user_id=user.user_id, password_changes=user.password_changes,
        password_hash=password_hash, login=login,
    )
    return row is not None


async def delete(db: Database, *, user_id: str) -> bool:
    """Remove a user and everything of theirs. Whether there was one."""
    return await db.write("users.delete", user_id=user_id) is not None


def _user(row: Row | None) -> User | None:
    return User(row[0], bytes(row[1]), row[2], row[3]) if row else None
