"""The Redis client: one server, a cluster or a master behind Sentinel. No retries, 250 ms for a reply."""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from movieserver.addresses import check_address, redis_fault, split_address
from movieserver.observability.logs import Outage

SECONDS = 0.25
PATIENT_SECONDS = 1.0  # if Redis has just replied: a delay is most likely this process's own
PAUSE_SECONDS = 1.0
MAX_CALLS = 30  # at a time for each purpose; three of them share a client, which has 100 connections
# the exceptions of a command that Redis cannot carry out: uvloop raises RuntimeError on a closed connection, and those
# of a cluster are not RedisErrors
REDIS_ERRORS = (RedisError, RedisClusterException, OSError, RuntimeError)
PROBE = "{movieserver}:probe"  # on the node of the request count
PROBES = (PROBE, "movieserver:probe")  # one key of each pattern that an ACL must allow

T = TypeVar("T")
Client = Any  # Redis and RedisCluster share the commands, but no class


@contextlib.asynccontextmanager
async def open_redis(url: str, seconds: float = SECONDS) -> AsyncIterator[Client]:
    """A client of the Redis at `url`. It connects with the first command and waits `seconds` for each reply.

    redis://, rediss:// and unix:// name one server, redis+cluster://host,host some nodes of a cluster, and
    redis+sentinel://host,host/name/db Sentinels that know the master of that name. ValueError for other addresses.
    """
    client, *sentinels = _clients(url, seconds)
    try:
        yield client
    finally:
        for each in (client, *sentinels):
            await each.aclose()


class RedisFacts(NamedTuple):
    """The oldest version of a server or cluster; whether all of it is a replica, all of it writes an append-only file,
    and any of it may evict keys that do not expire."""

    version: str
    replica: bool
    appends: bool
    evicts: bool


async def facts(client: Client, seconds: float = SECONDS) -> RedisFacts:
    """The version, role, persistence and eviction of Redis, from INFO. Raises one of REDIS_ERRORS if INFO fails."""
    info = await in_time(client.info(), seconds)
    nodes = [info] if "redis_version" in info else list(info.values())
    return RedisFacts(
        version=min((str(node["redis_version"]) for node in nodes), key=lambda text: int(text.partition(".")[0])),
        replica=all(node["role"] != "master" for node in nodes),
        appends=all(node["aof_enabled"] for node in nodes),
        evicts=any(node["maxmemory"] and str(node["maxmemory_policy"]).startswith("allkeys") for node in nodes),
    )


async def probe_write(client: Client, seconds: float = SECONDS, key: str = PROBE) -> None:
    """Raise one of REDIS_ERRORS if Redis refuses to write `key`. It writes nothing: XX requires a key that exists."""
    await in_time(client.set(key, "", xx=True), seconds)


async def in_time(command: Awaitable[T], seconds: float = SECONDS) -> T:
    """The reply to a command, or TimeoutError after `seconds`. The command is not cancelled: the client of a cluster
    may be reading the list of its nodes, and would begin again with every command."""
    task = asyncio.ensure_future(command)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    done, _ = await asyncio.wait([task], timeout=seconds)
    if not done:
        raise TimeoutError(f"no reply in {seconds} s")
    return task.result()


async def cancel(task: asyncio.Task[None]) -> None:
    """End a task that uses Redis: Python 3.11's wait_for, which redis-py uses, may swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


class Calls:
    """Non-essential commands: after a failure, none is sent for PAUSE_SECONDS."""

    def __init__(self, purpose: str, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._slots = asyncio.Semaphore(MAX_CALLS)
        self._unavailable_until = 0.0
        self._outage = Outage(f"Redis ({purpose})")

    @property
    def unavailable(self) -> bool:
        """Whether a command has failed in the last PAUSE_SECONDS."""
        return time.monotonic() < self._unavailable_until

    async def ask(self, command: Callable[[], Awaitable[T]]) -> T | None:
        """The reply to a command, or None while Redis is unavailable."""
        async with self._slots:
            if self.unavailable:
                return None
            try:
                reply = await in_time(command(), self._seconds)
            except REDIS_ERRORS as error:
                self._unavailable_until = time.monotonic() + PAUSE_SECONDS
                self._outage.record_failure(error)
                return None
        self._outage.record_success()
        return reply


class Script:
    """A Lua script that is sent once and then called by its digest.

    redis-py's own loads a missing script into every node of a cluster, and so needs all of them.
    """

    def __init__(self, client: Client, text: str) -> None:
        self._client = client
        self._text = text
        self._digest = hashlib.sha1(text.encode()).hexdigest()

    async def __call__(self, keys: Sequence[str], args: Sequence[object] = ()) -> Any:
        try:
            return await self._client.evalsha(self._digest, len(keys), *keys, *args)
        except NoScriptError:
            return await self._client.eval(self._text, len(keys), *keys, *args)


def _clients(url: str, seconds: float) -> list[Client]:
    """The client, and the clients of its Sentinels."""
    check_address(url, redis_fault)
    options: dict[str, Any] = {**_limits(seconds), "decode_responses": True}
    scheme = urlsplit(url).scheme
    if not scheme.startswith("redis+"):
        return [Redis.from_url(url, **options)]
    user, nodes, path = split_address(url)
    if scheme == "redis+cluster":
        return [RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in nodes], **user, **options)]
    name, _, db = path.partition("/")
    password = parse_qs(urlsplit(url).query).get("sentinel_password", [None])[0]
    sentinel: Any = _Sentinels(nodes, sentinel_kwargs={**_limits(SECONDS), "password": password})
    return [sentinel.master_for(name, db=int(db or 0), **user, **options), *sentinel.sentinels]


class _Sentinels(Sentinel):
    """redis-py's, with a readable message: its own contains the representation of every client."""

    async def discover_master(self, service_name: str) -> Any:
        try:
            return await super().discover_master(service_name)
        except MasterNotFoundError as error:
            state = "not every sentinel responds" if " : " in str(error) else "all sentinels respond"
            raise MasterNotFoundError(f"No master found ({state})") from None


def _limits(seconds: float) -> dict[str, Any]:
    return {
        "socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": Retry(NoBackoff(), 0),
        "driver_info": None,  # by default each new connection looks up redis-py's version on the disk
    }
