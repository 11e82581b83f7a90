"""Tokens of share links, derived from a nonce in the database and a key that is not in it.

So the same token can be sent again, and a copy of the database alone gives no access.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from movieserver.accounts.tokens import derived_key

BYTES = 24  # 192 bits
CHARACTERS = 32
NONCE_BYTES = 16


class ShareToken(NamedTuple):
    """A token and the nonce that it is derived from."""

    text: str
    nonce: bytes

    @property
    def digest(self) -> bytes:
        """What is stored and looked up."""
        return digest_of(self.text)


def digest_of(token: str) -> bytes:
    """SHA-256 of a token: enough for 192 random bits."""
    return hashlib.sha256(token.encode()).digest()


class ShareTokens:
    """Makes tokens with the first of its keys, and recognizes those of every key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [derived_key(key.encode(), b"share") for key in keys]

    def new(self) -> ShareToken:
        """A new token."""
        return _token(self._keys[0], secrets.token_bytes(NONCE_BYTES))

    def find(self, nonce: bytes, digest: bytes) -> ShareToken | None:
        """The token with that nonce and digest; None if it was made with another key."""
        tokens = (_token(key, nonce) for key in self._keys)
        return next((token for token in tokens if hmac.compare_digest(token.digest, digest)), None)


def _token(key: bytes, nonce: bytes) -> ShareToken:
    return ShareToken(base64.urlsafe_b64encode(hmac.digest(key, nonce, "sha256")[:BYTES]).decode(), nonce)
