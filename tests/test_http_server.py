"""Connections: slow, silent, greedy and many clients cannot take unlimited memory or connections."""
from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from tornado.platform.asyncio import AsyncIOLoop

from movieserver.data.collections import PAGE_BYTES
from movieserver.handlers.collections import CollectionsHandler
from movieserver.schemas.movies import MAX_COLLECTION_BYTES
from movieserver.schemas.requests import MAX_BYTES
from movieserver.serving import connection, http_server as module, memory_limits, response as response_module
from movieserver.serving.http_server import Server
from movieserver.serving.request import MovieServer
from tests.client import Api
from tests.conftest import SignUp
from tests.factories import collection, movies
from tests.wire import Gate, Streams, connect, crowd, head, port_of, until


async def single_response(streams: Streams) -> tuple[int, bytes]:
    """Status and body of the response to a request with `Connection: close`."""
    text = await streams[0].read()
    streams[1].close()
    before, _, body = text.partition(b"\r\n\r\n")
    return int(before.split()[1]), body


@pytest.mark.parametrize("sent", [
    b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
], ids=["silent", "half a line", "half a head", "half a body"])
async def test_a_new_connection_replaces_an_idle_one(
    api: Api, http_server: Server, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 5)
    async with crowd(api, 30, sent) as connections:
        await until(lambda: len(http_server.connections) >= 5)
        for _ in range(10):
            streams = await connect(port_of(api), head(api, "/healthz", Connection="close"))
            assert (await single_response(streams))[0] == 200
        assert len(http_server.connections) <= 5
        for reader, _ in connections[:20]:
            assert await reader.read() == b""  # the connections that have waited longest


async def test_a_new_connection_does_not_replace_a_busy_one(
    alice: Api, http_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 3)
    gate = Gate(monkeypatch, CollectionsHandler)
    async with crowd(alice, 3, head(alice, "/collection/", Connection="close")) as connections:
        await until(lambda: sum(connection.responding for connection in http_server.connections) == 3)
        status, body = await single_response(await connect(port_of(alice), head(alice, "/healthz")))
        problem = json.loads(body)
        assert (status, problem["code"]) == (503, "overloaded")
        assert "connection" in problem["detail"]
        gate.open()
        for streams in connections:
            assert (await single_response(streams))[0] == 200
    await until(lambda: not http_server.connections)
    assert (await alice.get("/collection/")).status == 200


