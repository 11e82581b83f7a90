"""Accounts: register, log in, refresh, log out; another password, the end of an account."""
from __future__ import annotations

import math
from contextlib import AbstractAsyncContextManager, nullcontext, suppress

from movieserver.observability import metrics
from movieserver.schemas import responses
from movieserver.accounts.login_attempts import LoginsUnderWay
from movieserver.schemas.requests import Credentials, Deletion, PasswordChange, Refresh, Registration
from movieserver.data import sessions, users
from movieserver.data.users import User
from movieserver.openapi.operation import Operation
from movieserver.errors import ApiError, Conflict, TooManyAttempts, Unauthenticated, Unavailable, WrongPassword
from movieserver.handlers.base import DATABASE_ERRORS, Handler, OpenHandler, Route
from movieserver.accounts.passwords import TooManyLogins
from movieserver.accounts.tokens import RefreshToken

# how logins that fail are measured, by the code of their answer; a database that is away says nothing of logins
MEASURED = {
    "unauthenticated": "refused", "too_many_attempts": "slowed", "too_many_logins": "busy", "tries_under_way": "busy",
}
WRONG_PAIR = Unauthenticated("The user name or the password is wrong.")
SPENT = Unauthenticated("This refresh token is not in force. Log in again.")
CHANGED = "The password was changed by another request at the same moment."
BUSY = (*DATABASE_ERRORS, TooManyLogins(1))  # a password is hashed
TRIES = (*BUSY, LoginsUnderWay(), TooManyAttempts("10 for this account within 900 seconds", 60))


def attempt(handler: Handler, account: bytes) -> AbstractAsyncContextManager[None]:
    """A try of a password, counted where it fails; not while Redis is known to be away, nobody waits for it twice."""
    if handler.requests is None:
        return nullcontext()
    return handler.resources.login_attempts.attempt(account, handler.client_address)


class AccountHandler(OpenHandler):
    """What the open ones have in common."""

    def answer_tokens(self, refresh: RefreshToken, status: int = 200) -> None:
        """Send an access token and a refresh token (RFC 6749 section 5.1)."""
        self.user_id = refresh.user_id
        tokens = self.resources.tokens
        self.write_json({
            "access_token": tokens.access(refresh.user_id, refresh.login),
            "refresh_token": str(refresh),
            "token_type": "Bearer",
            "expires_in": math.ceil(tokens.access_seconds),
        }, status)


class RegisterHandler(AccountHandler):
    """POST /register/"""

    @Operation(
        "register", "Register", responses.Tokens, 201, body=Registration, errors=(*BUSY, Conflict()),
        description="A name is unique without regard to letter case.")
    async def post(self) -> None:
        body = self.body(Registration)
        refresh = await users.register(
            self.resources.database, username=body.username,
            password_hash=await self.resources.passwords.hash(body.password),
            lifetime=self.resources.tokens.refresh_seconds,
        )
        if refresh is None:
            raise Conflict
        self.answer_tokens(refresh, 201)


class LoginHandler(AccountHandler):
    """POST /login/"""

    @Operation("login", "Log in", responses.Tokens, body=Credentials, errors=(*TRIES, WRONG_PAIR))
    async def post(self) -> None:
        body = self.body(Credentials)
        key = users.username_key(body.username)
        try:
            async with attempt(self, key):
                refresh = await self._log_in(key, body.password)
        except ApiError as error:
            if error.code in MEASURED:
                metrics.logins[MEASURED[error.code]].inc()
            raise
        metrics.logins["success"].inc()
        self.answer_tokens(refresh)

    async def _log_in(self, username_key: bytes, password: str) -> RefreshToken:
        db, passwords = self.resources.database, self.resources.passwords
        user = await users.find(db, username_key=username_key)
        right = await passwords.verify(password, user and user.password_hash)
        refresh = user and right and await sessions.open_session(
            db, user=user, lifetime=self.resources.tokens.refresh_seconds)
        if not user or not refresh:
            raise Unauthenticated(WRONG_PAIR.detail)
        if passwords.outdated(user.password_hash):
            with suppress(Unavailable):  # the next login will do
                await users.rehash(db, user=user, password_hash=await passwords.hash(password))
        return refresh


class RefreshHandler(AccountHandler):
    """POST /refresh/"""

    @Operation(
        "refreshTokens", "Get a new pair of tokens", responses.Tokens, body=Refresh, errors=(*DATABASE_ERRORS, SPENT),
        description="The refresh token is spent with it.")
    async def post(self) -> None:
        token = RefreshToken.parse(self.body(Refresh).refresh_token)
        tokens = self.resources.tokens
        successor = token and await sessions.rotate(
            self.resources.database, token=token, successors=tokens.successors(token), lifetime=tokens.refresh_seconds)
        if not successor:
            raise Unauthenticated(SPENT.detail)
        self.answer_tokens(successor)


class LogoutHandler(AccountHandler):
    """POST /logout/; a token that is not in force is answered alike (RFC 7009 section 2.2)."""

    @Operation(
        "logout", "Log out", responses.Message, body=Refresh, errors=DATABASE_ERRORS,
        description="That login can no longer refresh; a token that is not in force is answered alike.")
    async def post(self) -> None:
        token = RefreshToken.parse(self.body(Refresh).refresh_token)
        if token:
            await sessions.close_session(self.resources.database, token=token)
        self.write_json({"message": "Logged out successfully"})


class OwnAccountHandler(Handler):
    """What the protected ones have in common: they ask for the password again."""

    async def check_password(self, password: str) -> User:
        """Whose request this is; WrongPassword counts as a failed login."""
        user = await users.get(self.resources.database, user_id=self.owner)
        if user is None:
            raise Unauthenticated("The user of this access token is gone.")
        async with attempt(self, user.username_key):
            if not await self.resources.passwords.verify(password, user.password_hash):
                raise WrongPassword
        return user


class PasswordHandler(OwnAccountHandler):
    """PUT /password/: the login that asks stays, the others end."""

    @Operation(
        "changePassword", "Change my password", responses.Message, body=PasswordChange,
        errors=(*TRIES, WrongPassword(), Conflict(CHANGED)),
        description="The login that asks stays, the others end.")
    async def put(self) -> None:
        body = self.body(PasswordChange)
        user = await self.check_password(body.old_password)
        changed = await users.change_password(
            self.resources.database, user=user, login=self.login,
            password_hash=await self.resources.passwords.hash(body.new_password))
        if not changed:
            raise Conflict(CHANGED)
        self.write_json({"message": "Password changed successfully"})


class AccountDeletionHandler(OwnAccountHandler):
    """At DELETE, /account/ goes with everything of the user; a password that is given must be right."""

    @Operation(
        "deleteAccount", "Delete my account", responses.Message, body=Deletion, body_required=False,
        errors=(*TRIES, WrongPassword()),
        description="With everything that is yours. A password that is given must be right.")
    async def delete(self) -> None:
        if self.request.body:
            password = self.body(Deletion).password
            if password is not None:
                await self.check_password(password)
        if not await users.delete(self.resources.database, user_id=self.owner):
            raise Unauthenticated("The user of this access token is gone.")
        self.write_json({"message": "Account deleted successfully"})


routes = [
    Route("/register/", RegisterHandler, protected=False),
    Route("/login/", LoginHandler, protected=False),
    Route("/refresh/", RefreshHandler, protected=False),
    Route("/logout/", LogoutHandler, protected=False),
    Route("/password/", PasswordHandler, protected=True),
    Route("/account/", AccountDeletionHandler, protected=True),
]
