"""What `run.py check` looks at: whether all that the settings name can be used, and what to do where it cannot."""
from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from movieserver.data import operations
from movieserver.postgres.connection import describe
from movieserver.postgres.database import open_database
from movieserver.errors import ApiError, SchemaMissing
from movieserver.redis.client import AWAY, ServerFacts, facts, open_redis
from movieserver.resources import third_party
from movieserver.settings import Settings
from movieserver.third_party.client import open_upstream

OLDEST_REDIS = 6
REDIS_TRIES = 4
MIGRATE = "run `python run.py migrate`"

# What drivers say, in words of ours, with what to do; the first that fits. A list of hosts can have several reasons.
POSTGRES_REASONS = (
    ("password|authentication failed|role .* does not exist", "it refuses this user and password",
     "correct them in DATABASE_URL"),
    ("database .* does not exist", "it has no such database", "create it, or correct its name in DATABASE_URL"),
    ("pg_hba", "it lets nobody in from here as this user", "let them in in its pg_hba.conf, or correct DATABASE_URL"),
    ("too many|connection slots", "it has no connection left",
     "raise its max_connections, or lower PROCESSES or DATABASE_POOL_SIZE"),
    ("translate host name|Name or service|nodename", "there is no host of that name", "correct it in DATABASE_URL"),
    ("client_connection_check_interval", "it is too old", "take PostgreSQL 14 or later"),
    ("read-only|standby", "it is a standby, and no primary answers",
     "promote one, or name the primary too in DATABASE_URL"),
    ("SSL|certificate", "the two do not agree about TLS", "correct sslmode and sslrootcert in DATABASE_URL"),
    ("refused|no answer|timeout|timed out|unreachable|No route|No such file", "it cannot be reached",
     "start it, or correct host and port in DATABASE_URL"),
)
REDIS_REASONS = (
    ("NOAUTH|HELLO must|WRONGPASS|[Aa]uthentication|username-password|password", "it refuses this user and password",
     "correct them in REDIS_URL"),
    ("No master found", "the sentinels know no such master", "start it, or correct its name in REDIS_URL"),
    ("Name or service|nodename|address associated|name resolution", "there is no host of that name",
     "correct it in REDIS_URL"),
    ("[Cc]luster", "it is no cluster that can be used",
     "start it, or correct REDIS_URL: redis+cluster:// is for clusters alone"),
    ("connecting|[Tt]imeout|no answer|refused|No such file|closed", "it cannot be reached",
     "start it, or correct host and port in REDIS_URL"),
)
MOVIE_API_REASONS = (
    ("^it refuses", "", "correct them"),
    ("resolve", "there is no host of that name", "correct it in MOVIE_API_URL"),
    ("connect|status 5|did not answer|timed out", "it cannot be reached",
     "wait until it is back, or correct MOVIE_API_URL"),
)


class Finding(NamedTuple):
    """One service: where it is, what is wrong (None: nothing), what to do then, and what it is good to know anyway."""

    where: str
    trouble: str | None = None
    advice: str | None = None
    warnings: Sequence[str] = ()


async def check(settings: Settings) -> dict[str, Finding]:
    """What is found of each service whose address is set; none of them is left out for the trouble of another."""
    looks: dict[str, tuple[str | None, Callable[[Settings], Awaitable[Finding]]]] = {
        "PostgreSQL": (settings.database_url, _database),
        "Redis": (settings.redis_url, _redis),
        "movie API": (settings.movie_api_url, _movie_api),
    }
    return {name: await look(settings) for name, (address, look) in looks.items() if address}


async def _database(settings: Settings) -> Finding:
    assert settings.database_url
    where = describe(settings.database_url)
    async with open_database(settings.database_url, 1) as database:
        try:
            server = await operations.server(database)
            warnings = _postgres_warnings(server, settings)
            applied = await operations.migrations(database)
        except SchemaMissing as error:
            return Finding(where, error.detail, MIGRATE, warnings)
        except ApiError as error:
            return _explained(where, error.__cause__ or error, POSTGRES_REASONS, "correct DATABASE_URL")
    if applied is None:
        return Finding(where, "is a standby: nothing can be written to it",
                       "name the primary too in DATABASE_URL, with target_session_attrs=read-write", warnings)
    missing = ", ".join(sorted(operations.needed_migrations() - applied))
    return Finding(where, f"lacks the migrations {missing}" if missing else None, MIGRATE, warnings)


def _postgres_warnings(server: operations.ServerFacts, settings: Settings) -> list[str]:
    wanted = settings.processes * settings.database_pool_size
    found = {
        f"it allows {server.connections} connections; PROCESSES × DATABASE_POOL_SIZE is {wanted} on this machine alone":
            server.connections < wanted,
        "fsync or synchronous_commit is off: what was acknowledged can be lost": not server.durable,
    }
    return [warning for warning, holds in found.items() if holds]


async def _redis(settings: Settings) -> Finding:
    assert settings.redis_url
    where = _bare(settings.redis_url)
    async with open_redis(settings.redis_url) as client:
        try:
            server = await _patiently(lambda: facts(client))
        except AWAY as error:
            return _explained(where, error, REDIS_REASONS, "correct REDIS_URL")
    if server.replica:
        return Finding(where, "is a replica: nothing can be written to it", "name the master in REDIS_URL")
    found = {
        f"it is version {server.version}; {OLDEST_REDIS} is the oldest that will do":
            int(server.version.partition(".")[0]) < OLDEST_REDIS,
        "appendonly is off: when it dies, the request count falls back to its last snapshot": not server.appends,
        "maxmemory-policy lets it drop the request count: noeviction or a volatile one does not": server.evicts,
    }
    return Finding(where, warnings=[warning for warning, holds in found.items() if holds])


async def _patiently(ask: Callable[[], Awaitable[ServerFacts]]) -> ServerFacts:
    """What the server takes for away, because it is in a hurry, may only be slow."""
    for _ in range(REDIS_TRIES - 1):
        with contextlib.suppress(*AWAY):
            return await ask()
    return await ask()


async def _movie_api(settings: Settings) -> Finding:
    assert settings.movie_api_url
    where = _bare(settings.movie_api_url)
    dialect = third_party(settings)
    async with open_upstream(settings.movie_api_seconds) as upstream:
        end = asyncio.get_running_loop().time() + upstream.seconds
        try:
            await dialect.page(lambda call: upstream.get(call, end), 1, None)
        except ApiError as error:
            return _explained(where, error.__cause__ or error, MOVIE_API_REASONS, "correct MOVIE_API_URL")
        finally:
            await dialect.close()
    return Finding(where)


def _explained(where: str, error: BaseException, reasons: Sequence[tuple[str, str, str]], otherwise: str) -> Finding:
    said = " ".join(str(error).split()) or type(error).__name__
    for pattern, words, advice in reasons:
        if re.search(pattern, said):
            return Finding(where, f"{words}: {said}" if words else said, advice)
    return Finding(where, said, otherwise)


def _bare(url: str) -> str:
    """An address without what may be secret in it."""
    split = urlsplit(url)
    return split._replace(netloc=split.netloc.rpartition("@")[2], query="", fragment="").geturl()
