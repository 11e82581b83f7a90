"""Calls to the third party: one budget for all tries, a breaker, kept connections, nothing believed unchecked."""
from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import certifi
import pycurl
import stamina
from tornado.curl_httpclient import CurlAsyncHTTPClient, CurlError
from tornado.httpclient import HTTPResponse
from tornado.httputil import HTTPInputError

from movieserver.observability import metrics
from movieserver.errors import ApiError, NotFound, UpstreamFault, UpstreamTimeout, UpstreamUnavailable
from movieserver.observability.logs import Outage

CONNECT_SECONDS = 2.0
TRY_SECONDS = 3.0
MARGIN_SECONDS = 0.05  # by which a try ends before all of them do: nothing is given up half-way
TRIES = 3
PAUSE_SECONDS = 0.1
CONNECTIONS = 20
MOST_WAITING = 200
ANSWER_BYTES = 4 * 1024 * 1024
BREAKING_FAILURES = 5
OPEN_SECONDS = 5.0
# the first is our own word to libcurl: too large
NO_HTTP = (pycurl.E_WRITE_ERROR, pycurl.E_FTP_WEIRD_SERVER_REPLY, pycurl.E_UNSUPPORTED_PROTOCOL)
NO_TRUST = (pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE)


class Call(NamedTuple):
    """What to ask: an address, headers, and what the client needs to sign it."""

    url: str
    headers: dict[str, str]
    credentials: dict[str, str]


class Breaker:
    """Stops calls for OPEN_SECONDS after BREAKING_FAILURES in a row; then one probe decides (half open)."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0
        self._probing = False

    def check(self) -> None:
        """UpstreamUnavailable while calls are stopped."""
        left = self._open_until - time.monotonic()
        if left > 0 or self._probing:
            raise UpstreamUnavailable(max(1, math.ceil(left)))

    def enter(self) -> bool:
        """Begin a call, where calls are not stopped; whether it is the probe."""
        self.check()
        self._probing = self._failures >= BREAKING_FAILURES
        self._show()
        return self._probing

    def leave(self, probe: bool, failed: bool | None) -> None:
        """End a call: it failed or not, or nobody knows. While a probe is under way only the probe decides."""
        if self._probing and not probe:
            return
        self._probing = False
        if failed is not None:
            self._failures = self._failures + 1 if failed else 0
            if self._failures >= BREAKING_FAILURES:
                self._open_until = time.monotonic() + OPEN_SECONDS
        self._show()

    def _show(self) -> None:
        stopped = self._failures >= BREAKING_FAILURES
        metrics.upstream_breaker["open"].set(stopped and not self._probing)
        metrics.upstream_breaker["half_open"].set(self._probing)


class _Passing(Exception):
    """A failure that may pass: try again, after `pause` seconds where the third party asked for that."""

    def __init__(self, error: ApiError, reason: str, pause: float | None = None) -> None:
        self.error = error
        self.pause = pause
        super().__init__(reason)


class Upstream:
    """The third party; a call to it takes at most `seconds`, however many tries it makes."""

    def __init__(self, client: CurlAsyncHTTPClient, seconds: float) -> None:
        self.seconds = seconds
        self.breaker = Breaker()
        self._client = client
        self._places = asyncio.Semaphore(CONNECTIONS)  # the client's own queue has no end, and no way out
        self._waiting = 0
        self._outage = Outage("movie API")

    async def get(self, call: Call, end: float) -> bytes:
        """The body of a 200, got before the moment `end` of the loop's clock; NotFound for a 404."""
        if self._waiting >= MOST_WAITING:
            raise UpstreamUnavailable
        probe = self.breaker.enter()
        self._waiting += 1
        failed: bool | None = True
        try:
            body = await self._until(end, call)
            failed = False
        except (NotFound, UpstreamFault):
            failed = False  # it answers, and at once
            raise
        except asyncio.CancelledError:
            failed = None
            raise
        finally:
            self._waiting -= 1
            self.breaker.leave(probe, failed)
            if failed is False:
                self._outage.record_success()
        return body

    async def _until(self, end: float, call: Call) -> bytes:
        try:
            async with asyncio.timeout_at(end):
                return await self._patiently(end, call)
        except TimeoutError:
            metrics.upstream_failures["timeout"].inc()
            self._outage.record_failure(f"no answer in {self.seconds} s")
            raise UpstreamTimeout from None
        except _Passing as failure:
            self._outage.record_failure(str(failure))
            raise failure.error from failure

    async def _patiently(self, end: float, call: Call) -> bytes:
        async for attempt in stamina.retry_context(
            on=lambda failure: _pause(failure, end - _now()), attempts=TRIES, timeout=end - _now(),
            wait_initial=PAUSE_SECONDS, wait_jitter=PAUSE_SECONDS,
        ):
            with attempt:
                async with self._places:
                    answer = await self._ask(call, min(TRY_SECONDS, end - _now() - MARGIN_SECONDS))
                return _body(answer)
        raise AssertionError("stamina ends with an answer or an error")

    async def _ask(self, call: Call, seconds: float) -> HTTPResponse:
        if seconds < MARGIN_SECONDS:
            raise TimeoutError
        try:
            metrics.upstream_tries.inc()
            return await self._client.fetch(
                call.url, headers={"Accept": "application/json"} | call.headers, raise_error=False,
                follow_redirects=False, connect_timeout=CONNECT_SECONDS, request_timeout=seconds,
                ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(), **call.credentials,
            )
        except CurlError as error:
            if error.errno in NO_HTTP:
                raise nonsense(f"no answer in HTTP, or one of more than {ANSWER_BYTES} bytes: {error}")
            if error.errno in NO_TRUST:
                raise nonsense(f"its certificate cannot be trusted: {error}")
            too_slow = error.errno == pycurl.E_OPERATION_TIMEDOUT
            metrics.upstream_failures["timeout" if too_slow else "connection"].inc()
            raise _Passing(UpstreamTimeout() if too_slow else UpstreamUnavailable(), str(error)) from None


