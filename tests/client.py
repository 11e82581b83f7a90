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


class Answer(NamedTuple):
    """What the server answered; `json` is the body read, None where there is none."""

    status: int
    headers: HTTPHeaders
    body: bytes
    json: Any

    @property
    def version(self) -> str:
        """What its entity tag stands for, whether gzipped or not."""
        return self.headers["ETag"].strip('"').removesuffix("-gzip")


class Api:
    """Calls to the server at `base_url`, signed with `token` where one is given. Checks what every answer has."""

    def __init__(self, http: AsyncHTTPClient, base_url: str, token: str | None = None) -> None:
        self.http = http
        self.base_url = base_url
        self.token = token

    def signed(self, token: str | None) -> Api:
        """The same server, as somebody else."""
        return Api(self.http, self.base_url, token)

    async def call(
        self, method: str, path: str, body: object = None, *, raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request; `body` is sent as JSON, `raw` as it is."""
        sent = raw if raw is not None or body is None else json.dumps(body).encode()
        url = path if path.startswith("http") else self.base_url + path
        sign = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        given = {"Content-Type": "application/json"} if sent is not None else {}
        response = await self.http.fetch(
            url, method=method, body=sent, headers={**given, **sign, **(headers or {})}, raise_error=False,
            follow_redirects=False, allow_nonstandard_methods=True, request_timeout=30,
        )
        record.said(body, authorization=response.request.headers.get("Authorization", ""))
        answer = Answer(
            response.code, response.headers, response.body,
            json.loads(response.body)
            if re.search(r"[/+]json\b", response.headers.get("Content-Type", "")) and response.body else None,
        )
        record.said(answer.json)
        assert REQUEST_ID.fullmatch(answer.headers["X-Request-ID"])
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if answer.status >= 400:
            assert_problem(answer, method)
        described.check(method, url, answer.status, answer.headers, answer.json)
        return answer

    @property
    def user_id(self) -> str:
        """The user of the access token."""
        return str(jwt.decode(str(self.token), options={"verify_signature": False})["sub"])

    async def get(self, path: str, **given: Any) -> Answer:
        return await self.call("GET", path, **given)

    async def post(self, path: str, body: object = None, **given: Any) -> Answer:
        return await self.call("POST", path, body, **given)

    async def put(self, path: str, body: object = None, **given: Any) -> Answer:
        return await self.call("PUT", path, body, **given)

    async def delete(self, path: str, **given: Any) -> Answer:
        return await self.call("DELETE", path, **given)


def assert_problem(answer: Answer, method: str = "GET") -> None:
    """The one shape of an error (RFC 9457)."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    if method == "HEAD":
        return
    problem = answer.json
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert problem["status"] == answer.status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert all(isinstance(problem[key], str) and problem[key] for key in ("type", "title", "detail", "code"))
    for error in problem.get("errors", []):
        assert set(error) == {"pointer", "detail"}
    for word in (b"Traceback", b"psycopg", b"SELECT", b"redis", b"tornado"):
        assert word not in answer.body


def assert_tokens(answer: Answer, status: int) -> None:
    """An access token and a refresh token (RFC 6749 section 5.1)."""
    assert answer.status == status
    assert set(answer.json) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["expires_in"] == 15 * 60
    assert answer.headers["Cache-Control"] == "no-store"


def assert_unauthenticated(answer: Answer) -> None:
    """401 with the challenge of RFC 6750 section 3."""
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def but_request_id(answer: Answer) -> dict[str, Any]:
    """A problem without what differs from answer to answer."""
    return {**answer.json, "request_id": ""}


def pointers(answer: Answer) -> list[str]:
    """The invalid fields, in the order given."""
    return [error["pointer"] for error in answer.json["errors"]]
