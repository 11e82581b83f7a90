"""Idempotency-Key: a request that is sent again is carried out once, and answered as it was
(draft-ietf-httpapi-idempotency-key-header). The statements that change something keep the key with what they do."""
from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from movieserver.errors import BadRequest, KeyInUse, KeyReused

KEY_CHARACTERS = 255
KEPT_SECONDS = 86400
KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_CHARACTERS}}}")


class Once(NamedTuple):
    """The key of a request, None where it has none, and a digest that tells the request from others."""

    key: str | None = None
    digest: bytes = b""

    @classmethod
    def parse(cls, key: str | None, address: str, body: bytes) -> Once:
        """BadRequest where the key is malformed."""
        if key is None:
            return cls()
        if not KEY.fullmatch(key):
            raise BadRequest(f"Idempotency-Key is 1 to {KEY_CHARACTERS} visible ASCII characters.")
        return cls(key, hashlib.sha256(f"POST {address}\n".encode() + body).digest())

    def parameters(self) -> dict[str, object]:
        """What a statement that keeps the key is given."""
        return {"key": self.key, "request_digest": self.digest, "kept_seconds": KEPT_SECONDS}

    def is_kept(self, same: bool | None, alone: bool) -> bool:
        """Whether the request has its answer already; KeyReused or KeyInUse where it cannot be carried out."""
        if same is None and not alone:
            raise KeyInUse
        if same is False:
            raise KeyReused
        return same is True
