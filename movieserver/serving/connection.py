"""One HTTP/1.1 connection (RFC 9112) between a transport of the event loop and Tornado's application.

Requests are handled one at a time; the next one waits in the buffer until the response before it is complete. Tornado's
own connection (IOStream) costs more per short request than all other work on it.

| what a client does                                  | what happens                                              |
|-----------------------------------------------------|-----------------------------------------------------------|
| a head over HEADER_BYTES or HEADER_FIELDS           | 431 without parsing it                                    |
| an invalid head, target, Host, length or chunk      | 400                                                       |
| over OVERHEAD_BYTES of chunk extensions or trailers | 400; below that they are ignored                          |
| the end of the stream within a request              | 400; a complete one gets its response first               |
| an incomplete head for IDLE_SECONDS                 | 408; an idle connection is closed without a response      |
| under BODY_BYTES of a body in BODY_SECONDS          | 408                                                       |
| a head or unparsed bytes beyond the memory limit    | 503; behind a request in progress they are dropped        |
| over PIPELINE_BYTES behind such a request           | reading pauses                                            |
| reads under STALL_BYTES in STALL_SECONDS            | the connection is aborted                                 |

A refusal is the last response: the connection closes once the client has read it, after LINGER_SECONDS at the latest.
"""
from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, cast

from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine

from movieserver.errors import ApiError, BadRequest, InternalError, Overloaded, RequestTimeout
from movieserver.observability.logs import log
from movieserver.serving import syntax
from movieserver.serving.memory_limits import SMALL_BYTES
from movieserver.serving.parser import RequestParser
from movieserver.serving.response import ResponseWriter

if TYPE_CHECKING:
    from movieserver.serving.http_server import Server
    from movieserver.serving.request import IncomingRequest

