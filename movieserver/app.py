"""The application: the whole route table, the limit on bodies, the log line of a request."""
from __future__ import annotations

from collections.abc import Awaitable
from functools import cache, cached_property
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine
from tornado.web import Application, RequestHandler

from movieserver import logs, metrics, openapi
from movieserver.addresses import Proxies
from movieserver.bodies import BYTES
from movieserver.budgets import LARGE_BYTES, Answers, Bodies, Overloaded
from movieserver.errors import ApiError, BodyTooLarge, HeadersTooLarge
from movieserver.handlers import (
    accounts, collection_movies, collections, docs, genres, limits, movies, operations, request_count, sessions
)
from movieserver.handlers import openapi as description
from movieserver.handlers.base import HEADER_BYTES, Handler, UnknownPathHandler, bearer_token
from movieserver.resources import Resources
from movieserver.settings import Settings

ROUTES = [
    *accounts.routes, *sessions.routes, *movies.routes, *collections.routes, *collection_movies.routes, *genres.routes,
    *limits.routes, *request_count.routes, *operations.routes, *description.routes, *docs.routes,
]


class MovieServer(Application):
    """The application, with the requests under way; its setting `draining` says that it is about to stop."""

    def __init__(self, *routes: Any, **settings: Any) -> None:
        super().__init__(*routes, **settings)
        self.under_way: dict[HTTPServerRequest, BoundedBody] = {}
        self.bodies = Bodies()

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:  # type: ignore[override]
        # No form is spoken here. Tornado would parse one before prepare() and refuse a broken one by itself.
        request._parse_body = lambda: None  # type: ignore[method-assign]
        if not request.path.startswith("/"):  # the absolute form of RFC 9112 section 3.2.2
            request.path = "/" + request.path.partition("://")[2].partition("/")[2]
        body = self.under_way[request] = BoundedBody(super().find_handler(request, **kwargs), request, self)
        return body

    def log_request(self, handler: RequestHandler) -> None:
        self.end(handler.request)
        super().log_request(handler)

    def end(self, request: HTTPServerRequest) -> None:
        """A request is answered, or its caller is gone."""
        if body := self.under_way.pop(request, None):
            body.release()


class BoundedBody(HTTPMessageDelegate):
    """Passes a message on, but no more of its body than there may be and there is room for; the handler is told why."""

    def __init__(self, inner: HTTPMessageDelegate, request: HTTPServerRequest, app: MovieServer) -> None:
        self.complete = False
        self._inner = inner
        self._request = request
        self._app = app
        self._received = 0
        self._held = 0
        self._refusal: ApiError | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._received += len(chunk)
        if self._received > max(LARGE_BYTES, self._held) and not self._refusal:
            self._hold()
        return None if self._refusal else self._inner.data_received(chunk)

    def finish(self) -> None:
        self.complete = True
        connection: Any = self._request.connection
        if connection.head_bytes > HEADER_BYTES:
            self._refusal = HeadersTooLarge(HEADER_BYTES)
        self._request.refusal = self._refusal  # type: ignore[attr-defined]
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._app.end(self._request)
        self._inner.on_connection_close()

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
    return openapi.written(ROUTES)


def make_app(settings: Settings, resources: Resources) -> MovieServer:
    """The application over open resources."""
    reset_token = settings.counter_reset_token
    return MovieServer(
        ROUTES,
        default_handler_class=UnknownPathHandler,
        default_handler_args={"route": "unknown"},
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
    logs.request(
        handler.request_id, method, handler.route, status, round(1000 * seconds, 1), handler.user_id, handler.sent)
