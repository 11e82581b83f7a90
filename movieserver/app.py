"""The application: the route table and its settings."""
from __future__ import annotations

from functools import partial

from movieserver.handlers import (
    accounts, changes, collection_movies, collections, docs, exports, fallback, genres, imports, limits, movies,
    openapi, operations, personal_tokens, request_count, root, sessions, shares, web
)
from movieserver.handlers.base import Route
from movieserver.http.proxies import Proxies
from movieserver.http.urls import Urls
from movieserver.openapi import document
from movieserver.resources import Resources
from movieserver.serving.memory_limits import ResponseMemory
from movieserver.serving.request import MovieServer
from movieserver.settings import Settings, SettingsError

ROUTES = [
    *accounts.routes, *sessions.routes, *personal_tokens.routes, *movies.routes, *collections.routes,
    *collection_movies.routes, *shares.routes, *changes.routes, *genres.routes, *exports.routes, *imports.routes,
    *limits.routes, *request_count.routes, *operations.routes, *openapi.routes, *docs.routes, *root.routes,
]
SERVER = Route("*", fallback.ServerHandler, protected=False)
UNKNOWN = Route("unknown", fallback.UnknownPathHandler, protected=False)


def make_app(settings: Settings, resources: Resources) -> MovieServer:
    """The application over open resources. Raises SettingsError if the path of PUBLIC_URL could be one of a route."""
    reset_token, proxies = settings.counter_reset_token, Proxies(settings.trusted_proxies)
    urls = Urls(settings.public_url, proxies)
    check_prefix(urls.prefix)
    return MovieServer(
        [*ROUTES, *web.routes, SERVER],
        UNKNOWN,
        resources,
        urls=urls,
        response_memory=ResponseMemory(),
        proxies=proxies,
        cors_origins=settings.cors_origins,
        poster_hosts=settings.poster_hosts,
        openapi=partial(document.as_json, tuple(ROUTES), settings.public_url or "/"),
        registration=settings.registration,
        reset_token=reset_token and reset_token.get_secret_value(),
    )


def check_prefix(prefix: str) -> None:
    """Raise SettingsError for a path like /collection: a proxy may have removed it from /collection/docs/, or not."""
    taken = {route.template.split("/")[1] for route in [*ROUTES, *web.routes]}
    if prefix and prefix.split("/")[1] in taken:
        raise SettingsError({"public_url": f"has the path {prefix}, which begins like one of this server"}, None)
