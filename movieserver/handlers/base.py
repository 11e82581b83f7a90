"""What every handler does: count, authenticate, parse, respond, and turn errors into problem+json."""
from __future__ import annotations

import json
import sys
from typing import Any, ClassVar, TypeVar

from tornado.concurrent import Future
from tornado.web import HTTPError, RequestHandler

from movieserver.errors import (
    ApiError, BadRequest, InternalError, MethodNotAllowed, NotFound, UnsupportedMediaType
)
from movieserver.handlers.authentication import authenticate, check_scope
from movieserver.http import cors
from movieserver.http.headers import JSON, bearer_token, is_accepted, media_type
from movieserver.http.idempotency import IdempotencyKey
from movieserver.http.preconditions import Precondition, entity_tag
from movieserver.http.representations import represent
from movieserver.observability.logs import log
from movieserver.openapi.operation import operation_of
from movieserver.openapi.parameters import QueryParameter
from movieserver.postgres.database import Database
from movieserver.redis.request_counter import Number
from movieserver.resources import Resources
from movieserver.schemas.parsing import AnyBody, parse
from movieserver.schemas.texts import Body
from movieserver.serving.memory_limits import LARGE_BYTES
from movieserver.serving.request import MovieServer, Request

T = TypeVar("T")
Chunk = str | bytes | dict[str, Any] | None
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
as_json = json.JSONEncoder(ensure_ascii=False).encode


