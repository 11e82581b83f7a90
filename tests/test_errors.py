"""Errors: one form for all of them; methods, slashes, bodies."""
from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from movieserver.handlers.base import Handler
from movieserver.postgres.statements import Statement
from movieserver.resources import Resources
from tests.client import REQUEST_ID, Response, Api, assert_problem
from tests.factories import collection, registration

PATHS = {
    "/register/": "POST, OPTIONS",
    "/login/": "POST, OPTIONS",
    "/refresh/": "POST, OPTIONS",
    "/logout/": "POST, OPTIONS",
    "/movies/": "GET, HEAD, OPTIONS",
    "/collection/": "GET, POST, HEAD, OPTIONS",
    "/collections/": "GET, POST, HEAD, OPTIONS",
    "/collection/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
    "/collections/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
    "/collection/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/movies/": "POST, OPTIONS",
    "/collections/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/movies/": "POST, OPTIONS",
    "/collection/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/movies/57baf4f4-c9ef-4197-9e4f-acf04eae5b4e/": "DELETE, OPTIONS",
    "/collection/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/order/": "PUT, OPTIONS",
    "/movies/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/collections/": "GET, HEAD, OPTIONS",
    "/genres/": "GET, HEAD, OPTIONS",
    "/limits/": "GET, HEAD, OPTIONS",
    "/request-count/": "GET, HEAD, OPTIONS",
    "/request-count/reset/": "POST, OPTIONS",
    "/healthz/": "GET, HEAD, OPTIONS",
    "/readyz/": "GET, HEAD, OPTIONS",
    "/metrics/": "GET, HEAD, OPTIONS",
}
BYTES = 8 * 1024 * 1024
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("slash", ["/", ""])
async def test_methods(alice: Api, path: str, slash: str) -> None:
    for method in METHODS:
        response = await alice.call(method, path.rstrip("/") + slash)
        if method in PATHS[path].split(", "):
            assert response.status != 405
        else:
            assert response.status == 405
            assert response.headers["Allow"] == PATHS[path]


@pytest.mark.parametrize("path", PATHS)
async def test_options(api: Api, path: str) -> None:
    response = await api.call("OPTIONS", path)
    assert (response.status, response.headers["Allow"], response.body) == (204, PATHS[path], b"")


@pytest.mark.parametrize("path", [path for path, allowed in PATHS.items() if "GET" in allowed and path != "/metrics/"])
async def test_head_is_get_without_a_body(alice: Api, path: str) -> None:
    get, head = await alice.get(path), await alice.call("HEAD", path)
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize("path", [
    "/nowhere", "/collection//", "/collection/x/y", "/%ff", "//", "/REGISTER/", "/collectionx/",
    "/request-count/x",
])
async def test_unknown_paths(api: Api, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "HEAD", "FOO", "OPTIONS"):
        assert (await api.call(method, path)).status == 404


