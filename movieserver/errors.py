"""The error responses that several modules use. A feature defines its own as subclasses of these.

ApiError
├── BadRequest 400            malformed request
│   └── InvalidBody           invalid fields, all of them listed
├── Unauthenticated 401       no valid token, or a wrong user name or password
├── WrongPassword 403         the password that confirms a change is wrong
├── NotFound 404              does not exist, or belongs to another user
├── MethodNotAllowed 405      with Allow
├── Conflict 409              the request conflicts with the current state
│   ├── CollectionFull        the collection would hold too many movies
│   ├── KeyInUse              the first request with this Idempotency-Key is still running; with Retry-After
│   └── OrderMismatch         the order and the collection differ, each difference listed
├── RequestTimeout 408        the request arrives too slowly
├── PreconditionFailed 412    If-Match or If-None-Match does not hold
├── BodyTooLarge 413
├── UnsupportedMediaType 415  the declared type of the body is not accepted
├── KeyReused 422             another request used this Idempotency-Key
├── TooManyAttempts 429       with Retry-After
├── HeadersTooLarge 431
├── InternalError 500         a bug in this server
├── UpstreamFault 502         invalid response from the third party
├── Unavailable 503           with Retry-After
│   ├── DatabaseUnavailable
│   │   ├── DatabaseTimeout   the statement took too long, or no connection was free
│   │   └── SchemaMissing     the database is not migrated
│   ├── Overloaded            too many connections, large request bodies or unread responses
│   └── UpstreamUnavailable   the third party is down
└── UpstreamTimeout 504       the third party is too slow

handlers/base.py writes them as problem details (RFC 9457).
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple


class FieldError(NamedTuple):
    """One invalid field: a JSON pointer into the body (RFC 6901), and what is wrong there."""

    pointer: str
    detail: str


class ApiError(Exception):
    """An error response: HTTP status, stable code, headers, and a sentence for humans.

    `faults` are the invalid fields, if fields of the body are at fault; `retry_after` is in seconds.
    """

    status = 500
    code = "internal_error"
    detail = "Unexpected server error. Give the request_id to the operator; the log has the reason."
    headers: dict[str, str] = {}

    def __init__(
        self, detail: str | None = None, *, faults: list[FieldError] | None = None, retry_after: float | None = None
    ) -> None:
        self.detail = detail or self.detail
        self.faults = faults or []
        if retry_after is not None:
            self.headers = {"Retry-After": str(math.ceil(retry_after))}
        super().__init__(self.detail)

    def problem(self, request_id: str) -> dict[str, object]:
        """The problem detail object (RFC 9457 section 3) of this error."""
        problem: dict[str, object] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        if self.faults:
            problem["errors"] = [fault._asdict() for fault in self.faults]
        return problem


class InternalError(ApiError):
    """500: a bug in this server; the reason is in the log, never in the response."""


class BadRequest(ApiError):
    """400: the request is malformed."""

    status = 400
    code = "bad_request"
    detail = "The request is malformed."


class InvalidBody(BadRequest):
    """400: fields of the body are invalid; `faults` lists all of them."""

    code = "invalid_body"

    def __init__(self, faults: list[FieldError]) -> None:
        super().__init__(
            "The body has an invalid field; `errors` names it." if len(faults) == 1
            else f"The body has {len(faults)} invalid fields; `errors` lists them.", faults=faults)


class Unauthenticated(ApiError):
    """401: with the challenge of RFC 6750 section 3."""

    status = 401
    code = "unauthenticated"
    detail = "This call requires a valid access token: Authorization: Bearer <access_token>."
    headers = {"WWW-Authenticate": "Bearer"}


class WrongPassword(ApiError):
    """403: the token is valid, but the password that confirms this call is wrong."""

    status = 403
    code = "wrong_password"
    detail = "The password is wrong. It must be the current password of this account."


class NotFound(ApiError):
    """404: does not exist, or belongs to another user; the response does not say which."""

    status = 404
    code = "not_found"
    detail = "There is no resource at this address."


class MethodNotAllowed(ApiError):
    """405: `allowed` lists the methods of the path."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, allowed: str) -> None:
        self.headers = {"Allow": allowed}
        super().__init__(f"This address supports only {allowed}.")


class Conflict(ApiError):
    """409: the request conflicts with the current state."""

    status = 409
    code = "conflict"
    detail = "The request conflicts with the current state. Read the resource again, then repeat the change."