IDLE_SECONDS = 75.0
BODY_SECONDS, BODY_BYTES = 30.0, 16 * 1024
LINGER_SECONDS = 2.0
PIPELINE_BYTES = 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """Reads requests for its server; `writer` writes the responses."""

    transport: asyncio.Transport
    writer: ResponseWriter

    def __init__(self, server: Server) -> None:
        self.waiting_since = 0.0  # for a request
        self.reading_paused = False
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self)
        self._buffer = self._parser.buffer
        self._held = 0  # bytes that count against the shared limit
        self._deadline = math.inf
        self._body_bytes = 0  # since the deadline was set
        self._delegate: IncomingRequest | None = None  # of a request that is incomplete
        self._half_closed = False  # by the client
        self._writing_paused = self._finished = False  # a response is complete, but not sent
        self._closing = self._refusing = False
        self._unread = False  # bytes of the client were or will be dropped

    @property
    def responding(self) -> bool:
        """Whether a complete request waits for the end of its response."""
        return self._parser.complete and not self._finished and not self._closing

    @property
    def idle(self) -> bool:
        """Whether there is no complete request, and everything is sent."""
        return self._parser.in_head and not self._closing and not self.writer.writing()

    def check_timeouts(self, now: float) -> None:
        """Refuse, close or abort after a timeout; to be called about twice a second."""
        if self.writer.is_stalled(now):
            self.transport.abort()
        elif now > self._deadline:
            self._time_out(now)

    def skip_body(self) -> None:
        """Stop reading the body; close the connection after the response."""
        self.writer.keep_alive = False
        self._unread = True
        self._parser.skip_body()

    def refuse(self, error: ApiError) -> None:
        """Ignore further bytes of the client, and have the server respond with an error."""
        if self._closing:
            return
        self._closing = self._refusing = True
        self._deadline = math.inf
        self._clear_buffer()
        delegate, self._delegate = self._delegate, None
        if delegate:
            delegate.on_connection_close()
        self._server.refuse(self, error)

    def send_last(self, response: bytes) -> None:
        """Send a last response, and close."""
        self._refusing = False
        self.writer.send(response)
        self._linger()

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.writer = ResponseWriter(self.transport, self._response_finished)
        self._wait_for_request()
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        if not self._closing:
            self._buffer += data
            self._advance()

    def eof_received(self) -> bool:
        self._half_closed = True
        self._report_close()
        self._advance()
        return not self._closing or self._refusing

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._finished:
            self._response_finished()

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = self.writer.closed = True
        self._clear_buffer()
        self._server.disconnected(self)
        delegate, self._delegate = self._delegate, None
        if delegate:
            delegate.on_connection_close()
        self._report_close()

    # called by the parser

    def head_received(self, start: RequestStartLine, headers: HTTPHeaders, has_body: bool) -> None:
        start = syntax.origin_form(start, headers)
        self.writer.begin(start, syntax.keeps_alive(start, headers))
        self._delegate = self._server.start_request(self, start, headers)
        waits = has_body and syntax.expects_continue(start, headers)
        if waits and self._delegate.refused():
            self.skip_body()
        elif has_body:
            self._body_bytes = 0
            self._deadline = time.monotonic() + BODY_SECONDS
            if waits and not self._buffer:
                self.writer.send(CONTINUE)

    def body_received(self, chunk: bytes) -> None:
        assert self._delegate
        self._body_bytes += len(chunk)
        self._delegate.data_received(chunk)

    def request_received(self) -> None:
        assert self._delegate
        self._deadline = math.inf
        self._delegate.finish()
        self._delegate = None
        if self._half_closed:
            self._report_close()

    def _report_close(self) -> None:
        """Tell the handler that the client sends no more: it has most likely gone."""
        if self.writer.close_callback:
            self.writer.close_callback()

    # called by the writer

    def _response_finished(self) -> None:
        if not self.writer.keep_alive:
            self._linger() if self._unread or self._buffer or self.reading_paused else self._close()
        elif self._writing_paused:
            self._finished = True
        else:
            self._wait_for_request()

    def _wait_for_request(self) -> None:
        self._finished = False
        self._parser.next_request()
        self._reserve_memory()
        self.waiting_since = time.monotonic()
        self._deadline = self.waiting_since + IDLE_SECONDS
        if self._buffer or self._half_closed or self.reading_paused:
            self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        """Parse what is in the buffer, and pause reading while that cannot go on."""
        if self._closing:
            return
        try:
            more = self._parser.advance()
            self._reserve_memory()
            if self._half_closed and not more:
                self._handle_eof()
        except ApiError as error:
            self.refuse(error)
        except HTTPInputError:
            self.refuse(BadRequest())
        except Exception:
            log.error("unexpected error while a request is read", exc_info=True)
            self.refuse(InternalError())
        else:
            if more:
                self._loop.call_soon(self._advance)
            self._pause_reading(more or self._parser.complete and len(self._buffer) > PIPELINE_BYTES)

    def _handle_eof(self) -> None:
        """The client sends no more."""
        if self._parser.in_head and not self._buffer:
            self._close()
        elif not self._parser.complete:
            raise BadRequest("The request ended before it was complete. Send it again.")
        elif not self._buffer:
            self.writer.keep_alive = False

    def _pause_reading(self, paused: bool) -> None:
        if paused == self.reading_paused or self._half_closed or self.transport.is_closing():
            return
        self.reading_paused = paused
        if paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _reserve_memory(self) -> None:
        """Count a large head and unparsed bytes against the limit of clients without a known token."""
        size = len(self._buffer) + self._parser.head_bytes
        size = size if size > SMALL_BYTES else 0
        if size == self._held:
            return
        try:
            self._server.memory.change(None, size - self._held)
            self._held = size
        except Overloaded:
            if not self._parser.complete:
                raise
            self._clear_buffer()
            self._unread, self.writer.keep_alive = True, False

    def _clear_buffer(self) -> None:
        self._buffer.clear()
        if self._held:
            self._server.memory.change(None, -self._held)
            self._held = 0

    def _time_out(self, now: float) -> None:
        if self._closing and self.writer.writing():
            self._deadline = now + LINGER_SECONDS
        elif self._closing or self._parser.in_head and not self._buffer:
            self.transport.abort()
        elif self._body_bytes >= BODY_BYTES and not self._parser.in_head:
            self._body_bytes = 0
            self._deadline = now + BODY_SECONDS
        else:
            self.refuse(RequestTimeout(
                f"The request arrived too slowly: its head must arrive within {IDLE_SECONDS:g} seconds, and "
                f"{BODY_BYTES} bytes of its body every {BODY_SECONDS:g} seconds. Use a faster connection."))

    def _close(self) -> None:
        """Close when everything is sent."""
        self._closing = True
        self.transport.close()

    def _linger(self) -> None:
        """Send everything, then wait for the client to close.

        Closing with unread input would send a TCP reset, which can discard the response.
        """
        self._closing = True
        if self._half_closed or self.transport.is_closing():
            self.transport.close()
            return
        self._clear_buffer()
        self._pause_reading(False)
        self._deadline = time.monotonic() + LINGER_SECONDS
        self.transport.write_eof()
