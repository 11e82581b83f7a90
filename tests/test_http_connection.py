"""HTTP/1.1 (RFC 9112) on a connection: where a request ends, the order of responses, refusals and time limits."""
from __future__ import annotations

import asyncio
import json
import random
import re
import time
import tracemalloc

import pytest
from tornado.httputil import HTTPHeaders, ResponseStartLine

from movieserver.errors import BadRequest
from movieserver.handlers.collections import CollectionsHandler
from movieserver.handlers.operations import HealthHandler
from movieserver.schemas.requests import MAX_BYTES
from movieserver.serving import connection, memory_limits, parser, request, syntax
from movieserver.serving.connection import Connection
from movieserver.serving.http_server import Server
from movieserver.serving.request import MovieServer
from tests.client import Api
from tests.factories import collection, movies
from tests.http_corpus import LAST
from tests.wire import Gate, Response, Streams, connect, crowd, exchange, head, port_of, responses, statuses, until

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def chunked(body: bytes, size: int) -> bytes:
    """A body in chunks."""
    parts = [body[start:start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


async def count(api: Api) -> int:
    requests: int = (await api.get("/request-count/")).json["requests"]
    return requests


async def opened(api: Api, server: Server, *parts: bytes) -> tuple[Connection, Streams]:
    """Both ends of a new connection."""
    before = set(server.connections)
    streams = await connect(port_of(api), *parts)
    await until(lambda: bool(set(server.connections) - before))
    (new,) = set(server.connections) - before
    return new, streams


def problem(response: Response) -> dict[str, object]:
    """The problem document of a refusal, which must have the usual headers."""
    found: dict[str, object] = json.loads(response.body)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert (found["status"], found["request_id"]) == (response.status, response.headers["X-Request-ID"])
    return found


# pipelining


async def test_pipelined_requests_get_responses_in_order(alice: Api) -> None:
    """RFC 9112 section 9.3.2"""
    sent = [head(alice, path) for path in ("/request-count/", "/nowhere", "/collection/", "/healthz")] * 5
    found = await exchange(alice, b"".join(sent) + LAST)
    assert [response.status for response in found] == [200, 404, 200, 200] * 5 + [200]
    counts = [json.loads(response.body)["requests"] for response in found[::4][:5]]
    assert counts == sorted(counts)
    assert found[-1].headers["Connection"] == "close" and "Connection" not in found[0].headers


async def test_a_request_waits_for_the_response_before_it(
    alice: Api, app: MovieServer, http_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading pauses meanwhile, so that a client that keeps sending takes little memory."""
    gate = Gate(monkeypatch, CollectionsHandler)
    new, (reader, writer) = await opened(alice, http_server, head(alice, "/collection/"))
    await until(lambda: bool(app.active))

    async def flood() -> None:
        while True:
            writer.write(HEALTH * 1000)
            await writer.drain()

    flooding = asyncio.create_task(flood())
    await until(lambda: new.reading_paused)
    assert app.memory.total < 2**20
    assert len(app.active) == 1
    gate.open()
    for _ in range(2000):  # so many that reading must have resumed
        assert (await reader.readline()).split()[1] == b"200"
        await reader.readuntil(b"}\n")
    flooding.cancel()
    writer.close()


async def test_a_request_may_arrive_byte_by_byte(alice: Api) -> None:
    body = json.dumps(collection()).encode()
    sent = (
        head(alice, "/collection/", "POST", Content_Length=len(body)) + body
        + head(alice, "/collection/", "POST", Transfer_Encoding="chunked") + chunked(body, 100) + LAST)
    assert await statuses(alice, *[sent[index:index + 1] for index in range(len(sent))]) == [201, 201, 200]


@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
async def test_a_body_in_chunks(alice: Api, size: int) -> None:
    """RFC 9112 section 7.1"""
    stored = movies(20, description="d" * 500)
    body = chunked(json.dumps(collection(movies=stored)).encode(), size)
    sent = head(alice, "/collection/", "POST", Transfer_Encoding="chunked") + body + LAST
    parts, start = [], 0
    while start < len(sent):
        length = random.randrange(1, 5000)
        parts.append(sent[start:start + length])
        start += length
    first, last = await exchange(alice, *parts)
    assert (first.status, last.status) == (201, 200)
    assert (await alice.get(first.headers["Location"])).json["movies"] == stored


async def test_extensions_and_trailers_are_not_part_of_the_body(alice: Api) -> None:
    """RFC 9112 sections 7.1.1 and 7.1.2"""
    title = json.dumps({"title": "chunks"}).encode()
    body = b'%x;a="b;c"\r\n%s\r\n0;last\r\nTitle: trailer\r\nContent-Length: 7\r\n\r\n' % (len(title), title)
    sent = head(alice, "/collection/", "POST", Transfer_Encoding="chunked") + body
    first, last = await exchange(alice, sent + LAST)
    assert (first.status, last.status) == (201, 200)
    assert (await alice.get(first.headers["Location"])).json["title"] == "chunks"


async def test_many_small_chunks_do_not_block_other_connections(
    alice: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parser, "MAX_STEPS", 10)
    body = json.dumps(collection(movies=movies(5))).encode()
    sent = head(alice, "/collection/", "POST", Transfer_Encoding="chunked") + chunked(body, 1) + LAST
    assert await statuses(alice, sent) == [201, 200]


async def test_a_response_to_head_has_no_body(alice: Api) -> None:
    """RFC 9110 section 9.3.2"""
    sent = head(alice, "/collection/", "HEAD") + head(alice, "/healthz", "HEAD", Connection="close")
    found = await responses(await connect(port_of(alice), sent), to_head=True)
    assert [response.status for response in found] == [200, 200]
    assert all(int(response.headers["Content-Length"]) > 0 for response in found)


async def test_http_1_0_responses(api: Api) -> None:
    """RFC 9112 section 9.3 and appendix C.2.2"""
    keep_alive = b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    found = await exchange(api, keep_alive * 2 + LAST)
    assert [response.headers.get("Connection") for response in found] == ["keep-alive", "keep-alive", "close"]


async def test_without_host_links_name_the_address_of_the_connection(alice: Api) -> None:
    """RFC 9112 section 3.2: with HTTP/1.0"""
    for _ in range(2):
        await alice.post("/collection/", collection())
    sent = head(alice, "/collection/?limit=1").replace(b"HTTP/1.1", b"HTTP/1.0")
    [response] = await responses(await connect(port_of(alice), re.sub(rb"Host: .*\r\n", b"", sent)))
    assert json.loads(response.body)["next"].startswith(f"http://127.0.0.1:{port_of(alice)}/collection/?limit=1&")


# half-closed connections


async def test_a_client_that_half_closes_gets_its_response(
    alice: Api, app: MovieServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9112 section 9.6: also if the response is slow or large."""
    body = json.dumps(collection(movies=movies(1000, description="d" * 3000))).encode()
    post = head(alice, "/collection/", "POST", Content_Length=len(body)) + body
    gate = Gate(monkeypatch, CollectionsHandler)
    streams = await connect(port_of(alice), post, head(alice, "/collection/"))
    streams[1].write_eof()
    await until(lambda: [request.method for request in app.active] == ["GET"])
    gate.open()
    created, listed = await responses(streams)
    assert (created.status, listed.status) == (201, 200)
    assert len(json.loads(listed.body)["data"]["collections"][0]["movies"]) == 1000
    assert listed.headers["Connection"] == "close"


async def test_an_incomplete_request_is_400(alice: Api) -> None:
    """RFC 9112 section 8"""
    before = await count(alice)
    sent = head(alice, "/collection/", "POST", Content_Length=100) + b'{"title": '
    (refused,) = await exchange(alice, sent, half_close=True)
    assert problem(refused)["detail"] == "The request ended before it was complete. Send it again."
    assert await count(alice) == before + 2
    assert (await alice.get("/collection/")).json["count"] == 0


async def test_a_client_that_leaves_between_requests_is_no_error(api: Api, http_server: Server) -> None:
    before = await count(api)
    _, (reader, writer) = await opened(api, http_server, HEALTH)
    await reader.readuntil(b"}\n")
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    assert await count(api) == before + 1


# refusals


async def test_a_malformed_request_is_a_counted_problem(api: Api) -> None:
    """Nothing after it is parsed as a request (RFC 9112 section 11.2)."""
    before = await count(api)
    accepted, refused = await exchange(api, HEALTH + b"hello\r\n\r\n" + HEALTH)
    assert accepted.status == 200
    assert "request line" in str(problem(refused)["detail"])
    assert (refused.status, refused.headers["Connection"]) == (400, "close")
    assert {"Date", "Cache-Control"} <= set(refused.headers)
    assert await count(api) == before + 2


async def test_a_host_with_a_very_long_port(api: Api) -> None:
    before = await count(api)
    for digits in (6, 100, 4301, 5000):
        (refused,) = await exchange(api, b"GET /healthz HTTP/1.1\r\nHost: x:%s\r\n\r\n" % (b"1" * digits))
        assert refused.status == 400
        assert "Host" in str(problem(refused)["detail"])
    assert await count(api) == before + 5


async def test_an_internal_error_while_reading_a_request_is_a_counted_problem(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await count(api)

    def fail(*given: object) -> None:
        raise RuntimeError("a secret of ours")

    for module, name in ((syntax, "parse_head"), (syntax, "keeps_alive"), (syntax, "body_length")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            (refused,) = await exchange(api, HEALTH + HEALTH)
        assert (refused.status, problem(refused)["code"]) == (500, "internal_error")
        assert b"secret" not in refused.body and b"Runtime" not in refused.body
    monkeypatch.setattr(MovieServer, "find", fail)
    (refused,) = await exchange(api, HEALTH)
    assert refused.status == 500
    monkeypatch.undo()
    assert await count(api) == before + 5


async def test_a_head_is_refused_as_soon_as_it_is_too_large(api: Api, http_server: Server) -> None:
    """RFC 6585 section 5: without waiting for its end, and without storing it."""
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    for rest in (b"a: b\r\n" * 101, b"a" * 65_536, b"a: b\n" * 101):
        (refused,) = await exchange(api, start + rest)
        assert (refused.status, problem(refused)["code"]) == (431, "headers_too_large")
        assert "65536 bytes" in str(problem(refused)["detail"])
        assert "100 headers" in str(problem(refused)["detail"])
    await until(lambda: len(http_server.connections) <= 1)
    assert http_server.memory.total == 0


@pytest.mark.parametrize("rest", [b"", b"\r\nContent-Length: 10\r\n\r\n{"], ids=["half a head", "half a body"])
async def test_the_memory_for_large_heads_is_limited(
    api: Api, http_server: Server, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    """Before a token is known: 503 for a connection that would exceed the limit of all of them."""
    monkeypatch.setattr(memory_limits, "REQUEST_BYTES_PER_USER", 310_000)
    half = b"POST /login/ HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 60_000 + rest
    async with crowd(api, 5, half):
        await until(lambda: http_server.memory.total >= 5 * 60_000)
        (refused,) = await exchange(api, half)
        assert (refused.status, problem(refused)["code"]) == (503, "overloaded")
        assert refused.headers["Retry-After"] == "1"
        assert await statuses(api, HEALTH + LAST) == [200, 200]
        assert http_server.memory.total <= 310_000
    await until(lambda: http_server.memory.total == 0)
    assert await statuses(api, HEALTH[:-2] + b"A: " + b"a" * 60_000 + b"\r\n\r\n" + LAST) == [200, 200]
    assert http_server.memory.total == 0


async def test_bodies_that_are_refused_are_not_kept(api: Api, app: MovieServer) -> None:
    """Not even by the traceback of the refusal, whose frames have the bytes that came."""
    size, count = 200_000, 20
    body = b"POST /collection/ HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n" + b"a" * size
    tracemalloc.start()
    try:
        async with crowd(api, count, body):
            await until(lambda: sum(bool(request.refusal) for request in app.active) == count)
            await until(lambda: tracemalloc.get_traced_memory()[0] < count * size / 4)
    finally:
        tracemalloc.stop()


async def test_pipelined_requests_beyond_the_memory_limit_are_dropped(
    alice: Api, app: MovieServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response before them says that the connection closes, so the client sends them again (RFC 9112 9.3.2)."""
    monkeypatch.setattr(memory_limits, "REQUEST_BYTES_PER_USER", 30_000)
    gate = Gate(monkeypatch, CollectionsHandler)
    streams = await connect(port_of(alice), head(alice, "/collection/"))
    await until(lambda: bool(app.active))
    streams[1].write(HEALTH * 2000)
    await streams[1].drain()
    await asyncio.sleep(0)
    gate.open()
    found = await responses(streams)
    assert found[0].status == 200
    assert len(found) < 2000
    assert found[-1].headers["Connection"] == "close"
    assert app.memory.total == 0


async def test_pipelined_requests_are_dropped_behind_a_response_that_is_not_sent_yet(
    alice: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends with that response: what follows would be parsed from the middle."""
    assert (await alice.post("/collection/", collection(movies=movies(500, description="d" * 9_000)))).status == 201
    monkeypatch.setattr(memory_limits, "REQUEST_BYTES_PER_USER", 30_000)
    reader, writer = await connect(port_of(alice), head(alice, "/collection/"))
    sent = await reader.readuntil(b"\r\n\r\n")
    writer.write(HEALTH * 2000)
    await writer.drain()
    body = await reader.read()
    writer.close()
    length = re.search(rb"Content-Length: (\d+)", sent)
    assert length and len(body) == int(length[1]) > 4_500_000


# request targets


async def test_the_authority_of_an_absolute_target_is_the_host(alice: Api) -> None:
    """RFC 9112 section 3.2.2; links use it too."""
    for _ in range(2):
        await alice.post("/collection/", collection())
    for target, address in (
        ("http://films.example:81/collection/?limit=1", "http://films.example:81/collection/?"),
        ("HTTP://[::1]/collection?limit=1", "http://[::1]/collection/?"),
        ("/collection/?limit=1", "http://other.example/collection/?"),
    ):
        (listed,) = await exchange(alice, head(alice, target, Host="other.example", Connection="close"))
        assert json.loads(listed.body)["next"].startswith(address)
        assert address in listed.headers["Link"]


async def test_an_absolute_target_without_a_path(alice: Api) -> None:
    """RFC 9112 section 3.2.1: its path is /."""
    paths = [(await exchange(alice, head(alice, target, Connection="close")))[0] for target in (
        "http://x", "http://x?a=b", "http://x/", "/")]
    assert len({(response.status, response.headers.get("Location")) for response in paths}) == 1


async def test_options_of_the_whole_server(api: Api) -> None:
    """RFC 9110 section 9.3.7"""
    (whole,) = await exchange(api, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (whole.status, whole.body) == (204, b"")
    assert set(whole.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


# 100 Continue


async def test_expect_continue_gets_100(alice: Api) -> None:
    """RFC 9110 section 10.1.1"""
    body = json.dumps(collection()).encode()
    for expectation, framing in (("100-continue", {"Content_Length": len(body)}), ("100-Continue", {
            "Transfer_Encoding": "chunked"}), ("x, 100-continue", {"Content_Length": len(body)})):
        reader, writer = await connect(port_of(alice), head(
            alice, "/collection/", "POST", Expect=expectation, Connection="close", **framing))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body if "Content_Length" in framing else chunked(body, 10))
        assert [response.status for response in await responses((reader, writer))] == [201]


async def test_expect_continue_gets_the_refusal_before_the_body(alice: Api, app: MovieServer) -> None:
    """RFC 9110 section 10.1.1: at once, with the same response as after a body, and counted once."""
    unknown = alice.signed("no.token.of.ours")
    waiting: dict[str, object] = {"Expect": "100-continue", "Content_Length": 10}
    for client, method, path, fields, status in (
        (unknown, "POST", "/collection/", waiting, 401), (unknown, "PUT", "/collection/x/", waiting, 401),
        (alice, "POST", "/collection/", waiting | {"Content_Length": MAX_BYTES + 1}, 413),
        (alice, "POST", "/login/", waiting | {"Content_Length": 10**19}, 413),
        (alice, "POST", "/collection/", waiting | {"Content_Type": "text/plain"}, 415),
        (alice, "POST", "/login/", waiting | {"Content_Type": "multipart/form-data"}, 415),
        (alice, "POST", "/collection/", waiting | {"Content_Encoding": "gzip"}, 415),
        (alice, "DELETE", "/account/", waiting | {"Content_Type": "text/plain"}, 415),
        (alice, "POST", "/nowhere", waiting, 404), (alice, "POST", "/movies/", waiting, 405),
    ):
        before = await count(alice)
        (refused,) = await exchange(client, head(client, path, method, **fields))
        assert refused.status == status
        assert refused.headers["Connection"] == "close"
        assert problem(refused)["detail"]
        assert await count(alice) == before + 2
    assert (await alice.get("/collection/")).json["count"] == 0
    await until(lambda: not app.active)


async def test_details_of_refusals_before_the_body(alice: Api) -> None:
    """The same as those after the body."""
    body = json.dumps(collection()).encode()
    for fields in ({"Authorization": "Bearer x"}, {"Content_Type": "text/plain"}):
        early, late = [
            (await exchange(alice, head(
                alice, "/collection/", "POST", Content_Length=len(body), Connection="close", **fields, **more), *sent)
             )[0] for more, sent in (({"Expect": "100-continue"}, ()), ({}, (body,)))]
        texts = [{**json.loads(response.body), "request_id": ""} for response in (early, late)]
        assert texts[0] == texts[1]
        assert early.headers.keys() == late.headers.keys()


async def test_no_100_without_expect_continue(alice: Api) -> None:
    """RFC 9110 section 10.1.1: with HTTP/1.0, after the body has begun, or without Expect."""
    body = json.dumps(collection()).encode()
    waiting = head(alice, "/collection/", "POST", Expect="100-continue", Content_Length=len(body), Connection="close")
    assert await statuses(alice, waiting + body) == [201]
    assert await statuses(alice, waiting.replace(b"HTTP/1.1", b"HTTP/1.0"), body) == [201]
    assert await statuses(alice, waiting.replace(b"Expect", b"Except"), body) == [201]
    refused = waiting.replace(b"Bearer ", b"Bearer x").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert await statuses(alice, refused, body) == [401]


async def test_an_endless_refused_body_is_not_read_forever(alice: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "IGNORED_BYTES", MAX_BYTES + 2**20)
    sent = head(alice, "/collection/", "POST", Transfer_Encoding="chunked")
    reader, writer = await connect(port_of(alice), sent)

    async def flood() -> None:
        while True:
            writer.write(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
            await writer.drain()

    flooding = asyncio.create_task(flood())
    assert (await reader.readline()).split()[1] == b"413"
    flooding.cancel()
    writer.close()


# time limits


async def test_a_slow_body_needs_progress(
    alice: Api, http_server: Server, app: MovieServer
) -> None:
    """It may take long if BODY_BYTES arrive in BODY_SECONDS; otherwise 408 (RFC 9110 section 15.5.9)."""
    body = json.dumps(collection(description="d" * 5000, movies=movies(20, description="d" * 5000))).encode()
    sent = head(alice, "/collection/", "POST", Content_Length=len(body), Connection="close")
    new, (reader, writer) = await opened(alice, http_server, sent)
    await until(lambda: bool(app.active))
    now = time.monotonic()
    for start in range(0, len(body) - 20_000, 20_000):
        writer.write(body[start:start + 20_000])
        await until(lambda: app.memory.total > 0 or start == 0)
        await asyncio.sleep(0.05)
        now += connection.BODY_SECONDS + 1
        new.check_timeouts(now)
    writer.write(body[start + 20_000:])
    assert [response.status for response in await responses((reader, writer))] == [201]


async def test_a_body_that_stops_arriving(alice: Api, http_server: Server, app: MovieServer) -> None:
    before = await count(alice)
    sent = head(alice, "/collection/", "POST", Content_Length=50_000) + b"x" * (connection.BODY_BYTES - 1)
    new, streams = await opened(alice, http_server, sent)
    await until(lambda: bool(app.active))
    new.check_timeouts(time.monotonic() + connection.BODY_SECONDS - 1)
    assert app.active
    new.check_timeouts(time.monotonic() + connection.BODY_SECONDS + 1)
    (refused,) = await responses(streams)
    assert (refused.status, problem(refused)["code"]) == (408, "request_timeout")
    assert f"{connection.BODY_BYTES} bytes" in str(problem(refused)["detail"])
    assert refused.headers["Connection"] == "close"
    assert not app.active
    assert await count(alice) == before + 2


async def test_a_head_that_stops_arriving(api: Api, http_server: Server) -> None:
    new, streams = await opened(api, http_server, HEALTH + b"GET /healthz HTTP/1.1\r\nHo")
    await streams[0].readuntil(b"}\n")
    new.check_timeouts(time.monotonic() + connection.IDLE_SECONDS - 1)
    new.check_timeouts(time.monotonic() + connection.IDLE_SECONDS + 1)
    (refused,) = await responses(streams)
    assert (refused.status, problem(refused)["code"]) == (408, "request_timeout")


async def test_an_idle_connection_is_closed_without_a_response(api: Api, http_server: Server) -> None:
    for sent in (b"", HEALTH):
        new, (reader, writer) = await opened(api, http_server, sent)
        if sent:
            await reader.readuntil(b"}\n")
        new.check_timeouts(time.monotonic() + connection.IDLE_SECONDS + 1)
        assert await reader.read() == b""
        writer.close()


# responses


@pytest.mark.parametrize("fault", [
    "CR LF in a value", "not Latin-1", "CR in the reason", "LF in a name", "too long", "too short", "no head"])
async def test_a_response_of_the_wrong_length_aborts_the_connection(
    api: Api, app: MovieServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """RFC 9112 sections 6.3 and 11.1: no injected header line, and exactly the declared length."""
    def get(handler: HealthHandler) -> None:
        headers, reason = HTTPHeaders({"Content-Length": "5"}), "OK"
        if fault == "CR LF in a value":
            headers["Location"] = "/\r\nSet-Cookie: a=b"
        elif fault == "not Latin-1":
            headers["Title"] = "\u0100"
        elif fault == "LF in a name":
            headers["A\nB"] = "c"
        elif fault == "CR in the reason":
            reason = "OK\rX: y"
        writer = handler.request.connection
        assert writer
        if fault != "no head":
            body = {"too long": b"helloo", "too short": b"hell"}.get(fault, b"hello")
            writer.write_headers(ResponseStartLine("HTTP/1.1", 200, reason), headers, body)
        else:
            writer.write(b"hello")
        writer.finish()

    monkeypatch.setattr(HealthHandler, "get", get)
    reader, writer = await connect(port_of(api), HEALTH + HEALTH)
    text = await reader.read()
    writer.close()
    assert b"Set-Cookie" not in text and b"X: y" not in text and b"helloo" not in text
    assert text.count(b"HTTP/1.1") <= (fault == "too short")
    await until(lambda: not app.active)
    assert (await api.get("/request-count/")).status == 200


async def test_a_client_that_keeps_sending_gets_its_refusal(api: Api) -> None:
    """RFC 9112 section 9.6: the server keeps reading, because a reset could discard the response."""
    reader, writer = await connect(port_of(api), b"hello\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(10):
        writer.write(b"x" * 100_000)
        await writer.drain()
    assert json.loads(await reader.read())["status"] == 400
    writer.close()


def test_a_refusal_says_what_to_do() -> None:
    for head_text in ("GET /\n\n", "GET / HTTP/1.1\nA\n\n", "GET / HTTP/1.1\nA: \0\n\n"):
        with pytest.raises(BadRequest) as raised:
            syntax.parse_head(head_text)
        assert str(raised.value) not in ("", BadRequest.detail)
