"""A client of the API, for tests."""
from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import jwt
from tornado.httpclient import AsyncHTTPClient
from tornado.httputil import HTTPHeaders

from tests import described, record

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Response(NamedTuple):
    """A response; `json` is the parsed body, or None."""

    status: int
    headers: HTTPHeaders
    body: bytes
    json: Any

    @property
    def version(self) -> str:
        """The version in its entity tag, whether gzipped or not."""
        return self.headers["ETag"].strip('"').removesuffix("-gzip")


class Api:
    """Calls the server at `base_url`, with `token` if there is one, and checks what every response must have."""

    def __init__(self, http: AsyncHTTPClient, base_url: str, token: str | None = None) -> None:
        self.http = http
        self.base_url = base_url
        self.token = token

    def signed(self, token: str | None) -> Api:
        """The same server with another token."""
        return Api(self.http, self.base_url, token)

    async def call(
        self, method: str, path: str, body: object = None, *, raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """One request; `body` is sent as JSON, `raw` as it is."""
        sent = raw if raw is not None or body is None else json.dumps(body).encode()
        url = path if path.startswith("http") else self.base_url + path
        sign = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        given = {"Content-Type": "application/json"} if sent is not None else {}
        fetched = await self.http.fetch(
            url, method=method, body=sent, headers={**given, **sign, **(headers or {})}, raise_error=False,
            follow_redirects=False, allow_nonstandard_methods=True, request_timeout=30,
        )
        record.exchanged(body, authorization=fetched.request.headers.get("Authorization", ""))
        is_json = re.search(r"[/+]json\b", fetched.headers.get("Content-Type", ""))
        response = Response(
            fetched.code, fetched.headers, fetched.body,
            json.loads(fetched.body) if is_json and fetched.body else None,
        )
        record.exchanged(response.json)
        assert REQUEST_ID.fullmatch(response.headers["X-Request-ID"])
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        if response.status >= 400:
            assert_problem(response, method)
        described.check(method, url, response.status, response.headers, response.json)
        return response

    @property
    def user_id(self) -> str:
        """The user of the access token."""
        return str(jwt.decode(str(self.token), options={"verify_signature": False})["sub"])

    async def get(self, path: str, **given: Any) -> Response:
        return await self.call("GET", path, **given)

    async def post(self, path: str, body: object = None, **given: Any) -> Response:
        return await self.call("POST", path, body, **given)

    async def put(self, path: str, body: object = None, **given: Any) -> Response:
        return await self.call("PUT", path, body, **given)

    async def delete(self, path: str, **given: Any) -> Response:
        return await self.call("DELETE", path, **given)


def assert_problem(response: Response, method: str = "GET") -> None:
    """Check that a response is a problem document (RFC 9457)."""
    assert response.headers["Content-Type"] == "application/problem+json"
    if method == "HEAD":
        return
    problem = response.json
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert problem["status"] == response.status
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert all(isinstance(problem[key], str) and problem[key] for key in ("type", "title", "detail", "code"))
    for error in problem.get("errors", []):
        assert set(error) == {"pointer", "detail"}
    for word in (b"Traceback", b"psycopg", b"SELECT", b"redis", b"tornado"):
        assert word not in response.body


def assert_tokens(response: Response, status: int) -> None:
    """An access token and a refresh token (RFC 6749 section 5.1)."""
    assert response.status == status
    assert set(response.json) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert response.json["token_type"] == "Bearer"
    assert response.json["expires_in"] == 15 * 60
    assert response.headers["Cache-Control"] == "no-store"


def assert_unauthenticated(response: Response) -> None:
    """401 with the challenge of RFC 6750 section 3."""
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


def but_request_id(response: Response) -> dict[str, Any]:
    """A problem without its request id."""
    return {**response.json, "request_id": ""}


def pointers(response: Response) -> list[str]:
    """The pointers of the invalid fields, in order."""
    return [error["pointer"] for error in response.json["errors"]]