@pytest.fixture
def watched(io_loop: AsyncIOLoop, http_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Time limits are enforced, and shorter than in production."""
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(response_module, "STALL_SECONDS", 0.2)
    watching = io_loop.asyncio_loop.create_task(http_server.watch())
    yield
    watching.cancel()
    io_loop.run_sync(lambda: asyncio.wait([watching]))


async def test_a_connection_with_an_unread_response_is_aborted(
    alice: Api, http_server: Server, app: MovieServer, watched: None
) -> None:
    large = collection(movies=movies(1000, description="d" * 8000))
    assert (await alice.post("/collection/", large)).status == 201
    before = set(http_server.connections)
    _, writer = await connect(port_of(alice), head(alice, "/collection/"))
    await until(lambda: bool(set(http_server.connections) - before))
    (stalled,) = set(http_server.connections) - before
    await until(stalled.writer.writing)
    await until(lambda: stalled not in http_server.connections)
    assert not stalled.writer.writing()
    slow_reader, slow_writer = await connect(port_of(alice), head(alice, "/collection/", Connection="close"))
    whole = b""
    while part := await slow_reader.read(200_000):
        whole += part
        await asyncio.sleep(0.01)
    assert len(json.loads(whole.partition(b"\r\n\r\n")[2])["data"]["collections"][0]["movies"]) == 1000
    for each in (writer, slow_writer):
        each.close()


async def test_the_memory_for_unread_responses_is_limited(
    alice: Api, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_limits, "RESPONSE_BYTES_PER_USER", 20_000_000)
    monkeypatch.setattr(memory_limits, "RESPONSE_BYTES", 40_000_000)
    bob = await sign_up()
    large = collection(movies=movies(900, description="d" * 8000))
    for user in (alice, bob):
        assert (await user.post("/collection/", large)).status == 201
    async with crowd(alice, 8, head(alice, "/collection/")):
        status, body = await whole_list(alice)
        while status == 200:
            status, body = await whole_list(alice)
        problem = json.loads(body)
        assert (status, problem["code"]) == (503, "overloaded")
        assert "at most 20000000 bytes per user" in problem["detail"]
        assert (await alice.get("/collection/")).status == 200  # gzipped, it would be small
        assert (await whole_list(bob))[0] == 200
    while (await whole_list(alice))[0] != 200:
        await asyncio.sleep(0.01)


async def whole_list(api: Api) -> tuple[int, bytes]:
    """The response to GET /collection/ without gzip."""
    return await single_response(await connect(port_of(api), head(api, "/collection/", Connection="close")))


def test_a_page_always_fits() -> None:
    assert PAGE_BYTES + MAX_COLLECTION_BYTES <= memory_limits.RESPONSE_BYTES_PER_USER <= memory_limits.RESPONSE_BYTES
    assert MAX_BYTES <= memory_limits.REQUEST_BYTES_PER_USER <= memory_limits.REQUEST_BYTES


async def test_the_memory_for_bodies_of_a_user_is_limited(
    alice: Api, sign_up: SignUp, app: MovieServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_limits, "REQUEST_BYTES_PER_USER", 3_000_000)
    bob, body = await sign_up(), json.dumps(collection(movies=movies(1000, description="d" * 1500))).encode()
    half = [head(alice, "/collection/", "POST", Content_Length=2_000_000), b"x" * 100_000]
    async with crowd(alice, 5, *half):
        await until(lambda: app.memory.total == 2_000_000)
        refused = await alice.post("/collection/", raw=body)
        assert (refused.status, refused.json["code"]) == (503, "overloaded")
        assert "at most 3000000 bytes per user" in refused.json["detail"]
        chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        sending = head(alice, "/collection/", "POST", Transfer_Encoding="chunked", Connection="close")
        assert (await single_response(await connect(port_of(alice), sending, chunk)))[0] == 503
        assert (await alice.post("/collection/", collection())).status == 201
        assert (await bob.post("/collection/", raw=body)).status == 201
        assert app.memory.total == 2_000_000
    await until(lambda: not app.memory.total)
    assert (await alice.post("/collection/", raw=body)).status == 201


async def test_concurrent_bodies_are_accepted_up_to_the_limit(alice: Api) -> None:
    body = json.dumps(collection(movies=movies(1000, description="d" * 5000))).encode()
    responses = await asyncio.gather(*[alice.post("/collection/", raw=body) for _ in range(12)])
    received = [response.status for response in responses].count(201)
    assert received >= 3
    assert {response.status for response in responses} <= {201, 503}
    assert (await alice.get("/collection/?movies=false")).json["count"] == received


async def test_clients_without_a_token_have_a_limit_of_their_own(
    alice: Api, app: MovieServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_limits, "REQUEST_BYTES_PER_USER", 1_000_000)
    unknown = alice.signed("no.such.token")
    half = [head(unknown, "/login/", "POST", Content_Length=900_000), b"x" * 800_000]
    async with crowd(unknown, 20, *half):
        await until(lambda: app.memory.total >= 900_000)
        body = json.dumps(collection(movies=movies(100, description="d" * 5000))).encode()
        assert (await unknown.post("/login/", raw=body)).status == 503
        assert (await alice.post("/collection/", raw=body)).status == 201
    await until(lambda: not app.memory.total)


async def test_a_large_body_without_a_required_token_is_not_stored(alice: Api, app: MovieServer) -> None:
    unknown = alice.signed("no.such.token")
    half = [head(unknown, "/collection/", "POST", Content_Length=900_000), b"x" * 800_000]
    async with crowd(unknown, 5, *half):
        await until(lambda: sum(bool(request.refusal) for request in app.active) == 5)
        assert app.memory.total == 0


async def test_the_memory_for_bodies_of_all_users_is_limited(
    alice: Api, sign_up: SignUp, app: MovieServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_limits, "REQUEST_BYTES", 1_000_000)
    bob, half = await sign_up(), [head(alice, "/collection/", "POST", Content_Length=990_000), b"x" * 980_000]
    async with crowd(alice, 1, *half):
        await until(lambda: app.memory.total >= 900_000)
        body = json.dumps(collection(movies=movies(100, description="d" * 5000))).encode()
        assert (await bob.post("/collection/", raw=body)).status == 503
    await until(lambda: not app.memory.total)
    assert (await bob.post("/collection/", raw=body)).status == 201


async def test_slow_connections_are_closed(
    alice: Api, watched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("IDLE_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(connection, limit, 0.1)
    for sent, status in (
        (b"", None), (b"GET / HTTP/1.1\r\nHo", b"408"),
        (head(alice, "/collection/", "POST", Content_Length=10), b"408"),
    ):
        reader, writer = await connect(port_of(alice), sent)
        text = await reader.read()
        assert (text.split()[1] if text else None) == status
        writer.close()


def test_the_memory_for_small_requests_is_limited() -> None:
    assert memory_limits.SMALL_BYTES * module.MAX_CONNECTIONS <= 16 * memory_limits.MIB
