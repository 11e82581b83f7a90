"""The application: the whole route table, the limit on bodies, the log line of a request."""
from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine
from tornado.web import Application, RequestHandler

from movieserver.bodies import BYTES
from movieserver.handlers import (
    accounts, collection_movies, collections, genres, limits, movies, operations, request_count
)
from movieserver.handlers.base import UnknownPathHandler
from movieserver.logs import log
from movieserver.resources import Resources
from movieserver.settings import Settings

ROUTES = (
    accounts.routes + movies.routes + collections.routes + collection_movies.routes + genres.routes
    + limits.routes + request_count.routes + operations.routes
)


class MovieServer(Application):
    """The application, with what is under way; its setting `draining` says that it is about to stop."""

    def __init__(self, *routes: Any, **settings: Any) -> None:
        super().__init__(*routes, **settings)
        self.under_way: set[HTTPServerRequest] = set()

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:  # type: ignore[override]
        # No form is spoken here. Tornado would parse one before prepare() and refuse a broken one by itself.
        request._parse_body = lambda: None  # type: ignore[method-assign]
        if not request.path.startswith("/"):  # the absolute form of RFC 9112 section 3.2.2
            request.path = "/" + request.path.partition("://")[2].partition("/")[2]
        self.under_way.add(request)
        return _BoundedBody(super().find_handler(request, **kwargs), request, self)

    def log_request(self, handler: RequestHandler) -> None:
        self.under_way.discard(handler.request)
        super().log_request(handler)


class _BoundedBody(HTTPMessageDelegate):
    """Passes a message on, but no more than BYTES of its body; the handler is told of a larger one."""

    def __init__(self, inner: HTTPMessageDelegate, request: HTTPServerRequest, app: MovieServer) -> None:
        self._inner = inner
        self._request = request
        self._app = app
        self._received = 0

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._received += len(chunk)
        return self._inner.data_received(chunk) if self._received <= BYTES else None

    def finish(self) -> None:
        self._request.body_too_large = self._received > BYTES  # type: ignore[attr-defined]
        stream = self._request.connection.stream  # type: ignore[union-attr]
        self._request.headers_too_large = stream.headers_too_large  # type: ignore[attr-defined]
        stream.headers_too_large = False
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._app.under_way.discard(self._request)
        self._inner.on_connection_close()


def make_app(settings: Settings, resources: Resources) -> MovieServer:
    """The application over open resources."""
    reset_token = settings.counter_reset_token
    return MovieServer(
        ROUTES,
        default_handler_class=UnknownPathHandler,
        default_handler_args={"route": "unknown"},
        log_function=_log_request,
        draining=False,
        cors_origins=settings.cors_origins,
        resources=resources,
        reset_token=reset_token and reset_token.get_secret_value(),
    )


def _log_request(handler: RequestHandler) -> None:
    log.info(
        "request",
        request_id=handler.request_id,  # type: ignore[attr-defined]
        method=handler.request.method,
        route=handler.route,  # type: ignore[attr-defined]
        status=handler.get_status(),
        ms=round(1000 * handler.request.request_time(), 1),
        user_id=handler.user_id,  # type: ignore[attr-defined]
    )
