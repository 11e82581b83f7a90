"""The Tornado application, and how a request gets from its connection to its handler."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tornado.escape import url_unescape
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest, RequestStartLine
from tornado.web import Application

from movieserver.accounts.personal_tokens import PersonalToken
from movieserver.errors import ApiError, BadRequest, BodyTooLarge, NotFound, Unauthenticated, UnsupportedMediaType
from movieserver.http.headers import bearer_token, is_accepted, request_id
from movieserver.http.proxies import Proxies
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
    """A request. Content-Type is kept out of `headers`; otherwise Tornado would parse form bodies."""

    connection: ResponseWriter
    request_id: str
    content_type: str | None = None
    refusal: ApiError | None = None  # why it is refused, if that is known before its handler runs


class MovieServer(Application):
    """The application. `unknown` is the route of all other paths. The setting `draining` means shutdown.

    A path may begin with the prefix of `urls`, which some proxies remove.
    """

    def __init__(
        self, routes: Sequence[Route], unknown: Route, resources: Resources, proxies: Proxies, urls: Urls,
        **settings: Any
    ) -> None:
        super().__init__(draining=False, **settings)
        self.resources, self.proxies, self.urls = resources, proxies, urls
        self.active: dict[Request, IncomingRequest] = {}  # until they have their response or their client is gone
        self.memory = RequestMemory()
        self._unknown = unknown
        self._patterns = [route for route in routes if route.regex.groups]
        self._paths = {
            path: route for route in reversed(routes) if not route.regex.groups
            for path in (route.template.rstrip("/"), f"{route.template.rstrip('/')}/")}

    def find(self, path: str) -> tuple[Route, list[bytes]]:
        """The route of a path, and the path's parameters."""
        path = self.urls.without_prefix(path)
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
            request.request_id, self.proxies.address(request), method, handler.route, status, round(1000 * seconds, 1),
            handler.user_id, request.connection.body_bytes))

    def end(self, request: Request) -> None:
        """Forget a request that has its response or whose client is gone."""
        if incoming := self.active.pop(request, None):
            incoming.release()


def own_address(transport: asyncio.Transport) -> str:
    """Host and port of this end of a connection, as in a URL."""
    own = transport.get_extra_info("sockname")
    return netloc(own[0].partition("%")[0], own[1]) if isinstance(own, tuple) else "localhost"  # without a zone


class IncomingRequest:
    """Receives a request and starts its handler. A refused body is ignored, and not awaited if possible."""

    def __init__(
        self, app: MovieServer, connection: Connection, start: RequestStartLine, headers: HTTPHeaders
    ) -> None:
        self._app = app
        self._connection = connection
        self._received = self._held = 0
        content_type = headers.pop("Content-Type", None)
        if "Host" not in headers:  # HTTP/1.0
            headers["Host"] = own_address(connection.transport)
        try:
            request = self.request = Request(connection=connection.writer, start_line=start, headers=headers)
        except HTTPInputError:
            raise BadRequest(f"The query string must not have more than {QUERY_ARGUMENTS} parameters.") from None
        request.content_type = content_type
        request.request_id = connection.writer.request_id = request_id(headers)
        self._route, arguments = app.find(request.path)
        self._handler = app.get_handler_delegate(request, self._route.handler_class, self._route.kwargs, arguments)
        app.active[request] = self

    def refused(self) -> bool:
        """Whether the head shows that the request will be refused."""
        self.request.refusal = self._refusal()
        return self.request.refusal is not None

    def data_received(self, chunk: bytes) -> None:
        """A part of the body."""
        self._received += len(chunk)
        if self._received > max(SMALL_BYTES, self._held) and not self.request.refusal:
            self._reserve_memory()
        if not self.request.refusal:
            self._handler.data_received(chunk)
        elif self._received > IGNORED_BYTES:
            self._connection.skip_body()

    def finish(self) -> None:
        """The request is complete: run its handler."""
        handler = self._handler
        del self._handler  # or its copy of the body would stay in memory
        handler.finish()

    def on_connection_close(self) -> None:
        """The connection was closed before the request was complete."""
        self._app.end(self.request)

    def release(self) -> None:
        """Release the memory that was held for the body."""
        if self._held:
            self._app.memory.change(self._user_id, -self._held)
            self._held = 0

    def _reserve_memory(self) -> None:
        """Reserve memory for the whole body if its size is declared, so that a body that has begun can also end."""
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
        return syntax.body_length(self.request.headers) or 0

    @cached_property
    def _user_id(self) -> str | None:
        """The user of a token that is known to be valid without asking the database."""
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
        try:
            return PersonalToken.parse(bearer_token(self.request.headers))
        except ApiError:
            return None
