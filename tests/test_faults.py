"""A proxy between the server and Redis, and between the server and the third party: the count stays exact, every call
ends within its time limit, and no response is wrong."""
from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trustme
from tornado.httpclient import AsyncHTTPClient

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.resources import Resources
from movieserver.settings import Settings
from movieserver.third_party import client
from movieserver.third_party.plain import Plain
from tests.client import Api
from tests.conftest import SECRET, make_settings, temporary_folder
from tests.proxy import Proxy, proxy
from tests.test_movies import MOVIE, listing
from tests.test_run import Server, serving
from tests.third_party import ThirdParty, ThirdPartyHandler, page, raw

pytestmark = pytest.mark.gen_test(timeout=90)
Fault = Callable[[Proxy], Awaitable[None]]


async def cut(between: Proxy) -> None:
    for _ in range(10):
        between.cut()
        await asyncio.sleep(0.05)


async def lose_replies(between: Proxy) -> None:
    between.lose_replies = True
    await asyncio.sleep(0.3)
    between.lose_replies = False


async def black_hole(between: Proxy) -> None:
    between.black_hole = True
    await asyncio.sleep(0.6)
    between.black_hole = False


async def refuse(between: Proxy) -> None:
    between.refuse = True
    between.cut()
    await asyncio.sleep(0.3)
    between.refuse = False


async def delay(between: Proxy) -> None:
    for between.delay in (0.02, 0.2, 0.3, 0.1, 0.0):
        await asyncio.sleep(0.15)


async def everything(between: Proxy) -> None:
    for fault in (lose_replies, delay, cut, black_hole, refuse):
        await fault(between)


FAULTS: list[Fault] = [cut, lose_replies, black_hole, refuse, delay, everything]


