"""Accounts: register, log in, refresh, log out, change the password, delete the account."""
from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from movieserver.accounts.passwords import TooManyLogins
from movieserver.accounts.registration_limit import TooManyRegistrations
from movieserver.accounts.tokens import RefreshToken
from movieserver.accounts.usernames import username_key
from movieserver.data import sessions, users
from movieserver.data.users import User
from movieserver.errors import ApiError, Conflict, TooManyAttempts, Unauthenticated, Unavailable, WrongPassword
from movieserver.handlers.authentication import USER_GONE
from movieserver.handlers.base import Handler, OpenHandler
from movieserver.observability import metrics
from movieserver.openapi.operation import DATABASE_ERRORS, Operation, Route
from movieserver.schemas import responses
from movieserver.schemas.requests import Credentials, Deletion, PasswordChange, Refresh, Registration

# the metric of a failed login, by its error code; a database outage is not counted as a login
MEASURED = {"unauthenticated": "refused", "too_many_attempts": "slowed", "too_many_logins": "busy"}
WRONG_PAIR = "The user name or the password is wrong."
SPENT = "This refresh token is not valid: it has expired, was used before, or its login has ended. Log in again."
CHANGED = "Another request changed the password at the same moment. Log in with the new password."
HASHING = (*DATABASE_ERRORS, TooManyLogins())
LOGIN_ATTEMPT = (*HASHING, TooManyAttempts("10 in 60 seconds are allowed for an account", 60))


class UsernameTaken(Conflict):
    """409: another user has this name."""

    detail = "This user name is taken. Choose another one."


class RegistrationClosed(ApiError):
    """403: the operator has closed registration."""

    status = 403
    code = "registration_closed"
    detail = "Registration is closed on this server. Ask its operator for an account."


@asynccontextmanager
async def login_attempt(handler: Handler, account: bytes) -> AsyncIterator[None]:
    """Count the attempt if it fails. If Redis is unavailable for the request counter, do not wait for it again."""
    if await handler.request_number() is None:
        yield
    else:
        network = handler.application.proxies.network(handler.request)
        async with handler.resources.login_attempts.attempt(account, network):
            yield


class AccountHandler(OpenHandler):
    """Sends tokens."""

    def send_tokens(self, refresh: RefreshToken, status: int = 200) -> None:
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
        "register", "Register", responses.Tokens, 201, body=Registration,
        errors=(*HASHING, RegistrationClosed(), UsernameTaken(), TooManyRegistrations(60)),
        description="User names that differ only in letter case or Unicode form are the same name.")
    async def post(self) -> None:
        if self.settings["registration"] == "closed":
            raise RegistrationClosed
        body = self.body(Registration)
        if await self.request_number() is not None:  # otherwise Redis is unavailable
            await self.resources.registration_limit.count(self.application.proxies.network(self.request))
        refresh = await users.register(
            self.db, username=body.username,
            password_hash=await self.resources.passwords.hash(body.password, registration=True),
            lifetime=self.resources.tokens.refresh_seconds,
        )
        if refresh is None:
            raise UsernameTaken
        self.send_tokens(refresh, 201)


class LoginHandler(AccountHandler):
    """POST /login/"""

    @Operation(
        "login", "Log in", responses.Tokens, body=Credentials, errors=(*LOGIN_ATTEMPT, Unauthenticated(WRONG_PAIR)),
        description="Spaces around the user name are ignored.")
    async def post(self) -> None:
        body = self.body(Credentials)
        try:
            refresh = await self._log_in(username_key(body.username), body.password)
        except ApiError as error:
            if error.code in MEASURED:
                metrics.logins[MEASURED[error.code]].inc()
            raise
        metrics.logins["success"].inc()
        self.send_tokens(refresh)

    async def _log_in(self, key: bytes, password: str) -> RefreshToken:
        db, passwords = self.db, self.resources.passwords
        async with login_attempt(self, key):
            user = await users.find(db, username_key=key)
            if not await passwords.verify(password, user and user.password_hash) or not user:
                raise Unauthenticated(WRONG_PAIR)
        refresh = await sessions.open_session(db, user=user, lifetime=self.resources.tokens.refresh_seconds)
        if not refresh:  # the password was changed meanwhile
            raise Unauthenticated(WRONG_PAIR)
        if passwords.outdated(user.password_hash):
            with suppress(Unavailable):  # the next login tries again
                await users.rehash(db, user=user, password_hash=await passwords.hash(password))
        return refresh


