"""The movie list: a page of the third party, or an error."""
from __future__ import annotations

import asyncio
import base64
import json
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from movieserver.resources import Resources, open_resources
from movieserver.settings import Settings
from movieserver.third_party import client
from tests.client import Response, Api
from tests.third_party import (
    PASSWORD, SECRETS, USERNAME, Behaviour, ThirdParty, ThirdPartyHandler, break_off, hang, in_turn, page, raw
)

MOVIE = {
    "title": "Queerama", "description": "50 years …", "genres": "Documentary,Drama",
    "uuid": "57baf4f4-c9ef-4197-9e4f-acf04eae5b4d",
}


def listing(number: int = 1, key: str = "results", **fields: Any) -> dict[str, Any]:
    """A page as the third party sends it."""
    host = "https://third-party.example/api/v1/list/"
    return {
        "count": 45466, "next": f"{host}?page={number + 1}",
        "previous": f"{host}?page={number - 1}" if number > 1 else None, key: [MOVIE], **fields,
    }


def assert_keeps_its_secrets(response: Response, party: ThirdParty) -> None:
    output = response.body.decode() + str(response.headers)
    for secret in (*SECRETS, urlsplit(party.url).netloc, "third-party.example", "theirs"):
        assert secret not in output


async def test_a_page(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(listing(3))
    response = await alice.get("/movies/?page=3")
    assert response.status == 200
    assert response.json == {
        "count": 45466, "next": f"{alice.base_url}/movies/?page=4", "previous": f"{alice.base_url}/movies/?page=2",
        "data": [MOVIE],
    }
    assert response.headers["Link"] == (
        f'<{alice.base_url}/movies/?page=4>; rel="next", <{alice.base_url}/movies/?page=2>; rel="prev"')
    assert third_party.calls == [{"page": "3"}]
    assert_keeps_its_secrets(response, third_party)


async def test_the_first_page_is_the_default(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(listing())
    response = await alice.get("/movies/")
    assert response.json["previous"] is None
    assert third_party.calls == [{"page": "1"}]


async def test_the_last_page_has_no_next(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(listing(9, next=None))
    response = await alice.get("/movies/?page=9")
    assert response.json["next"] is None
    assert parse_qs(urlsplit(response.json["previous"]).query) == {"page": ["8"]}


async def test_some_deployments_call_the_list_data(alice: Api, third_party: ThirdParty) -> None:
    absent: list[Any] = [{}, [], None]
    for results in absent:
        third_party.behaviour = page({"results": results} | listing(key="data"))
        assert (await alice.get("/movies/")).json["data"] == [MOVIE]


async def test_an_empty_page_is_passed_on(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page({"count": 0, "next": None, "previous": None, "results": []})
    response = await alice.get("/movies/")
    assert response.status == 200
    assert response.json == {"count": 0, "next": None, "previous": None, "data": []}


@pytest.mark.parametrize("given, genres", [
    ("", ""), (None, ""), ("Drama", "Drama"), (["Drama", "Comedy"], "Drama,Comedy"), ("absent", ""),
])
async def test_genres_are_text(alice: Api, third_party: ThirdParty, given: Any, genres: str) -> None:
    movie = {**MOVIE, "genres": given} if given != "absent" else {k: v for k, v in MOVIE.items() if k != "genres"}
    third_party.behaviour = page(listing(results=[movie]))
    assert (await alice.get("/movies/")).json["data"] == [{**MOVIE, "genres": genres}]


async def test_basic_authentication(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(listing())
    await alice.get("/movies/")
    assert third_party.authorization == "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()


async def test_connections_are_reused(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(listing())
    for _ in range(10):
        assert (await alice.get("/movies/")).status == 200
    assert len(third_party.connections) == 1


@pytest.mark.parametrize("query", [
    "page=0", "page=-1", "page=abc", "page=1_000", "page=%EF%BC%91%EF%BC%92", "page=1&page=2", "page=1&page=1", "page=",
    "page=1.0", "page=%2B1", "page=+1", "page=1%20", "page=0x1", "page=1%00", "page=%ff", "page=1e3", "page=00",
])
async def test_page_is_a_whole_number_from_1(alice: Api, third_party: ThirdParty, query: str) -> None:
    response = await alice.get(f"/movies/?{query}")
    assert response.status == 400
    assert "page" in response.json["detail"]
    assert third_party.calls == []


@pytest.mark.parametrize("number", ["4548", "9" * 18, "9" * 100, "9" * 5000])
async def test_past_the_end(alice: Api, third_party: ThirdParty, number: str) -> None:
    third_party.behaviour = page({"detail": "theirs: Invalid page."}, status=404)
    response = await alice.get(f"/movies/?page={number}")
    assert (response.status, response.json["detail"][:38]) == (404, "This page is past the end of the list.")
    assert len(third_party.calls) == 1
    assert_keeps_its_secrets(response, third_party)


INVALID: dict[str, Behaviour] = {
    "HTML": page(b"<html>theirs</html>"),
    "nothing": page(b""),
    "a list": page([MOVIE]),
    "no results": page({"count": 1, "next": None, "previous": None}),
    "its own failure": page({"is_success": False, "error": {"message": "theirs"}}),
    "results of another type": page(listing(results="theirs")),
    "a movie without a title": page(listing(results=[{"uuid": MOVIE["uuid"]}])),
    "a movie that is null": page(listing(results=[None])),
    "no movie, and a count that is no number": page(listing(count="many", results=[])),
    "half a JSON text": page(b'{"count": 1, "results": ['),
    "a lone surrogate": page(b'{"count": 1, "results": [{"uuid": "x", "title": "\\ud800"}]}'),
    "too much": page(b" " * (client.MAX_RESPONSE_BYTES + 1)),
    "refused credentials": page({"detail": "theirs"}, status=401, WWW_Authenticate="Basic"),
    "forbidden": page({"detail": "theirs"}, status=403),
    "a redirect": page(b"", status=302, Location="http://third-party.example/"),
    "no such list": page({"detail": "theirs"}, status=404),
    "no content": page(b"", status=204),
    "no header": raw(b"HTTP/1.1 200 OK\r\nno header\r\n\r\n"),
    "no HTTP": raw(b"220 theirs ESMTP\r\n\r\n"),
    "a teapot": page({"detail": "theirs"}, status=418),
}


@pytest.mark.parametrize("case", INVALID)
async def test_an_invalid_response_is_502_and_not_retried(alice: Api, third_party: ThirdParty, case: str) -> None:
    third_party.behaviour = INVALID[case]
    response = await alice.get("/movies/")
    assert response.status == 502
    assert "WWW-Authenticate" not in response.headers
    assert len(third_party.calls) == 1
    assert_keeps_its_secrets(response, third_party)


async def test_refused_credentials_are_logged_as_a_settings_error(
    alice: Api, third_party: ThirdParty, capsys: pytest.CaptureFixture[str]
) -> None:
    third_party.behaviour = page({"detail": "theirs"}, status=401)
    for _ in range(5):
        assert (await alice.get("/movies/")).status == 502
    output = capsys.readouterr().err
    assert output.count("MOVIE_API_USERNAME") == 1
    assert PASSWORD not in output


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_temporary_failure_is_retried(alice: Api, third_party: ThirdParty, status: int) -> None:
    failure = page({"detail": "theirs"}, status=status)
    third_party.behaviour = in_turn(failure, failure, page(listing()))
    assert (await alice.get("/movies/")).json["data"] == [MOVIE]
    assert len(third_party.calls) == 3


@pytest.mark.usefixtures("impatient")
async def test_a_broken_connection_is_retried(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = in_turn(break_off, page(listing()))
    assert (await alice.get("/movies/")).json["data"] == [MOVIE]


@pytest.mark.usefixtures("impatient")
async def test_the_number_of_retries_is_limited(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page({"detail": "theirs"}, status=500)
    response = await alice.get("/movies/")
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert len(third_party.calls) == 1 + client.RETRIES
    assert_keeps_its_secrets(response, third_party)


async def test_retry_after_is_respected_and_passed_on(
    alice: Api, third_party: ThirdParty, resources: Resources
) -> None:
    third_party.behaviour = in_turn(page(b"", status=503, Retry_After="1"), page(listing()))
    began = time.monotonic()
    assert (await alice.get("/movies/")).status == 200
    assert time.monotonic() - began >= 1
    resources.movie_api.upstream.seconds = 0.5
    third_party.behaviour = page(b"", status=429, Retry_After="30")
    response = await alice.get("/movies/")
    assert response.status == 503
    assert response.headers["Retry-After"] == "30"


PAUSES = {
    "30": 30, "3600": 3600, "3601": 3600, "86400": 3600, "9" * 30: 3600, "9" * 400: 3600,
    "Fri, 31 Dec 2999 23:59:59 GMT": 3600, "Friday, 31-Dec-60 23:59:59 GMT": 3600, "Fri Dec 31 23:59:59 2999": 3600,
}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", PAUSES)
async def test_a_long_retry_after_is_limited_and_applies_to_the_process(
    alice: Api, third_party: ThirdParty, resources: Resources, value: str, status: int
) -> None:
    resources.movie_api.upstream.seconds = 0.5
    third_party.behaviour = in_turn(page(b"", status=status, Retry_After=value), page(listing()))
    for number in range(1, 8):
        response = await alice.get(f"/movies/?page={number}")
        assert response.status == 503
        assert PAUSES[value] - 20 < int(response.headers["Retry-After"]) <= PAUSES[value]
    assert len(third_party.calls) == 1


async def test_every_call_waits_for_a_short_retry_after(alice: Api, third_party: ThirdParty) -> None:
    moments: list[float] = []

    async def behave(handler: ThirdPartyHandler) -> None:
        moments.append(time.monotonic())
        await (page(listing()) if len(moments) > 1 else page(b"", status=429, Retry_After="1"))(handler)

    third_party.behaviour = behave
    first = asyncio.ensure_future(alice.get("/movies/"))
    while not moments:
        await asyncio.sleep(0.01)
    responses = await asyncio.gather(first, *[alice.get(f"/movies/?page={number}") for number in range(2, 10)])
    assert {response.status for response in responses} == {200}
    assert min(moments[1:]) - moments[0] >= 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("value", [
    "0", "", "-5", "1.5", "1e3", "soon", "nan", "inf", "1, 2", "²", "Fri, 31 Dec 1999 23:59:59 GMT",
    "Fri, 99 Foo 2999 99:99:99 GMT", "Fri, 31 Dec 99999999999 23:59:59 GMT", "x" * 5000,
])
async def test_an_invalid_retry_after_is_ignored(alice: Api, third_party: ThirdParty, value: str) -> None:
    failure = page(b"", status=503, Retry_After=value)
    third_party.behaviour = in_turn(failure, failure, page(listing()))
    assert (await alice.get("/movies/")).status == 200
    third_party.behaviour = failure
    response = await alice.get("/movies/")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("head, sent, expected", [
    (b"Content-Length: 4194305", b"", 502), (b"Content-Length: 99999999999999999999999", b"", 502),
    (b"Content-Length: -1", b"", 502), (b"Content-Length: abc", b"", 502), (b"Content-Length: 10", b"[" * 100, 502),
    (b"Content-Encoding: gzip", b"not gzip", 502), (b"X: " + b"x" * 1_000_000, b"", 502),
])
async def test_an_invalid_content_length(
    alice: Api, third_party: ThirdParty, head: bytes, sent: bytes, expected: int
) -> None:
    third_party.behaviour = raw(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n%s" % (head, sent))
    assert (await alice.get("/movies/")).status == expected
    assert len(third_party.calls) == 1


async def test_closing_during_calls_logs_nothing(
    settings: Settings, third_party: ThirdParty, caplog: pytest.LogCaptureFixture
) -> None:
    third_party.behaviour = hang
    async with open_resources(settings) as own:
        calls = [asyncio.ensure_future(own.movie_api.page(number)) for number in range(1, 6)]
        while len(third_party.calls) < 5:
            await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
    await asyncio.wait(calls)
    await asyncio.sleep(0.1)
    assert caplog.records == []


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_does_not_listen(alice: Api, third_party: ThirdParty) -> None:
    await third_party.close()
    response = await alice.get("/movies/")
    assert response.status == 503
    assert_keeps_its_secrets(response, third_party)


async def test_a_third_party_that_hangs(
    alice: Api, third_party: ThirdParty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REQUEST_SECONDS", 0.3)
    third_party.behaviour = in_turn(hang, page(listing()))
    assert (await alice.get("/movies/")).status == 200
    third_party.behaviour = hang
    response = await alice.get("/movies/")
    assert response.status == 504
    assert_keeps_its_secrets(response, third_party)


async def test_a_call_with_its_retries_has_a_time_limit(
    alice: Api, third_party: ThirdParty, resources: Resources
) -> None:
    resources.movie_api.upstream.seconds = 0.3
    third_party.behaviour = hang
    assert (await alice.get("/movies/")).status == 504
    assert len(third_party.calls) == 1


async def test_calls_that_timed_out_are_not_made_later(
    alice: Api, third_party: ThirdParty, resources: Resources
) -> None:
    resources.movie_api.upstream.seconds = 2  # so that all requests begin before the breaker opens
    third_party.behaviour = hang
    responses = await asyncio.gather(*[alice.get("/movies/") for _ in range(60)])
    assert {response.status for response in responses} == {504}
    assert client.CONNECTIONS <= len(third_party.calls) < 60
    third_party.behaviour = page(listing())
    third_party.calls.clear()
    resources.movie_api.upstream.breaker = client.Breaker()
    assert (await alice.get("/movies/")).status == 200
    assert len(third_party.calls) == 1


async def test_an_invalid_header_is_ignored(alice: Api, third_party: ThirdParty) -> None:
    body = json.dumps(listing()).encode()

    third_party.behaviour = raw(b"HTTP/1.1 200 OK\r\nfo o: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert (await alice.get("/movies/")).json["data"] == [MOVIE]


async def test_retry_after_may_be_a_date(alice: Api, third_party: ThirdParty, resources: Resources) -> None:
    resources.movie_api.upstream.seconds = 0.5
    third_party.behaviour = page(b"", status=503, Retry_After=format_datetime(
        datetime.now(timezone.utc) + timedelta(seconds=100), usegmt=True))
    response = await alice.get("/movies/")
    assert response.status == 503
    assert 90 < int(response.headers["Retry-After"]) <= 100
    assert len(third_party.calls) == 1


async def test_retry_after_0_is_no_pause(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = page(b"", status=503, Retry_After="0")
    began = time.monotonic()
    assert (await alice.get("/movies/")).status == 503
    assert time.monotonic() - began >= client.PAUSE_SECONDS


async def test_a_hanging_third_party_blocks_no_other_requests(alice: Api, third_party: ThirdParty) -> None:
    third_party.behaviour = hang
    waiting = [asyncio.ensure_future(alice.http.fetch(
        f"{alice.base_url}/movies/", headers={"Authorization": f"Bearer {alice.token}"}, raise_error=False,
    )) for _ in range(3)]
    while len(third_party.calls) < 3:
        await asyncio.sleep(0.01)
    assert (await alice.get("/collection/")).status == 200
    assert not any(call.done() for call in waiting)
    for call in waiting:
        call.cancel()
