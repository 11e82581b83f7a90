"""Everything the server holds open, opened in one place and closed in reverse."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass

from movieserver.accounts.login_attempts import LoginAttempts
from movieserver.accounts.passwords import Passwords
from movieserver.accounts.personal_tokens import VerifiedTokens
from movieserver.accounts.registration_limit import RegistrationLimit
from movieserver.accounts.share_tokens import ShareTokens
from movieserver.accounts.tokens import Tokens, derived_key
from movieserver.http.compression import Compressor
from movieserver.http.threads import BodyThreads
from movieserver.postgres.database import Database, open_database
from movieserver.redis.changes import Changes, open_changes
from movieserver.redis.client import PATIENT_SECONDS, Client, open_redis
from movieserver.redis.request_counter import RequestCounter, open_counter
from movieserver.settings import Settings, reveal
from movieserver.third_party.client import open_upstream
from movieserver.third_party.movies import MovieApi
from movieserver.third_party.page_cache import PageCache
from movieserver.third_party.plain import Plain
from movieserver.third_party.provider import Provider
from movieserver.third_party.tmdb import Tmdb


@dataclass
class Resources:
    """What handlers work with."""

    database: Database
    counter: RequestCounter
    changes: Changes
    movie_api: MovieApi
    tokens: Tokens
    verified_tokens: VerifiedTokens
    share_tokens: ShareTokens
    passwords: Passwords
    login_attempts: LoginAttempts
    registration_limit: RegistrationLimit
    compressor: Compressor
    body_threads: BodyThreads


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything that complete settings name; this succeeds even while a server is down."""
    async with AsyncExitStack() as stack:
        database = open_database(reveal(settings.database_url), settings.database_pool_size)
        redis_url = reveal(settings.redis_url)
        redis = await stack.enter_async_context(open_redis(redis_url, PATIENT_SECONDS))
        attempts_key = derived_key(settings.signing_keys[0].encode(), b"attempts")
        yield Resources(
            database=await stack.enter_async_context(database),
            counter=await stack.enter_async_context(open_counter(redis_url)),
            changes=await stack.enter_async_context(open_changes(redis)),
            movie_api=await _open_movies(settings, redis, stack),
            tokens=Tokens(
                settings.signing_keys, settings.access_token_minutes * 60, settings.refresh_token_days * 86400),
            verified_tokens=VerifiedTokens(),
            share_tokens=ShareTokens(settings.signing_keys),
            passwords=stack.enter_context(closing(Passwords(settings.bcrypt_rounds))),
            login_attempts=LoginAttempts(redis, attempts_key),
            registration_limit=RegistrationLimit(redis, attempts_key),
            compressor=stack.enter_context(closing(Compressor())),
            body_threads=stack.enter_context(closing(BodyThreads())),
        )


def provider_of(settings: Settings) -> Provider:
    """The provider that the settings name."""
    url, password = reveal(settings.movie_api_url), settings.movie_api_password
    if settings.movie_api_kind == "tmdb":
        return Tmdb(url, reveal(settings.movie_api_token))
    return Plain(url, settings.movie_api_username, reveal(password) if password else None)


async def _open_movies(settings: Settings, redis: Client, stack: AsyncExitStack) -> MovieApi:
    upstream = await stack.enter_async_context(open_upstream(settings.movie_api_seconds))
    name = f"{settings.movie_api_kind} {reveal(settings.movie_api_url)}"
    api = MovieApi(upstream, provider_of(settings), PageCache(redis), name, settings.movie_cache_seconds)
    stack.push_async_callback(api.close)
    return api
