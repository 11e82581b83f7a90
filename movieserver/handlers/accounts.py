"""Accounts: register, log in, refresh, log out."""
from __future__ import annotations

import math

from movieserver.bodies import Credentials, Refresh, Registration
from movieserver.data import sessions, users
from movieserver.errors import Conflict, Unauthenticated
from movieserver.handlers.base import OpenHandler, route
from movieserver.tokens import RefreshToken


class AccountHandler(OpenHandler):
    """What the four have in common."""

    def answer_tokens(self, refresh: RefreshToken, status: int = 200) -> None:
        """Send an access token and a refresh token (RFC 6749 section 5.1)."""
        self.user_id = refresh.user_id
        tokens = self.resources.tokens
        self.answer({
            "access_token": tokens.access(refresh.user_id),
            "refresh_token": str(refresh),
            "token_type": "Bearer",
            "expires_in": math.ceil(tokens.access_seconds),
        }, status)


class RegisterHandler(AccountHandler):
    """POST /register/"""

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

    async def post(self) -> None:
        body = self.body(Credentials)
        db = self.resources.database
        user = await users.find(db, username=body.username)
        right = await self.resources.passwords.verify(body.password, user and user.password_hash)
        refresh = user and right and await sessions.open(
            db, user_id=user.user_id, lifetime=self.resources.tokens.refresh_seconds)
        if not refresh:
            raise Unauthenticated("The user name or the password is wrong.")
        self.answer_tokens(refresh)


class RefreshHandler(AccountHandler):
    """POST /refresh/"""

    async def post(self) -> None:
        token = RefreshToken.parse(self.body(Refresh).refresh_token)
        successor = token and await sessions.rotate(
            self.resources.database, token=token, lifetime=self.resources.tokens.refresh_seconds)
        if not successor:
            raise Unauthenticated("This refresh token is not in force. Log in again.")
        self.answer_tokens(successor)


class LogoutHandler(AccountHandler):
    """POST /logout/; a token that is not in force is answered alike (RFC 7009 section 2.2)."""

    async def post(self) -> None:
        token = RefreshToken.parse(self.body(Refresh).refresh_token)
        if token:
            await sessions.close(self.resources.database, token=token)
        self.answer({"message": "Logged out successfully"})


routes = [
    route("/register/", RegisterHandler),
    route("/login/", LoginHandler),
    route("/refresh/", RefreshHandler),
    route("/logout/", LogoutHandler),
]
