"""Checks that responses are as /openapi.json describes them: status, type, headers and body."""
from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from jsonschema_rs import Draft202012Validator

from movieserver.app import ROUTES
from movieserver.openapi import document

Json = dict[str, Any]
DOCUMENT: Json = document.document(ROUTES)
PATTERNS = {path: re.compile(re.sub(r"{\w+}", "[^/]+", path.rstrip("/")) + "/?") for path in DOCUMENT["paths"]}
PREFIX = "/films"  # of the test of PUBLIC_URL
ALIAS = re.compile("^/collections(?=/|$)")
WITHOUT_ROUTE = {"404", "400", "413", "431", "500", "503"}


def path_of(address: str) -> str | None:
    """The path in /openapi.json that an address belongs to; /collections/ is another spelling of /collection/."""
    sent = ALIAS.sub("/collection", urlsplit(address).path.removeprefix(PREFIX))
    return next((path for path, pattern in PATTERNS.items() if pattern.fullmatch(sent)), None)


def check(method: str, address: str, status: int, headers: Mapping[str, str], body: Any) -> None:
    """Fail if a response is not as described; `body` is parsed JSON, or None."""
    path = path_of(address)
    item = DOCUMENT["paths"][path] if path else {}
    operation = item.get("get" if method == "HEAD" else method.lower())
    if operation is not None:
        _check(path, method, operation["responses"], status, headers, body)
    elif method == "OPTIONS" and path and status == 204:
        assert "Allow" in headers
    else:
        assert (status == 405 and "Allow" in headers) if path and status < 500 else str(status) in WITHOUT_ROUTE, status
        if method != "HEAD":
            validator("Problem").validate(body)


def _check(
    path: str | None, method: str, responses: Json, status: int, headers: Mapping[str, str], body: Any
) -> None:
    assert str(status) in responses, f"{method} {path} responded with {status}, which is not described"
    response = responses[str(status)]
    for name, described in response["headers"].items():
        header_is_described(name, described, headers.get(name))
    media = headers.get("Content-Type", "").partition(";")[0]
    if "content" in response:
        assert media in response["content"], f"{method} {path} responded with {status} as {media}"
        if method != "HEAD" and response["content"][media]["schema"] != {"type": "string"}:
            response_validator(path, method.lower(), str(status), media).validate(body)
        if method != "HEAD" and status >= 400:
            assert body["code"] in codes(response), f"{method} {path}: {body['code']} is not described for {status}"
    else:
        assert body is None


def codes(response: Json) -> set[str]:
    """The error codes of a described response: each has an example."""
    examples = DOCUMENT["components"]["examples"]
    [content] = response["content"].values()
    return {examples[name]["value"]["code"] for name in content["examples"]}


def header_is_described(name: str, described: Json, value: str | None) -> None:
    """Fail if a required header is missing or a header is invalid."""
    required = (DOCUMENT["components"]["headers"][name] | described)["required"]
    assert value is not None or not required, f"{name} is missing"
    if value is not None:
        header_validator(name).validate(value)


@cache
def header_validator(name: str) -> Draft202012Validator:
    """A validator of the value of a header."""
    return compiled(DOCUMENT["components"]["headers"][name]["schema"])


@cache
def validator(name: str) -> Draft202012Validator:
    """A validator of a model."""
    return compiled({"$ref": f"#/components/schemas/{name}"})


@cache
def response_validator(path: str, verb: str, status: str, media: str) -> Draft202012Validator:
    """A validator of the body of a response."""
    return compiled(DOCUMENT["paths"][path][verb]["responses"][status]["content"][media]["schema"])


def compiled(schema: Json) -> Draft202012Validator:
    """A validator of a schema of /openapi.json."""
    return Draft202012Validator({"components": DOCUMENT["components"], **schema}, validate_formats=True)
