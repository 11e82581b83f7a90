"""The Tornado application, and how a request gets from its connection to its handler."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

from tornado.escape import url_unescape
from tornado.httputil import (
    HTTPConnection, HTTPHeaders, HTTPInputError, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine,
    ResponseStartLine
)
from tornado.web import Application

from movieserver.accounts.personal_tokens import PersonalToken
from movieserver.errors import ApiError, BadRequest, BodyTooLarge, NotFound, Unauthenticated, UnsupportedMediaType
from movieserver.http.headers import bearer_token, is_accepted, request_id
from movieserver.http.urls import Urls
from movieserver.observability import logs, metrics
from movieserver.openapi.operation import Route, operation_of
from movieserver.resources import Resources
from movieserver.schemas.requests import MAX_BYTES
from movieserver.serving import syntax
from movieserver.serving.connection import Connection
from movieserver.serving.listening import netloc
from movieserver.serving.memory_limits import SMALL_BYTES, RequestMemory
from movieserver.serving.response import ResponseWriter

QUERY_ARGUMENTS = 1000  # Tornado's own limit
IGNORED_BYTES = 4 * MAX_BYTES  # of a refused body that are read; then the response is sent and the connection closes


class Request(HTTPServerRequest):
    """A request. Its Content-Type is not among its headers: Tornado would parse a form, and this API takes none."""

    connection: ResponseWriter
    request_id: str
    content_type: str | None = None
    refusal: ApiError | None = None  # why it is refused, if that is known before its handler runs
    complete = False


class MovieServer(Application):
    """The application. `unknown` is the route of all other paths. The setting `draining` means shutdown.

    A path may begin with the prefix of the setting `urls`, which some proxies remove.
    """

    def __init__(self, routes: Sequence[Route], unknown: Route, resources: Resources, **settings: Any) -> None:
        super().__init__(resources=resources, draining=False, **settings)
        self.resources = resources
        self.active: dict[Request, IncomingRequest] = {}  # until they have their response or their client is gone
        self.memory = RequestMemory()
        self._unknown = unknown
        self._urls: Urls = self.settings["urls"]
        self._patterns = [route for route in routes if route.regex.groups]
        self._paths = {
            path: route for route in reversed(routes) if not route.regex.groups
            for path in (route.template, route.template.rstrip("/"))}

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return IncomingRequest(self, cast(Connection, server_conn), cast(ResponseWriter, request_conn))

    def find(self, path: str) -> tuple[Route, list[bytes]]:
        """The route of a path, and the path's parameters."""
        path = self._urls.without_prefix(path)
        if route := self._paths.get(path):
            return route, []
        for route in self._patterns:
            if match := route.regex.match(path):
                return route, [url_unescape(part, None, plus=False) for part in match.groups()]
        return self._unknown, []

    def log_request(self, handler: Any) -> None:
        request = handler.request
        self.end(request)
        method, status, seconds = request.method, handler.get_status(), request.request_time()
        metrics.count_request(handler.route, method, status, seconds)
        logs.request(logs.Request(
            request.request_id, method, handler.route, status, round(1000 * seconds, 1), handler.user_id,
            request.connection.body_bytes, handler.client_address))

    def end(self, request: Request) -> None:
        """A request has its response, or its client is gone."""
        if incoming := self.active.pop(request, None):
            incoming.release()


def own_address(transport: asyncio.Transport) -> str:
    """Host and port of this end of a connection, as in a URL."""
    own = transport.get_extra_info("sockname")
    return netloc(own[0].partition("%")[0], own[1]) if isinstance(own, tuple) else "localhost"  # without a zone


class IncomingRequest(HTTPMessageDelegate):
    """Receives a request and starts its handler. A refused body is ignored, and not awaited if possible."""

    request: Request | None = None

    def __init__(self, app: MovieServer, connection: Connection, writer: ResponseWriter) -> None:
        self._app = app
        self._connection = connection
        self._writer = writer
        self._received = 0
        self._held = 0

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        start = cast(RequestStartLine, start_line)
        content_type = headers.pop("Content-Type") if "Content-Type" in headers else None
        if "Host" not in headers:  # HTTP/1.0
            headers["Host"] = own_address(self._connection.transport)
        try:
            request = self.request = Request(connection=self._writer, start_line=start, headers=headers)
        except HTTPInputError:
            raise BadRequest(f"The query string must not have more than {QUERY_ARGUMENTS} parameters.") from None
        request.content_type = content_type
        request.request_id = self._writer.request_id = request_id(headers)
        self._route, arguments = self._app.find(request.path)
        self._handler = self._app.get_handler_delegate(
            request, self._route.handler_class, self._route.kwargs, arguments)
        self._app.active[request] = self
        if syntax.expects_continue(start, headers):
            request.refusal = self._refusal()
            if request.refusal:
                self._connection.skip_body()

    def data_received(self, chunk: bytes) -> None:
        assert self.request
        self._received += len(chunk)
        if self._received > max(SMALL_BYTES, self._held) and not self.request.refusal:
            self._hold()
        if not self.request.refusal:
            self._handler.data_received(chunk)
        elif self._received > IGNORED_BYTES:
            self._connection.skip_body()

    def finish(self) -> None:
        assert self.request
        handler = self._handler
        del self._handler  # or its copy of the body would stay in memory
        self.request.complete = True
        handler.finish()

    def on_connection_close(self) -> None:
        if self.request:
            self._app.end(self.request)

    def release(self) -> None:
        """Release the memory that was held for the body."""
        if self._held:
            self._app.memory.change(self._user_id, -self._held)
            self._held = 0

    def _hold(self) -> None:
        """Reserve memory for the whole body if its size is declared, so that a body that has begun can also end."""
        assert self.request
        size = max(self._received, self._declared)
        try:
            if refusal := self._refusal():
                raise refusal
            self._app.memory.change(self._user_id, size - self._held)
            self._held = size
        except ApiError as error:
            self.request.refusal = error.with_traceback(None)  # its frames would keep the refused bytes in memory

    def _refusal(self) -> ApiError | None:
        """Why this request will be refused, as far as its head and the size of its body show."""
        assert self.request
        request, route = self.request, self._route
        if max(self._received, self._declared) > MAX_BYTES:
            return BodyTooLarge(MAX_BYTES)
        if route.protected and not (self._user_id or self._personal_token) and request.method != "OPTIONS":
            return Unauthenticated()
        operation = operation_of(route.handler_class, request.method or "")
        if not operation and request.method not in ("HEAD", "OPTIONS"):
            return NotFound()  # or MethodNotAllowed, which the handler finds first
        if operation and operation.body and not is_accepted(
                request.content_type, request.headers.get("Content-Encoding"), operation.body_texts):
            return UnsupportedMediaType(operation.body_texts)
        return None

    @property
    def _declared(self) -> int:
        assert self.request
        return syntax.body_length(self.request.headers) or 0

    @cached_property
    def _user_id(self) -> str | None:
        """The user of a token that is known to be valid without asking the database."""
        assert self.request
        resources = self._app.resources
        try:
            if token := self._personal_token:
                access = resources.verified_tokens.get(token)
            else:
                access = resources.tokens.verify(bearer_token(self.request.headers))
        except ApiError:
            return None
        return access and access.user_id

    @property
    def _personal_token(self) -> PersonalToken | None:
        """The personal token of the request, valid or not."""
        assert self.request
        try:
            return PersonalToken.parse(bearer_token(self.request.headers))
        except ApiError:
            return None
