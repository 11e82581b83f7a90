"""The description of the API: it is valid and complete, and the code does what it says.

tests/client.py checks every response of the suite against it."""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import movieserver
from movieserver.app import ROUTES
from movieserver.embedded import films
from movieserver.handlers.base import Handler
from movieserver.openapi.operation import Operation, Route
from movieserver.schemas.requests import Order, Registration
from tests import described
from tests.client import Api
from tests.described import DOCUMENT
from tests.factories import collection, registration

OPERATIONS = [
    (path, verb, operation)
    for path, item in DOCUMENT["paths"].items() for verb, operation in item.items() if verb != "parameters"
]


WITHOUT_EXAMPLE = {"/limits/", "/openapi.json", "/docs/", "/docs/docs.css", "/docs/docs.js"}


def test_it_is_valid() -> None:
    """Validated with the schema of OpenAPI 3.1; examples and defaults with their own schemas."""
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")
    for path, _, operation in OPERATIONS:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            described.compiled(content["schema"]).validate(content["example"])
        request_headers = [DOCUMENT["x-request-headers"][name] for name in operation["x-request-headers"]]
        parameters = operation["parameters"] + DOCUMENT["paths"][path].get("parameters", [])
        for parameter in parameters + request_headers:
            described.compiled(parameter["schema"]).validate(parameter["example"])
        for response in operation["responses"].values():
            for kind, content in response.get("content", {}).items():
                if "example" in content:
                    described.compiled(content["schema"]).validate(content["example"])
                else:
                    assert "examples" in content or path in WITHOUT_EXAMPLE, (path, kind)
                for example in content.get("examples", {}).values():
                    value = DOCUMENT["components"]["examples"][example["$ref"].rpartition("/")[2]]["value"]
                    described.compiled(content["schema"]).validate(value)


@pytest.mark.parametrize("path", ["/openapi.json", "/openapi.json/"])
async def test_it_needs_no_token_and_has_a_version(api: Api, path: str) -> None:
    response = await api.get(path)
    assert (response.status, response.json) == (200, DOCUMENT)
    assert response.headers["Content-Type"] == "application/json"
    assert (await api.get(path, headers={"If-None-Match": response.headers["ETag"]})).status == 304


async def test_reading_it_counts(api: Api) -> None:
    before = (await api.get("/request-count/")).json["requests"]
    await api.get("/openapi.json")
    assert (await api.get("/request-count/")).json["requests"] == before + 2


def test_every_verb_of_every_route_is_described_and_nothing_else() -> None:
    routes = {route.template: route for route in ROUTES if not route.template.startswith("/collections/")}
    assert {(path.rstrip("/"), verb.upper()) for path, verb, _ in OPERATIONS} == {
        (template.rstrip("/"), verb)
        for template, route in routes.items() for verb in route.handler_class.verbs if verb not in ("HEAD", "OPTIONS")
    }
    ids = {operation["operationId"] for _, _, operation in OPERATIONS}
    assert len(ids) == len(OPERATIONS)
    assert {"listCollections", "createCollection", "getCollection", "updateCollection", "deleteCollection"} < ids
    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)*", name) for name in ids)


def test_what_is_protected_asks_for_the_token() -> None:
    protected = {route.template.rstrip("/"): route.handler_class.login_only for route in ROUTES if route.protected}
    for path, _, operation in OPERATIONS:
        schemes = {scheme for alternative in operation["security"] for scheme in alternative}
        assert ("accessToken" in schemes) == (path.rstrip("/") in protected)
        assert ("personalToken" in schemes) == (protected.get(path.rstrip("/")) is False)
        assert ("401" in operation["responses"]) == (
            bool(operation["security"]) or path in ("/login/", "/refresh/"))


def test_the_second_spelling_is_not_described_and_has_the_same_handlers() -> None:
    handlers = {route.template: route.handler_class for route in ROUTES}
    others = {path for path in handlers if path.startswith("/collections/")}
    assert others and not others & set(DOCUMENT["paths"])
    for path in others:
        assert handlers[path] is handlers[path.replace("/collections/", "/collection/")]


