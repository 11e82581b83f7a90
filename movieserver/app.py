"""The application: the route table, and what its handlers are given."""
from __future__ import annotations

from functools import partial

from movieserver.handlers import (
    accounts, changes, collection_movies, collections, docs, genres, limits, movies, openapi, operations, request_count,
    root, sessions, shares
)
from movieserver.handlers.base import Route, UnknownPathHandler
from movieserver.http.proxies import Proxies
from movieserver.openapi import document
from movieserver.resources import Resources
from movieserver.serving.memory_limits import ResponseMemory
from movieserver.serving.request import MovieServer
from movieserver.settings import Settings

ROUTES = [
    *accounts.routes, *sessions.routes, *movies.routes, *collections.routes, *collection_movies.routes,
    *shares.routes, *changes.routes, *genres.routes,
    *limits.routes, *request_count.routes, *operations.routes, *openapi.routes, *docs.routes,
    *root.routes,
]
SERVER = Route("*", operations.ServerHandler, protected=False)
UNKNOWN = Route("unknown", UnknownPathHandler, protected=False)


def make_app(settings: Settings, resources: Resources) -> MovieServer:
    """The application over open resources."""
    reset_token = settings.counter_reset_token
    return MovieServer(
        [*ROUTES, SERVER],
        UNKNOWN,
        resources,
        response_memory=ResponseMemory(),
        proxies=Proxies(settings.proxies),
        cors_origins=settings.cors_origins,
        openapi=partial(document.as_json, tuple(ROUTES)),
        reset_token=reset_token and reset_token.get_secret_value(),
    )
