"""Every error that the server answers with.

ApiError
├── BadRequest 400            the request cannot be understood
│   └── InvalidBody           one or more fields are at fault, all of them listed
├── Unauthenticated 401       no token in force, or a wrong name and password
├── WrongPassword 403         the password that a change asks for
├── NotFound 404              not there, or not the caller's
├── MethodNotAllowed 405      with Allow
├── Conflict 409              the name is taken
│   ├── CollectionFull        there is no place for so many movies
│   ├── KeyInUse              the first request with this Idempotency-Key is still running; with Retry-After
│   └── OrderMismatch         the order names other movies than the collection has, each of them listed
├── PreconditionFailed 412   If-Match or If-None-Match: another version is in force
├── RequestTimeout 408        the request arrives too slowly
├── BodyTooLarge 413
├── UnsupportedMediaType 415  the body says that it is not JSON
├── KeyReused 422             another request had this Idempotency-Key
├── TooManyAttempts 429       with Retry-After
├── HeadersTooLarge 431
├── InternalError 500         a fault of this server
├── UpstreamFault 502         the third party answered nonsense
├── Unavailable 503           with Retry-After
│   ├── Overloaded            too many connections, large request bodies or unread responses
│   └── UpstreamUnavailable   the third party is away
└── UpstreamTimeout 504       the third party is too slow

The wire form is the problem detail of RFC 9457, written by handlers/base.py.
"""
from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple


class Fault(NamedTuple):
    """One field at fault: an RFC 6901 JSON pointer into the body, and what is wrong there."""

    pointer: str
    detail: str


class ApiError(Exception):
    """An answer other than success: an HTTP status, a stable code, headers, a sentence for people."""

    status = 500
    code = "internal_error"
    detail = "The server met an error of its own. It has been logged under this request id."
    headers: dict[str, str] = {}
    faults: list[Fault] = []

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.detail
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
    """500: a fault of this server; what happened is in the log, never in the answer."""


class BadRequest(ApiError):
    """400: the request cannot be understood."""

    status = 400
    code = "bad_request"
    detail = "The request cannot be understood."


class InvalidBody(BadRequest):
    """400: fields of the body are at fault; `faults` lists all of them."""

    code = "invalid_body"

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__(
            "The body has a field at fault."
            if len(faults) == 1
            else f"The body has {len(faults)} fields at fault."
        )


class Unauthenticated(ApiError):
    """401: with the challenge of RFC 6750 section 3."""

    status = 401
    code = "unauthenticated"
    detail = "This call needs an access token in force: Authorization: Bearer <access_token>."
    headers = {"WWW-Authenticate": "Bearer"}


class WrongPassword(ApiError):
    """403: the token is in force, but the password that this call asks for as well is wrong."""

    status = 403
    code = "wrong_password"
    detail = "This is not the password of this account."


class NotFound(ApiError):
    """404: not there, or not the caller's: nobody can tell the two apart."""

    status = 404
    code = "not_found"
    detail = "There is nothing at this address."


class MethodNotAllowed(ApiError):
    """405: `allowed` are the methods that the path knows."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, allowed: str) -> None:
        self.headers = {"Allow": allowed}
        super().__init__(f"This address answers to {allowed}.")


class Conflict(ApiError):
    """409: what was asked for collides with what is there."""

    status = 409
    code = "conflict"
    detail = "This name is taken."


class CollectionFull(Conflict):
    """409: a collection has at most `limit` movies; none was added."""

    code = "collection_full"

    def __init__(self, limit: int) -> None:
        super().__init__(f"A collection has at most {limit} movies, and with these it would have more.")


class KeyInUse(Conflict):
    """409: the first request with this Idempotency-Key is still running; its answer can be had in a moment."""

    code = "idempotency_key_in_use"
    detail = "The first request with this Idempotency-Key is still running. Send it again shortly."
    headers = {"Retry-After": "1"}


class OrderMismatch(Conflict):
    """409: an order names each movie of the collection and no other; `faults` lists those that do not fit."""

    code = "order_mismatch"
    detail = "The order names other movies than the collection has."

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__()


class PreconditionFailed(ApiError):
    """412: the version in force is not the one that If-Match or If-None-Match means; nothing was changed."""

    status = 412
    code = "precondition_failed"
    detail = "This has another version than the one you mean: read it again, and its ETag."


class RequestTimeout(ApiError):
    """408: the head did not arrive within `head_seconds`, or less than `size` bytes of the body in `body_seconds`."""

    status = 408
    code = "request_timeout"

    def __init__(self, head_seconds: float, size: int, body_seconds: float) -> None:
        super().__init__(
            f"The request arrived too slowly: send its head within {head_seconds:g} seconds, and at least {size} bytes "
            f"of its body every {body_seconds:g} seconds.")


class BodyTooLarge(ApiError):
    """413: the body is over `limit` bytes."""

    status = 413
    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"A body is at most {limit} bytes.")


class UnsupportedMediaType(ApiError):
    """415: the body says that it is something other than JSON."""

    status = 415
    code = "unsupported_media_type"
    detail = "A body is JSON: Content-Type: application/json, without Content-Encoding."


class KeyReused(ApiError):
    """422: this Idempotency-Key belongs to a request with another body or address."""

    status = 422
    code = "idempotency_key_reused"
    detail = "This Idempotency-Key was used for another request: another address, or another body."


class TooManyAttempts(ApiError):
    """429: more passwords were wrong than `bound` allows; after `seconds` the next is tried (RFC 6585 section 4)."""

    status = 429
    code = "too_many_attempts"

    def __init__(self, bound: str, seconds: int) -> None:
        self.headers = {"Retry-After": str(seconds)}
        super().__init__(f"Too many passwords were wrong: {bound}. Try again in {seconds} seconds.")


class HeadersTooLarge(ApiError):
    """431: the request line and the headers exceed `size` bytes or `fields` headers."""

    status = 431
    code = "headers_too_large"

    def __init__(self, size: int, fields: int) -> None:
        super().__init__(f"The request line and its headers must not exceed {size} bytes and {fields} headers.")


class UpstreamFault(ApiError):
    """502: the third party's answer makes no sense, or it does not accept our credentials."""

    status = 502
    code = "upstream_fault"
    detail = "The movie catalogue gave an answer that cannot be used."


class Unavailable(ApiError):
    """503: come back in `Retry-After` seconds."""

    status = 503
    code = "unavailable"
    detail = "The server cannot do this right now. Try again shortly."
    headers = {"Retry-After": "1"}


class Overloaded(Unavailable):
    """503: a connection, a request body or a response of that size would exceed what the server holds at a time."""

    code = "overloaded"


class UpstreamUnavailable(Unavailable):
    """503: the third party is away; its wish for a pause is passed on in whole seconds."""

    code = "upstream_unavailable"
    detail = "The movie catalogue is away. Try again shortly."

    def __init__(self, retry_after: int = 1) -> None:
        self.headers = {"Retry-After": str(retry_after)}
        super().__init__()


class UpstreamTimeout(ApiError):
    """504: the third party did not answer in time."""

    status = 504
    code = "upstream_timeout"
    detail = "The movie catalogue did not answer in time."