def test_contact_and_servers_are_described() -> None:
    assert DOCUMENT["info"]["version"] == movieserver.__version__
    assert DOCUMENT["info"]["license"]["identifier"] == "MIT" and DOCUMENT["info"]["contact"]
    assert [server["url"] for server in DOCUMENT["servers"]] == ["/"]
    assert all(tag["description"] for tag in DOCUMENT["tags"])
    assert {tag["name"] for tag in DOCUMENT["tags"]} == {
        name for _, _, operation in OPERATIONS for name in operation["tags"]}
    assert all(operation["summary"] and operation["description"] for _, _, operation in OPERATIONS)


def parts(value: Any) -> Iterator[Any]:
    """A JSON value and all values in it."""
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(part)


def test_every_body_is_a_named_schema() -> None:
    """Generated clients name a type after it; every error is a Problem."""
    for _, _, operation in OPERATIONS:
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for body in [*bodies, *operation["responses"].values()]:
            for kind, content in body.get("content", {}).items():
                schema = content["schema"]
                is_text = kind.startswith("text/") or kind == "application/x-ndjson"
                assert schema == {"type": "string"} if is_text else list(schema) == ["$ref"]
                assert (kind == "application/problem+json") == (schema == {"$ref": "#/components/schemas/Problem"})
    for schema in DOCUMENT["components"]["schemas"].values():
        inner = [*schema.get("anyOf", []), *schema.get("properties", {}).values()]
        assert not any("properties" in part for each in inner for part in parts(each) if isinstance(part, dict))


def test_schemas_do_not_mislead_generators() -> None:
    """Some do not support `const` of a boolean or number, and require keys with a default."""
    for part in filter(lambda part: isinstance(part, dict), parts(DOCUMENT)):
        assert isinstance(part.get("const", ""), str)
    for schema in DOCUMENT["components"]["schemas"].values():
        assert not any("default" in part for part in schema.get("properties", {}).values())
    requests = [operation["requestBody"] for _, _, operation in OPERATIONS if "requestBody" in operation]
    assert {"title"} == set(DOCUMENT["components"]["schemas"]["NewCollection"]["required"])
    assert len(requests) == 14


def test_tools_send_no_optional_headers() -> None:
    """Some tools send every parameter: no optional header is one, and an optional query parameter changes nothing."""
    for path, _, operation in OPERATIONS:
        assert {parameter["in"] for parameter in operation["parameters"]} <= {"query"}
        assert {parameter["in"] for parameter in DOCUMENT["paths"][path].get("parameters", [])} <= {"path"}
    names = {name for _, _, operation in OPERATIONS for name in operation["x-request-headers"]}
    assert names == set(DOCUMENT["x-request-headers"]) == {
        "X-Request-ID", "If-Match", "If-None-Match", "Idempotency-Key"}
    [create] = [operation for _, _, operation in OPERATIONS if operation["operationId"] == "createCollection"]
    assert create["x-request-headers"] == ["Idempotency-Key", "X-Request-ID"]


def test_the_movies_of_examples_are_in_the_demo_catalogue() -> None:
    catalogue = films.listing()
    movies = [part for part in parts(DOCUMENT) if isinstance(part, dict) and {"uuid", "title", "genres"} <= part.keys()
              and isinstance(part["genres"], str)]
    assert len(movies) > 8
    assert all(movie in catalogue and movie["genres"] for movie in movies)
    uuids = {film["uuid"] for film in catalogue}
    for path, _, operation in OPERATIONS:
        for parameter in operation["parameters"] + DOCUMENT["paths"][path].get("parameters", []):
            assert parameter["name"] != "movie_uuid" or parameter["example"] in uuids
            assert parameter["name"] != "query" or films.search(parameter["example"])
    order = DOCUMENT["paths"]["/collection/{collection_uuid}/order/"]["put"]["requestBody"]["content"]
    assert set(order["application/json"]["example"]["movies"]) < uuids


