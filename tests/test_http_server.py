"""Connections: slow, silent, greedy and countless callers hold neither memory nor places without bound."""
from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from tornado.platform.asyncio import AsyncIOLoop

from movieserver.serving import connection, memory_limits
from movieserver.serving import http_server as module
from movieserver.app import MovieServer
from movieserver.schemas.requests import MAX_BYTES
from movieserver.data.collections import PAGE_BYTES
from movieserver.serving.http_server import Server
from tests.client import Api
from tests.conftest import SignUp
from tests.factories import collection, movies

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    while not condition():
        await asyncio.sleep(0.01)


async def connect(api: Api, *said: bytes) -> Connection:
    """A connection on which something was said; what is not read stays on its way."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", int(api.base_url.rpartition(":")[2])))
    reader, writer = await asyncio.open_connection(sock=client)
    writer.writelines(said)
    await writer.drain()
    return reader, writer


def head(api: Api, path: str, method: str = "GET", **headers: object) -> bytes:
    """The head of a request."""
    given = {"Host": "x", "Content-Type": "application/json", "Authorization": f"Bearer {api.token}", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def answer(connection: Connection) -> tuple[int, bytes]:
    """Status and body of the answer to a request that said `Connection: close`."""
    said = await connection[0].read()
    connection[1].close()
    before, _, body = said.partition(b"\r\n\r\n")
    return int(before.split()[1]), body


@asynccontextmanager
async def crowd(api: Api, count: int, *said: bytes) -> AsyncIterator[list[Connection]]:
    """Connections, one after the other, each of which said something and no more."""
    connections = []
    try:
        for _ in range(count):
            connections.append(await connect(api, *said))
        yield connections
    finally:
        for _, writer in connections:
            writer.close()


@pytest.mark.parametrize("said", [
    b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
], ids=["silent", "half a line", "half a head", "half a body"])
async def test_whoever_only_holds_a_place_gives_way(
    api: Api, http_server: Server, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 5)
    async with crowd(api, 30, said) as connections:
        await until(lambda: len(http_server.connections) >= 5)
        for _ in range(10):
            connection = await connect(api, head(api, "/healthz", Connection="close"))
            assert (await answer(connection))[0] == 200
        assert len(http_server.connections) <= 5
        for reader, _ in connections[:20]:
            assert await reader.read() == b""  # the first that came, and the first that go


async def test_who_is_being_answered_keeps_the_place(
    alice: Api, http_server: Server, app: MovieServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 3)
    hold, go = asyncio.Event(), asyncio.Event()
    database = app.settings["resources"].database
    read = database.read_batched

    async def slow(*given: object, **parameters: object) -> object:
        hold.set()
        await go.wait()
        return await read(*given, **parameters)

    monkeypatch.setattr(database, "read_batched", slow)
    async with crowd(alice, 3, head(alice, "/collection/", Connection="close")) as connections:
        await until(lambda: sum(body.complete for body in app.under_way.values()) == 3)
        status, body = await answer(await connect(alice, head(alice, "/healthz")))
        problem = json.loads(body)
        assert (status, problem["code"]) == (503, "overloaded")
        assert "connection" in problem["detail"]
        go.set()
        for each in connections:
            assert (await answer(each))[0] == 200
    await until(lambda: not http_server.connections)
    assert (await alice.get("/collection/")).status == 200


@pytest.fixture
def overdue_are_closed(
    io_loop: AsyncIOLoop, http_server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The server looks for connections whose time is over, more often than in earnest."""
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.2)
    watching = io_loop.asyncio_loop.create_task(http_server.watch())
    yield
    watching.cancel()
    io_loop.run_sync(lambda: asyncio.wait([watching]))


async def test_an_answer_that_nobody_reads_is_given_up(
    alice: Api, http_server: Server, app: MovieServer, overdue_are_closed: None
) -> None:
    large = collection(movies=movies(1000, description="d" * 8000))
    assert (await alice.post("/collection/", large)).status == 201
    before = set(http_server.connections)
    reader, writer = await connect(alice, head(alice, "/collection/"))
    await until(lambda: bool(set(http_server.connections) - before))
    (connection,) = set(http_server.connections) - before
    await until(connection.writing)
    await until(lambda: connection not in http_server.connections)
    assert app.settings["answers"]._unsent[0].connection.writing() is False
    slow_reader, slow_writer = await connect(alice, head(alice, "/collection/", Connection="close"))
    whole = b""
    while part := await slow_reader.read(200_000):
        whole += part
        await asyncio.sleep(0.01)
    assert len(json.loads(whole.partition(b"\r\n\r\n")[2])["data"]["collections"][0]["movies"]) == 1000
    for each in (writer, slow_writer):
        each.close()