class Handler(RequestHandler):
    """A protected handler: its verbs run only with a valid access token. OpenHandler is the exception."""

    application: MovieServer
    request: Request
    counted = True
    protected: ClassVar[bool] = True
    login_only: ClassVar[bool] = False  # whether it refuses personal tokens
    verbs: ClassVar[tuple[str, ...]] = ()
    described_verbs: ClassVar[list[str]] = []  # those that need an @Operation: HEAD and OPTIONS are alike everywhere
    user_id: str | None = None
    login_uuid: str | None = None  # of the login that the access token belongs to
    _number: Number | None = None  # pending until this request is counted
    _waiting = False  # whether the response is complete and waits for the number

    def __init_subclass__(cls) -> None:
        own = [verb for verb in VERBS if getattr(cls, verb.lower()) is not getattr(RequestHandler, verb.lower())]
        cls.described_verbs, cls.verbs = own, (*own, *(["HEAD"] if "GET" in own else []), "OPTIONS")

    def initialize(self, route: str) -> None:
        self.route = route

    @property
    def resources(self) -> Resources:
        """What the server holds open."""
        return self.application.resources

    @property
    def db(self) -> Database:
        """The database that almost every verb uses."""
        return self.resources.database

    @property
    def owner(self) -> str:
        """The user id of the access token, in a protected handler."""
        assert self.user_id is not None
        return self.user_id

    def set_default_headers(self) -> None:
        """The headers of every response but those that ResponseWriter adds."""
        self.set_header("Content-Type", JSON)
        for name, value in self._cors_headers().items():
            self.set_header(name, value)
        if self.settings["draining"]:
            self.set_header("Connection", "close")

    def _cors_headers(self) -> dict[str, str]:
        origins = self.settings["cors_origins"]
        return cors.response_headers(origins, self.request.headers.get("Origin")) if origins else {}

    async def prepare(self) -> None:
        self._count()
        if self.request.method not in self.verbs:
            raise MethodNotAllowed(", ".join(self.verbs))
        if self.request.method != "OPTIONS":
            await self.authenticate()
        if self.request.refusal:
            raise self.request.refusal

    async def request_number(self) -> int | None:
        """The request count with this request in it; None while Redis is unavailable."""
        return await self._number if self._number else None

    async def authenticate(self) -> None:
        """Set user and login from the token; Unauthenticated without a valid one, 403 if it does not allow this."""
        if not self.protected:
            return
        access = await authenticate(self.resources, bearer_token(self.request.headers))
        self.user_id, self.login_uuid = access.user_id, access.login
        check_scope(access.scope, self.request.method or "", self.login_only)

    def head(self, *path: str) -> Any:
        return self.get(*path)

    def options(self, *path: str) -> None:
        methods = ", ".join(self.verbs)
        self.set_header("Allow", methods)
        if "Access-Control-Request-Method" in self.request.headers and cors.ALLOW_ORIGIN in self._cors_headers():
            for name, value in cors.preflight_headers(methods).items():
                self.set_header(name, value)
        self.clear_header("Content-Type")
        self.set_status(204)

    def body(self, kind: type[AnyBody]) -> AnyBody:
        """The request body, parsed as the model that the verb's @Operation names. Raises BadRequest."""
        self.body_type(kind)
        return parse(kind, self.request.body)

    def body_type(self, kind: type[Body]) -> str:
        """The media type of a body that is a text, or application/json; UnsupportedMediaType for others."""
        operation = operation_of(self, self.request.method or "")
        if operation is None or operation.body is not kind:
            raise TypeError(f"the @Operation of {self.request.method} {self.route} does not name {kind.__name__}")
        sent, encoding = self.request.content_type, self.request.headers.get("Content-Encoding")
        if not is_accepted(sent, encoding, operation.body_texts):
            raise UnsupportedMediaType(operation.body_texts)
        return name if (name := media_type(sent)) in operation.body_texts else JSON

    def query(self, parameter: QueryParameter[T]) -> T:
        """The value of a query parameter. Raises BadRequest."""
        return parameter.parse(self.get_query_arguments(parameter.name, strip=False))

    def absolute_url(self, path: str) -> str:
        """The absolute URL of a path of this server, as clients know it."""
        return self.application.urls.absolute(path, self.request)

    def relative_url(self, path: str) -> str:
        """As `absolute_url`, but only the path if there is no PUBLIC_URL: for Location, which may be relative."""
        return self.application.urls.relative(path)

    @property
    def precondition(self) -> Precondition:
        """If-Match and If-None-Match of the request. Raises BadRequest."""
        return Precondition.parse(self.request.headers.get("If-Match"), self.request.headers.get("If-None-Match"))

    def idempotency_key(self, path: str) -> IdempotencyKey:
        """The Idempotency-Key of the request; `path` must be the same for every spelling of it. Raises BadRequest."""
        return IdempotencyKey.parse(self.request.headers.get("Idempotency-Key"), path, self.request.body)

    def set_links(self, **addresses: str | None) -> None:
        """Link to the other pages of a list, each by its relation (RFC 8288)."""
        links = [f'<{address}>; rel="{relation}"' for relation, address in addresses.items() if address]
        if links:
            self.set_header("Link", ", ".join(links))

    def set_etag(self, version: str) -> None:
        """Send the entity tag of the new version."""
        self.set_header("ETag", entity_tag(version))

    def write_json(self, body: dict[str, Any] | str, status: int = 200) -> None:
        """Respond with JSON: a dict, or a text that is already JSON."""
        text = body if isinstance(body, str) else as_json(body)
        self.set_status(status)
        self._finish(text.encode() + b"\n")  # the line break is for terminals

    async def write_representation(self, text: str | bytes, version: str | None = None) -> None:
        """Respond with a text, or with bytes that end with a line break, under an entity tag, or 304.

        Without a version, the tag is a hash of the text.
        """
        sent = text if isinstance(text, bytes) else text.encode() + b"\n"
        tag, body, gzipped = await represent(
            sent, version, self.precondition, self.request.headers.get("Accept-Encoding", ""),
            self.resources.compressor)
        self.set_header("ETag", tag)
        self.add_header("Vary", "Accept-Encoding")
        if gzipped:
            self.set_header("Content-Encoding", "gzip")
        if body is None:
            self.set_status(304)
            self.finish()
        else:
            self._finish(body)

    def _finish(self, body: bytes) -> None:
        if len(body) > LARGE_BYTES:
            self.settings["response_memory"].reserve(self.request.connection, self.user_id, len(body))
        self.finish(body)

    def finish(self, chunk: Chunk = None) -> Future[None]:
        """Send the response when the request is counted, so that every request with a response is in the count."""
        if self._number is None or (self._number.done() and not self._waiting):
            return super().finish(chunk)
        if not self._waiting:
            self._waiting = True
            self._number.add_done_callback(lambda _: self._finish_counted(chunk))
        return Future()

    def _finish_counted(self, chunk: Chunk) -> None:
        self._waiting = False
        try:
            self.finish(chunk)
        except Exception:
            self.log_exception(*sys.exc_info())
            self.send_error(500)

    def _count(self) -> None:
        if self.counted and self._number is None:
            self._number = self.resources.counter.count()

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        return value.decode("utf-8", "replace")

    def set_etag_header(self) -> None:
        """Only write_representation and set_etag set a tag."""

    def check_etag_header(self) -> bool:
        return False

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        self._count()  # Tornado refuses some requests before prepare() runs
        if not self._waiting:
            super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = self._api_error(status_code, kwargs.get("exc_info", (None, None))[1])
        self.set_status(error.status)
        for name, value in error.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "application/problem+json")
        self.finish(as_json(error.problem(self.request.request_id)) + "\n")

    def _api_error(self, status: int, error: BaseException | None) -> ApiError:
        if isinstance(error, ApiError):
            return error
        if status == 405 and len(self.verbs) > 1:
            return MethodNotAllowed(", ".join(self.verbs))
        if isinstance(error, HTTPError) and status < 500:
            return NotFound() if status in (404, 405) else BadRequest()
        return InternalError()

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if not isinstance(value, (ApiError, HTTPError)):
            log.error(
                "unexpected error", request_id=self.request.request_id, route=self.route, exc_info=(typ, value, tb))


class OpenHandler(Handler):
    """A handler that needs no access token."""

    protected = False
