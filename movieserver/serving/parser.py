"""Parses the bytes of a connection into requests (RFC 9112): heads, bodies of a declared length, chunked bodies."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tornado.httputil import HTTPHeaders, RequestStartLine

from movieserver.errors import BadRequest, HeadersTooLarge
from movieserver.http.headers import HEADER_BYTES, HEADER_FIELDS
from movieserver.serving import syntax

if TYPE_CHECKING:
    from movieserver.serving.connection import Connection

CHUNK_LINE_BYTES = 1024
OVERHEAD_BYTES = 16 * 1024  # of chunk extensions and trailers
MAX_STEPS = 1000  # before other connections get their turn
CRLF = b"\r\n"


class RequestParser:
    """A state machine: each state consumes the buffer and returns whether to go on."""

    def __init__(self, connection: Connection) -> None:
        self.buffer = bytearray()
        self.head_bytes = 0  # of the current request
        self._connection = connection
        self._state: Callable[[RequestParser], bool] = RequestParser._read_head
        self._searched = 0  # bytes of the buffer in which no head ends
        self._remaining = 0  # bytes of the body, or of the chunk
        self._overhead = 0

    @property
    def in_head(self) -> bool:
        """Whether the head of a request is awaited or incomplete."""
        return self._state is RequestParser._read_head

    @property
    def complete(self) -> bool:
        """Whether a request is complete."""
        return self._state is RequestParser._await_response

    def advance(self) -> bool:
        """Run at most MAX_STEPS; returns whether there may be more. BadRequest or HeadersTooLarge."""
        for _ in range(MAX_STEPS):
            if not self._state(self):
                return False
        return True

    def skip_body(self) -> None:
        """Treat the request as complete without the rest of its body; what follows cannot be parsed."""
        if not self.complete:
            self._end()

    def next_request(self) -> None:
        """Begin to read a head."""
        self.head_bytes = 0
        self._state = RequestParser._read_head

    def _read_head(self) -> bool:
        buffer = self.buffer
        if buffer.startswith((b"\r", b"\n")):  # RFC 9112 section 2.2
            buffer[:] = buffer.lstrip(CRLF)
        end = _head_end(buffer, max(0, self._searched - 2))
        size = end or len(buffer)
        if size > HEADER_BYTES or buffer.count(b"\n", 0, size) > HEADER_FIELDS + 2:
            raise HeadersTooLarge(HEADER_BYTES, HEADER_FIELDS)
        self._searched = 0 if end else size
        if end:
            self.head_bytes = end
            head = buffer[:end].decode("latin1")
            del buffer[:end]
            self._begin(*syntax.parse_head(head))
        return end > 0

    def _begin(self, start: RequestStartLine, headers: HTTPHeaders) -> None:
        length = syntax.body_length(headers)
        self._remaining, self._overhead = length or 0, 0
        self._state = RequestParser._read_chunk_size if length is None else RequestParser._read_body
        self._connection.head_received(start, headers, length != 0)
        if length == 0:
            self.skip_body()

    def _end(self) -> None:
        self._state = RequestParser._await_response
        self._connection.request_received()

    def _deliver(self) -> bool:
        """Deliver the available part of the body or chunk; returns whether it is complete."""
        part = bytes(self.buffer[:self._remaining])
        del self.buffer[:self._remaining]
        self._remaining -= len(part)
        self._connection.body_received(part)
        return not self._remaining and not self.complete

    def _read_body(self) -> bool:
        if not self.buffer:
            return False
        if self._deliver():
            self._end()
        return True

    def _read_chunk_size(self) -> bool:
        line = self._read_line()
        if line is None:
            return False
        self._remaining = syntax.chunk_size(line)
        self._count_overhead(len(line.partition(b";")[2]))
        self._state = RequestParser._read_chunk if self._remaining else RequestParser._read_trailer
        return True

    def _read_chunk(self) -> bool:
        if not self.buffer:
            return False
        if self._deliver():
            self._state = RequestParser._read_chunk_end
        return True

    def _read_chunk_end(self) -> bool:
        if len(self.buffer) < len(CRLF):
            return False
        if not self.buffer.startswith(CRLF):
            raise BadRequest("A chunk is longer than the size before it; send the exact size.")
        del self.buffer[:len(CRLF)]
        self._state = RequestParser._read_chunk_size
        return True

    def _read_trailer(self) -> bool:
        """A trailer field, which is dropped, or the empty line after the last one."""
        line = self._read_line()
        if line:
            self._count_overhead(len(line))
            syntax.check_trailer(line.decode("latin1"))
        elif line is not None:
            self._end()
        return line is not None

    def _await_response(self) -> bool:
        return False

    def _read_line(self) -> bytes | None:
        """A line of a chunked body without its end; None if it is incomplete."""
        end = self.buffer.find(CRLF, 0, CHUNK_LINE_BYTES)
        if end >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[:end + len(CRLF)]
            return line
        if len(self.buffer) >= CHUNK_LINE_BYTES:
            raise BadRequest(f"A chunk extension or trailer must not be longer than {CHUNK_LINE_BYTES} bytes.")
        return None

    def _count_overhead(self, size: int) -> None:
        self._overhead += size
        if self._overhead > OVERHEAD_BYTES:
            raise BadRequest(f"Chunk extensions and trailers together must not be longer than {OVERHEAD_BYTES} bytes.")


def _head_end(buffer: bytearray, start: int) -> int:
    """Where the first head ends, 0 if it is incomplete; a line may end with LF alone (RFC 9112 section 2.2)."""
    crlf = buffer.find(b"\n\r\n", start)
    lf = buffer.find(b"\n\n", start, crlf if crlf >= 0 else len(buffer))
    return lf + 2 if lf >= 0 else crlf + 3 if crlf >= 0 else 0
