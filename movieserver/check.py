"""Checks the services in the settings: whether each can be used, and what to do if not.

`run.py check` prints all of it. A server that starts logs what cannot be used.
"""
from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple
from urllib.parse import urlsplit

from movieserver.data import operations
from movieserver.errors import ApiError, SchemaMissing
from movieserver.observability.logs import log
from movieserver.postgres.database import Database, open_database
from movieserver.postgres.hosts import describe
from movieserver.redis.changes import CHANNEL
from movieserver.redis.client import PROBES, REDIS_ERRORS, Client, RedisFacts, facts, in_time, open_redis, probe_write
from movieserver.resources import Resources, provider_of
from movieserver.settings import Settings, reveal
from movieserver.third_party.client import Upstream, open_upstream
from movieserver.third_party.provider import Provider

OLDEST_REDIS = 6
REDIS_SECONDS = 2.0
MIGRATE = "run `python run.py migrate`"
POOLED = "through a pooler such as PgBouncer: statements are not prepared, and each sets its own time limits"

# Patterns of the drivers' messages, each with the message to show and what to do. The first match counts, because
# several hosts can fail for several reasons.
POSTGRES_REASONS = (
    ("permission denied for database", "it does not let this user connect to this database",
     "grant CONNECT on it to the user, or correct DATABASE_URL"),
    ("password|authentication failed|role .* does not exist", "it refuses this user and password",
     "correct them in DATABASE_URL"),
    ("database .* does not exist|no such database", "it has no such database",
     "create it, or correct its name in DATABASE_URL"),
    ("pg_hba", "it does not allow this user from this address",
     "add a line for them to its pg_hba.conf, or correct DATABASE_URL"),
    ("too many|connection slots|no more connections", "it has no connection left",
     "raise its max_connections (in PgBouncer, max_client_conn), or lower PROCESSES or DATABASE_POOL_SIZE"),
    ("translate host name|Name or service|nodename", "its host name cannot be resolved", "correct it in DATABASE_URL"),
    ("client_connection_check_interval", "it is too old", "use PostgreSQL 14 or later"),
    ("read-only|standby", "it is a standby, and no primary responds",
     "promote one, or name the primary too in DATABASE_URL"),
    ("SSL|certificate", "client and server do not agree on TLS", "correct sslmode and sslrootcert in DATABASE_URL"),
    ("refused|no response|timeout|timed out|unreachable|No route|No such file", "it cannot be reached",
     "start it, or correct host and port in DATABASE_URL"),
)
REDIS_REASONS = (
    ("NOAUTH|HELLO must|WRONGPASS|[Aa]uthentication|username-password|password", "it refuses this user and password",
     "correct them in REDIS_URL"),
    ("NOPERM|[Nn]o permissions", "it does not let this user write",
     "run `ACL SETUSER <user> +@all resetkeys ~{movieserver}:* ~movieserver:* resetchannels &{movieserver}:*`, or name "
     "another user in REDIS_URL"),
    ("read.?only|READONLY", "it is a replica: nothing can be written to it", "name the master in REDIS_URL"),
    ("OOM|maxmemory", "its memory is full: it refuses writes", "raise its maxmemory"),
    ("NOREPLICAS|good replicas", "it has too few replicas: it refuses writes",
     "start its replicas, or lower its min-replicas-to-write"),
    ("MISCONF|persist on disk", "it cannot save to its disk: it refuses writes", "look at its log and its disk"),
    ("No master found .not every", "no sentinel that can be reached knows a reachable master of that name",
     "start the sentinels, or correct their hosts, their password or the master's name in REDIS_URL"),
    ("No master found", "the sentinels know no reachable master of that name",
     "start it, or correct its name in REDIS_URL"),
    ("Name or service|nodename|address associated|name resolution", "its host name cannot be resolved",
     "correct it in REDIS_URL"),
    ("[Cc]luster", "it is not a usable cluster",
     "start it, or correct REDIS_URL: redis+cluster:// is for clusters only"),
    ("connecting|[Tt]imeout|no reply|refused|No such file|closed", "it cannot be reached",
     "start it, or correct host and port in REDIS_URL"),
)
MOVIE_API_REASONS = (
    ("^it requires", "", "set or correct them"),
    ("resolve", "its host name cannot be resolved", "correct it in MOVIE_API_URL"),
    ("connect|status 5|did not respond|timed out", "it cannot be reached",
     "wait until it is back, or correct MOVIE_API_URL"),
)


class Finding(NamedTuple):
    """One service: its address, what is wrong (None: nothing), what to do about it, and warnings."""

    where: str
    problem: str | None = None
    advice: str | None = None
    warnings: Sequence[str] = ()
    note: str | None = None


async def check(settings: Settings) -> dict[str, Finding]:
    """A finding for each service whose address is set; they are checked concurrently."""
    checks: dict[str, Awaitable[Finding]] = {}
    async with AsyncExitStack() as stack:
        if settings.database_url:
            database = await stack.enter_async_context(open_database(reveal(settings.database_url), 1))
            checks["PostgreSQL"] = _database(settings, database)
        if settings.redis_url:
            checks["Redis"] = _redis(settings)
        if settings.movie_api_url:
            upstream, provider = open_upstream(settings.movie_api_seconds), provider_of(settings)
            checks["movie API"] = _movie_api(settings, await stack.enter_async_context(upstream), provider)
            stack.push_async_callback(provider.close)
        return dict(zip(checks, await asyncio.gather(*checks.values())))


