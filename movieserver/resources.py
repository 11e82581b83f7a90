"""Everything the server holds open, opened in one place and closed in reverse."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass

from movieserver.accounts.login_attempts import LoginAttempts, open_login_attempts
from movieserver.accounts.passwords import Passwords
from movieserver.accounts.personal_tokens import VerifiedTokens
from movieserver.accounts.registration_limit import RegistrationLimit, open_registration_limit
from movieserver.accounts.share_tokens import ShareTokens
from movieserver.accounts.tokens import Tokens, derived_key
from movieserver.http.compression import Compressor
from movieserver.http.threads import BodyThreads
from movieserver.postgres.database import Database, open_database
from movieserver.redis.changes import Changes, open_changes
from movieserver.redis.request_counter import RequestCounter, open_counter
from movieserver.settings import Settings, reveal
from movieserver.third_party.client import open_upstream
from movieserver.third_party.movies import MovieApi
from movieserver.third_party.page_cache import open_page_cache
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
    """Open everything that complete settings name; none of it fails if a server is away."""
    async with AsyncExitStack() as stack:
        database = open_database(reveal(settings.database_url), settings.database_pool_size)
        redis_url = reveal(settings.redis_url)
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


def provider_of(settings: Settings) -> Provider:
    """The provider that the settings name."""
    url, password = reveal(settings.movie_api_url), settings.movie_api_password
    if settings.movie_api_kind == "tmdb":
        return Tmdb(url, reveal(settings.movie_api_token))
    return Plain(url, settings.movie_api_username, reveal(password) if password else None)


async def _open_movies(settings: Settings, stack: AsyncExitStack) -> MovieApi:
    upstream = await stack.enter_async_context(open_upstream(settings.movie_api_seconds))
    cache = await stack.enter_async_context(open_page_cache(reveal(settings.redis_url)))
    name = f"{settings.movie_api_kind} {reveal(settings.movie_api_url)}"
    api = MovieApi(upstream, provider_of(settings), cache, name, settings.movie_cache_seconds)
    stack.push_async_callback(api.close)
    return api
