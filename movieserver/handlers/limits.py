"""Every bound that a client can meet; whatever is refused for one of them names it."""
from __future__ import annotations

import json
import math

from movieserver.accounts import login_attempts
from movieserver.http import idempotency
from movieserver.schemas import requests, responses
from movieserver.serving import memory_limits
from movieserver.serving.request import QUERY_ARGUMENTS
from movieserver.data.collections import PAGE_BYTES
from movieserver.openapi.operation import Operation
from movieserver.handlers import collections, genres
from movieserver.handlers.base import OpenHandler, Route
from movieserver.http.headers import HEADER_BYTES, HEADER_FIELDS

CACHED_SECONDS = 3600

BOUNDS = {
    "body": {"bytes": requests.BYTES, "nesting": requests.NESTING},
    "headers": {"bytes": HEADER_BYTES, "fields": HEADER_FIELDS},
    "query": {"arguments": QUERY_ARGUMENTS},
    "registration": {
        "username_characters": requests.NAME_CHARACTERS, "password_characters_at_least": requests.PASSWORD_CHARACTERS,
    },
    "collection": {"title_characters": requests.TITLE_CHARACTERS, "movies": requests.MOVIES},
    "movie": {
        "title_characters": requests.MOVIE_TITLE_CHARACTERS, "description_characters": requests.DESCRIPTION_CHARACTERS,
        "genres_characters": requests.GENRES_CHARACTERS,
    },
    "pages": {
        "bytes": PAGE_BYTES,
        "/collection/": {"limit": collections.LARGEST_PAGE, "default": collections.PAGE},
        "/movies/<uuid>/collections/": {"limit": collections.LARGEST_PAGE, "default": collections.PAGE},
        "/genres/": {"limit": genres.LARGEST_PAGE, "default": genres.LARGEST_PAGE},
    },
    "idempotency_key": {"characters": idempotency.KEY_CHARACTERS, "kept_seconds": idempotency.KEPT_SECONDS},
    "login": {
        "window_seconds": int(login_attempts.WINDOW_SECONDS),
        "wrong_passwords_for_an_account": login_attempts.PAIR_FAILURES,
        "wrong_passwords_for_an_account_under_attack": login_attempts.PAIR_FAILURES_UNDER_ATTACK,
        "wrong_passwords_from_an_address": login_attempts.ADDRESS_FAILURES,
    },
    "at_once": {
        "body_bytes": memory_limits.REQUEST_BYTES_PER_USER, "body_bytes_of_all": memory_limits.REQUEST_BYTES,
        "answer_bytes": memory_limits.RESPONSE_BYTES_PER_USER, "answer_bytes_of_all": memory_limits.RESPONSE_BYTES,
    },
}
LIFETIMES = ("access_seconds", "refresh_seconds")


class LimitsHandler(OpenHandler):
    """GET /limits/"""

    @Operation(
        "Read every bound that a request can meet",
        responses.numbers("Limits", BOUNDS | {"tokens": dict.fromkeys(LIFETIMES, 0)}), tagged=True,
        detail="What is refused for one of them names it.")
    async def get(self) -> None:
        tokens = self.resources.tokens
        lifetimes = dict(zip(LIFETIMES, map(math.ceil, (tokens.access_seconds, tokens.refresh_seconds))))
        self.set_header("Cache-Control", f"public, max-age={CACHED_SECONDS}")
        await self.represent(json.dumps(BOUNDS | {"tokens": lifetimes}))


routes = [Route("/limits/", LimitsHandler, protected=False)]
