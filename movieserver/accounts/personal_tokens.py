"""Personal tokens, which users make for their scripts: random, stored only as a digest."""
from __future__ import annotations

import base64
import hashlib
import secrets
import time
import uuid
from typing import NamedTuple

from movieserver.accounts.tokens import Access
from movieserver.errors import ApiError, Conflict

PREFIX = "msv_"
SECRET_BYTES = 32
MAX_TOKENS = 100  # of a user
CACHE_SECONDS = 3.0  # how long a process trusts a look-up; a deleted token works nowhere after 5 seconds
MAX_VERIFIED = 10_000


class InsufficientScope(ApiError):
    """403: a personal token with the scope `read` was sent with a change."""

    status = 403
    code = "insufficient_scope"
    detail = "This token has the `read` scope and cannot make changes. Use one with the `write` scope."
    headers = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}


class LoginRequired(ApiError):
    """403: a personal token was sent for what only a login may do."""

    status = 403
    code = "login_required"
    detail = "A personal token cannot be used for accounts, sessions and tokens. Use the access token of a login."
    headers = InsufficientScope.headers


class TooManyTokens(Conflict):
    """409: the user has as many personal tokens as a user may have."""

    code = "too_many_tokens"
    detail = f"You have {MAX_TOKENS} personal tokens, which is the maximum. Delete one first."


class PersonalToken(NamedTuple):
    """The user of a personal token, and the secret that proves it."""

    user_id: str
    secret: bytes

    @classmethod
    def new(cls, user_id: str) -> PersonalToken:
        """A new token, with 256 random bits."""
        return cls(user_id, secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> PersonalToken | None:
        """The token that `text` encodes, or None if it encodes none."""
        try:
            packed = base64.urlsafe_b64decode(text.removeprefix(PREFIX))
            token = cls(str(uuid.UUID(bytes=packed[:16])), packed[16:])
        except ValueError:
            return None
        return token if str(token) == text else None  # a token has one spelling

    def __str__(self) -> str:
        return PREFIX + base64.urlsafe_b64encode(uuid.UUID(self.user_id).bytes + self.secret).decode("ascii")

    @property
    def digest(self) -> bytes:
        """What is stored: SHA-256 is enough for 256 random bits."""
        return hashlib.sha256(self.secret).digest()


class VerifiedTokens:
    """The personal tokens that were valid less than CACHE_SECONDS ago, with what they give access to."""

    def __init__(self) -> None:
        self._verified: dict[tuple[str, bytes], tuple[Access, float]] = {}

    def get(self, token: PersonalToken) -> Access | None:
        """What the token gives access to; None if it has to be looked up."""
        access, end = self._verified.get((token.user_id, token.digest), (None, 0.0))
        return access if time.monotonic() < end else None

    def add(self, token: PersonalToken, access: Access, verified_at: float, lifetime: float | None) -> None:
        """Cache a token that was valid at `verified_at` (time.monotonic) and expires `lifetime` seconds later."""
        if len(self._verified) >= MAX_VERIFIED:
            self._verified.clear()
        seconds = CACHE_SECONDS if lifetime is None else min(CACHE_SECONDS, lifetime)
        self._verified[token.user_id, token.digest] = access, verified_at + seconds

    def forget(self, user_id: str) -> None:
        """Drop the tokens of this user from the cache."""
        for key in [key for key in self._verified if key[0] == user_id]:
            del self._verified[key]
