"""The syntax of HTTP/1.1 requests (RFC 9112). Ambiguous ones are refused: BadRequest."""
from __future__ import annotations

import re

from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine, parse_request_start_line

from movieserver.errors import BadRequest

CONTROL = re.compile(r"[^\t\n\x20-\x7e\x80-\xff]")
FIELD_LINES = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\n]*\n)*")
LENGTH = re.compile(r"[0-9]{1,20}")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
NAME_CHARACTERS = r"[A-Za-z0-9._~!$&'()*+;=-]*"
HOST = re.compile(
    rf"(?=[^:])(?:{NAME_CHARACTERS}(?:%[0-9A-Fa-f]{{2}}{NAME_CHARACTERS})*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{0,5}}))?")
ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE)
MAX_PORT = 65535


def parse_head(head: str) -> tuple[RequestStartLine, HTTPHeaders]:
    """A request line and its header fields, up to and including the empty line; a line may end with LF alone."""
    head = head.replace("\r\n", "\n")
    if CONTROL.search(head):
        raise BadRequest(
            "The request line or a header contains a control character. Remove it; lines must end with CR LF.")
    first, _, fields = head.partition("\n")
    try:
        start = parse_request_start_line(first)
    except HTTPInputError:
        raise BadRequest("The request line must be `METHOD /path HTTP/1.1` with single spaces.") from None
    return start, _fields(fields[:-1])


def check_trailer(line: str) -> None:
    """Raise BadRequest unless the line is a trailer field."""
    if CONTROL.search(line) or "\n" in line:
        raise BadRequest("A trailer contains a control character. Remove it, and end lines with CR LF.")
    _fields(f"{line}\n")


def _fields(text: str) -> HTTPHeaders:
    if not FIELD_LINES.fullmatch(text):
        raise BadRequest("Each header line must be `Name: value`, without spaces before the colon.")
    headers, fields = HTTPHeaders(), [line.partition(":") for line in text.split("\n")[:-1]]
    for name, _, value in fields:
        headers[name] = value.strip(" \t")
    if len(headers) < len(fields):  # some are repeated
        headers = HTTPHeaders()
        for name, _, value in fields:
            headers.add(name, value.strip(" \t"))
    return headers


def body_length(headers: HTTPHeaders) -> int | None:
    """How many bytes the body has (RFC 9112 section 6.3); None for a chunked body."""
    length = headers["Content-Length"] if "Content-Length" in headers else None
    if "Transfer-Encoding" in headers:
        if length is not None:
            raise BadRequest("Send Content-Length or Transfer-Encoding, not both.")
        if headers["Transfer-Encoding"].lower() != "chunked":
            raise BadRequest("The only supported Transfer-Encoding is chunked.")
        return None
    if length is None:
        return 0
    if not LENGTH.fullmatch(length):
        raise BadRequest("Content-Length must be one whole number.")
    return int(length)


def keeps_alive(start: RequestStartLine, headers: HTTPHeaders) -> bool:
    """Whether the connection can be used for another request (RFC 9112 sections 6.1 and 9.3)."""
    connection = headers["Connection"].lower().split(",") if "Connection" in headers else ()
    options = [option.strip() for option in connection]
    if start.version == "HTTP/1.0":
        return "keep-alive" in options and "close" not in options and "Transfer-Encoding" not in headers
    return "close" not in options


def expects_continue(start: RequestStartLine, headers: HTTPHeaders) -> bool:
    """Whether the client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1)."""
    if "Expect" not in headers or start.version == "HTTP/1.0":
        return False
    return "100-continue" in [expected.strip().lower() for expected in headers["Expect"].split(",")]


def chunk_size(line: bytes) -> int:
    """The size of a chunk from the line before it, with or without extensions."""
    match = CHUNK_SIZE.fullmatch(line)
    if not match:
        raise BadRequest("The line before a chunk must be its size in hexadecimal digits.")
    return int(match[1], 16)


def origin_form(start: RequestStartLine, headers: HTTPHeaders) -> RequestStartLine:
    """The request line with a path as its target. The authority of an absolute target replaces Host (section 3.2.2)."""
    check_host(start, headers)
    target = start.path
    if target.startswith("/") or target == "*" and start.method == "OPTIONS":
        return start
    absolute = ABSOLUTE.fullmatch(target)
    if not absolute or not _is_host(absolute[1]):
        raise BadRequest("The request target must be a path that begins with / or a complete http:// address.")
    headers["Host"] = absolute[1]
    return start._replace(path=absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}")


def check_host(start: RequestStartLine, headers: HTTPHeaders) -> None:
    """A request has one valid Host; with HTTP/1.0 it may have none."""
    hosts = headers.get_list("Host")
    if not hosts and start.version == "HTTP/1.0":
        return
    if len(hosts) != 1 or not _is_host(hosts[0]):
        raise BadRequest("A request must have exactly one Host header, with a valid host name and port.")


def _is_host(text: str) -> bool:
    match = HOST.fullmatch(text)
    return match is not None and int(match[1] or 0) <= MAX_PORT
