"""The application: the whole route table, the limit on bodies, the log line of a request."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import cache, cached_property
from typing import Any, cast

from tornado.escape import url_unescape
from tornado.httputil import (
    HTTPConnection, HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine
)
from tornado.routing import URLSpec
from tornado.web import Application, RequestHandler

from movieserver.observability import logs, metrics
from movieserver.openapi import document
from movieserver.http.proxies import Proxies
from movieserver.schemas.requests import BYTES
from movieserver.serving.memory_limits import LARGE_BYTES, Answers, Bodies, Overloaded
from movieserver.errors import ApiError, BodyTooLarge, HeadersTooLarge
from movieserver.handlers import (
    accounts, collection_movies, collections, docs, genres, limits, movies, operations, request_count, sessions
)
from movieserver.handlers import openapi as description
from movieserver.handlers.base import HEADER_BYTES, Handler, Route, UnknownPathHandler, bearer_token
from movieserver.resources import Resources
from movieserver.settings import Settings

ROUTES = [
    *accounts.routes, *sessions.routes, *movies.routes, *collections.routes, *collection_movies.routes, *genres.routes,
    *limits.routes, *request_count.routes, *operations.routes, *description.routes, *docs.routes,
]

UNKNOWN = URLSpec(".*", UnknownPathHandler, {"route": "unknown"})


class MovieServer(Application):
    """The application, with the requests under way; its setting `draining` says that it is about to stop."""

    def __init__(self, routes: Sequence[Route], **settings: Any) -> None:
        super().__init__(**settings)
        self.under_way: dict[Request, Incoming] = {}
        self.bodies = Bodies()
        self._patterns = [route for route in routes if route.regex.groups]
        self._paths = {
            path: route for route in reversed(routes) if not route.regex.groups
            for path in (route.template, route.template.rstrip("/"))}

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return Incoming(self, request_conn)

    def find(self, path: str) -> tuple[URLSpec, list[bytes]]:
        """The route of a path, and what stands for its parameters."""
        if route := self._paths.get(path):
            return route, []
        for route in self._patterns:
            if found := route.regex.match(path):
                return route, [url_unescape(part, None, plus=False) for part in found.groups()]
        return UNKNOWN, []

    def log_request(self, handler: RequestHandler) -> None:
        self.end(handler.request)
        super().log_request(handler)

    def end(self, request: HTTPServerRequest) -> None:
        """A request is answered, or its caller is gone."""
        if incoming := self.under_way.pop(cast(Request, request), None):
            incoming.release()


class Request(HTTPServerRequest):
    """A request. No form is spoken here: Tornado would parse one, and refuse a broken one by itself."""

    refusal: ApiError | None = None

    def _parse_body(self) -> None:
        pass


class Incoming(HTTPMessageDelegate):
    """A request on its way to its handler, with no more of its body than there may be and there is room for.

    The handler is told why where the body is not whole.
    """

    def __init__(self, app: MovieServer, connection: HTTPConnection) -> None:
        self.complete = False
        self._app = app
        self._connection = connection
        self._chunks = bytearray()
        self._received = 0
        self._held = 0
        self._refusal: ApiError | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        request = self._request = Request(
            connection=self._connection, start_line=cast(RequestStartLine, start_line), headers=headers)
        if not request.path.startswith("/"):  # the absolute form of RFC 9112 section 3.2.2
            request.path = "/" + request.path.partition("://")[2].partition("/")[2]
        self._app.under_way[request] = self
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._received += len(chunk)
        if self._received > max(LARGE_BYTES, self._held) and not self._refusal:
            self._hold()
        if not self._refusal:
            self._chunks += chunk
        return None

    def finish(self) -> None:
        self.complete = True
        request, connection = self._request, cast(Any, self._connection)
        if connection.head_bytes > HEADER_BYTES:
            self._refusal = HeadersTooLarge(HEADER_BYTES)
        request.refusal = self._refusal
        request.body = bytes(self._chunks)
        route, arguments = self._app.find(request.path)
        handler = route.handler_class(self._app, request, **(route.kwargs or {}))
        self._task = asyncio.get_running_loop().create_task(handler._execute([], *arguments))

    def on_connection_close(self) -> None:
        self._app.end(self._request)

    def release(self) -> None:
        """Give back the room that the body took."""
        if self._held:
            self._app.bodies.give(self._owner, self._held)
            self._held = 0

    def _hold(self) -> None:
        """Take room for the whole body, where its size was told: one that has room comes to its end."""
        told = self._request.headers.get("Content-Length", "")
        size = max(self._received, int(told) if told.isdecimal() else 0)
        try:
            if size > BYTES:
                raise BodyTooLarge(BYTES)
            self._app.bodies.take(self._owner, size - self._held)
            self._held = size
        except (BodyTooLarge, Overloaded) as refusal:
            self._refusal = refusal

    @cached_property
    def _owner(self) -> str | None:
        resources: Resources = self._app.settings["resources"]
        try:
            return resources.tokens.read(bearer_token(self._request)).user_id
        except ApiError:
            return None


@cache
def described() -> tuple[str, str]:
    """The description of the routes, as JSON, and its version."""
    return document.written(ROUTES)


def make_app(settings: Settings, resources: Resources) -> MovieServer:
    """The application over open resources."""
    reset_token = settings.counter_reset_token
    return MovieServer(
        ROUTES,
        log_function=_log_request,
        draining=False,
        answers=Answers(),
        proxies=Proxies(settings.proxies),
        cors_origins=settings.cors_origins,
        openapi=described,
        resources=resources,
        reset_token=reset_token and reset_token.get_secret_value(),
    )


def _log_request(handler: Handler) -> None:
    method, status, seconds = handler.request.method, handler.get_status(), handler.request.request_time()
    metrics.answered(handler.route, method, status, seconds)
    logs.request(logs.Request(
        handler.request_id, method, handler.route, status, round(1000 * seconds, 1), handler.user_id, handler.sent,
        handler.exact_address))
