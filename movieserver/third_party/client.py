"""Calls to the third party: a time limit with retries, a circuit breaker, Retry-After, keep-alive connections."""
from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from functools import partial
from typing import NamedTuple

import certifi
import pycurl
import stamina
from tornado.curl_httpclient import CurlAsyncHTTPClient, CurlError

from movieserver.errors import ApiError, NotFound, UpstreamFault, UpstreamTimeout, UpstreamUnavailable
from movieserver.observability import metrics
from movieserver.observability.logs import Outage

CONNECT_SECONDS = 2.0
REQUEST_SECONDS = 3.0
MARGIN_SECONDS = 0.05  # a request ends this long before the deadline of its call
RETRIES = 2
PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 3600
CONNECTIONS = 20
MAX_WAITING = 200
MAX_RESPONSE_BYTES = 4 * 1024 * 1024
BREAKING_FAILURES = 5
OPEN_SECONDS = 5.0
HEADERS_TOO_LARGE = 100  # CURLE_TOO_LARGE, which pycurl does not name
INVALID_HTTP = (
    pycurl.E_WRITE_ERROR, pycurl.E_FILESIZE_EXCEEDED, HEADERS_TOO_LARGE, pycurl.E_FTP_WEIRD_SERVER_REPLY,
    pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_BAD_CONTENT_ENCODING)
UNTRUSTED = (pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE)


class NoSuchPage(NotFound):
    """404: the list ends before this page."""

    detail = "This page is past the end of the list. Start at page 1 and follow `next`."


class Call(NamedTuple):
    """A GET request: address, headers, and the credentials as arguments of the HTTP client."""

    url: str
    headers: dict[str, str]
    credentials: dict[str, str]


class Breaker:
    """A circuit breaker: open for OPEN_SECONDS after BREAKING_FAILURES in a row; then one probe decides (half open)."""

    def __init__(self) -> None:
        self._failures = 0
        self._opened_at = -math.inf
        self._probing = False

    def check(self) -> None:
        """UpstreamUnavailable while the breaker is open."""
        left = self._opened_at + OPEN_SECONDS - time.monotonic()
        if left > 0 or self._probing:
            raise UpstreamUnavailable(retry_after=max(1, math.ceil(left)))

    def enter(self) -> bool:
        """Begin a call unless the breaker is open; returns whether it is the probe."""
        self.check()
        self._probing = self._failures >= BREAKING_FAILURES
        self._show()
        return self._probing

    def leave(self, probe: bool, failed: bool | None) -> None:
        """End a call; `failed` is None if that is unknown. During a probe no other call changes the state."""
        if self._probing and not probe:
            return
        self._probing = False
        if failed is not None:
            self._failures = self._failures + 1 if failed else 0
            if self._failures >= BREAKING_FAILURES:
                self._opened_at = time.monotonic()
        self._show()

    def _show(self) -> None:
        stopped = self._failures >= BREAKING_FAILURES
        metrics.upstream_breaker["open"].set(stopped and not self._probing)
        metrics.upstream_breaker["half_open"].set(self._probing)


class _Retryable(Exception):
    """A failure that is worth a retry; `error` is what the client gets if the retries fail too."""

    def __init__(self, error: ApiError, reason: str) -> None:
        self.error = error
        super().__init__(reason)