class RefreshHandler(AccountHandler):
    """POST /refresh/"""

    @Operation(
        "refreshTokens", "Get a new pair of tokens", responses.Tokens, body=Refresh,
        errors=(*DATABASE_ERRORS, Unauthenticated(SPENT)),
        description="A refresh token can be used once; the response has the next one. If that response is lost, send "
        "the old token again within 30 seconds: it gets the same next one.")
    async def post(self) -> None:
        token = RefreshToken.parse(self.body(Refresh).refresh_token)
        tokens = self.resources.tokens
        successor = token and await sessions.rotate(
            self.db, token=token, successors=tokens.successors(token), lifetime=tokens.refresh_seconds)
        if not successor:
            raise Unauthenticated(SPENT)
        self.send_tokens(successor)


class LogoutHandler(AccountHandler):
    """POST /logout/; a token that is not valid gets the same response (RFC 7009 section 2.2)."""

    @Operation(
        "logout", "Log out", responses.Message, body=Refresh, errors=DATABASE_ERRORS,
        description="The login of this token can no longer refresh. A token that is not valid gets the same response.")
    async def post(self) -> None:
        token = RefreshToken.parse(self.body(Refresh).refresh_token)
        if token:
            await sessions.close_session(self.db, token=token)
        self.write_json({"message": "Logged out successfully"})


class OwnAccountHandler(Handler):
    """Checks the password again."""

    login_only = True

    async def check_password(self, password: str) -> User:
        """Check the password and return its user. Raises WrongPassword, which also counts as a failed login attempt."""
        user = await users.get(self.db, user_id=self.owner)
        if user is None:
            raise Unauthenticated(USER_GONE)
        async with login_attempt(self, user.username_key):
            if not await self.resources.passwords.verify(password, user.password_hash):
                raise WrongPassword
        return user


class PasswordHandler(OwnAccountHandler):
    """PUT /password/"""

    @Operation(
        "changePassword", "Change my password", responses.Message, body=PasswordChange,
        errors=(*LOGIN_ATTEMPT, WrongPassword(), Conflict(CHANGED)),
        description="All your other logins end; the login that sends this request continues.")
    async def put(self) -> None:
        body = self.body(PasswordChange)
        user = await self.check_password(body.old_password)
        changed = await users.change_password(
            self.db, user=user, login=self.login_uuid,
            password_hash=await self.resources.passwords.hash(body.new_password))
        if not changed:
            raise Conflict(CHANGED)
        self.write_json({"message": "Password changed successfully"})


class AccountDeletionHandler(OwnAccountHandler):
    """The account of the user: DELETE /account/"""

    @Operation(
        "deleteAccount", "Delete my account", responses.Message, body=Deletion, body_required=False,
        errors=(*LOGIN_ATTEMPT, WrongPassword()),
        description="All of your data is deleted. The password is optional; a wrong one is refused.")
    async def delete(self) -> None:
        if self.request.body:
            password = self.body(Deletion).password
            if password is not None:
                await self.check_password(password)
        if not await users.delete(self.db, user_id=self.owner):
            raise Unauthenticated(USER_GONE)
        self.resources.verified_tokens.forget(self.owner)
        self.write_json({"message": "Account deleted successfully"})


routes = [
    Route("/register/", RegisterHandler, protected=False),
    Route("/login/", LoginHandler, protected=False),
    Route("/refresh/", RefreshHandler, protected=False),
    Route("/logout/", LogoutHandler, protected=False),
    Route("/password/", PasswordHandler, protected=True),
    Route("/account/", AccountDeletionHandler, protected=True),
]
