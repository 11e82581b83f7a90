"""Everything the server holds open, opened in one place and closed in reverse."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass

from movieserver.accounts.login_attempts import LoginAttempts, open_login_attempts
from movieserver.accounts.personal_tokens import VerifiedTokens
from movieserver.accounts.registration_limit import RegistrationLimit, open_registration_limit
from movieserver.http.body_threads import BodyThreads
from movieserver.http.compression import Compressor
from movieserver.redis.changes import Changes, open_changes
from movieserver.redis.request_counter import RequestCounter, open_counter
from movieserver.postgres.database import Database, open_database
from movieserver.third_party.movies import MovieApi, open_movie_api
from movieserver.third_party.page_cache import open_page_cache
from movieserver.third_party.plain import Plain
from movieserver.third_party.provider import Provider
from movieserver.third_party.tmdb import Tmdb
from movieserver.accounts.passwords import Passwords
from movieserver.settings import Settings
from movieserver.accounts.share_tokens import ShareTokens
from movieserver.accounts.tokens import Tokens, derived_key
from movieserver.third_party.client import open_upstream


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
    """Open everything that complete settings name; none of it fails if a server is away."""
    assert settings.database_url and settings.redis_url and settings.jwt_secret
    async with AsyncExitStack() as stack:
        database = open_database(settings.database_url.get_secret_value(), settings.database_pool_size)
        redis_url = settings.redis_url.get_secret_value()
        attempts_key = derived_key(settings.signing_keys[0].encode(), b"attempts")
        yield Resources(
            database=await stack.enter_async_context(database),
            counter=await stack.enter_async_context(open_counter(redis_url)),
            changes=await stack.enter_async_context(open_changes(redis_url)),
            movie_api=await _open_movies(settings, stack),
            tokens=Tokens(
                settings.signing_keys, settings.access_token_minutes * 60, settings.refresh_token_days * 86400),
            verified_tokens=VerifiedTokens(),
            share_tokens=ShareTokens(settings.signing_keys),
            passwords=stack.enter_context(closing(Passwords(settings.bcrypt_rounds))),
            login_attempts=await stack.enter_async_context(open_login_attempts(redis_url, attempts_key)),
            registration_limit=await stack.enter_async_context(
                open_registration_limit(redis_url, attempts_key)),
            compressor=stack.enter_context(closing(Compressor())),
            body_threads=stack.enter_context(closing(BodyThreads())),
        )


def third_party(settings: Settings) -> Provider:
    """The provider that the settings name."""
    assert settings.movie_api_url
    password, token = settings.movie_api_password, settings.movie_api_token
    url = settings.movie_api_url.get_secret_value()
    if settings.movie_api_kind == "tmdb":
        return Tmdb(url, token.get_secret_value() if token else "")
    return Plain(
        url, settings.movie_api_username, password.get_secret_value() if password else None)


async def _open_movies(settings: Settings, stack: AsyncExitStack) -> MovieApi:
    assert settings.redis_url and settings.movie_api_url
    upstream = await stack.enter_async_context(open_upstream(settings.movie_api_seconds))
    cache = await stack.enter_async_context(open_page_cache(settings.redis_url.get_secret_value()))
    name = f"{settings.movie_api_kind} {settings.movie_api_url.get_secret_value()}"
    return await stack.enter_async_context(
        open_movie_api(upstream, third_party(settings), cache, name, settings.movie_cache_seconds))