async def test_the_examples_work_one_after_the_other(alice: Api) -> None:
    """Clicking "Try it" on each operation succeeds."""
    def example(path: str, verb: str) -> Any:
        return DOCUMENT["paths"][path][verb]["requestBody"]["content"]["application/json"]["example"]

    path = "/collection/{collection_uuid}/"
    address = (await alice.post("/collection/", example("/collection/", "post"))).headers["Location"]
    assert (await alice.put(address, example(path, "put"))).status == 200
    assert (await alice.put(f"{address}order/", example(f"{path}order/", "put"))).status == 200
    assert (await alice.post(f"{address}movies/", example(f"{path}movies/", "post"))).json["added"] == 1
    assert (await alice.get("/genres/")).json["count"] > 3
    queries = DOCUMENT["paths"]["/collection/"]["get"]["parameters"]
    query = urlencode({each["name"]: each["example"] for each in queries})
    assert len((await alice.get(f"/collection/?{query}")).json["data"]["collections"]) == 1


async def test_the_examples_of_errors_are_what_is_sent(api: Api) -> None:
    """Each operation has its own text."""
    for path, verb, headers in (
        ("/login/", "post", {}), ("/refresh/", "post", {}), ("/collection/", "get", {}), ("/genres/", "get", {}),
        ("/collection/{collection_uuid}/", "get", {}), ("/movies/", "get", {"Authorization": "Bearer x"}),
    ):
        operation = DOCUMENT["paths"][path][verb]
        body = {"username": "nobody", "password": "x", "refresh_token": "x"} if verb == "post" else None
        response = await api.call(verb.upper(), path.format(collection_uuid="x"), body, headers=headers)
        assert response.status == 401
        names = operation["responses"]["401"]["content"]["application/problem+json"]["examples"]
        details = [DOCUMENT["components"]["examples"][name]["value"]["detail"] for name in names]
        assert response.json["detail"] in details


def test_a_verb_without_an_operation_stops_the_start() -> None:
    class BareHandler(Handler):
        async def get(self) -> None:
            """It has no @Operation."""

    with pytest.raises(TypeError, match="BareHandler has no @Operation for GET"):
        Route("/bare/", BareHandler, protected=True)


async def test_a_verb_parses_the_body_that_is_described(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference is a 500 at the first request."""
    handler: Any = next(route for route in ROUTES if route.template == "/register/").handler_class
    operation: Operation = handler.post.operation
    assert operation.body is Registration
    monkeypatch.setattr(handler.post, "operation", replace(operation, body=Order))
    assert (await api.post("/register/", registration())).status == 500


@pytest.mark.parametrize("change", [
    {"status": 202}, {"body": {"collection_uuid": "no uuid"}}, {"body": {}}, {"drop": "ETag"}, {"drop": "X-Request-ID"},
    {"body": {"collection_uuid": "57baf4f4-c9ef-4197-9e4f-acf04eae5b4d", "more": 1}}, {"type": "text/html"},
], ids=str)
async def test_an_undescribed_response_is_detected(alice: Api, change: dict[str, Any]) -> None:
    response = await alice.post("/collection/", collection())
    headers = dict(response.headers)
    headers.pop(change.get("drop", ""), None)
    headers["Content-Type"] = change.get("type", headers["Content-Type"])
    described.check("POST", "/collection/", 201, response.headers, response.json)
    with pytest.raises((AssertionError, ValueError)):
        described.check(
            "POST", "/collection/", change.get("status", 201), headers, change.get("body", response.json))


async def test_an_undescribed_code_is_detected(alice: Api) -> None:
    response = await alice.post("/collection/", {})
    with pytest.raises(AssertionError, match="made_up"):
        described.check("POST", "/collection/", 400, response.headers, {**response.json, "code": "made_up"})


def test_names_and_locations_agree() -> None:
    """Each path parameter is described, and each reference can be resolved."""
    for path, item in DOCUMENT["paths"].items():
        assert re.findall(r"{(\w+)}", path) == [parameter["name"] for parameter in item.get("parameters", [])]
    for reference in set(re.findall(r'"#/([^"]+)"', json.dumps(DOCUMENT))):
        place: Any = DOCUMENT
        for step in reference.split("/"):
            place = place[step]
