"""One connection of HTTP/1.1 (RFC 9112), between a transport of the event loop and Tornado's application.

Tornado's own reads and writes through an IOStream, which takes longer than the rest of a short request together. What a
head may say is Tornado's to judge here too. Requests are taken one at a time: the next waits until one is answered.
"""
from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

from tornado.concurrent import Future
from tornado.http1connection import is_transfer_encoding_chunked, parse_hex_int, parse_int
from tornado.httputil import (
    HTTPConnection, HTTPHeaders, HTTPInputError, HTTPMessageDelegate, RequestStartLine, ResponseStartLine,
    parse_request_start_line
)

IDLE_SECONDS = 75.0  # for the next head
BODY_SECONDS = 60.0
LINGER_SECONDS = 1.0  # for a caller to read why it was refused
STALL_SECONDS, STALL_BYTES = 10.0, 64 * 1024  # of an answer that moves, so much is sent in that time
READ_HEAD_BYTES = 1024 * 1024  # what is longer than a head may be, but no longer than this, is told so
WAITING_BYTES = 64 * 1024  # of requests behind the one that is answered, and of answers that are not sent yet
CHUNK_SIZE_BYTES = 64
MOST_STEPS = 1000  # before others have their turn
HEAD_END = re.compile(rb"\r?\n\r?\n")
BLANK = b"\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Site(Protocol):
    """What a connection belongs to."""

    def made(self, connection: Connection) -> None:
        """It is open."""

    def lost(self, connection: Connection) -> None:
        """It is closed."""

    def start_request(self, connection: Connection) -> HTTPMessageDelegate:
        """A request begins on it."""

    def malformed(self, connection: Connection) -> None:
        """What came is not HTTP/1.1: to be answered with `refuse`."""


class Peer(NamedTuple):
    """Who is at the other end, as Tornado's requests ask for it."""

    remote_ip: str
    protocol: str = "http"