class CollectionFull(Conflict):
    """409: a collection has at most `limit` movies, and these at most `limit_bytes`; none was added."""

    code = "collection_full"

    def __init__(self, limit: int, limit_bytes: int) -> None:
        super().__init__(
            f"A collection holds at most {limit} movies, which take at most {limit_bytes} bytes as JSON, and these "
            "would exceed that. Send fewer, or add them to another collection.")


class KeyInUse(Conflict):
    """409: the first request with this Idempotency-Key is still running."""

    code = "idempotency_key_in_use"
    detail = "The first request with this Idempotency-Key is still running. Send it again shortly."
    headers = {"Retry-After": "1"}


class OrderMismatch(Conflict):
    """409: an order must list each movie of the collection once; `faults` lists the differences."""

    code = "order_mismatch"
    detail = "The order must list every movie of the collection exactly once, and no other movie."


class PreconditionFailed(ApiError):
    """412: the current version does not satisfy If-Match or If-None-Match; nothing was changed."""

    status = 412
    code = "precondition_failed"
    detail = "The current version of the resource does not satisfy If-Match or If-None-Match. Read it again."


class RequestTimeout(ApiError):
    """408: the request arrives too slowly."""

    status = 408
    code = "request_timeout"
    detail = "The request arrived too slowly. Send it again over a faster connection."


class BodyTooLarge(ApiError):
    """413: the body is larger than `limit` bytes."""

    status = 413
    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body must not be larger than {limit} bytes.")


class UnsupportedMediaType(ApiError):
    """415: the declared type of the body is not JSON, nor one of `texts`."""

    status = 415
    code = "unsupported_media_type"
    detail = "The body must be JSON: send Content-Type: application/json and no Content-Encoding."

    def __init__(self, texts: Sequence[str] = ()) -> None:
        kinds = " or ".join((", ".join(["application/json", *texts[:-1]]), *texts[-1:]))
        super().__init__(f"Send a file with Content-Type: {kinds}, and no Content-Encoding." if texts else None)


class KeyReused(ApiError):
    """422: another request used this Idempotency-Key: another address, or another JSON value."""

    status = 422
    code = "idempotency_key_reused"
    detail = "This Idempotency-Key was used for another request. Use a new key for each new request."


class TooManyAttempts(ApiError):
    """429: more wrong passwords than `bound` allows; the next attempt may follow in `seconds`."""

    status = 429
    code = "too_many_attempts"

    def __init__(self, bound: str, seconds: int) -> None:
        super().__init__(f"Too many wrong passwords: {bound}. Try again in {seconds} seconds.", retry_after=seconds)


class HeadersTooLarge(ApiError):
    """431: the request line and the headers exceed `size` bytes or `fields` headers."""

    status = 431
    code = "headers_too_large"

    def __init__(self, size: int, fields: int) -> None:
        super().__init__(
            f"The request line and the headers must have at most {size} bytes in total, and at most {fields} headers.")


class UpstreamFault(ApiError):
    """502: the third party sent an invalid response, or rejected our credentials."""

    status = 502
    code = "upstream_fault"
    detail = "The movie catalogue sent a response that cannot be used. Try again later."


class Unavailable(ApiError):
    """503: try again after `Retry-After` seconds."""

    status = 503
    code = "unavailable"
    detail = "The server cannot do this right now. Try again shortly."
    headers = {"Retry-After": "1"}


class DatabaseUnavailable(Unavailable):
    """503: the database cannot be reached, or did not carry out the statement."""

    code = "database_unavailable"
    detail = "The database cannot be reached right now. Try again shortly."


class DatabaseTimeout(DatabaseUnavailable):
    """503: no free connection in time, or the statement took too long."""

    code = "database_timeout"
    detail = "The database is too busy right now. Try again shortly."


class SchemaMissing(DatabaseUnavailable):
    """503: the database lacks the tables of this version."""

    code = "schema_missing"
    detail = "The database is not migrated to this version. The operator must run `python run.py migrate`."


class Overloaded(Unavailable):
    """503: one more connection, request body or response would exceed a limit of the server."""

    code = "overloaded"


class UpstreamUnavailable(Unavailable):
    """503: the third party is down; Retry-After is the number of seconds until it accepts calls again."""

    code = "upstream_unavailable"
    detail = "The movie catalogue cannot be reached right now. Try again shortly."


class UpstreamTimeout(ApiError):
    """504: the third party did not respond in time."""

    status = 504
    code = "upstream_timeout"
    detail = "The movie catalogue did not respond in time. Try again later."
