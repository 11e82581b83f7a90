"""The Tornado application, and how a request gets from its connection to its handler."""
from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, cast

from tornado.escape import url_unescape
from tornado.httputil import (
    HTTPConnection, HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine
)
from tornado.routing import URLSpec
from tornado.web import Application

from movieserver.errors import ApiError, BodyTooLarge, HeadersTooLarge, Overloaded
from movieserver.http.headers import HEADER_BYTES, bearer_token
from movieserver.observability import logs, metrics
from movieserver.resources import Resources
from movieserver.schemas.requests import MAX_BYTES
from movieserver.serving.memory_limits import LARGE_BYTES, RequestMemory

QUERY_ARGUMENTS = 1000  # Tornado's own limit


class Route(Protocol):
    """A route of the table: its path is `template`, with and without the trailing slash."""

    template: str
    regex: Any
    handler_class: Any
    kwargs: Any


class Request(HTTPServerRequest):
    """A request. Its Content-Type is not among its headers: Tornado would parse a form, and this API takes none."""

    content_type: str | None = None
    refusal: ApiError | None = None  # why it is not carried out, known before its handler runs
    complete = False  # whether all of it has arrived


class MovieServer(Application):
    """The application. Its setting `draining` says that the server is about to stop."""

    def __init__(self, routes: Sequence[Route], unknown: URLSpec, resources: Resources, **settings: Any) -> None:
        super().__init__(resources=resources, draining=False, **settings)
        self.resources = resources
        self.active: dict[Request, IncomingRequest] = {}  # until they are answered or their client is gone
        self.memory = RequestMemory()
        self._unknown = unknown
        self._patterns = [route for route in routes if route.regex.groups]
        self._paths = {
            path: route for route in reversed(routes) if not route.regex.groups
            for path in (route.template, route.template.rstrip("/"))}

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return IncomingRequest(self, request_conn)

    def find(self, path: str) -> tuple[Route | URLSpec, list[bytes]]:
        """The route of a path, and the path's parameters."""
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
        metrics.answered(handler.route, method, status, seconds)
        logs.request(logs.Request(
            handler.request_id, method, handler.route, status, round(1000 * seconds, 1), handler.user_id, handler.sent,
            handler.exact_address))

    def end(self, request: Request) -> None:
        """A request is answered, or its client is gone."""
        if incoming := self.active.pop(request, None):
            incoming.release()


class IncomingRequest(HTTPMessageDelegate):
    """Receives a request and starts its handler; a body that exceeds a limit is read over and the request refused."""

    def __init__(self, app: MovieServer, connection: HTTPConnection) -> None:
        self._app = app
        self._connection = connection
        self._received = 0
        self._held = 0

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        content_type = headers.pop("Content-Type", None)
        request = self.request = Request(
            connection=self._connection, start_line=cast(RequestStartLine, start_line), headers=headers)
        request.content_type = content_type
        if not request.path.startswith("/"):  # the absolute form of RFC 9112 section 3.2.2
            request.path = "/" + request.path.partition("://")[2].partition("/")[2]
        route, arguments = self._app.find(request.path)
        self._handler = self._app.get_handler_delegate(request, route.handler_class, route.kwargs, arguments)
        self._app.active[request] = self

    def data_received(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received > max(LARGE_BYTES, self._held) and not self.request.refusal:
            self._hold()
        if not self.request.refusal:
            self._handler.data_received(chunk)

    def finish(self) -> None:
        request, handler = self.request, self._handler
        del self._handler  # and the body that it has, once it is the request's
        request.complete = True
        if cast(Any, self._connection).head_bytes > HEADER_BYTES:
            request.refusal = HeadersTooLarge(HEADER_BYTES)
        handler.finish()

    def on_connection_close(self) -> None:
        self._app.end(self.request)

    def release(self) -> None:
        """Release the memory that was held for the body."""
        if self._held:
            self._app.memory.release(self._user_id, self._held)
            self._held = 0

    def _hold(self) -> None:
        """Hold memory for the whole body if its size is declared, so that a body that has begun can also end."""
        declared = self.request.headers.get("Content-Length", "")
        size = max(self._received, int(declared) if declared.isdecimal() else 0)
        try:
            if size > MAX_BYTES:
                raise BodyTooLarge(MAX_BYTES)
            self._app.memory.take(self._user_id, size - self._held)
            self._held = size
        except (BodyTooLarge, Overloaded) as refusal:
            self.request.refusal = refusal

    @cached_property
    def _user_id(self) -> str | None:
        try:
            return self._app.resources.tokens.read(bearer_token(self.request.headers)).user_id
        except ApiError:
            return None
