"""Access tokens (JWT, RFC 7519, HS256) and refresh tokens (random, stored only as a digest)."""
from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import jwt

from movieserver.errors import Unauthenticated
from movieserver.formats import parse_uuid
from movieserver.settings import SECRET_BYTES

ALGORITHM = "HS256"
HEADER = {"alg": ALGORITHM, "typ": "JWT"}
ISSUER = "movieserver"
CLAIMS = ["sub", "iat", "exp", "iss", "jti", "typ"]
TIMES = ["iat", "exp", "nbf"]
UUIDS = ["sub", "sid"]
ACCESS = "access"
LOGIN, READ = "login", "read"  # scopes: LOGIN allows everything, "read" and "write" are those of personal tokens
MAX_CHARACTERS = 1024  # ours have about 350
SKEW_SECONDS = 60  # how far another machine's clock may be ahead
MAX_VERIFIED = 10_000  # verified tokens that are cached


class Access(NamedTuple):
    """The user of a token, the public uuid of its login, and its scope: LOGIN, READ or "write"."""

    user_id: str
    login: str | None
    scope: str = LOGIN


class Tokens:
    """Signs tokens with the first key, and accepts tokens of all keys. Lifetimes are in seconds."""

    def __init__(self, keys: Sequence[str], access_seconds: float, refresh_seconds: float) -> None:
        self.verified: dict[bytes, tuple[Access, float]] = {}  # by digest of the token, with its expiry
        self._keys = [key.encode() for key in keys]
        if any(len(key) < SECRET_BYTES for key in self._keys):
            raise ValueError(f"a signing key must have at least {SECRET_BYTES} bytes")
        self.access_seconds = access_seconds
        self.refresh_seconds = refresh_seconds

    def access(self, user_id: str, login: str) -> str:
        """An access token for a login of a user, valid for `access_seconds`."""
        now = time.time()
        claims = {
            "sub": user_id, "iat": int(now), "exp": math.ceil(now + self.access_seconds),
            "iss": ISSUER, "jti": secrets.token_urlsafe(12), "typ": ACCESS, "sid": login,
        }
        return jwt.encode(claims, self._keys[0], ALGORITHM)

    def verify(self, access_token: str) -> Access:
        """Verify an access token. Raises Unauthenticated if it is not valid.

        A valid signature is checked only once, the expiry on every call.
        """
        if len(access_token) > MAX_CHARACTERS:
            raise Unauthenticated
        digest = hashlib.sha256(access_token.encode()).digest()
        if digest not in self.verified:
            verified = self._verified(access_token)
            if len(self.verified) >= MAX_VERIFIED:
                self.verified.clear()
            self.verified[digest] = verified
        access, expiry = self.verified[digest]
        if expiry <= time.time():
            raise Unauthenticated
        return access

    def successors(self, token: RefreshToken) -> list[RefreshToken]:
        """The token that may follow `token`, derived with each key; the first is the one to send."""
        keys = (derived_key(key, b"refresh") for key in self._keys)
        return [token._replace(secret=hmac.digest(key, token.packed, "sha256")) for key in keys]

    def _verified(self, access_token: str) -> tuple[Access, float]:
        """What a token of ours gives access to, and when it expires. Raises Unauthenticated."""
        try:
            _check_canonical(access_token.rpartition(".")[2])
            if jwt.get_unverified_header(access_token) != HEADER:
                raise Unauthenticated
            claims = self._claims(access_token)
        except (jwt.InvalidTokenError, ValueError):
            raise Unauthenticated from None
        if not (_has_right_types(claims) and claims["typ"] == ACCESS and self._is_unexpired(claims["exp"])):
            raise Unauthenticated
        return Access(claims["sub"], claims.get("sid")), claims["exp"]

    def _claims(self, access_token: str) -> dict[str, Any]:
        """The claims of a token that one of the keys signed."""
        for key in self._keys:
            with suppress(jwt.InvalidSignatureError):
                return jwt.decode(
                    access_token, key, [ALGORITHM], issuer=ISSUER,
                    options={"require": CLAIMS, "verify_iat": False},  # another machine's clock may be ahead
                )
        raise Unauthenticated

    def _is_unexpired(self, expiry: float) -> bool:
        """Whether a token expires in the future, and no later than one that was made now."""
        now = time.time()
        return now < expiry <= now + self.access_seconds + SKEW_SECONDS


def derived_key(secret: bytes, purpose: bytes) -> bytes:
    """A key of its own for one purpose (HKDF-Expand, RFC 5869 section 2.3, of one block)."""
    return hmac.digest(secret, b"movieserver " + purpose + b"\x01", "sha256")


def _has_right_types(claims: dict[str, Any]) -> bool:
    """Whether the claims that PyJWT does not check have the right types; our tokens have no audience."""
    return (
        "aud" not in claims
        and all(_is_time(claims[name]) for name in TIMES if name in claims)
        and all(_is_uuid(claims[name]) for name in UUIDS if name in claims)
    )


def _is_time(claim: object) -> bool:
    """Whether a claim is a NumericDate (RFC 7519 section 2)."""
    return isinstance(claim, int | float) and not isinstance(claim, bool) and abs(claim) < math.inf


def _is_uuid(claim: object) -> bool:
    return isinstance(claim, str) and parse_uuid(claim) == claim


def _check_canonical(signature: str) -> None:
    """Refuse non-canonical base64 of a signature: its last character has unused bits."""
    packed = base64.urlsafe_b64decode(signature + "==")
    if base64.urlsafe_b64encode(packed).rstrip(b"=").decode() != signature:
        raise Unauthenticated


class RefreshToken(NamedTuple):
    """The user and the session of a refresh token, and the secret that proves it."""

    user_id: str
    session_uuid: str
    secret: bytes

    @classmethod
    def new(cls, user_id: str) -> RefreshToken:
        """The first token of a new session."""
        return cls(user_id, str(uuid.uuid4()), secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> RefreshToken | None:
        """The token that `text` encodes, or None if it encodes none."""
        try:
            packed = base64.urlsafe_b64decode(text)
            user_id, session_uuid = uuid.UUID(bytes=packed[:16]), uuid.UUID(bytes=packed[16:32])
        except ValueError:
            return None
        token = cls(str(user_id), str(session_uuid), packed[32:])
        return token if str(token) == text else None  # a token has one spelling

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(self.packed).decode("ascii")

    @property
    def packed(self) -> bytes:
        """The token in 64 bytes."""
        return uuid.UUID(self.user_id).bytes + uuid.UUID(self.session_uuid).bytes + self.secret

    @property
    def login(self) -> str:
        """The public uuid of its login; it does not reveal the uuid of the session."""
        return str(uuid.UUID(bytes=hashlib.sha256(uuid.UUID(self.session_uuid).bytes).digest()[:16]))

    @property
    def digest(self) -> bytes:
        """The digest that is stored; SHA-256 is enough for 256 random bits."""
        return hashlib.sha256(self.secret).digest()
