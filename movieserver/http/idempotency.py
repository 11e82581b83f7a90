"""Idempotency-Key: a request that is sent again is carried out once and gets the same response
(draft-ietf-httpapi-idempotency-key-header). The statement that carries a request out stores its key."""
from __future__ import annotations

import codecs
import hashlib
import json
import re
from typing import NamedTuple

from movieserver.errors import BadRequest, KeyInUse, KeyReused

KEY_CHARACTERS = 255
STORED_SECONDS = 86400
KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_CHARACTERS}}}")


class IdempotencyKey(NamedTuple):
    """The key of a request, None if it has none, and a digest of the request."""

    key: str | None = None
    digest: bytes = b""

    @classmethod
    def parse(cls, key: str | None, path: str, body: bytes) -> IdempotencyKey:
        """The key of a POST to `path`, with a digest of the JSON value, whatever its formatting. Raises BadRequest."""
        if key is None:
            return cls()
        if not KEY.fullmatch(key):
            raise BadRequest(f"Idempotency-Key must be 1 to {KEY_CHARACTERS} visible ASCII characters.")
        value = json.loads(body.removeprefix(codecs.BOM_UTF8), parse_float=_number)
        spelled = json.dumps(value, sort_keys=True)
        return cls(key, hashlib.sha256(f"POST {path}\n{spelled}".encode()).digest())

    def parameters(self) -> dict[str, object]:
        """The parameters of a statement that stores the key."""
        return {"key": self.key, "request_digest": self.digest, "stored_seconds": STORED_SECONDS}

    def is_stored(self, same: bool | None, owns_key: bool) -> bool:
        """Whether the key is stored: the request has its response already. Raises KeyReused or KeyInUse.

        `same`: whether the stored request is this one, None if none is stored. `owns_key`: True if no other request
        with this key is running.
        """
        if same is None and not owns_key:
            raise KeyInUse
        if same is False:
            raise KeyReused
        return same is True


def _number(text: str) -> float:
    """1.0 and 1e0 are the number 1."""
    number = float(text)
    return int(number) if number.is_integer() else number
