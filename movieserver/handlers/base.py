"""What every handler does the same way: count, authenticate, read, answer, and turn errors into problem+json."""
from __future__ import annotations

import asyncio
import json
import re
from typing import Any, ClassVar

from tornado.concurrent import Future
from tornado.httputil import HTTPHeaders
from tornado.routing import URLSpec
from tornado.web import HTTPError, RequestHandler

from movieserver.schemas.requests import AnyBody, parse
from movieserver.serving.memory_limits import LARGE_BYTES
from movieserver.serving.request import Request
from movieserver.http.preconditions import Precondition, entity_tag
from movieserver.openapi.operation import Query, WholeNumber, operation_of
from movieserver.errors import (
    ApiError, BadRequest, DatabaseTimeout, DatabaseUnavailable, InternalError, MethodNotAllowed, NotFound,
    PreconditionFailed, SchemaMissing, UnsupportedMediaType
)
from movieserver.http.headers import JSON, bearer_token, date, is_json, request_id
from movieserver.http.idempotency import IdempotencyKey
from movieserver.observability.logs import log
from movieserver.resources import Resources

DIGITS = re.compile(r"[0-9]+")
HUGE_DIGITS = 18
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ALLOWED = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID"
EXPOSED = "Age, ETag, Link, Location, Retry-After, X-Request-ID"
PREFLIGHT_SECONDS = 7200
NO_PRECONDITION = Precondition.parse(None, None)
as_json = json.JSONEncoder(ensure_ascii=False).encode
STORED = (DatabaseUnavailable(), DatabaseTimeout(), SchemaMissing())  # how what is stored may not be had


class Route(URLSpec):
    """A route from a template such as /collection/{collection_uuid}/, with and without its trailing slash.

    It says openly whether it is protected, and its handler must be just that; each verb says what it is.
    """

    def __init__(self, template: str, handler: type[Handler], *, protected: bool) -> None:
        if protected == issubclass(handler, OpenHandler):
            raise TypeError(f"{handler.__name__} is not what its route {template} says: protected={protected}")
        if silent := [verb for verb in handler.described() if not operation_of(handler, verb)]:
            raise TypeError(f"{handler.__name__} does not say what its {' and '.join(silent)} is: @Operation(…)")
        pattern = re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(template.rstrip("/")))
        super().__init__(f"{pattern}/?", handler, {"route": template})
        self.template = template
        self.protected = protected


