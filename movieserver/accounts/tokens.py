"""Access tokens (JWT, RFC 7519, HS256) and refresh tokens (random, kept only as a digest)."""
from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import secrets
import time
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import jwt

from movieserver.errors import Unauthenticated
from movieserver.settings import SECRET_BYTES

ALGORITHM = "HS256"
HEADERS = {"alg", "typ"}
ISSUER = "movieserver"
CLAIMS = ["sub", "iat", "exp", "iss", "jti", "typ"]
ACCESS = "access"
LONGEST = 1024  # characters; ours have about 350
SKEW_SECONDS = 60  # by which another machine's clock may be ahead
MOST_KNOWN = 10_000  # tokens whose signature need not be checked again


class Access(NamedTuple):
    """What an access token says: whose it is, and the public uuid of the login that it belongs to."""

    user_id: str
    login: str | None


class Tokens:
    """Signs tokens with the first of its keys and reads those of all of them; lifetimes in seconds."""

    def __init__(self, keys: Sequence[str], access_seconds: float, refresh_seconds: float) -> None:
        self._known: dict[bytes, tuple[Access, float]] = {}  # by digest: what it says, and until when
        self._keys = [key.encode() for key in keys]
        if any(len(key) < SECRET_BYTES for key in self._keys):
            raise ValueError(f"a signing key has at least {SECRET_BYTES} bytes")
        self.access_seconds = access_seconds
        self.refresh_seconds = refresh_seconds

    def access(self, user_id: str, login: str) -> str:
        """An access token for a login of a user, in force for `access_seconds`."""
        now = time.time()
        claims = {
            "sub": user_id, "iat": int(now), "exp": math.ceil(now + self.access_seconds),
            "iss": ISSUER, "jti": secrets.token_urlsafe(12), "typ": ACCESS, "sid": login,
        }
        return jwt.encode(claims, self._keys[0], ALGORITHM)

    def read(self, access_token: str) -> Access:
        """What an access token says; Unauthenticated for everything but one of ours in force.

        A signature that was checked is not checked again; whether the token is still in force is.
        """
        if len(access_token) > LONGEST:
            raise Unauthenticated
        digest = hashlib.sha256(access_token.encode()).digest()
        if digest not in self._known:
            known = self._verified(access_token)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[digest] = known
        access, expiry = self._known[digest]
        if expiry <= time.time():
            raise Unauthenticated
        return access

    def successors(self, token: RefreshToken) -> list[RefreshToken]:
        """The one token that may follow `token`, as each key makes it; the first is the one to give out."""
        keys = (derived_key(key, b"refresh") for key in self._keys)
        return [token._replace(secret=hmac.digest(key, token.packed, "sha256")) for key in keys]

    def _verified(self, access_token: str) -> tuple[Access, float]:
        try:
            _check_canonical(access_token.rpartition(".")[2])
            if not jwt.get_unverified_header(access_token).keys() <= HEADERS:
                raise Unauthenticated
            claims = self._claims(access_token)
            login = str(uuid.UUID(str(claims["sid"]))) if "sid" in claims else None
            return Access(str(uuid.UUID(claims["sub"])), login), claims["exp"]
        except (jwt.InvalidTokenError, ValueError):
            raise Unauthenticated from None

    def _claims(self, access_token: str) -> dict[str, Any]:
        """The claims of a token that one of the keys signed."""
        for key in self._keys:
            try:
                claims = jwt.decode(
                    access_token, key, [ALGORITHM], issuer=ISSUER,
                    options={"require": CLAIMS, "verify_iat": False},  # another machine's clock may be ahead
                )
            except jwt.InvalidSignatureError:
                continue
            if claims["typ"] == ACCESS and self._in_force(claims["exp"]):
                return claims
        raise Unauthenticated

    def _in_force(self, expiry: object) -> bool:
        """Whether a token ends in the future, and no later than one that was made now."""
        now = time.time()
        return isinstance(expiry, int | float) and now < expiry <= now + self.access_seconds + SKEW_SECONDS


def derived_key(secret: bytes, purpose: bytes) -> bytes:
    """A key of its own for one purpose (HKDF-Expand, RFC 5869 section 2.3, of one block)."""
    return hmac.digest(secret, b"movieserver " + purpose + b"\x01", "sha256")


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
        return base64.urlsafe_b64encode(self.packed).decode("ascii")

    @property
    def packed(self) -> bytes:
        """All of it in 64 bytes."""
        return uuid.UUID(self.user_id).bytes + uuid.UUID(self.session_uuid).bytes + self.secret

    @property
    def login(self) -> str:
        """The public uuid of its login, from which the session's own cannot be told."""
        return str(uuid.UUID(bytes=hashlib.sha256(uuid.UUID(self.session_uuid).bytes).digest()[:16]))

    @property
    def digest(self) -> bytes:
        """What is stored of it: SHA-256 is enough for 256 random bits."""
        return hashlib.sha256(self.secret).digest()
