"""Requests, valid and invalid, each with the rule that decides it: what `test_http_corpus.py` sends.

`statuses` are those of this server. `tornado` is whether unmodified Tornado must respond with the same; if not, Tornado
accepts what this server refuses, or closes the connection without a response. Unless the client half-closes, another
request follows each case: its 200 shows that both sides agree on where the case ends.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
RESET = "POST /request-count/reset/ HTTP/1.1"
OK, REFUSED, TOO_LARGE = (200, 200), (400,), (431,)


class Case(NamedTuple):
    """One case."""

    rule: str
    sent: bytes
    statuses: tuple[int, ...]
    tornado: bool = True
    half_close: bool = False


def get(*fields: str, line: str = "GET /healthz HTTP/1.1", host: str | None = "Host: x", end: str = "\r\n") -> bytes:
    """A request without a body."""
    return end.join([line, *([host] if host is not None else []), *fields, "", ""]).encode("latin1")


def post(body: str, *fields: str, line: str = RESET) -> bytes:
    """A request to an operation that takes any body."""
    return get(*fields, line=line) + body.encode("latin1")


def chunks(body: str, line: str = RESET) -> bytes:
    """A chunked request."""
    return post(body, "Transfer-Encoding: chunked", line=line)


def cases(rule: str, statuses: tuple[int, ...], *messages: bytes, tornado: bool = True) -> Iterator[Case]:
    """Cases that differ only in what is sent."""
    for message in messages:
        yield Case(rule, message, statuses, tornado)


def request_lines() -> Iterator[Case]:
    rule = "RFC 9112 §3: method SP target SP version"
    yield from cases(
        rule, OK, get(), get(line="GET /healthz?a=b&a=c HTTP/1.1"),
        get(line="GET /healthz?\xe9 HTTP/1.1"), get(line="GET /healthz? HTTP/1.1"),
        get(line="GET /healthz?" + "a" * 60_000 + " HTTP/1.1"))
    yield Case("RFC 9110 §2.5: a higher minor version", get(line="GET /healthz HTTP/1.2"), OK, tornado=False)
    yield from cases("RFC 9112 §2.2: a line may end with LF alone", OK, get(end="\n"), get("A: b", end="\n"))
    yield from cases(
        "RFC 9112 §2.2: empty lines before a request are ignored", OK, b"\r\n" + get(), b"\n" + get())
    yield from cases(
        "RFC 9112 §2.2: or even several", OK, b"\n\r\n\n" + get(), b"\r\n" * 5000 + get(), tornado=False)
    yield from cases(
        rule, REFUSED, *[get(line=line) for line in (
            "GET  /healthz HTTP/1.1", "GET\t/healthz\tHTTP/1.1", "GET /healthz HTTP/1.1 ", " GET /healthz HTTP/1.1",
            "GET /healthz", "GET /healthz  HTTP/1.1", "GET HTTP/1.1", "GET /health z HTTP/1.1", "/healthz HTTP/1.1",
            "GET", "hello", "G(T /healthz HTTP/1.1", "GET: /healthz HTTP/1.1", "G\xe9T /healthz HTTP/1.1",
            "GET /healthz\x01 HTTP/1.1", "GET /healthz\x7f HTTP/1.1", "GET /he\0althz HTTP/1.1",
            "GET /healthz\r HTTP/1.1", '"GET" /healthz HTTP/1.1', "HTTP/1.1 200 OK")])
    yield from cases(
        "RFC 9112 §2.3: the version", REFUSED, *[get(line=f"GET /healthz {version}") for version in (
            "HTTP/2.0", "HTTP/0.9", "HTTP/1.10", "HTTP/11.1", "HTTP/1", "HTTP/1.", "http/1.1", "HTTP/1,1", "HTTP/ 1.1",
            "HTTPS/1.1", "HTTP-1.1", "1.1", "HTTP/x.y", "ICY/1.1")], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    yield from cases(
        "RFC 9112 §2.2: a bare CR is no line end", REFUSED, get(line="GET /healthz HTTP/1.1\r"), tornado=False)
    yield from cases(
        "RFC 9110 §9.1: an unknown method", (405, 200), get(line="get /healthz HTTP/1.1"),
        get(line="M-SEARCH /healthz HTTP/1.1"), get(line="!#$%&'*+-.^_`|~ /healthz HTTP/1.1"),
        get(line="X" * 5000 + " /healthz HTTP/1.1"))


def targets() -> Iterator[Case]:
    absolute = "RFC 9112 §3.2.2: the absolute form"
    yield from cases(absolute, OK, *[get(line=f"GET {target} HTTP/1.1") for target in (
        "http://x/healthz", "HTTP://x/healthz", "https://x.example:8443/healthz?a=b", "http://[::1]:80/healthz",
        "http://other.example/healthz", "http://x:/healthz", "http://x/healthz?http://y/")])
    yield from cases(absolute, REFUSED, *[get(line=f"GET {target} HTTP/1.1") for target in (
        "http:///healthz", "http://x:99999/healthz", "http://x:a/healthz", "http://a b/healthz", "http:/healthz",
        "http:healthz", "ftp://x/healthz", "://y/healthz", "a/b/http://x/healthz", "http//x/healthz",
        "http://x\\y/healthz", "http://[::1/healthz", "http://x:80:80/healthz")], tornado=False)
    yield from cases(
        "RFC 9110 §4.2.4: no user information", REFUSED, get(line="GET http://user@x/healthz HTTP/1.1"),
        get(line="GET http://user:word@x/healthz HTTP/1.1"), tornado=False)
    yield from cases("RFC 9112 §3.2.1: a path begins with /", REFUSED, *[get(line=line) for line in (
        "GET foo HTTP/1.1", "GET ?a=b HTTP/1.1", "GET #a HTTP/1.1", "GET healthz/ HTTP/1.1", "GET . HTTP/1.1",
        "GET \\healthz HTTP/1.1")], tornado=False)
    yield from cases("RFC 9112 §3.2.3: the authority form", REFUSED, *[get(line=line) for line in (
        "GET x:80 HTTP/1.1", "CONNECT x:80 HTTP/1.1", "CONNECT x HTTP/1.1")], tornado=False)
    yield Case("RFC 9112 §3.2.4: * with OPTIONS", get(line="OPTIONS * HTTP/1.1"), (204, 200), tornado=False)
    yield from cases("RFC 9112 §3.2.4: * with OPTIONS only", REFUSED, *[get(line=line) for line in (
        "GET * HTTP/1.1", "POST * HTTP/1.1", "OPTIONS */ HTTP/1.1", "options * HTTP/1.1")], tornado=False)


def hosts() -> Iterator[Case]:
    rule = "RFC 9112 §3.2 and RFC 9110 §7.2: one valid Host"
    yield from cases(rule, OK, *[get(host=f"Host: {host}") for host in (
        "x.example", "x:80", "x:", "x:0", "x:65535", "127.0.0.1", "[::1]", "[::1]:8000", "[::ffff:127.0.0.1]", "x_y",
        "x-1", "X", "x%41", "a;b=c", "~", "x" * 5000)], get(host="hOsT:x"), get(host="Host:\tx \t"))
    yield from cases(
        rule, REFUSED, get(host=None), get("Host: x"), get("Host: y"),
        get(line="GET http://x/healthz HTTP/1.1", host=None),
        *[get(host=f"Host: {host}") for host in (
            "a b", "x,y", "x, x", "x/y", "x@y", "x\xe9", "x%4", "x%zz", "<x>", "x?", "x#", "x\\y", '"x"', "x|y")])
    yield from cases(rule, REFUSED, *[get(host=f"Host: {host}") for host in (
        "", ":80", "x:99999", "x:65536", "x:" + "1" * 5000, "x:80:80", "x:8o", "x:-1", "::1", "[::1", "::1]", "[zz]",
        "[::1]x", "x[::1]", "[]")], tornado=False)
    yield from cases(
        "RFC 9112 §3.2: HTTP/1.0 needs no Host", (200,), get(line="GET /healthz HTTP/1.0", host=None),
        get(line="GET /healthz HTTP/1.0"))
    yield from cases(
        "RFC 9112 §3.2: but no invalid one", REFUSED, get(line="GET /healthz HTTP/1.0", host="Host: a b"),
        get("Host: y", line="GET /healthz HTTP/1.0"))


def fields() -> Iterator[Case]:
    rule = "RFC 9112 §5: name ':' OWS value OWS"
    yield from cases(rule, OK, *[get(field) for field in (
        "A:", "A: ", "A:b", "A: \t b \t", "A: b\tc", "A: \x80\xff", "!#$%&'*+-.^_`|~9: b", "a" * 10_000 + ": b",
        "A: " + "b" * 60_000, "A: b:c", "A: (b)", 'A: "b\\"', "1: 2", "Cookie: \xff=;;==", "A: b\r\nA: c",
        "A: =?utf-8?")])
    yield from cases(rule, REFUSED, *[get(field) for field in (
        "A", "A b", "A : b", "A\t: b", ": b", ":", "A b: c", "(A): b", "A[]: b", "A,: b", "A/b: c", "A\xe9: b",
        "A\0: b",
        "A\x7f: b", '"A": b', "{A}: b", "A@: b", "A;: b")])
    yield from cases("RFC 9110 §5.5: no control characters", REFUSED, *[get(f"A: b{char}c") for char in (
        "\0", "\x01", "\x08", "\x0b", "\x0c", "\x1b", "\x1f", "\x7f", "\r", "\r\r")])
    yield from cases("RFC 9112 §5.2: no folded lines", REFUSED, get("A: b\r\n c"), get("A: b\r\n\tc"), get("A:\r\n b"))
    yield from cases(
        "RFC 9112 §2.2: no white space before the first field", REFUSED, get(host=" Host: x"), get(host="\tHost: x"))
    yield Case("RFC 6585 §5: 100 fields", get(*["A: b"] * 99), OK)
    yield from cases(
        "RFC 6585 §5: more than 100 fields, or 64 KiB", TOO_LARGE, get(*["A: b"] * 100), get(*["A: b"] * 300),
        get(*["A: b"] * 20_000), get(*["A: b"] * 150, end="\n"), get("A: " + "b" * 65_536),
        get("A: " + "b" * 2_000_000),
        get(line="GET /" + "a" * 65_536 + " HTTP/1.1"), b"\n" + b"a" * 2_000_000, b"a: b\r\n" * 200_000, tornado=False)


def lengths() -> Iterator[Case]:
    rule = "RFC 9110 §8.6: Content-Length is one number"
    yield from cases(rule, OK, *[post("hello", field) for field in (
        "Content-Length: 5", "content-length:5", "Content-Length: 05", "Content-Length: \t5 ")],
        post("", "Content-Length: 0"),
        post(""), post("hello", "Content-Length: 5", line="GET /healthz HTTP/1.1"),
        post("a" * 70_000, "Content-Length: 70000"))
    yield from cases(rule, REFUSED, *[post("hello", f"Content-Length: {length}") for length in (
        "", "-1", "+5", "5.0", "0x5", "1_0", "5 5", "5, 6", "5;5", "five", "\xb2", "9" * 5000, "5e0", "'5'", "-0",
        "NaN")])
    yield from cases(
        "RFC 9112 §6.3: two lengths", REFUSED, post("hello", "Content-Length: 5", "Content-Length: 6"),
        post("hello", "Content-Length: 0", "Content-Length: 5"))
    yield from cases(
        "RFC 9112 §6.3: two equal lengths may be refused", REFUSED, post("hello", "Content-Length: 5, 5"),
        post("hello", "Content-Length: 5", "Content-Length: 5"), tornado=False)


def encodings() -> Iterator[Case]:
    rule = "RFC 9112 §6.1: chunked is the only coding"
    whole = "5\r\nhello\r\n0\r\n\r\n"
    yield from cases(rule, OK, *[post(whole, field) for field in (
        "Transfer-Encoding: chunked", "transfer-encoding:Chunked", "Transfer-Encoding: \tCHUNKED ")])
    yield from cases(rule, REFUSED, *[post(whole, f"Transfer-Encoding: {coding}") for coding in (
        "", "gzip", "gzip, chunked", "chunked, gzip", "identity", "chunked, identity", ", chunked", "chunked,",
        "chunked, chunked", "chunked;q=1", "xchunked", "chunkedx", "chunk", "'chunked'", '"chunked"', "[chunked]",
        "chunked\xa0", "\xa0chunked", "chunked chunked", "ch\tunked", "chunked\x0b", "\x0cchunked", "chunked\0")])
    yield from cases(
        rule, REFUSED, post(whole, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        post(whole, "Transfer-Encoding: gzip", "Transfer-Encoding: chunked"),
        post(whole, "Transfer-Encoding : chunked"),
        post(whole, "Transfer-Encoding:\r\n chunked"), post(whole, "Transfer\xadEncoding: chunked"))
    yield from cases(
        "RFC 9112 §6.3: a length and chunks", REFUSED,
        post(whole, "Transfer-Encoding: chunked", "Content-Length: 5"),
        post(whole, "Content-Length: 15", "Transfer-Encoding: chunked"),
        post(whole, "Content-Length: 15", "Transfer-Encoding: identity"))
    yield Case("RFC 9110 §5.1: another name is another field", post("", "Transfer_Encoding: chunked"), OK)
    yield from cases(
        "RFC 9112 §6.1: HTTP/1.0 with chunks closes", (200,),
        *[post(whole, "Transfer-Encoding: chunked", f"Connection: {option}", line=RESET.replace("1.1", "1.0"))
          for option in ("close", "keep-alive")], tornado=False)


def chunked_bodies() -> Iterator[Case]:
    rule = "RFC 9112 §7.1: size CRLF data CRLF"
    yield from cases(rule, OK, *map(chunks, (
        "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "00005\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n000\r\n\r\n",
        "a\r\n" + "x" * 10 + "\r\nA\r\n" + "x" * 10 + "\r\n0\r\n\r\n", "2\r\n\r\n\r\n0\r\n\r\n",
        "1\r\nx\r\n" * 3000 + "0\r\n\r\n", "10000\r\n" + "x" * 65_536 + "\r\n0\r\n\r\n")))
    yield from cases(rule, REFUSED, *map(chunks, (
        "\r\nhello\r\n0\r\n\r\n", "g\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n", "5_0\r\nhello\r\n0\r\n\r\n", " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n", "5\rhello\r\n0\r\n\r\n", "5h\r\nhello\r\n0\r\n\r\n", "\0005\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n-0\r\n\r\n", "5.0\r\nhello\r\n0\r\n\r\n", "hello")))
    yield from cases(rule, REFUSED, *map(chunks, (
        "1" * 17 + "\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\n\r\n" + "\r\n", "0" * 2000)), tornado=False)
    yield from cases("RFC 9112 §7.1.1: extensions are ignored", OK, *map(chunks, (
        "5;a\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n", '5;a="b;c"\r\nhello\r\n0\r\n\r\n',
        "5 ; a = b\r\nhello\r\n0\r\n\r\n", "5;\r\nhello\r\n0;last\r\n\r\n", "5\t;a\r\nhello\r\n0\r\n\r\n",
        f"5;{'a' * 1000}\r\nhello\r\n0\r\n\r\n")), tornado=False)
    yield from cases("RFC 9112 §7.1.1: but bounded, and one line", REFUSED, *map(chunks, (
        "5;" + "a" * 1024 + "\r\nhello\r\n0\r\n\r\n", ("1;" + "a" * 1000 + "\r\nx\r\n") * 20,
        "5;a\nb\r\nhello\r\n0\r\n\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n", "5;a\0\r\nhello\r\n0\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n", "5;" + "a" * 100_000)), tornado=False)
    yield from cases("RFC 9112 §7.1.2: trailers are ignored", OK, *map(chunks, (
        "0\r\nA: b\r\n\r\n", "5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nTransfer-Encoding: gzip\r\nHost: y\r\n\r\n", "0\r\nA:\r\n\r\n")), tornado=False)
    yield from cases("RFC 9112 §7.1.2: but bounded, and fields", REFUSED, *map(chunks, (
        "0\r\nA\r\n\r\n", "0\r\n: b\r\n\r\n", "0\r\nA : b\r\n\r\n", "0\r\nA: b\r\n c\r\n\r\n",
        "0\r\nA: b\nC: d\r\n\r\n",
        "0\r\nA: b\0\r\n\r\n", "0\r\nA: " + "b" * 2000 + "\r\n\r\n", "0\r\n" + "A: b\r\n" * 5000)), tornado=False)
    yield Case("RFC 9112 §7.1.2: a request in the place of a trailer", chunks("0\r\n"), REFUSED)


def connections() -> Iterator[Case]:
    closes = "RFC 9112 §9.6: close"
    yield from cases(closes, (200,), get("Connection: close"), get("Connection: Close"))
    yield from cases(
        closes, (200,), get("Connection: TE, close"), get("Connection: close, keep-alive"),
        get("Connection: x", "Connection: close"), get("Connection: ,close,"), tornado=False)
    yield from cases(
        "RFC 9112 §9.3: HTTP/1.1 persists", OK, get("Connection: keep-alive"), get("Connection: closed"),
        get("Connection:"), get("Connection: x, y"), get("Keep-Alive: timeout=5"), get("Close: true"))
    old = "GET /healthz HTTP/1.0"
    yield from cases("RFC 9112 §9.3: HTTP/1.0 persists on request", OK, get("Connection: keep-alive", line=old))
    yield from cases(
        "RFC 9112 §9.3: and else closes", (200,), get(line=old), get("Connection: x", line=old),
        get("Connection: close", line=old), get("Connection: keep-alive, close", line=old))
    yield Case("RFC 9112 §9.3.2: pipelined requests", get() * 30, (200,) * 31)
    yield Case("RFC 9112 §9.3.2: with bodies", post("hello", "Content-Length: 5") * 9, (200,) * 10)
    yield Case("RFC 9112 §9.3.2: up to the first that is none", get() + get("A") + get(), (200, 400))
    yield from cases(
        "RFC 9110 §7.8: an upgrade may be ignored", OK, get("Connection: Upgrade", "Upgrade: h2c"),
        get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        get("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"))
    yield from cases(
        "RFC 9110 §10.1.1: other expectations are ignored", OK, get("Expect: x"),
        post("hello", "Content-Length: 5", "Expect: 200-maybe"))
    yield from cases(
        "RFC 9110 §10.1.1: 100 may be omitted once the body arrives", OK,
        post("hello", "Content-Length: 5", "Expect: 100-continue"), get("Expect: 100-continue"), tornado=False)


def half_closes() -> Iterator[Case]:
    complete = "RFC 9112 §9.6: the client may read after it has closed its side"
    incomplete = "RFC 9112 §8: an incomplete request"
    for rule, sent, statuses in (
        (complete, get(), (200,)), (complete, get() * 5, (200,) * 5), (complete, get("Connection: close"), (200,)),
        (complete, post("hello", "Content-Length: 5"), (200,)), (complete, chunks("5\r\nhello\r\n0\r\n\r\n"), (200,)),
        (complete, get(line="GET /healthz HTTP/1.0"), (200,)), (complete, get() + b"\r\n", (200,)),
        (complete, get("A"), (400,)), (complete, get(line="GET /nowhere HTTP/1.1"), (404,)),
        (complete, b"", ()), (complete, b"\r\n", ()),
        (incomplete, b"G", (400,)), (incomplete, b"GET /healthz HTTP/1.1\r\n", (400,)),
        (incomplete, get()[:-1], (400,)),
        (incomplete, get() + b"GET", (200, 400)), (incomplete, post("hell", "Content-Length: 5"), (400,)),
        (incomplete, post("", "Content-Length: 5"), (400,)), (incomplete, chunks(""), (400,)),
        (incomplete, chunks("5"), (400,)), (incomplete, chunks("5\r\nhe"), (400,)),
        (incomplete, chunks("5\r\nhello"), (400,)), (incomplete, chunks("5\r\nhello\r\n"), (400,)),
        (incomplete, chunks("0\r\n"), (400,)), (incomplete, chunks("0\r\nA: b\r\n"), (400,)),
    ):
        yield Case(rule, sent, statuses, tornado=False, half_close=True)


GROUPS = {
    kind.__name__: list(kind())
    for kind in (request_lines, targets, hosts, fields, lengths, encodings, chunked_bodies, connections, half_closes)
}
