"""The application: the route table and its settings."""
from __future__ import annotations

from functools import cache, partial

from movieserver.handlers import (
    accounts, changes, collection_movies, collections, docs, exports, fallback, genres, imports, limits, movies,
    openapi, operations, personal_tokens, request_count, root, sessions, shares, web
)
from movieserver.http.proxies import Proxies
from movieserver.http.urls import Urls
from movieserver.openapi import document
from movieserver.openapi.operation import Route
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
        proxies,
        urls,
        response_memory=ResponseMemory(),
        cors_origins=settings.cors_origins,
        poster_hosts=settings.poster_hosts,
        openapi=cache(partial(document.as_json, ROUTES, settings.public_url or "/")),
        registration=settings.registration,
        reset_token=reset_token and reset_token.get_secret_value(),
    )


def check_prefix(prefix: str) -> None:
    """Raise SettingsError if the path of PUBLIC_URL begins like a route: /collection/docs/ would be ambiguous."""
    taken = {route.template.split("/")[1] for route in [*ROUTES, *web.routes]}
    if prefix and prefix.split("/")[1] in taken:
        raise SettingsError({
            "public_url": f"has the path {prefix}, whose first part is also a path of this server; use another"}, None)
