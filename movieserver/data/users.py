"""Users: the statements of sql/users.sql."""
from __future__ import annotations

import uuid
from typing import NamedTuple

from movieserver.accounts.tokens import RefreshToken
from movieserver.accounts.usernames import username_key
from movieserver.postgres.connection import Row
from movieserver.postgres.database import Database


class User(NamedTuple):
    """A user, with what a password check needs."""

    user_id: str
    username_key: bytes
    password_hash: str
    password_changes: int


class UserSummary(NamedTuple):
    """A user, as the operator sees them; moments in UTC."""

    user_id: str
    username: str
    created_at: str
    last_login: str | None
    collections: int


class Ended(NamedTuple):
    """How many logins and personal tokens of a user have ended."""

    logins: int
    tokens: int


async def register(db: Database, *, username: str, password_hash: str, lifetime: float) -> RefreshToken | None:
    """Store a new user. Returns a refresh token that expires in `lifetime` seconds; None if the name is taken."""
    token = RefreshToken.new(str(uuid.uuid4()))
    row = await db.write(
        "users.register", user_id=token.user_id, username=username, username_key=username_key(username),
        password_hash=password_hash, session_uuid=token.session_uuid, refresh_digest=token.digest, lifetime=lifetime,
    )
    return token if row else None


async def add(db: Database, *, username: str, password_hash: str) -> bool:
    """Store a new user, without a login. False if the name is taken."""
    row = await db.write(
        "users.add", user_id=str(uuid.uuid4()), username=username, username_key=username_key(username),
        password_hash=password_hash)
    return row is not None


async def find(db: Database, *, username_key: bytes) -> User | None:
    """The user with that name, or None."""
    return _user(await db.read("users.find", username_key=username_key))


async def get(db: Database, *, user_id: str) -> User | None:
    """That user, or None."""
    return _user(await db.read("users.get", user_id=user_id))


async def rehash(db: Database, *, user: User, password_hash: str) -> None:
    """Store another hash of the same password, unless the password has changed since `user` was read."""
    await db.write("users.rehash", user_id=user.user_id, outdated=user.password_hash, password_hash=password_hash)


async def change_password(db: Database, *, user: User, password_hash: str, login: str | None) -> bool:
    """Store a new password and end every login but `login`. False if the password was changed since `user` was read."""
    row = await db.write(
        "users.change_password", user_id=user.user_id, password_changes=user.password_changes,
        password_hash=password_hash, login=login,
    )
    return row is not None


async def reset_password(db: Database, *, user_id: str, password_hash: str) -> Ended | None:
    """Store a new password and end every login and personal token. None if the user is gone."""
    row = await db.write("users.reset_password", user_id=user_id, password_hash=password_hash)
    return Ended(*row) if row else None


async def delete(db: Database, *, user_id: str) -> bool:
    """Delete a user and all of their data. False if there is no such user."""
    return await db.write("users.delete", user_id=user_id) is not None


async def list_all(db: Database) -> list[UserSummary]:
    """Every user."""
    return [UserSummary(*row) for row in await db.run("users.list_all", {}, retry_lost=True)]


def _user(row: Row | None) -> User | None:
    return User(row[0], bytes(row[1]), row[2], row[3]) if row else None