class Load:
    """Requests to several processes, counted as their responses arrive."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.responses = 0
        self.unnumbered = 0  # of them, those that were 503
        self.longest = 0.0
        self.client = AsyncHTTPClient(force_instance=True, max_clients=100)

    async def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """One request; every one must get a response."""
        began = time.monotonic()
        response = await self.client.fetch(
            self.url + path, method=method, raise_error=False, request_timeout=20, allow_nonstandard_methods=True)
        self.longest = max(self.longest, time.monotonic() - began)
        self.responses += 1
        self.unnumbered += response.code == 503
        return response.code, response.body

    async def until(self, over: asyncio.Task[None]) -> None:
        """Repeat a request until the fault is over."""
        while not over.done():
            status, _ = await self.ask("/nowhere")
            assert status == 404
            await asyncio.sleep(0.01)

    async def count(self) -> int:
        """The count, as soon as it can be read."""
        while True:
            status, body = await self.ask("/request-count/")
            if status == 200:
                return int(body.partition(b":")[2].strip(b" }\n"))
            assert status == 503
            await asyncio.sleep(0.02)

    async def settled(self) -> int:
        """The count after every process has delivered its pending requests."""
        before = -1
        while (now := await self.count()) != before + 1 or now != self.responses:
            before = now
            await asyncio.sleep(0.1)
            if before > self.responses:
                return before
        return now


@asynccontextmanager
async def processes(postgres: Postgres, redis_port: int, folder: Path) -> AsyncIterator[Server]:
    """Three processes with a Redis behind the proxy."""
    outside = {
        "DATABASE_URL": postgres.url, "REDIS_URL": f"redis://127.0.0.1:{redis_port}", "JWT_SECRET": SECRET,
        "MOVIE_API_URL": "http://127.0.0.1:1/", "PROCESSES": "3",
    }
    with ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, serving(folder, **outside))


async def test_the_count_is_exact_through_every_fault(postgres: Postgres, own_redis: Redis) -> None:
    with temporary_folder() as folder:
        async with proxy(own_redis.url) as between, processes(postgres, between.port, folder / "data") as server:
            load = Load(server)
            for fault in FAULTS:
                over = asyncio.ensure_future(fault(between))
                await asyncio.gather(*[load.until(over) for _ in range(30)])
                assert await load.settled() == load.responses, fault.__name__
            assert load.responses > 500
            assert load.longest < 5
            load.client.close()


async def test_a_reset_during_an_outage_of_one_process(postgres: Postgres, own_redis: Redis) -> None:
    """No request from before the reset is counted after it, and every numbered request after it is."""
    with temporary_folder() as folder:
        async with proxy(own_redis.url) as between, processes(postgres, between.port, folder / "data") as server:
            load = Load(server)
            await load.count()
            over = asyncio.ensure_future(black_hole(between))
            await asyncio.gather(*[load.until(over) for _ in range(10)])
            while (await load.ask("/request-count/reset/", "POST"))[0] != 200:
                await asyncio.sleep(0.02)
            load.responses = load.unnumbered = 0
            missing: list[int] = []
            while len(missing) < 10 or len(set(missing[-10:])) > 1:
                missing.append(-await load.count() + load.responses)
                await asyncio.sleep(0.05)
            assert 0 <= missing[-1] <= load.unnumbered
            load.client.close()


class TestBehindAProxy:
    """The third party behind a faulty network."""

    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, movie_api_seconds=0.5)

    @pytest.mark.parametrize("name", ["delay", "black_hole", "drip", "refuse", "lose_replies"])
    async def test_every_call_ends_within_its_budget(
        self, alice: Api, third_party: ThirdParty, resources: Resources, name: str
    ) -> None:
        third_party.behaviour = page(listing())
        async with proxy(third_party.url) as between:
            behind = third_party.url.replace(third_party.url.split("/")[2], f"127.0.0.1:{between.port}")
            assert isinstance(resources.movie_api.provider, Plain)
            resources.movie_api.provider.url = behind
            assert (await alice.get("/movies/")).json["data"] == [MOVIE]
            setattr(between, name, 5.0 if name == "delay" else True)
            if name == "refuse":
                between.cut()
            began = time.monotonic()
            responses = await asyncio.gather(*[alice.get(f"/movies/?page={number}") for number in range(1, 4)])
            assert time.monotonic() - began < 3
            assert {response.status for response in responses} <= {503, 504}
            for path in ("/collection/", "/readyz"):
                assert (await alice.get(path)).status == 200
            setattr(between, name, 0.0 if name == "delay" else False)
            between.cut()
            resources.movie_api.upstream.breaker = client.Breaker()
            assert (await alice.get("/movies/")).json["data"] == [MOVIE]

    async def test_a_connection_that_is_cut_repeatedly(
        self, alice: Api, third_party: ThirdParty, resources: Resources
    ) -> None:
        third_party.behaviour = page(listing())
        async with proxy(third_party.url) as between:
            assert isinstance(resources.movie_api.provider, Plain)
            resources.movie_api.provider.url = third_party.url.replace(
                third_party.url.split("/")[2], f"127.0.0.1:{between.port}")
            between.delay = 0.02
            cutting = asyncio.ensure_future(cut(between))
            while not cutting.done():
                response = await alice.get("/movies/")
                assert response.status in (200, 503, 504)
                assert response.status != 200 or response.json["data"] == [MOVIE]

    async def test_an_aborted_tls_handshake_is_retried(
        self, alice: Api, third_party: ThirdParty, resources: Resources
    ) -> None:
        assert isinstance(resources.movie_api.provider, Plain)
        resources.movie_api.provider.url = third_party.url.replace("http://", "https://")
        assert (await alice.get("/movies/")).status in (503, 504)

    async def test_a_response_that_stops_after_its_headers(self, alice: Api, third_party: ThirdParty) -> None:
        async def headers_alone(handler: ThirdPartyHandler) -> None:
            await handler.detach().write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            await asyncio.Event().wait()

        third_party.behaviour = headers_alone
        assert (await alice.get("/movies/")).status == 504

    async def test_an_untrusted_certificate(
        self, alice: Api, third_party: ThirdParty, resources: Resources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        third_party.behaviour = page(listing())
        assert isinstance(resources.movie_api.provider, Plain)
        resources.movie_api.provider.url = third_party.serve_tls(context)
        for _ in range(2):
            response = await alice.get("/movies/")
            assert response.status == 502
            assert b"certificate" not in response.body
        assert third_party.calls == []
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        assert (await alice.get("/movies/")).json["data"] == [MOVIE]
        resources.movie_api.provider.url = resources.movie_api.provider.url.replace("localhost", "127.0.0.1")
        assert (await alice.get("/movies/")).status == 502

    async def test_fifty_megabytes_are_not_read(self, alice: Api, third_party: ThirdParty) -> None:
        third_party.behaviour = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b" " * 50_000_000)
        assert (await alice.get("/movies/")).status == 502
