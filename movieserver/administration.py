"""The commands of an operator for users: add-user, reset-password, delete-user and users.

They need only the database, so they work whether or not the server runs.
"""
from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import TypeVar

from movieserver.accounts.passwords import Passwords, password_fault
from movieserver.accounts.usernames import username_fault, username_key
from movieserver.data import users
from movieserver.data.users import User
from movieserver.errors import ApiError, SchemaMissing
from movieserver.postgres.database import Database, open_database
from movieserver.settings import Settings, reveal
from movieserver.terminal import CommandError, ask_password, confirm, show, require_utf8

T = TypeVar("T")
Action = Callable[[Database], Awaitable[T]]


def add_user(settings: Settings, options: Namespace) -> None:
    """Add a user under the rules of a registration. Raises CommandError."""
    name = require_utf8(options.name, "the name")
    if fault := username_fault(name):
        raise CommandError(fault)
    password_hash = _hash(settings, ask_password(name))
    if not _run(settings, lambda db: users.add(db, username=name, password_hash=password_hash)):
        raise CommandError(f"the name {name} is taken")
    show(f"added {name}")


def reset_password(settings: Settings, options: Namespace) -> None:
    """Set a new password for a user, and end all of their logins and personal tokens. Raises CommandError."""
    user = _find(settings, options.name)
    password_hash = _hash(settings, ask_password(options.name))
    ended = _run(settings, lambda db: users.reset_password(db, user_id=user.user_id, password_hash=password_hash))
    if ended is None:
        raise _unknown(options.name)
    show(f"{options.name} has the new password; ended: logins {ended.logins}, personal tokens {ended.tokens}")


def delete_user(settings: Settings, options: Namespace) -> None:
    """Delete a user and all of their data. Raises CommandError."""
    user = _find(settings, options.name)
    if not options.yes:
        show(f"This deletes {options.name} and all of their data, which cannot be recovered.")
    confirm("Type yes to delete this user: ", "delete-user", "no user was deleted", options.yes)
    if not _run(settings, lambda db: users.delete(db, user_id=user.user_id)):
        raise _unknown(options.name)
    show(f"deleted {options.name}")


def list_users(settings: Settings, options: Namespace) -> None:
    """Print registration, last login, number of collections and name of every user, oldest first; days in UTC."""
    listed = _run(settings, users.list_all)
    show(f"{'since':10}  {'last login':10}  collections  name", *(
        f"{user.created_at[:10]}  {(user.last_login or 'never')[:10]:10}  {user.collections:>11}  {user.username}"
        for user in listed))


COMMANDS = {
    "add-user": add_user, "reset-password": reset_password, "delete-user": delete_user, "users": list_users}


def _find(settings: Settings, name: str) -> User:
    key = username_key(require_utf8(name, "the name"))
    user = _run(settings, lambda db: users.find(db, username_key=key))
    if user is None:
        raise _unknown(name)
    return user


def _unknown(name: str) -> CommandError:
    return CommandError(f"there is no user {name}")


def _hash(settings: Settings, password: str) -> str:
    """The hash of a new password. Raises CommandError if a registration would not accept it."""
    if fault := "A password must not contain a NUL character" if "\0" in password else password_fault(password):
        raise CommandError(fault)
    with closing(Passwords(settings.bcrypt_rounds)) as passwords:
        return asyncio.run(passwords.hash(password))


def _run(settings: Settings, action: Action[T]) -> T:
    async def run() -> T:
        async with open_database(reveal(settings.database_url), 1) as database:
            return await action(database)

    try:
        return asyncio.run(run())
    except SchemaMissing:
        raise CommandError("the database is not migrated to this version: run `python run.py migrate`") from None
    except ApiError:
        raise CommandError("the database cannot be used: `python run.py check` says why") from None
