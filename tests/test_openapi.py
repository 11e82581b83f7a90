"""The description of the API: it is valid, it is whole, and it is what the code does.

tests/client.py holds every answer of the suite to it."""
from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from movieserver.app import ROUTES
from movieserver.schemas.requests import Order, Registration
from movieserver.openapi.operation import Operation
from movieserver.handlers.base import Handler, Route
from tests import described
from tests.client import Api
from tests.described import DOCUMENT
from tests.factories import collection, registration
from tests.test_collections import SAMPLE

OPERATIONS = [
    (path, verb, operation)
    for path, item in DOCUMENT["paths"].items() for verb, operation in item.items() if verb != "parameters"
]


SHOWN_BY_THEMSELVES = {"/limits/", "/openapi.json", "/docs/", "/docs/docs.css", "/docs/docs.js"}


def test_it_is_valid() -> None:
    """By the specification's own schema for 3.1, and its examples and defaults by theirs."""
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")
    for path, _, operation in OPERATIONS:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            described.compiled(content["schema"]).validate(content["example"])
        for parameter in [*operation["parameters"], *DOCUMENT["paths"][path].get("parameters", [])]:
            found = DOCUMENT["components"]["parameters"].get(parameter.get("$ref", "").rpartition("/")[2], parameter)
            described.compiled(found["schema"]).validate(found["example"])
        for response in operation["responses"].values():
            for kind, content in response.get("content", {}).items():
                if "example" in content:
                    described.compiled(content["schema"]).validate(content["example"])
                else:
                    assert "examples" in content or path in SHOWN_BY_THEMSELVES, (path, kind)
                for example in content.get("examples", {}).values():
                    value = DOCUMENT["components"]["examples"][example["$ref"].rpartition("/")[2]]["value"]
                    described.compiled(content["schema"]).validate(value)


@pytest.mark.parametrize("path", ["/openapi.json", "/openapi.json/"])
async def test_it_is_open_and_has_a_version(api: Api, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status, answer.json) == (200, DOCUMENT)
    assert answer.headers["Content-Type"] == "application/json"
    assert (await api.get(path, headers={"If-None-Match": answer.headers["ETag"]})).status == 304


async def test_reading_it_counts(api: Api) -> None:
    before = (await api.get("/request-count/")).json["requests"]
    await api.get("/openapi.json")
    assert (await api.get("/request-count/")).json["requests"] == before + 2


def test_every_verb_of_every_route_is_described_and_nothing_else() -> None:
    told = {(path.rstrip("/"), verb.upper()) for path, verb, _ in OPERATIONS}
    assert told == {
        (route.template.rstrip("/"), verb)
        for route in ROUTES for verb in route.handler_class.verbs if verb not in ("HEAD", "OPTIONS")
    }
    assert len({operation["operationId"] for _, _, operation in OPERATIONS}) == len(OPERATIONS)


def test_what_is_protected_asks_for_the_token() -> None:
    protected = {route.template.rstrip("/") for route in ROUTES if route.protected}
    for path, _, operation in OPERATIONS:
        assert (operation["security"] == [{"bearer": []}]) == (path.rstrip("/") in protected)
        assert ("401" in operation["responses"]) == (
            bool(operation["security"]) or path in ("/login/", "/refresh/"))


def test_an_alias_says_that_it_is_one() -> None:
    for path, verb, operation in OPERATIONS:
        if path.startswith("/collections/"):
            original = path.replace("/collections/", "/collection/")
            assert f"`{original}`" in operation["description"]
            assert operation["responses"] == DOCUMENT["paths"][original][verb]["responses"]


def test_the_example_is_the_real_payload() -> None:
    content = DOCUMENT["paths"]["/collection/"]["post"]["requestBody"]["content"]["application/json"]
    assert content["example"] == SAMPLE


def test_a_verb_that_does_not_say_what_it_is_stops_the_start() -> None:
    class SilentHandler(Handler):
        async def get(self) -> None:
            """Nothing is said of it."""

    with pytest.raises(TypeError, match="SilentHandler does not say what its GET is"):
        Route("/silent/", SilentHandler, protected=True)


async def test_a_verb_parses_what_it_says_that_it_takes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A description of another body than the one parsed is a fault of this server, at the first call."""
    handler: Any = next(route for route in ROUTES if route.template == "/register/").handler_class
    operation: Operation = handler.post.operation
    assert operation.body is Registration
    monkeypatch.setattr(handler.post, "operation", operation.but(body=Order))
    assert (await api.post("/register/", registration())).status == 500


@pytest.mark.parametrize("change", [
    {"status": 202}, {"body": {"collection_uuid": "no uuid"}}, {"body": {}}, {"drop": "ETag"}, {"drop": "X-Request-ID"},
    {"body": {"collection_uuid": "57baf4f4-c9ef-4197-9e4f-acf04eae5b4d", "more": 1}}, {"type": "text/html"},
], ids=str)
async def test_an_answer_that_is_not_as_described_is_found(alice: Api, change: dict[str, Any]) -> None:
    answer = await alice.post("/collection/", collection())
    headers = dict(answer.headers)
    headers.pop(change.get("drop", ""), None)
    headers["Content-Type"] = change.get("type", headers["Content-Type"])
    described.check("POST", "/collection/", 201, answer.headers, answer.json)
    with pytest.raises((AssertionError, ValueError)):
        described.check(
            "POST", "/collection/", change.get("status", 201), headers, change.get("body", answer.json))


async def test_a_code_that_is_not_named_is_found(alice: Api) -> None:
    answer = await alice.post("/collection/", {})
    with pytest.raises(ValueError, match="made_up"):
        described.check("POST", "/collection/", 400, answer.headers, {**answer.json, "code": "made_up"})


def test_names_and_places_agree() -> None:
    """What stands in braces in a path is described, and each reference leads somewhere."""
    for path, item in DOCUMENT["paths"].items():
        assert re.findall(r"{(\w+)}", path) == [parameter["name"] for parameter in item.get("parameters", [])]
    for reference in set(re.findall(r'"#/([^"]+)"', json.dumps(DOCUMENT))):
        place: Any = DOCUMENT
        for step in reference.split("/"):
            place = place[step]
