"""HTTP/1.1 (RFC 9112) on a connection, byte by byte: what is a request, where it ends, in which order answers come."""
from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from movieserver.serving import connection
from movieserver.app import MovieServer
from movieserver.serving.http_server import Server
from movieserver.resources import Resources
from tests.client import Api
from tests.factories import collection, movies
from tests.test_http_server import Connection, connect, head, until

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def said(connection: Connection) -> list[tuple[int, dict[str, str], bytes]]:
    """All answers until the server closes: status, headers, body."""
    text, found = await connection[0].read(), []
    connection[1].close()
    while text:
        before, _, text = text.partition(b"\r\n\r\n")
        line, *fields = before.decode().split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        length = int(headers.get("Content-Length", 0))
        found.append((int(line.split()[1]), headers, text[:length]))
        text = text[length:]
    return found


async def statuses(api: Api, *parts: bytes) -> list[int]:
    """The statuses of the answers to what is said."""
    return [status for status, _, _ in await said(await connect(api, *parts))]


def chunked(body: bytes, size: int) -> bytes:
    """A body in chunks."""
    parts = [body[place:place + size] for place in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


async def test_requests_behind_each_other_are_answered_in_order(alice: Api) -> None:
    """RFC 9112 section 9.3.2"""
    asked = [head(alice, path) for path in ("/request-count/", "/nowhere", "/collection/", "/healthz")] * 5
    answers = await said(await connect(alice, b"".join(asked) + LAST))
    assert [status for status, _, _ in answers] == [200, 404, 200, 200] * 5 + [200]
    counts = [json.loads(body)["requests"] for _, _, body in answers[::4][:5]]
    assert counts == sorted(counts)
    assert answers[-1][1]["Connection"] == "close" and "Connection" not in answers[0][1]


async def test_a_request_waits_for_the_one_before_it(
    alice: Api, app: MovieServer, resources: Resources, http_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only so much of what is behind it is taken as has room."""
    go, read = asyncio.Event(), resources.database.read_batched

    async def slow(*given: Any, **parameters: Any) -> Any:
        await go.wait()
        return await read(*given, **parameters)

    monkeypatch.setattr(resources.database, "read_batched", slow)
    before = set(http_server.connections)
    reader, writer = await connect(alice, head(alice, "/collection/"), b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    await until(lambda: bool(app.under_way))
    (connection,) = http_server.connections - before
    writer.write(b"".join(b"X-%d: %s\r\n" % (number, b"y" * 400) for number in range(100)))
    flood = asyncio.create_task(flooded(writer))
    await until(lambda: connection._paused)
    assert len(connection._buffer) < 2**20
    assert len(app.under_way) == 1
    go.set()
    assert (await reader.readline()).split()[1] == b"200"
    flood.cancel()
    writer.close()


async def flooded(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(HEALTH * 1000)
        await writer.drain()


async def test_bytes_one_by_one(alice: Api) -> None:
    text = json.dumps(collection()).encode()
    asked = (
        head(alice, "/collection/", "POST", Content_Length=len(text)) + text
        + head(alice, "/collection/", "POST", Transfer_Encoding="chunked") + chunked(text, 100) + LAST)
    reader, writer = await connect(alice)
    for place in range(len(asked)):
        writer.write(asked[place:place + 1])
        await writer.drain()
    assert [status for status, _, _ in await said((reader, writer))] == [201, 201, 200]


@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
async def test_a_body_in_chunks(alice: Api, size: int) -> None:
    """RFC 9112 section 7.1"""
    given = movies(20, description="d" * 500)
    text = chunked(json.dumps(collection(movies=given)).encode(), size)
    asked = head(alice, "/collection/", "POST", Transfer_Encoding="chunked") + text + LAST
    pieces, place = [], 0
    while place < len(asked):
        step = random.randrange(1, 5000)
        pieces.append(asked[place:place + step])
        place += step
    (status, _, body), (last, _, _) = await said(await connect(alice, *pieces))
    assert (status, last) == (201, 200)
    stored = await alice.get(f"/collection/{json.loads(body)['collection_uuid']}/")
    assert stored.json["movies"] == given


async def test_what_waits_to_be_told_to_go_on_is_told(alice: Api) -> None:
    """RFC 9110 section 10.1.1"""
    text = json.dumps(collection()).encode()
    reader, writer = await connect(
        alice, head(alice, "/collection/", "POST", Content_Length=len(text), Expect="100-continue", Connection="close"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(text)
    assert [status for status, _, _ in await said((reader, writer))] == [201]


@pytest.mark.parametrize("message", [
    b"nonsense\r\n\r\n", b"GET /healthz\r\n\r\n", b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nA\0b: c\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n" + b" " * 80,
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 70,
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2_000_000,
], ids=lambda message: repr(message[:60]) if isinstance(message, bytes) else "")
async def test_what_is_no_request_is_refused_and_nothing_behind_it_is_one(api: Api, message: bytes) -> None:
    """RFC 9112 sections 3, 5, 6 and 11.2: one that two might read differently is none."""
    before = (await api.get("/request-count/")).json["requests"]
    answers = await said(await connect(api, HEALTH + message + HEALTH))
    assert [status for status, _, _ in answers] == [200, 400]
    problem = json.loads(answers[1][2])
    assert (problem["status"], problem["request_id"]) == (400, answers[1][1]["X-Request-ID"])
    assert answers[1][1]["Connection"] == "close"
    assert (await api.get("/request-count/")).json["requests"] == before + 2


async def test_blank_lines_before_a_request(api: Api) -> None:
    """RFC 9112 section 2.2"""
    assert await statuses(api, b"\r\n\n\r\n" * 1000, HEALTH, b"\r\n" + LAST) == [200, 200]


async def test_what_an_older_client_says(api: Api) -> None:
    """RFC 9112 section 9.3 and appendix C.2.2"""
    assert await statuses(api, b"GET /healthz HTTP/1.0\r\n\r\n" + HEALTH) == [200]
    kept = b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answers = await said(await connect(api, kept * 2 + LAST))
    assert [headers.get("Connection") for _, headers, _ in answers] == ["keep-alive", "keep-alive", "close"]
    assert await statuses(api, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n\r\n" + HEALTH) == [200]


async def test_an_answer_to_head_has_no_body(alice: Api) -> None:
    """RFC 9110 section 9.3.2"""
    reader, writer = await connect(alice, head(alice, "/collection/", "HEAD") + LAST)
    before, _, behind = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert before.startswith(b"HTTP/1.1 200 ") and b"Content-Length: " in before
    assert behind.startswith(b"HTTP/1.1 200 ")


async def test_an_upgrade_is_not_taken(api: Api) -> None:
    """RFC 9110 section 7.8: the request is answered as it stands."""
    upgrade = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    assert await statuses(api, upgrade + LAST) == [200, 200]


async def test_many_small_chunks_leave_others_their_turn(alice: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MOST_STEPS", 10)
    text = json.dumps(collection(movies=movies(5))).encode()
    asked = head(alice, "/collection/", "POST", Transfer_Encoding="chunked") + chunked(text, 1) + LAST
    assert await statuses(alice, asked) == [201, 200]