class Handler(RequestHandler):
    """A protected handler: nothing of it runs without an access token in force. OpenHandler is the exception."""

    request: Request
    counted = True
    request_id = ""
    verbs: ClassVar[tuple[str, ...]] = ()
    user_id: str | None = None
    sent = 0  # bytes of the answer's body, as far as there was somebody to send them to
    login: str | None = None  # the public uuid of the login whose access token this is
    requests: int | None = None  # the request count with this request in it; None while Redis is away
    _gone = False
    _prepared = False

    def __init_subclass__(cls) -> None:
        known = [verb for verb in VERBS if getattr(cls, verb.lower()) is not getattr(RequestHandler, verb.lower())]
        cls.verbs = (*known, *(["HEAD"] if "GET" in known else []), "OPTIONS")

    @classmethod
    def described(cls) -> list[str]:
        """The verbs that say what they are; HEAD and OPTIONS are what they are everywhere."""
        return [verb for verb in cls.verbs if verb in VERBS]

    def initialize(self, route: str) -> None:
        self.route = route

    @property
    def resources(self) -> Resources:
        """What the server holds open."""
        resources: Resources = self.settings["resources"]
        return resources

    @property
    def owner(self) -> str:
        """The user whose request a protected handler answers."""
        assert self.user_id is not None
        return self.user_id

    def clear(self) -> None:
        """Begin the answer anew, as Tornado's does, but without a Server and with a date made once a second."""
        self.request_id = self.request_id or request_id(self.request.headers)
        self._headers = HTTPHeaders()
        self._headers["Date"] = date()
        self._headers["Content-Type"] = JSON
        self._headers["X-Request-ID"] = self.request_id
        self._headers["X-Content-Type-Options"] = "nosniff"
        self._headers["Cache-Control"] = "no-store"
        self._write_buffer: list[bytes] = []
        self.set_status(200)
        if self.settings["cors_origins"]:
            self.share()
        if self.settings["draining"]:
            self._headers["Connection"] = "close"

    def share(self) -> None:
        """Let the scripts of an origin that the settings name read the answer (fetch.spec.whatwg.org, section 3.3)."""
        origins, origin = self.settings["cors_origins"], self.request.headers.get("Origin")
        if "*" not in origins:
            self.set_header("Vary", "Origin")
        elif origin:
            origin = "*"
        if origin and origin in origins:
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Expose-Headers", EXPOSED)

    async def prepare(self) -> None:
        self._prepared = True
        if self.counted:
            self.requests = await self.resources.counter.count()
        if self.request.method not in self.verbs:
            raise MethodNotAllowed(", ".join(self.verbs))
        if self.request.method != "OPTIONS":
            self.authenticate()
        if self.request.refusal:
            raise self.request.refusal

    def authenticate(self) -> None:
        """Learn whose request this is; Unauthenticated where the token does not tell."""
        self.user_id, self.login = self.resources.tokens.read(bearer_token(self.request.headers))

    def head(self, *path: str) -> Any:
        return self.get(*path)

    def options(self, *path: str) -> None:
        self.set_header("Allow", ", ".join(self.verbs))
        if "Access-Control-Allow-Origin" in self._headers and "Access-Control-Request-Method" in self.request.headers:
            self.set_header("Access-Control-Allow-Methods", ", ".join(self.verbs))
            self.set_header("Access-Control-Allow-Headers", ALLOWED)
            self.set_header("Access-Control-Max-Age", PREFLIGHT_SECONDS)
        self.clear_header("Content-Type")
        self.set_status(204)

    def body(self, kind: type[AnyBody]) -> AnyBody:
        """The request's body as a record of `kind`, which is what the verb says that it takes."""
        operation = operation_of(self, self.request.method or "")
        if operation is None or operation.body is not kind:
            raise TypeError(f"{self.request.method} {self.route} does not say that it takes {kind.__name__}")
        if not is_json(self.request.content_type, self.request.headers.get("Content-Encoding")):
            raise UnsupportedMediaType
        return parse(kind, self.request.body)

    def query(self, query: Query) -> str | None:
        """What the request says for a query parameter, None where it says nothing."""
        name = query.name
        values = self.get_query_arguments(name, strip=False)
        if len(values) > 1:
            raise BadRequest(f"The query parameter {name} is given {len(values)} times.")
        if values and query.choices and values[0] not in query.choices:
            raise BadRequest(f"The query parameter {name} is {' or '.join(query.choices)}.")
        return values[0] if values else None

    def whole_number(self, query: WholeNumber) -> int:
        """The number that a query parameter is; what is past 10**18 is taken for that."""
        text, most = self.query(query), query.most
        if text is None:
            return query.default
        digits = text.lstrip("0") if DIGITS.fullmatch(text) else ""
        number = int(digits or 0) if len(digits) <= HUGE_DIGITS else 10**HUGE_DIGITS
        if number < 1 or most and number > most:
            bound = f"from 1 to {most}" if most else "from 1"
            raise BadRequest(f"The query parameter {query.name} is a whole number {bound}.")
        return number

    @property
    def server_url(self) -> str:
        """The address under which the caller knows this server, without a path."""
        peer, said = self.request.remote_ip or "", self.request.headers.get("X-Forwarded-Proto", "")
        scheme = self.settings["proxies"].scheme(peer, said, self.request.protocol)
        return f"{scheme}://{self.request.host}"

    @property
    def client_address(self) -> str:
        """Where the request comes from, behind the proxies that the operator trusts."""
        address: str = self.settings["proxies"].client(
            self.request.remote_ip or "", self.request.headers.get("X-Forwarded-For", ""))
        return address

    @property
    def exact_address(self) -> str:
        """The same, of IPv6 not only the customer's network: for the log."""
        address: str = self.settings["proxies"].address(
            self.request.remote_ip or "", self.request.headers.get("X-Forwarded-For", ""))
        return address

    def link(self, **addresses: str | None) -> None:
        """Name the neighbours of a page (RFC 8288), each by its relation."""
        links = [f'<{address}>; rel="{relation}"' for relation, address in addresses.items() if address]
        if links:
            self.set_header("Link", ", ".join(links))

    def say_version(self, version: str) -> None:
        """Name the version of what was written: the entity tag for the next change."""
        self.set_header("ETag", entity_tag(version))

    def answer(self, body: dict[str, Any] | str, status: int = 200) -> None:
        """Send JSON: a dict, or a text that is JSON already."""
        text = body if isinstance(body, str) else as_json(body)
        self.set_status(status)
        self._send(text.encode() + b"\n")  # for people who read it in a terminal

    def _send(self, body: bytes) -> None:
        if len(body) > LARGE_BYTES:
            self.settings["response_memory"].take(self.request.connection, self.user_id, len(body))
        self.finish(body)

    @property
    def precondition(self) -> Precondition:
        """Under which versions the request is to be carried out."""
        headers = self.request.headers
        only, unless = headers.get("If-Match"), headers.get("If-None-Match")
        return NO_PRECONDITION if only is None and unless is None else Precondition.parse(only, unless)

    def idempotency_key(self, address: str) -> IdempotencyKey:
        """The request's idempotency key; `address` is the same for all spellings of its path."""
        return IdempotencyKey.parse(self.request.headers.get("Idempotency-Key"), address, self.request.body)

    async def represent(self, text: str, version: str | None = None) -> None:
        """Send JSON under its entity tag, or 304 where the caller has it; without a version its bytes tell it."""
        body, precondition = text.encode() + b"\n", self.precondition
        compressor = self.resources.compressor
        version = version or await compressor.digest(body)
        if precondition.is_stale(version):
            raise PreconditionFailed
        gzipped = compressor.takes(self.request.headers.get("Accept-Encoding", ""), len(body))
        tag = entity_tag(version, gzipped)
        self.set_header("ETag", tag)
        self.add_header("Vary", "Accept-Encoding")
        if precondition.is_known(tag):
            self.set_status(304)
            self.finish()
            return
        if gzipped:
            self.set_header("Content-Encoding", "gzip")
            body = await compressor.gzip(body)
        self._send(body)

    def flush(self, include_footers: bool = False) -> Future[None]:
        if self.request.method != "HEAD" and not self._gone:
            self.sent += sum(map(len, self._write_buffer))
        return super().flush(include_footers)

    def on_connection_close(self) -> None:
        self._gone = True

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        return value.decode("utf-8", "replace")

    def set_etag_header(self) -> None:
        """An answer has the tag that `represent` gives it, or none."""

    def check_etag_header(self) -> bool:
        return False

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        # Tornado refuses some requests before prepare() runs; they are counted too.
        if self._prepared or not self.counted:
            super().send_error(status_code, **kwargs)
        else:
            self._prepared = True
            self._counting = asyncio.ensure_future(self.resources.counter.count())
            self._counting.add_done_callback(lambda _: super(Handler, self).send_error(status_code, **kwargs))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = self._api_error(status_code, kwargs.get("exc_info", (None, None))[1])
        self.set_status(error.status)
        for name, value in error.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "application/problem+json")
        self.finish(as_json(error.problem(self.request_id)) + "\n")

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
            log.error("unexpected error", request_id=self.request_id, route=self.route, exc_info=(typ, value, tb))


class OpenHandler(Handler):
    """A handler that needs no token."""

    def authenticate(self) -> None:
        pass


class UnknownPathHandler(OpenHandler):
    """Whatever has no route: 404, counted like everything."""

    async def prepare(self) -> None:
        try:
            await super().prepare()
        except MethodNotAllowed:
            raise NotFound from None
        raise NotFound