class Upstream:
    """The third party; a call to it takes at most `seconds`, retries included."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.breaker = Breaker()
        self._client = CurlAsyncHTTPClient(
            force_instance=True, max_clients=CONNECTIONS, max_body_size=MAX_RESPONSE_BYTES)
        self._handles: set[pycurl.Curl] = set()
        self._slots = asyncio.Semaphore(CONNECTIONS)  # the HTTP client's own queue is unbounded
        self._waiting = 0
        self._paused_until = 0.0
        self._outage = Outage("movie API")

    def check(self, end: float) -> None:
        """Raise UpstreamUnavailable if no request may be sent before `end`: a Retry-After, or the breaker is open."""
        self._check_pause(end)
        self.breaker.check()

    async def get(self, call: Call, end: float) -> bytes:
        """The body of a 200, received before the moment `end` of the loop's clock. Raises NoSuchPage for a 404."""
        if self._waiting >= MAX_WAITING:
            raise UpstreamUnavailable("Too many requests for the movie catalogue are waiting. Try again shortly.")
        self._check_pause(end)
        probe = self.breaker.enter()
        self._waiting += 1
        failed: bool | None = True
        try:
            body = await self._in_time(call, end)
            failed = False
        except (NoSuchPage, UpstreamFault):
            failed = False  # the third party is up: this is no outage
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

    def _check_pause(self, end: float) -> None:
        pause = self._paused_until - _now()
        if pause > max(0.0, end - _now() - 2 * MARGIN_SECONDS):
            raise UpstreamUnavailable(retry_after=math.ceil(pause))

    async def _in_time(self, call: Call, end: float) -> bytes:
        try:
            async with asyncio.timeout_at(end):
                return await self._with_retries(call, end)
        except TimeoutError:
            metrics.upstream_failures["timeout"].inc()
            self._outage.record_failure(f"no response in {self.seconds} s")
            raise UpstreamTimeout from None
        except _Retryable as failure:
            self._outage.record_failure(str(failure))
            raise failure.error from failure

    async def _with_retries(self, call: Call, end: float) -> bytes:
        def may_retry(failure: Exception) -> bool:
            return isinstance(failure, _Retryable) and self._paused_until < end - 2 * MARGIN_SECONDS

        async for attempt in stamina.retry_context(
            on=may_retry, attempts=1 + RETRIES, timeout=end - _now(), wait_initial=PAUSE_SECONDS,
            wait_jitter=PAUSE_SECONDS,
        ):
            with attempt:
                async with self._slots:
                    await self._wait_for_pause(end)
                    return await self._request(call, min(REQUEST_SECONDS, end - _now() - MARGIN_SECONDS))
        raise AssertionError("stamina returns a response or raises")

    async def _wait_for_pause(self, end: float) -> None:
        while (pause := self._paused_until - _now()) > 0:
            self._check_pause(end)
            await asyncio.sleep(pause)

    async def _request(self, call: Call, seconds: float) -> bytes:
        """Send one request; returns the body of a 200."""
        if seconds < MARGIN_SECONDS:
            raise TimeoutError
        metrics.upstream_tries.inc()
        headers: dict[str, str] = {}
        try:
            response = await self._client.fetch(
                call.url, headers={"Accept": "application/json"} | call.headers, raise_error=False,
                follow_redirects=False, connect_timeout=CONNECT_SECONDS, request_timeout=seconds,
                ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
                prepare_curl_callback=partial(self._prepare, headers), **call.credentials,
            )
        except CurlError as error:
            raise _failure(error)
        if response.code != 200:
            raise self._refusal(response.code, headers)
        return response.body

    def _prepare(self, headers: dict[str, str], handle: pycurl.Curl) -> None:
        self._handles.add(handle)
        handle.setopt(pycurl.MAXFILESIZE, MAX_RESPONSE_BYTES)
        handle.setopt(pycurl.HEADERFUNCTION, partial(_read_header, headers))  # Tornado's raises for an invalid line

    def _refusal(self, status: int, headers: dict[str, str]) -> Exception:
        """The exception for a status other than 200; names in `headers` are in lower case."""
        if status == 404:
            return NoSuchPage()
        if status == 429 or status >= 500:
            metrics.upstream_failures["status"].inc()
            pause = retry_after(headers.get("retry-after", ""))
            self._paused_until = max(self._paused_until, _now() + pause)
            return _Retryable(UpstreamUnavailable(retry_after=max(1, math.ceil(pause))), f"status {status}")
        if status in (401, 403):
            settings = "MOVIE_API_USERNAME and MOVIE_API_PASSWORD, or MOVIE_API_TOKEN for tmdb"
            return invalid_response(f"it requires valid {settings} (status {status})")
        return invalid_response(f"status {status}: is MOVIE_API_URL right?")

    def close(self) -> None:
        """Cancel all requests, and close all connections."""
        for handle in self._handles:  # first, or libcurl starts a timer that outlives the client
            handle.close()
        self._client.close()


def invalid_response(reason: str) -> UpstreamFault:
    """The error for an invalid response, counted. The reason is for the log only."""
    metrics.upstream_failures["nonsense"].inc()
    fault = UpstreamFault()
    fault.__cause__ = ValueError(reason)
    return fault


def retry_after(value: str) -> float:
    """The seconds of a Retry-After header (RFC 9110 section 10.2.3), from 0 (no pause) to MAX_PAUSE_SECONDS."""
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_PAUSE_SECONDS)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):  # its exceptions are not documented
        return 0.0
    return min(max(0.0, seconds), MAX_PAUSE_SECONDS)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _failure(error: CurlError) -> Exception:
    """The exception for a request without a response."""
    if error.errno in INVALID_HTTP:
        return invalid_response(f"not HTTP, or more than {MAX_RESPONSE_BYTES} bytes: {error}")
    if error.errno in UNTRUSTED:
        return invalid_response(f"its certificate cannot be trusted: {error}")
    too_slow = error.errno == pycurl.E_OPERATION_TIMEDOUT
    metrics.upstream_failures["timeout" if too_slow else "connection"].inc()
    return _Retryable(UpstreamTimeout() if too_slow else UpstreamUnavailable(), str(error))


def _read_header(headers: dict[str, str], line: bytes) -> None:
    """Add a header line as it arrives. A status line starts a new head; a line that is not a header is ignored."""
    if line.startswith(b"HTTP/"):
        headers.clear()
    name, colon, value = line.decode("latin-1").partition(":")
    if colon:
        headers[name.lower()] = value.strip()


@contextlib.asynccontextmanager
async def open_upstream(seconds: float) -> AsyncIterator[Upstream]:
    """An Upstream on keep-alive connections."""
    stamina.instrumentation.set_on_retry_hooks([])  # a retry is not logged; Outage logs a call that fails
    upstream = Upstream(seconds)
    try:
        yield upstream
    finally:
        upstream.close()