async def log_unusable(settings: Settings, resources: Resources) -> None:
    """Log each service that a server cannot use. Never raises: the server serves what it can.

    It uses what the server holds open, so that an outage is logged once, and its end too.
    """
    movies = resources.movie_api
    await asyncio.gather(
        _log_problem("PostgreSQL", _database(settings, resources.database)),
        _log_problem("Redis", _redis(settings)),
        _log_problem("movie API", _movie_api(settings, movies.upstream, movies.provider)))
    log.debug("services checked")


async def _log_problem(service: str, check: Awaitable[Finding]) -> None:
    try:
        finding = await check
        if finding.problem:
            log.error("service cannot be used", service=service, reason=finding.problem, advice=finding.advice)
    except Exception:
        log.exception("service could not be checked", service=service)


async def _database(settings: Settings, database: Database) -> Finding:
    where = describe(reveal(settings.database_url))
    warnings: list[str] = []
    try:
        warnings += _postgres_warnings(await operations.server(database), settings)
        return Finding(where, *await _state(database), warnings, POOLED if database.pool.behind_pooler else None)
    except ApiError as error:
        return _explained(where, error.__cause__ or error, POSTGRES_REASONS, "correct DATABASE_URL", warnings)


async def _state(database: Database) -> tuple[str | None, str | None]:
    """What is wrong with a database that can be connected to, and what to do about it."""
    try:
        if obstacle := await operations.obstacle(database):
            return _advice(obstacle)
        missing = operations.needed_migrations() - await operations.migrations(database)
        problem = f"it lacks the migrations {', '.join(sorted(missing))}"
    except SchemaMissing:
        problem = "it is not migrated to this version"
    else:
        if not missing:
            return None, None
    if obstacle := await operations.obstacle(database, migrating=True):
        return _advice(obstacle)
    return problem, MIGRATE


def _advice(obstacle: operations.Obstacle) -> tuple[str, str]:
    other = "name another database or user in DATABASE_URL"
    return obstacle.problem, f"run `{obstacle.statement}`, or {other}" if obstacle.statement else other


def _postgres_warnings(server: operations.ServerFacts, settings: Settings) -> list[str]:
    wanted = settings.processes * settings.database_pool_size
    found = {
        f"it allows {server.connections} connections; PROCESSES × DATABASE_POOL_SIZE is {wanted} on this machine alone":
            server.connections < wanted,
        "fsync or synchronous_commit is off: a crash can lose acknowledged writes": not server.durable,
    }
    return [warning for warning, holds in found.items() if holds]


async def _redis(settings: Settings) -> Finding:
    url = reveal(settings.redis_url)
    where = _without_secrets(url)
    async with open_redis(url, REDIS_SECONDS) as client:
        try:
            for key in PROBES:
                await probe_write(client, REDIS_SECONDS, key)
            await in_time(client.publish(CHANNEL, ""), REDIS_SECONDS)
            server = await _redis_facts(client)
        except REDIS_ERRORS as error:
            return _explained(where, error, REDIS_REASONS, "correct REDIS_URL")
    if server and server.replica:
        return Finding(where, "it is a replica: what is written to it is lost", "name the master in REDIS_URL")
    return Finding(where, warnings=_redis_warnings(server))


async def _redis_facts(client: Client) -> RedisFacts | None:
    """None if this user may not run INFO."""
    try:
        return await facts(client, REDIS_SECONDS)
    except REDIS_ERRORS as error:
        if "no permissions" in str(error):
            return None
        raise


def _redis_warnings(server: RedisFacts | None) -> list[str]:
    if server is None:
        return ["this user may not run INFO, so the settings of Redis are unknown"]
    found = {
        f"it is version {server.version}; {OLDEST_REDIS} is the oldest supported one":
            int(server.version.partition(".")[0]) < OLDEST_REDIS,
        "appendonly is off: after a crash, the request count is that of the last snapshot": not server.appends,
        "maxmemory-policy allows evicting the request count: use volatile-lru": server.evicts,
    }
    return [warning for warning, holds in found.items() if holds]


async def _movie_api(settings: Settings, upstream: Upstream, provider: Provider) -> Finding:
    where, end = _without_secrets(reveal(settings.movie_api_url)), asyncio.get_running_loop().time() + upstream.seconds
    try:
        await provider.page(lambda call: upstream.get(call, end), 1, None)
    except ApiError as error:
        return _explained(where, error.__cause__ or error, MOVIE_API_REASONS, "correct MOVIE_API_URL")
    return Finding(where)


def _explained(
    where: str, error: BaseException, reasons: Sequence[tuple[str, str, str]], otherwise: str,
    warnings: Sequence[str] = (),
) -> Finding:
    message = " ".join(str(error).split()) or type(error).__name__
    for pattern, words, advice in reasons:
        if re.search(pattern, message):
            return Finding(where, f"{words}: {message}" if words else message, advice, warnings)
    return Finding(where, message, otherwise, warnings)


def _without_secrets(url: str) -> str:
    """An address without its secrets."""
    split = urlsplit(url)
    return split._replace(netloc=split.netloc.rpartition("@")[2], query="", fragment="").geturl()
