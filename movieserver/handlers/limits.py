"""Every limit that a client can exceed."""
from __future__ import annotations

import json
import math

from movieserver import formats
from movieserver.accounts import common_passwords, login_attempts, personal_tokens, registration_limit, usernames
from movieserver.data import exports
from movieserver.data.changes import CURSOR_DAYS
from movieserver.data.collections import PAGE_BYTES
from movieserver.handlers import changes, collections, genres
from movieserver.handlers.base import OpenHandler
from movieserver.http import idempotency
from movieserver.http.headers import HEADER_BYTES, HEADER_FIELDS
from movieserver.openapi.operation import Operation, Route
from movieserver.redis import changes as redis_changes
from movieserver.schemas import csv_formats, import_file, movies, requests, responses
from movieserver.serving import memory_limits
from movieserver.serving.request import QUERY_ARGUMENTS

CACHED_SECONDS = 3600

LIMITS = {
    "body": {"bytes": requests.MAX_BYTES, "nesting": requests.MAX_NESTING},
    "headers": {"bytes": HEADER_BYTES, "fields": HEADER_FIELDS},
    "query": {"arguments": QUERY_ARGUMENTS},
    "registration": {
        "username_characters": usernames.MAX_CHARACTERS,
        "password_characters_at_least": common_passwords.MIN_CHARACTERS,
        "window_seconds": int(registration_limit.WINDOW_SECONDS),
        "from_an_address": registration_limit.MAX_REGISTRATIONS,
    },
    "personal_tokens": {
        "tokens": personal_tokens.MAX_TOKENS, "name_characters": requests.TOKEN_NAME_CHARACTERS,
        "days": requests.TOKEN_DAYS,
    },
    "collection": {
        "title_characters": requests.TITLE_CHARACTERS, "movies": movies.MAX_MOVIES,
        "bytes": movies.MAX_COLLECTION_BYTES, "genres": movies.MAX_GENRES,
    },
    "movie": {
        "title_characters": formats.MOVIE_TITLE_CHARACTERS, "description_characters": formats.DESCRIPTION_CHARACTERS,
        "genres_characters": formats.GENRES_CHARACTERS, "genres": formats.MOVIE_GENRES,
        "year_at_least": formats.MIN_YEAR, "year_at_most": formats.MAX_YEAR,
        "poster_characters": formats.POSTER_CHARACTERS, "ids": formats.MOVIE_IDS,
        "id_characters": formats.ID_CHARACTERS, "note_characters": formats.NOTE_CHARACTERS,
    },
    "pages": {
        "bytes": PAGE_BYTES,
        "/collection/": {"limit": collections.MAX_LIMIT, "default": collections.DEFAULT_LIMIT},
        "/movies/<uuid>/collections/": {"limit": collections.MAX_LIMIT, "default": collections.DEFAULT_LIMIT},
        "/changes/": {"limit": changes.MAX_LIMIT, "default": changes.DEFAULT_LIMIT},
        "/genres/": {"limit": genres.MAX_LIMIT, "default": genres.MAX_LIMIT},
    },
    "export": {"bytes": exports.PAGE_BYTES, "collections": exports.PAGE_COLLECTIONS},
    "import": {
        "lines": csv_formats.MAX_LINES, "collections": import_file.MAX_COLLECTIONS, "errors": import_file.MAX_ERRORS,
    },
    "share": {"days": requests.MAX_SHARE_DAYS},
    "changes": {"wait_seconds": changes.MAX_WAIT, "kept_days": CURSOR_DAYS},
    "idempotency_key": {"characters": idempotency.KEY_CHARACTERS, "kept_seconds": idempotency.STORED_SECONDS},
    "login": {
        "window_seconds": int(login_attempts.WINDOW_SECONDS),
        "wrong_passwords_for_an_account": login_attempts.PAIR_FAILURES,
        "wrong_passwords_for_an_account_under_attack": login_attempts.PAIR_FAILURES_UNDER_ATTACK,
        "wrong_passwords_from_an_address": login_attempts.ADDRESS_FAILURES,
    },
    "at_once": {
        "body_bytes": memory_limits.REQUEST_BYTES_PER_USER, "body_bytes_of_all": memory_limits.REQUEST_BYTES,
        "waiting": redis_changes.MAX_WAITING_OF_USER, "waiting_of_all": redis_changes.MAX_WAITING,
        "answer_bytes": memory_limits.RESPONSE_BYTES_PER_USER, "answer_bytes_of_all": memory_limits.RESPONSE_BYTES,
    },
}


class LimitsHandler(OpenHandler):
    """GET /limits/"""

    @Operation(
        "getLimits", "Read all limits", responses.Limits, etag=True,
        description="A request that exceeds a limit gets an error that states the limit.")
    async def get(self) -> None:
        tokens = self.resources.tokens
        lifetimes = {
            "access_seconds": math.ceil(tokens.access_seconds), "refresh_seconds": math.ceil(tokens.refresh_seconds)}
        self.set_header("Cache-Control", f"public, max-age={CACHED_SECONDS}")
        await self.write_representation(json.dumps(LIMITS | {"tokens": lifetimes}))


routes = [Route("/limits/", LimitsHandler, protected=False)]
