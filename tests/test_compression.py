"""gzip for clients that accept it (RFC 9110 sections 8.4.1.3 and 12.5.3)."""
from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from movieserver.http.compression import Compressor, accepts_gzip
from movieserver.resources import Resources
from tests.client import Api
from tests.conftest import SignUp
from tests.factories import movies
from tests.test_collections import created, many


async def fetched(api: Api, path: str, accept: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """A response as it was sent, not decompressed."""
    response = await api.http.fetch(
        api.base_url + path, method=method, decompress_response=False, raise_error=False,
        headers={"Authorization": f"Bearer {api.token}", "Accept-Encoding": accept, **headers})
    return response.code, response.headers, response.body


@pytest.mark.parametrize("count", [5, 200])
async def test_the_gzipped_body_is_the_same(alice: Api, count: int) -> None:
    path = f"/collection/{await created(alice, movies=movies(count))}/"
    for read in (path, "/collection/"):
        _, plain_headers, plain = await fetched(alice, read, "identity")
        _, headers, body = await fetched(alice, read, "gzip")
        assert "Content-Encoding" not in plain_headers
        assert headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(body) == plain
        assert int(headers["Content-Length"]) == len(body) < len(plain)
        assert plain_headers["Vary"] == headers["Vary"] == "Accept-Encoding"
        assert plain_headers["ETag"] != headers["ETag"]
        _, head, nothing = await fetched(alice, read, "gzip", "HEAD")
        assert (head["Content-Length"], head["ETag"], nothing) == (headers["Content-Length"], headers["ETag"], b"")


async def test_a_small_body_is_not_compressed(alice: Api) -> None:
    await created(alice, movies=[])
    _, headers, _ = await fetched(alice, "/collection/", "gzip")
    assert "Content-Encoding" not in headers
    assert headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("accept_encoding, welcome", [
    ("gzip", True), ("GZIP", True), ("x-gzip", True), ("*", True), ("br, gzip", True), ("gzip;q=0.1", True),
    ("deflate, gzip;q=1.0, *;q=0.5", True), ("br;q=1.0, gzip; q=0.8, *;q=0.1", True), ("gzip, identity", True),
    ("gzip;q=0.5, identity;q=0.4", True), ("identity;q=0, gzip", True),
    ("", False), ("identity", False), ("br", False), ("gzip;q=0", False), ("gzip;q=0.000, *", False), ("*;q=0", False),
    ("gzip;q=0.4, identity;q=0.5", False), ("gzip;q=x", False), ("gzip;q=", False), ("gzippy", False), (";,;", False),
    ("gzip;q=nan", False),
])
async def test_which_clients_accept_gzip(accept_encoding: str, welcome: bool) -> None:
    assert accepts_gzip(accept_encoding) is welcome


async def test_each_coding_has_its_own_tag_of_the_same_version(alice: Api) -> None:
    path = f"/collection/{await created(alice, movies=movies(20))}/"
    for accept, other in (("gzip", "identity"), ("identity", "gzip")):
        _, headers, _ = await fetched(alice, path, accept)
        tag = headers["ETag"]
        assert (await fetched(alice, path, accept, **{"If-None-Match": tag}))[0] == 304
        assert (await fetched(alice, path, other, **{"If-None-Match": tag}))[0] == 200
        assert (await fetched(alice, path, other, **{"If-Match": tag}))[0] == 200
        assert (await alice.put(path, {"title": "by its tag"}, headers={"If-Match": tag})).status == 200
        assert (await alice.put(path, {"title": "too late"}, headers={"If-Match": tag})).status == 412


@pytest.mark.parametrize("mark", ["-gzip", "--gzip", "-br", ";gzip"])
async def test_a_tag_that_a_proxy_marked_names_its_version(alice: Api, mark: str) -> None:
    for count in (0, 20):
        path = f"/collection/{await created(alice, movies=movies(count))}/"
        _, headers, _ = await fetched(alice, path, "gzip")
        tag = headers["ETag"]
        marked = f'{tag[:-1]}{mark}"'
        for accept, sent in (("gzip", marked), ("gzip, br", f'W/{marked}'), ("br", f'"x", {marked}')):
            status, again, body = await fetched(alice, path, accept, **{"If-None-Match": sent})
            if mark == ";gzip":
                assert status == 200
            else:
                assert (status, again["ETag"], body) == (304, marked, b"")
        assert (await fetched(alice, path, "identity", **{"If-None-Match": marked}))[0] == 200
        await alice.put(path, {"title": "another version"})
        assert (await fetched(alice, path, "gzip", **{"If-None-Match": marked}))[0] == 200


async def test_compressing_large_bodies_does_not_block_other_requests(alice: Api, sign_up: SignUp) -> None:
    for _ in range(2):
        await created(alice, movies=[{**movie, "description": "d" * 700} for movie in many(5000)])
    bob = await sign_up()
    large = [asyncio.ensure_future(fetched(alice, "/collection/", "gzip")) for _ in range(4)]
    while not all(response.done() for response in large):
        assert (await bob.get("/collection/")).status == 200
    _, plain_headers, plain = await fetched(alice, "/collection/", "identity")
    for status, headers, body in (response.result() for response in large):
        assert (status, headers["Content-Encoding"]) == (200, "gzip")
        assert gzip.decompress(body) == plain


async def test_large_bodies_are_not_compressed_while_many_wait(alice: Api, resources: Resources) -> None:
    await created(alice, movies=movies(200))
    resources.compressor.waiting = 100
    status, headers, body = await fetched(alice, "/collection/", "gzip")
    assert status == 200
    assert "Content-Encoding" not in headers
    assert headers["ETag"] == (await fetched(alice, "/collection/", "identity"))[1]["ETag"]
    resources.compressor.waiting = 0
    assert (await fetched(alice, "/collection/", "gzip"))[1]["Content-Encoding"] == "gzip"


async def test_waiting_bodies_are_counted() -> None:
    compressor = Compressor()
    bodies = [bytes([number]) * 100_000 for number in range(20)]
    packed = asyncio.gather(*[compressor.gzip(body) for body in bodies])
    await asyncio.sleep(0)
    assert compressor.waiting == 20
    assert not compressor.should_compress("gzip", 100_000)
    assert compressor.should_compress("gzip", 2000)
    assert [gzip.decompress(body) for body in await packed] == bodies
    assert compressor.waiting == 0
    compressor.close()
