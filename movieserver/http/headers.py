"""Header fields: request ids, bearer tokens, content types, weights, dates; and the maximum size of all of them."""
from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from functools import lru_cache

from tornado.httputil import HTTPHeaders, format_timestamp

from movieserver.errors import Unauthenticated
from movieserver.settings import BEARER_TOKEN

HEADER_BYTES, HEADER_FIELDS = 64 * 1024, 100  # the bytes include the request line
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
BEARER = re.compile(rf"bearer +({BEARER_TOKEN.pattern})", re.IGNORECASE)
JSON = "application/json"


def request_id(headers: HTTPHeaders) -> str:
    """The client's X-Request-ID if it is well-formed, else a new one."""
    sent = headers["X-Request-ID"] if "X-Request-ID" in headers else ""
    return sent if REQUEST_ID.fullmatch(sent) else new_request_id()


def new_request_id() -> str:
    """A random request id."""
    return secrets.token_hex(16)


def bearer_token(headers: HTTPHeaders) -> str:
    """The token of the Authorization header (RFC 6750 section 2.1); Unauthenticated without one."""
    match = BEARER.fullmatch(headers.get("Authorization", ""))
    if not match:
        raise Unauthenticated
    return match[1]


def is_accepted(content_type: str | None, content_encoding: str | None, texts: Sequence[str]) -> bool:
    """Whether a body is declared as uncompressed JSON, which is also the default, or as one of some texts."""
    kind = media_type(content_type)
    encoded = content_encoding is not None and content_encoding.lower() != "identity"
    is_json = kind == JSON or kind.startswith("application/") and kind.endswith("+json")
    return not encoded and (is_json or kind in texts)


def media_type(content_type: str | None) -> str:
    """The media type that a Content-Type names, in lower case; JSON without one."""
    return (content_type or JSON).partition(";")[0].strip().lower()


def weights(header: str) -> dict[str, float]:
    """The members of a header such as Accept in lower case, and the weight of each (RFC 9110 section 12.4.2)."""
    return dict(map(_weight, header.lower().split(",")))


def _weight(member: str) -> tuple[str, float]:
    value, _, parameters = member.partition(";")
    name, _, weight = parameters.rpartition(";")[2].partition("=")
    try:
        return value.strip(), float(weight) if name.strip() == "q" else 1.0
    except ValueError:
        return value.strip(), 0.0


def prefers_html(accept: str) -> bool:
    """Whether an Accept header prefers HTML to JSON, as a browser's does."""
    accepted = weights(accept)
    html = max(accepted.get("text/html", 0.0), accepted.get("application/xhtml+xml", 0.0))
    return html > accepted.get("application/json", 0.0)


def date() -> str:
    """The value of the Date header (RFC 9110 section 5.6.7); it is formatted once a second."""
    return _date(int(time.time()))


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return format_timestamp(seconds)