async def test_answers_that_nobody_reads_are_bounded(
    alice: Api, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_limits, "ANSWERS_BYTES_EACH", 20_000_000)
    monkeypatch.setattr(memory_limits, "ANSWERS_BYTES", 40_000_000)
    bob = await sign_up()
    large = collection(movies=movies(900, description="d" * 8000))
    for somebody in (alice, bob):
        assert (await somebody.post("/collection/", large)).status == 201
    async with crowd(alice, 8, head(alice, "/collection/")):
        status, body = await whole_list(alice)
        while status == 200:
            status, body = await whole_list(alice)
        problem = json.loads(body)
        assert (status, problem["code"]) == (503, "overloaded")
        assert "at most 20000000 bytes of one user" in problem["detail"]
        assert (await alice.get("/collection/")).status == 200  # gzipped it is small
        assert (await whole_list(bob))[0] == 200
    while (await whole_list(alice))[0] != 200:
        await asyncio.sleep(0.01)


async def whole_list(api: Api) -> tuple[int, bytes]:
    """What GET /collection/ answers to somebody who takes nothing gzipped."""
    return await answer(await connect(api, head(api, "/collection/", Connection="close")))


def test_a_page_always_fits() -> None:
    assert PAGE_BYTES + 2 * MAX_BYTES <= memory_limits.ANSWERS_BYTES_EACH <= memory_limits.ANSWERS_BYTES
    assert MAX_BYTES <= memory_limits.BODIES_BYTES_EACH <= memory_limits.BODIES_BYTES


async def test_bodies_on_their_way_are_bounded_for_each_owner(
    alice: Api, sign_up: SignUp, app: MovieServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_limits, "BODIES_BYTES_EACH", 3_000_000)
    bob, body = await sign_up(), json.dumps(collection(movies=movies(1000, description="d" * 1500))).encode()
    half = [head(alice, "/collection/", "POST", Content_Length=2_000_000), b"x" * 100_000]
    async with crowd(alice, 5, *half):
        await until(lambda: app.bodies._total == 2_000_000)
        refused = await alice.post("/collection/", raw=body)
        assert (refused.status, refused.json["code"]) == (503, "overloaded")
        assert "at most 3000000 bytes of one user" in refused.json["detail"]
        chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        sending = head(alice, "/collection/", "POST", Transfer_Encoding="chunked", Connection="close")
        assert (await answer(await connect(alice, sending, chunk)))[0] == 503
        assert (await alice.post("/collection/", collection())).status == 201
        assert (await bob.post("/collection/", raw=body)).status == 201
        assert app.bodies._total == 2_000_000
    await until(lambda: not app.bodies._total)
    assert not app.bodies._held
    assert (await alice.post("/collection/", raw=body)).status == 201


async def test_of_bodies_that_come_at_once_as_many_as_have_room_arrive(alice: Api) -> None:
    body = json.dumps(collection(movies=movies(1000, description="d" * 5000))).encode()
    answers = await asyncio.gather(*[alice.post("/collection/", raw=body) for _ in range(12)])
    arrived = [answer.status for answer in answers].count(201)
    assert arrived >= 3
    assert {answer.status for answer in answers} <= {201, 503}
    assert (await alice.get("/collection/?movies=false")).json["count"] == arrived


async def test_strangers_take_no_room_from_users(alice: Api, app: MovieServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limits, "BODIES_BYTES_EACH", 1_000_000)
    stranger = alice.signed("no.such.token")
    half = [head(stranger, "/collection/", "POST", Content_Length=900_000), b"x" * 800_000]
    async with crowd(stranger, 20, *half):
        await until(lambda: app.bodies._total >= 900_000)
        body = json.dumps(collection(movies=movies(100, description="d" * 5000))).encode()
        assert (await stranger.post("/login/", raw=body)).status == 503
        assert (await alice.post("/collection/", raw=body)).status == 201
    await until(lambda: not app.bodies._total)


async def test_all_users_together_are_bounded(
    alice: Api, sign_up: SignUp, app: MovieServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_limits, "BODIES_BYTES", 1_000_000)
    bob, half = await sign_up(), [head(alice, "/collection/", "POST", Content_Length=990_000), b"x" * 980_000]
    async with crowd(alice, 1, *half):
        await until(lambda: app.bodies._total >= 900_000)
        body = json.dumps(collection(movies=movies(100, description="d" * 5000))).encode()
        assert (await bob.post("/collection/", raw=body)).status == 503
    await until(lambda: not app.bodies._total)
    assert (await bob.post("/collection/", raw=body)).status == 201


async def test_what_does_not_come_in_time_is_given_up(
    alice: Api, overdue_are_closed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("IDLE_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(connection, limit, 0.1)
    for said in (b"", b"GET / HTTP/1.1\r\nHo", head(alice, "/collection/", "POST", Content_Length=10)):
        reader, writer = await connect(alice, said)
        assert await reader.read() == b""
        writer.close()


def test_limits_of_a_connection() -> None:
    assert 0 < connection.BODY_SECONDS <= 60 and 0 < connection.IDLE_SECONDS <= 120
    assert memory_limits.LARGE_BYTES * module.MOST_CONNECTIONS <= 64 * memory_limits.MIB
