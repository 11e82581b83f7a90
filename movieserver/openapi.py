"""The description of the API (OpenAPI 3.1), made of the route table and of what each verb says of itself."""
from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from movieserver.answers import Problem
from movieserver.bodies import BYTES, UUID_SCHEMA
from movieserver.budgets import Overloaded
from movieserver.descriptions import Operation, Query, operation_of
from movieserver.errors import (
    ApiError, BadRequest, BodyTooLarge, Fault, HeadersTooLarge, InternalError, InvalidBody, PreconditionFailed,
    Unauthenticated, UnsupportedMediaType
)
from movieserver.handlers.base import HEADER_BYTES, JSON, REQUEST_ID, Route
from movieserver.idempotency import KEY

Json = dict[str, Any]
INFO = {
    "title": "movieserver", "version": "1.0.0",
    "description": "Collections of movies, each its owner's. Every path answers with and without its trailing slash, "
    "HEAD works wherever GET does, OPTIONS answers everywhere, and a method that a path does not know is 405 with "
    "`Allow`. Every error is a problem detail (RFC 9457) whose `code` tells what it is.",
}
SECURITY = {
    "bearer": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "The `access_token` that /register/, /login/ and /refresh/ give.",
    },
    "resetToken": {
        "type": "http", "scheme": "bearer",
        "description": "The setting COUNTER_RESET_TOKEN, where the operator has set it; else none is asked for.",
    },
}
TEXT = {"type": "string"}
TAGS_PATTERN = r'^(\*|(W/)?"[^"]*"( *, *(W/)?"[^"]*")*)$'
ASKED = {  # headers of requests
    "X-Request-ID": ({"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"}, "An id of yours; another is ignored."),
    "If-None-Match": (
        {"type": "string", "pattern": TAGS_PATTERN}, "Entity tags that you have; 304 where one is in force."),
    "If-Match": (
        {"type": "string", "pattern": TAGS_PATTERN}, "Entity tags, one of which has to be in force; else 412."),
    "Idempotency-Key": (
        {"type": "string", "pattern": f"^{KEY.pattern}$"},
        "One for each thing that you want done: the same request with it is carried out once, and answered alike "
        "for a day."),
}
SAID = {  # headers of answers
    "X-Request-ID": ({"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"}, "Names this request in the log."),
    "X-Content-Type-Options": ({"const": "nosniff"}, "The type is what it says."),
    "Cache-Control": (TEXT, "Who may keep the answer, and for how long."),
    "ETag": ({"type": "string", "pattern": '^"[^"]+"$'}, "The version, for If-Match and If-None-Match."),
    "Location": (TEXT, "Where the new one is."),
    "Link": (TEXT, "The neighbours of the page (RFC 8288), where there are any."),
    "Age": ({"type": "string", "pattern": "^[0-9]+$"}, "How many seconds ago the page was fetched."),
    "Vary": (TEXT, "Which headers of the request the answer goes by."),
    "Retry-After": ({"type": "string", "pattern": "^[0-9]+$"}, "In how many seconds it may go better."),
    "WWW-Authenticate": ({"const": "Bearer"}, "How to sign a request (RFC 6750)."),
}
ALWAYS = ("X-Request-ID", "X-Content-Type-Options", "Cache-Control")
MAY_BE_ABSENT = {"Link"}
OF_EVERY_VERB = (BadRequest(), BodyTooLarge(BYTES), HeadersTooLarge(HEADER_BYTES), InternalError(), Overloaded())
INVALID = InvalidBody([Fault("/title", "Field required")])


def document(routes: Iterable[Route]) -> Json:
    """The whole description."""
    table = list(routes)
    schemas, definitions = _schemas(table)
    paths: Json = {}
    first: dict[object, str] = {}
    for route in table:
        original = first.setdefault(route.handler_class, route.template)
        paths[_path(route)] = _path_item(route, "" if original == route.template else original, schemas)
    return {
        "openapi": "3.1.0", "info": INFO, "servers": [{"url": "/"}], "tags": _tags(table), "paths": paths,
        "components": {
            "schemas": definitions,
            "headers": {name: _header(name) for name in SAID},
            "parameters": {name: _asked(name) for name in ASKED},
            "examples": _examples(table),
            "securitySchemes": SECURITY,
        },
    }


def written(routes: Iterable[Route]) -> tuple[str, str]:
    """The description as JSON, and its version."""
    text = json.dumps(document(routes), ensure_ascii=False)
    return text, hashlib.sha256(text.encode()).hexdigest()[:32]


def errors_of(route: Route, operation: Operation) -> list[ApiError]:
    """Every error that a verb may answer with."""
    errors = [*OF_EVERY_VERB, *operation.errors]
    if route.protected:
        errors.append(Unauthenticated())
    if operation.body:
        errors += [INVALID, UnsupportedMediaType()]
    if operation.tagged or operation.guarded:
        errors.append(PreconditionFailed())
    return sorted(errors, key=lambda error: error.status)


def _path(route: Route) -> str:
    """What looks like a file has no slash behind it."""
    return route.template.rstrip("/") if "." in route.template else route.template


def _operations(table: list[Route]) -> list[tuple[Route, Operation]]:
    return [
        (route, operation) for route in table for verb in route.handler_class.described()
        if (operation := operation_of(route.handler_class, verb))
    ]


