"""Redis: one server, a cluster or one found by sentinels. No retries, and 250 ms for an answer."""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from movieserver.observability.logs import Outage

SECONDS = 0.25
PAUSE_SECONDS = 1.0
CONNECTIONS = 50
# what a client raises when Redis cannot do what it is asked; RuntimeError is uvloop's word for a closed connection,
# and a cluster's exceptions are no RedisErrors
AWAY = (RedisError, RedisClusterException, OSError, RuntimeError)
PROBE = "{movieserver}:probe"  # on the node of the request count
PORTS = {"redis+cluster": 6379, "redis+sentinel": 26379}

T = TypeVar("T")
Client = Any  # Redis and RedisCluster share the commands, but no class


@contextlib.asynccontextmanager
async def open_redis(url: str, seconds: float = SECONDS) -> AsyncIterator[Client]:
    """A client of the Redis at `url`; it connects when it is first asked, and waits `seconds` for each answer.

    redis://, rediss:// and unix:// name one server, redis+cluster://host,host some nodes of a cluster, and
    redis+sentinel://host,host/name/db sentinels that know the master of that name.
    """
    client, *others = _clients(url, seconds)
    try:
        yield client
    finally:
        for each in (client, *others):
            await each.aclose()


class ServerFacts(NamedTuple):
    """A Redis server; of a cluster, what is worst in it: its version, whether it is a replica, appends to a file every
    write, and may drop keys that do not expire."""

    version: str
    replica: bool
    appends: bool
    evicts: bool


async def facts(client: Client, seconds: float = SECONDS) -> ServerFacts:
    """What the server is like; raises one of AWAY where it cannot be asked."""
    said = await in_time(client.info(), seconds)
    nodes = [said] if "redis_version" in said else list(said.values())
    return ServerFacts(
        version=min((str(node["redis_version"]) for node in nodes), key=lambda text: int(text.partition(".")[0])),
        replica=all(node["role"] != "master" for node in nodes),
        appends=all(node["aof_enabled"] for node in nodes),
        evicts=any(node["maxmemory"] and str(node["maxmemory_policy"]).startswith("allkeys") for node in nodes),
    )


async def probe_write(client: Client, seconds: float = SECONDS) -> None:
    """Raise one of AWAY where Redis cannot be written to. It writes nothing: the key never exists, and XX needs one."""
    await in_time(client.set(PROBE, "", xx=True), seconds)


def check_address(url: str) -> None:
    """Raise ValueError, which does not quote the address, where no client can be made from it."""
    try:
        clients = _clients(url, SECONDS)
        for client in clients[:0 if isinstance(clients[0], RedisCluster) else 1]:
            client.connection_pool.make_connection()
    except (TypeError, ValueError, AttributeError, RedisError):
        raise ValueError("has a parameter, port or database number that the Redis client cannot use") from None
    split = urlsplit(url)
    if split.scheme in ("redis", "rediss") and not split.path.removeprefix("/").isdecimal() and split.path.strip("/"):
        raise ValueError("ends in a database that is not a number")


async def in_time(command: Awaitable[T], seconds: float = SECONDS) -> T:
    """The answer to a command, or TimeoutError after `seconds`. The command goes on: a cluster's client may be learning
    its nodes, which would else begin again each time."""
    task = asyncio.ensure_future(command)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    done, _ = await asyncio.wait([task], timeout=seconds)
    if not done:
        raise TimeoutError(f"no answer in {seconds} s")
    return task.result()


class Calls:
    """Commands that we can do without: none is asked for PAUSE_SECONDS after one that was not answered."""

    def __init__(self, purpose: str, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._places = asyncio.Semaphore(CONNECTIONS)  # the client has no more than 100, and no patience
        self._away_until = 0.0
        self._outage = Outage(f"Redis ({purpose})")

    @property
    def away(self) -> bool:
        """Whether Redis did not answer a moment ago."""
        return time.monotonic() < self._away_until

    async def ask(self, command: Callable[[], Awaitable[T]]) -> T | None:
        """The answer to a command, or None while Redis is away."""
        async with self._places:
            if self.away:
                return None
            try:
                answer = await in_time(command(), self._seconds)
            except AWAY as error:
                self._away_until = time.monotonic() + PAUSE_SECONDS
                self._outage.record_failure(error)
                return None
        self._outage.record_success()
        return answer


class Script:
    """A Lua script that Redis keeps; called with keys and arguments."""

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
    """The client, and those of the sentinels that it asks."""
    given: dict[str, Any] = {
        "socket_timeout": seconds, "socket_connect_timeout": seconds, "decode_responses": True,
        "retry": Retry(NoBackoff(), 0),
    }
    scheme = urlsplit(url).scheme
    if scheme not in PORTS:
        return [Redis.from_url(url, **given)]
    user, nodes, path = _parts(url)
    if scheme == "redis+cluster":
        return [RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in nodes], **user, **given)]
    name, _, db = path.partition("/")
    query = parse_qs(urlsplit(url).query)
    sentinel: Any = Sentinel(nodes, sentinel_kwargs={
        "socket_timeout": SECONDS, "socket_connect_timeout": SECONDS, "retry": Retry(NoBackoff(), 0),
        "password": query.get("sentinel_password", [None])[0],
    })
    return [sentinel.master_for(name, db=int(db or 0), **user, **given), *sentinel.sentinels]


def _parts(url: str) -> tuple[dict[str, Any], list[tuple[str, int]], str]:
    """User name and password, hosts with ports, path: urlsplit knows one host only."""
    split = urlsplit(url)
    credentials, _, hosts = split.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    user = {"username": unquote(username), "password": unquote(password)}
    nodes = []
    for place in hosts.split(","):
        host, _, port = place.rpartition(":") if place.rpartition(":")[2].isdecimal() else (place, "", "")
        nodes.append((host.strip("[]"), int(port or PORTS[split.scheme])))
    return {name: value for name, value in user.items() if value}, nodes, split.path.strip("/")