def nonsense(reason: str) -> UpstreamFault:
    """A fault with its reason, which is for the operator only."""
    fault = UpstreamFault()
    fault.__cause__ = ValueError(reason)
    return fault


def _body(answer: HTTPResponse) -> bytes:
    if answer.code == 200:
        return answer.body
    if answer.code == 404:
        raise NotFound
    if answer.code == 429 or answer.code >= 500:
        metrics.upstream_failures["status"].inc()
        pause = _retry_after(answer)
        raise _Passing(UpstreamUnavailable(max(1, int(pause or 1))), f"status {answer.code}", pause)
    if answer.code in (401, 403):
        settings = "MOVIE_API_USERNAME and MOVIE_API_PASSWORD, or MOVIE_API_TOKEN"
        raise nonsense(f"it refuses {settings} (status {answer.code})")
    raise nonsense(f"status {answer.code}: is MOVIE_API_URL right?")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _pause(failure: Exception, left: float) -> bool | float:
    if not isinstance(failure, _Passing):
        return False
    return True if failure.pause is None else failure.pause < left - 2 * MARGIN_SECONDS and failure.pause


def _retry_after(answer: HTTPResponse) -> float | None:
    """Seconds, from either form of RFC 9110 section 10.2.3."""
    said = answer.headers.get("Retry-After", "")
    if said.isascii() and said.isdigit() and len(said) < 6:
        return float(said) or None
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time()) or None
    except ValueError:
        return None


class _Client(CurlAsyncHTTPClient):
    """Tornado's client, which passes over header lines that are none instead of raising inside libcurl."""

    def _curl_header_callback(self, *given: Any) -> None:
        with contextlib.suppress(HTTPInputError):
            super()._curl_header_callback(*given)

    def _handle_timeout(self) -> None:
        if self._multi is not None:  # closed, with calls under way
            super()._handle_timeout()


@contextlib.asynccontextmanager
async def open_upstream(seconds: float) -> AsyncIterator[Upstream]:
    """An Upstream whose connections are kept and used again."""
    stamina.instrumentation.set_on_retry_hooks([])  # a try that fails is no news; Outage says when all do
    client = _Client(force_instance=True, max_clients=CONNECTIONS, max_body_size=ANSWER_BYTES)
    try:
        yield Upstream(client, seconds)
    finally:
        client.close()