async def test_absolute_request_targets(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base_url.rpartition(":")[2]))
    writer.write(b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_nan_and_infinity_are_allowed_in_texts(alice: Api) -> None:
    assert (await alice.post("/collection/", {"title": "NaN and Infinity"})).status == 201


async def test_success_is_json(alice: Api) -> None:
    for path in ("/collection/", "/request-count/", "/healthz", "/movies/"):
        assert (await alice.get(path)).headers["Content-Type"] == "application/json"


async def test_a_well_formed_request_id_is_taken(api: Api) -> None:
    for path in ("/healthz", "/nowhere", "/collection/"):
        assert (await api.get(path, headers={"X-Request-ID": "abc-1.2_3"})).headers["X-Request-ID"] == "abc-1.2_3"
    for bad in ("", "x" * 65, "a b", "a,b", "é", "<x>"):
        response = await api.get("/healthz", headers={"X-Request-ID": bad})
        assert response.headers["X-Request-ID"] != bad
        assert REQUEST_ID.fullmatch(response.headers["X-Request-ID"])


async def test_private_responses_are_not_cached(alice: Api, api: Api) -> None:
    uuid = (await alice.post("/collection/", collection())).json["collection_uuid"]
    for path in ("/collection/", f"/collection/{uuid}/", "/collection/x/", "/nowhere", "/request-count/", "/healthz"):
        for client in (alice, api):
            assert (await client.get(path)).headers["Cache-Control"] == "no-store"
    for path in ("/register/", "/login/", "/collection/"):
        assert (await alice.post(path, {})).headers["Cache-Control"] == "no-store"
    assert (await alice.get("/movies/?page=0")).headers["Cache-Control"] == "no-store"


async def test_the_server_does_not_name_its_software(api: Api) -> None:
    for path in ("/healthz", "/nowhere"):
        assert "Server" not in (await api.get(path)).headers


BAD_JSON = {
    "empty": b"",
    "cut": b'{"title": "x"',
    "no JSON": b"title=x",
    "a number": b"7",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"x"',
    "invalid UTF-8": b'{"title": "\xff"}',
    "a lone surrogate": b'{"title": "\\ud800"}',
    "a lone low surrogate": b'{"title": "\\udc00 x"}',
    "an escaped NUL in what is no JSON": b'{"title": "\\u0000"',
    "NUL": b'{"title": "\\u0000"}',
    "NUL in an ignored text": b'{"title": "a", "x": ["\\u0000"]}',
    "NUL in an ignored key": b'{"title": "a", "x\\u0000": 1}',
    "a raw control character": b'{"title": "\n"}',
    "brackets": b"[" * 100_000,
    "closed brackets": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"title":' * 100_000,
    "nested where it is ignored": b'{"title": "x", "other": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "UTF-16": '{"title": "x"}'.encode("utf-16"),
    "a comma too many": b'{"title": "x",}',
    "something behind": b'{"title": "x"} x',
    "NaN": b'{"title": "x", "other": NaN}',
    "infinity": b'{"title": "x", "other": -Infinity}',
}


@pytest.mark.parametrize("case", BAD_JSON)
async def test_invalid_bodies(alice: Api, case: str) -> None:
    uuid = (await alice.post("/collection/", collection())).json["collection_uuid"]
    for method, path in (("POST", "/collection/"), ("PUT", f"/collection/{uuid}/"), ("POST", "/register/")):
        assert (await alice.call(method, path, raw=BAD_JSON[case])).status == 400


async def test_fuzzed_bodies_never_cause_500(alice: Api) -> None:
    values: list[Any] = [None, True, 0, -1, 1.5, 1e308, 10**400, "", "x", "\0", [], {}, [[]], [{}], [None], {"a": 1}]
    uuid = (await alice.post("/collection/", collection())).json["collection_uuid"]
    for value in values:
        for body in (value, {"title": value}, {"title": "x", "description": value}, {"title": "x", "movies": value},
                     {"title": "x", "movies": [value]}, {"username": value, "password": value},
                     {"refresh_token": value}, {"title": "x", "movies": [{"uuid": value, "title": value}]}):
            for method, path in (("POST", "/collection/"), ("PUT", f"/collection/{uuid}/"), ("POST", "/register/"),
                                 ("POST", "/login/"), ("POST", "/refresh/"), ("POST", "/logout/")):
                assert (await alice.call(method, path, raw=json.dumps(body).encode())).status < 500


@pytest.mark.parametrize("kind", [
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data",
    "application/xml", "application/jsonx", "nonsense",
])
async def test_a_body_declared_as_another_type_is_415(alice: Api, kind: str) -> None:
    for path in ("/collection/", "/login/"):
        response = await alice.post(path, collection(), headers={"Content-Type": kind})
        assert response.status == 415


@pytest.mark.parametrize("kind", [
    "application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json",
])
async def test_a_body_declared_as_json_is_accepted(alice: Api, kind: str) -> None:
    assert (await alice.post("/collection/", collection(), headers={"Content-Type": kind})).status == 201


def padded(size: int) -> bytes:
    body = json.dumps({**collection(), "ignored": ""}).encode()
    return body[:-2] + b"x" * (size - len(body)) + body[-2:]


async def test_a_body_of_the_largest_size(alice: Api) -> None:
    assert (await alice.post("/collection/", raw=padded(BYTES))).status == 201


@pytest.mark.parametrize("size", [BYTES + 1, 3 * BYTES])
async def test_a_larger_body(alice: Api, size: int) -> None:
    response = await alice.post("/collection/", raw=padded(size))
    assert response.status == 413
    assert str(BYTES) in response.json["detail"]
    assert (await alice.get("/collection/")).json["count"] == 0


async def test_a_larger_body_in_chunks(alice: Api) -> None:
    port = int(alice.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /collection/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Authorization: Bearer " + str(alice.token).encode() + b"\r\n\r\n")
    for _ in range(9):
        writer.write(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "a bad version": b"GET / HTTP/9.9x\r\nHost: x\r\n\r\n",
    "a bad header": b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
    "no Host": b"GET /request-count/ HTTP/1.1\r\n\r\n",
    "a bad Host": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a bad length": b"POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "two lengths": b"POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "a bad chunk": b"POST /login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
    "a length and chunks":
        b"POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "too many query arguments": b"GET /?" + b"&".join([b"a=1"] * 5000) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_what_is_not_http(api: Api, case: str) -> None:
    before = (await api.get("/request-count/")).json["requests"]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base_url.rpartition(":")[2]))
    writer.write(MALFORMED[case])
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode().split("\r\n")
    headers = HTTPHeaders.parse("\r\n".join(lines))
    assert status.startswith("HTTP/1.1 400 ")
    assert REQUEST_ID.fullmatch(headers["X-Request-ID"])
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    assert_problem(Response(400, headers, body, json.loads(body)))
    assert (await api.get("/request-count/")).json["requests"] == before + 2


async def test_an_unexpected_error_reveals_nothing(
    alice: Api, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    for statement in ("SELECT 1/0", "SELECT nothing FROM nowhere_at_all", "SELEKT"):
        resources.database.statements["collections.list_page"] = Statement(statement)
        response = await alice.get("/collection/")
        assert response.status in (500, 503)
        assert b"nowhere" not in response.body and b"zero" not in response.body
    monkeypatch.setattr(Handler, "query", None)
    response = await alice.get("/collection/")
    assert response.status == 500
    assert b"NoneType" not in response.body
    monkeypatch.undo()
    assert (await alice.get("/request-count/")).status == 200


async def test_a_cancelled_handler_still_responds(
    alice: Api, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(*given: Any, **named: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(resources.database, "run", cancelled)
    assert (await alice.get("/sessions/")).status == 500


async def test_a_taken_name(api: Api) -> None:
    body = registration()
    await api.post("/register/", body)
    response = await api.post("/register/", body)
    assert (response.status, response.json["code"]) == (409, "conflict")