def _schemas(table: list[Route]) -> tuple[dict[Any, Json], Json]:
    """Where each model is found, by (model, mode); and all of them by name."""
    wanted: dict[Any, None] = {(Problem, "serialization"): None}
    for _, operation in _operations(table):
        if operation.body:
            wanted[operation.body, "validation"] = None
        if not isinstance(operation.answer, str):
            wanted[operation.answer, "serialization"] = None
    found, definitions = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
    return dict(found), _without_null_defaults(definitions["$defs"])


def _without_null_defaults(schema: Any) -> Any:
    """A default that is null only says that a field may be left out, which `required` says already."""
    if isinstance(schema, dict):
        return {
            name: _without_null_defaults(value) for name, value in schema.items()
            if not (name == "default" and value is None)
        }
    return [_without_null_defaults(item) for item in schema] if isinstance(schema, list) else schema


def _tags(table: list[Route]) -> list[Json]:
    modules = dict.fromkeys(route.handler_class.__module__ for route in table)
    return [{"name": _tag(name), "description": inspect.getdoc(sys.modules[name])} for name in modules]


def _tag(module: str) -> str:
    return module.rpartition(".")[2].replace("_", " ")


def _path_item(route: Route, original: str, schemas: dict[Any, Json]) -> Json:
    item: Json = {
        verb.lower(): _operation(route, verb, operation, original, schemas)
        for verb in route.handler_class.described() if (operation := operation_of(route.handler_class, verb))
    }
    if names := re.findall(r"{(\w+)}", route.template):
        item["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", **UUID_SCHEMA}}
            for name in names
        ]
    return item


def _operation(
    route: Route, verb: str, operation: Operation, original: str, schemas: dict[Any, Json]
) -> Json:
    alias = f"The same as `{original}`." if original else ""
    described = {
        "operationId": "_".join([verb.lower(), *re.findall(r"\w+", route.template)]),
        "tags": [_tag(route.handler_class.__module__)],
        "summary": operation.summary,
        "description": " ".join(filter(None, (operation.detail, alias))),
        "parameters": [*map(_query, operation.query), *_request_headers(operation)],
        "security": _security(route, operation),
        "responses": _responses(route, operation, schemas),
    }
    if operation.body:
        described["requestBody"] = _body(operation, schemas[operation.body, "validation"])
    return described


def _security(route: Route, operation: Operation) -> list[Json]:
    if operation.token:
        return [{operation.token: []}, {}]
    return [{"bearer": []}] if route.protected else []


def _query(query: Query) -> Json:
    return {"name": query.name, "in": "query", "description": query.meaning, "schema": query.schema}


def _request_headers(operation: Operation) -> list[Json]:
    conditions = operation.tagged or operation.guarded
    names = (
        *(("If-None-Match", "If-Match") if conditions else ()), *(("Idempotency-Key",) if operation.once else ()),
        "X-Request-ID",
    )
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _body(operation: Operation, schema: Json) -> Json:
    content: Json = {"schema": schema}
    if operation.example:
        content["example"] = json.loads(operation.example)
    return {"required": operation.body_needed, "content": {JSON: content}}


def _responses(route: Route, operation: Operation, schemas: dict[Any, Json]) -> Json:
    tagged = ("ETag", "Vary") if operation.tagged else ()
    headers = _headers(*ALWAYS, *operation.headers, *tagged)
    is_text = isinstance(operation.answer, str)
    schema = TEXT if is_text else schemas[operation.answer, "serialization"]
    media = operation.answer if is_text else JSON
    responses: Json = {str(operation.status): {
        "description": operation.summary, "headers": headers, "content": {media: {"schema": schema}},
    }}
    if operation.tagged:
        responses["304"] = {"description": "You have it already", "headers": _headers(*ALWAYS, *tagged)}
    by_status: dict[int, list[ApiError]] = {}
    for error in errors_of(route, operation):
        by_status.setdefault(error.status, []).append(error)
    problem = schemas[Problem, "serialization"]
    return responses | {str(status): _refusal(errors, problem) for status, errors in by_status.items()}


def _refusal(errors: list[ApiError], problem: Json) -> Json:
    codes = list(dict.fromkeys(error.code for error in errors))
    said = {"status": {"const": errors[0].status}, "code": {"enum": codes}}
    return {
        "description": f"{HTTPStatus(errors[0].status).phrase}: {', '.join(f'`{code}`' for code in codes)}",
        "headers": _headers(*ALWAYS, *set.intersection(*(set(error.headers) for error in errors))),
        "content": {"application/problem+json": {
            "schema": {"allOf": [problem, {"properties": said}]},
            "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
        }},
    }


def _examples(table: list[Route]) -> Json:
    examples: Json = {}
    for route, operation in _operations(table):
        for error in errors_of(route, operation):
            examples.setdefault(error.code, {"value": error.problem("5f0c8b1e9a7d4c36b2e1f0a9d8c7b6a5")})
    return examples


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(name: str) -> Json:
    schema, meaning = SAID[name]
    return {"description": meaning, "required": name not in MAY_BE_ABSENT, "schema": schema}


def _asked(name: str) -> Json:
    schema, meaning = ASKED[name]
    return {"name": name, "in": "header", "description": meaning, "schema": schema}
