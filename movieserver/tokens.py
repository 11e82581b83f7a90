"""Access tokens (JWT, RFC 7519, HS256) and refresh tokens (random, kept only as a digest)."""
from __future__ import annotations

import base64
import binascii
import hashlib
import math
import secrets
import time
import uuid
from typing import NamedTuple

import jwt

from movieserver.errors import Unauthenticated
from movieserver.settings import SECRET_BYTES

ALGORITHM = "HS256"
ISSUER = "movieserver"
CLAIMS = ["sub", "iat", "exp", "iss", "jti", "typ"]
ACCESS = "access"


class Tokens:
    """Signs and reads tokens with one key; lifetimes in seconds."""

    def __init__(self, secret: str, access_seconds: float, refresh_seconds: float) -> None:
        self._secret = secret.encode()
        if len(self._secret) < SECRET_BYTES:
            raise ValueError(f"the signing key has at least {SECRET_BYTES} bytes")
        self.access_seconds = access_seconds
        self.refresh_seconds = refresh_seconds

    def access(self, user_id: str) -> str:
        """An access token for a user, in force for `access_seconds`."""
        now = time.time()
        claims = {
            "sub": user_id, "iat": int(now), "exp": math.ceil(now + self.access_seconds),
            "iss": ISSUER, "jti": secrets.token_urlsafe(12), "typ": ACCESS,
        }
        return jwt.encode(claims, self._secret, ALGORITHM)

    def user_id(self, access_token: str) -> str:
        """Whose access token this is; Unauthenticated for everything but one of ours in force."""
        try:
            _check_canonical(access_token.rpartition(".")[2])
            claims = jwt.decode(
                access_token, self._secret, [ALGORITHM], issuer=ISSUER,
                options={"require": CLAIMS, "verify_iat": False},  # another machine's clock may be ahead
            )
            if claims["typ"] != ACCESS:
                raise Unauthenticated
            return str(uuid.UUID(claims["sub"]))
        except (jwt.InvalidTokenError, ValueError):
            raise Unauthenticated from None


def _check_canonical(signature: str) -> None:
    """Refuse other spellings of a signature: its last character has bits that base64 does not use."""
    packed = base64.urlsafe_b64decode(signature + "==")
    if base64.urlsafe_b64encode(packed).rstrip(b"=").decode() != signature:
        raise Unauthenticated


class RefreshToken(NamedTuple):
    """What a refresh token says: whose it is, of which login, and the secret that proves it."""

    user_id: str
    session_uuid: str
    secret: bytes

    @classmethod
    def new(cls, user_id: str, session_uuid: str | None = None) -> RefreshToken:
        """A fresh token, of a new login unless one is given."""
        return cls(user_id, session_uuid or str(uuid.uuid4()), secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> RefreshToken | None:
        """The token written as `text`, or None where it is none."""
        try:
            packed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
            user_id, session_uuid = uuid.UUID(bytes=packed[:16]), uuid.UUID(bytes=packed[16:32])
        except (UnicodeEncodeError, binascii.Error, ValueError):
            return None
        token = cls(str(user_id), str(session_uuid), packed[32:])
        return token if str(token) == text else None

    def __str__(self) -> str:
        packed = uuid.UUID(self.user_id).bytes + uuid.UUID(self.session_uuid).bytes + self.secret
        return base64.urlsafe_b64encode(packed).decode("ascii")

    @property
    def digest(self) -> bytes:
        """What is stored of it: SHA-256 is enough for 256 random bits."""
        return hashlib.sha256(self.secret).digest()
