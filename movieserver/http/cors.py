"""CORS: which scripts of other origins may read a response (fetch.spec.whatwg.org, section 3.3)."""
from __future__ import annotations

from collections.abc import Collection

ANY_ORIGIN = "*"
ALLOW_ORIGIN = "Access-Control-Allow-Origin"
EXPOSED = "Age, Content-Disposition, ETag, Link, Location, Retry-After, X-Request-ID"
ALLOWED = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID"
PREFLIGHT_SECONDS = 7200


def response_headers(allowed: Collection[str], origin: str | None) -> dict[str, str]:
    """The headers that let scripts of `origin` read a response, if it is `allowed`, and Vary if they depend on it."""
    if ANY_ORIGIN in allowed:
        return _grant(ANY_ORIGIN) if origin else {}
    return {"Vary": "Origin"} | (_grant(origin) if origin and origin in allowed else {})


def preflight_headers(methods: str) -> dict[str, str]:
    """The headers of a response to a preflight request of an allowed origin."""
    return {
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": ALLOWED,
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }


def _grant(origin: str) -> dict[str, str]:
    return {ALLOW_ORIGIN: origin, "Access-Control-Expose-Headers": EXPOSED}