class Connection(asyncio.Protocol, HTTPConnection):
    """Reads requests for its site and writes their answers; each answer is whole and says its Content-Length."""

    transport: asyncio.Transport
    context: Peer

    def __init__(self, site: Site) -> None:
        self.since = 0.0  # when it began to wait for a request
        self.head_bytes = 0  # of the request at hand
        self._site = site
        self._loop = asyncio.get_running_loop()
        self._done: Future[None] = self._loop.create_future()
        self._done.set_result(None)
        self._buffer = bytearray()
        self._searched = 0
        self._step: Callable[[Connection], bool] = Connection._read_head
        self._deadline = math.inf
        self._left = 0  # bytes of the body, or of the chunk
        self._last = False  # whether the chunk is the last one
        self._delegate: HTTPMessageDelegate | None = None  # of a request that is read
        self._gone: Callable[[], None] | None = None  # to be told that nobody waits for the answer any more
        self._start = RequestStartLine("", "", "")
        self._closes = self._answered = self._paused = self._congested = self._lost = False
        self._written = 0
        self._seen: tuple[float, int] | None = None  # when what is written was looked at, and how much was sent then

    @property
    def answering(self) -> bool:
        """Whether a whole request waits for the end of its answer."""
        return self._step is Connection._wait and not self._answered

    @property
    def idle(self) -> bool:
        """Whether no request is under way, and everything is sent."""
        return self._step is Connection._read_head and not self.writing()

    def writing(self) -> bool:
        """Whether something is not sent yet."""
        return not self._lost and self.transport.get_write_buffer_size() > 0

    def overdue(self, now: float) -> bool:
        """Whether its time is over: for what it reads, or because what is written hardly moves."""
        if now > self._deadline:
            return True
        if not self.writing():
            self._seen = None
            return False
        sent = self._written - self.transport.get_write_buffer_size()
        since, before = self._seen or (now, sent)
        if not self._seen or now - since >= STALL_SECONDS:
            self._seen = (now, sent)
        return now - since >= STALL_SECONDS and sent - before < STALL_BYTES

    def ignore(self) -> None:
        """Take nothing more that comes."""
        self._step = Connection._discard

    def refuse(self, answer: bytes) -> None:
        """Send a last answer, and close when the caller has had time to read it."""
        self._deadline = time.monotonic() + LINGER_SECONDS
        self._write(answer)
        if not self._lost:
            self.transport.write_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.context = Peer(peer[0] if isinstance(peer, tuple) else "0.0.0.0")
        self._await_request()
        self._site.made(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()
        if len(self._buffer) > WAITING_BYTES and self._step is Connection._wait:
            self._pause()

    def eof_received(self) -> None:
        """The caller is gone: the transport closes itself."""

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False
        if self._answered:
            self._await_request()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        delegate, gone = self._delegate, self._gone
        self._delegate = self._gone = None
        self._buffer.clear()
        self._site.lost(self)
        if delegate:
            delegate.on_connection_close()
        elif gone:
            gone()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have a handler told when its caller is gone."""
        self._gone = callback

    def write_headers(  # type: ignore[override]
        self, start_line: ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> Future[None]:
        """Implements HTTPConnection.write_headers."""
        if self._closes:
            headers["Connection"] = "close"
        elif self._start.version == "HTTP/1.0":
            headers["Connection"] = "keep-alive"
        self._closes = self._closes or headers.get("Connection") == "close"
        lines = [f"HTTP/1.1 {start_line.code} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        head = "\r\n".join([*lines, "", ""]).encode("latin1")
        self._write(head, *([chunk] if chunk else []))
        return self._done

    def write(self, chunk: bytes) -> Future[None]:
        """Implements HTTPConnection.write."""
        self._write(chunk)
        return self._done

    def finish(self) -> None:
        """Implements HTTPConnection.finish."""
        self._gone = None
        if self._lost:
            return
        if self._closes:
            self.ignore()
            self.transport.close()
        elif self._congested:
            self._answered = True
        else:
            self._await_request()

    def _write(self, *parts: bytes) -> None:
        if not self._lost:
            self._written += sum(map(len, parts))
            self.transport.writelines(parts)  # in one system call

    def _await_request(self) -> None:
        self._step = Connection._read_head
        self._answered = False
        self.since = time.monotonic()
        self._deadline = self.since + IDLE_SECONDS
        if self._buffer or self._paused:
            self._loop.call_soon(self._advance)

    def _pause(self) -> None:
        if not self._paused and not self._lost:
            self._paused = True
            self.transport.pause_reading()

    def _advance(self) -> None:
        """Take from the buffer what is whole."""
        try:
            for _ in range(MOST_STEPS):
                if not self._step(self):
                    break
            else:
                self._pause()
                self._loop.call_soon(self._advance)
                return
        except HTTPInputError:
            self._fail()
        if self._paused and self._step is not Connection._wait and not self._lost:
            self._paused = False
            self.transport.resume_reading()

    def _fail(self) -> None:
        self.ignore()
        delegate, self._delegate = self._delegate, None
        if delegate:
            delegate.on_connection_close()
        self._site.malformed(self)

    def _read_head(self) -> bool:
        buffer = self._buffer
        if buffer.startswith((b"\r", b"\n")):  # RFC 9112 section 2.2
            buffer[:] = buffer.lstrip(BLANK)
        found = HEAD_END.search(buffer, max(0, self._searched - 3))
        if not found:
            if len(buffer) > READ_HEAD_BYTES:
                raise HTTPInputError("a head without end")
            self._searched = len(buffer)
            return False
        self._searched, self.head_bytes = 0, found.end()
        line, _, fields = buffer[:self.head_bytes].decode("latin1").partition("\n")
        del buffer[:self.head_bytes]
        self._begin(parse_request_start_line(line.rstrip("\r")), HTTPHeaders.parse(fields))
        return True

    def _begin(self, start: RequestStartLine, headers: HTTPHeaders) -> None:
        self._start = start
        self._closes = not _keeps_alive(start, headers)
        chunked, self._left = is_transfer_encoding_chunked(headers), _content_length(headers)
        delegate = self._site.start_request(self)
        delegate.headers_received(start, headers)
        self._delegate = delegate
        if not chunked and not self._left:
            self._end()
            return
        self._step = Connection._read_chunk_size if chunked else Connection._read_fixed
        self._deadline = time.monotonic() + BODY_SECONDS
        if headers.get("Expect", "").lower() == "100-continue":
            self._write(CONTINUE)

    def _end(self) -> None:
        """The request is whole."""
        delegate, self._delegate = self._delegate, None
        assert delegate
        self._step = Connection._wait
        self._deadline = math.inf
        delegate.finish()

    def _pass_on(self) -> None:
        """Give as much of the body as there is."""
        assert self._delegate
        part = bytes(self._buffer[:self._left])
        del self._buffer[:self._left]
        self._left -= len(part)
        self._delegate.data_received(part)

    def _read_fixed(self) -> bool:
        if not self._buffer:
            return False
        self._pass_on()
        if not self._left:
            self._end()
        return True

    def _read_chunk_size(self) -> bool:
        end = self._buffer.find(BLANK, 0, CHUNK_SIZE_BYTES)
        if end < 0:
            if len(self._buffer) >= CHUNK_SIZE_BYTES:
                raise HTTPInputError("a chunk without a size")
            return False
        try:
            self._left = parse_hex_int(self._buffer[:end].decode("latin1"))
        except ValueError:
            raise HTTPInputError("the size of a chunk is no number") from None
        del self._buffer[:end + len(BLANK)]
        self._last = not self._left
        self._step = Connection._read_chunk_end if self._last else Connection._read_chunk
        return True

    def _read_chunk(self) -> bool:
        if not self._buffer:
            return False
        self._pass_on()
        if not self._left:
            self._step = Connection._read_chunk_end
        return True

    def _read_chunk_end(self) -> bool:
        """The line end behind a chunk; behind the last one it ends the body. Trailers are not taken."""
        if len(self._buffer) < len(BLANK):
            return False
        if not self._buffer.startswith(BLANK):
            raise HTTPInputError("a chunk is longer than its size")
        del self._buffer[:len(BLANK)]
        if self._last:
            self._end()
        else:
            self._step = Connection._read_chunk_size
        return True

    def _wait(self) -> bool:
        """The request is being answered."""
        return False

    def _discard(self) -> bool:
        self._buffer.clear()
        return False


def _keeps_alive(start: RequestStartLine, headers: HTTPHeaders) -> bool:
    """Whether the connection stays open for another request (RFC 9112 section 9.3)."""
    said = {option.strip() for option in headers.get("Connection", "").lower().split(",")}
    return "close" not in said and (start.version == "HTTP/1.1" or "keep-alive" in said)


def _content_length(headers: HTTPHeaders) -> int:
    try:
        return parse_int(headers.get("Content-Length", "0"))
    except ValueError:
        raise HTTPInputError("Content-Length is no number") from None
