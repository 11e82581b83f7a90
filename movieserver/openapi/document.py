"""The description of the API (OpenAPI 3.1), made of the route table and of what each verb says of itself."""
from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import movieserver
from movieserver.schemas.responses import Problem
from movieserver.schemas.requests import MAX_BYTES
from movieserver.schemas.texts import UUID_SCHEMA
from movieserver.openapi.operation import Operation, Query, operation_of
from movieserver.errors import (
    ApiError, BadRequest, BodyTooLarge, Fault, HeadersTooLarge, InternalError, InvalidBody, Overloaded,
    PreconditionFailed, Unauthenticated, UnsupportedMediaType
)
from movieserver.http.headers import HEADER_BYTES, HEADER_FIELDS, JSON, REQUEST_ID
from movieserver.http.idempotency import KEY

Json = dict[str, Any]
INFO = {
    "title": "movieserver", "version": movieserver.__version__,
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
TAGS_PATTERN = r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'
ASKED = {  # headers of requests
    "X-Request-ID": (TEXT, f"An id of yours for this request: `{REQUEST_ID.pattern}`. Anything else is ignored."),
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
OF_EVERY_VERB = (
    BadRequest(), BodyTooLarge(MAX_BYTES), HeadersTooLarge(HEADER_BYTES, HEADER_FIELDS), InternalError(), Overloaded())
# of parameters by name, of bodies by model, of answers by operation or model
EXAMPLES: Json = json.loads((Path(__file__).parent / "examples.json").read_text(encoding="utf-8"))
EXAMPLE_ID = EXAMPLES["parameters"]["X-Request-ID"]
INVALID = InvalidBody([Fault("/title", "Field required")])


class Route(Protocol):
    """What is described of a route."""

    template: str
    protected: bool
    handler_class: Any


def document(routes: Iterable[Route]) -> Json:
    """The whole description."""
    return _Description(list(routes)).document()


@cache
def written(routes: tuple[Route, ...]) -> tuple[str, str]:
    """The description as JSON, and its version."""
    text = json.dumps(document(routes), ensure_ascii=False)
    return text, hashlib.sha256(text.encode()).hexdigest()[:32]


class _Verb(NamedTuple):
    """A verb of a route."""

    route: Route
    name: str
    operation: Operation

    @property
    def id(self) -> str:
        return "_".join([self.name.lower(), *re.findall(r"\w+", self.route.template)])

    @property
    def tag(self) -> str:
        return _tag(self.route.handler_class.__module__)

    @property
    def security(self) -> list[Json]:
        if self.operation.token:
            return [{self.operation.token: []}, {}]
        return [{"bearer": []}] if self.route.protected else []

    @property
    def errors(self) -> list[ApiError]:
        """Every error that it may answer with."""
        operation = self.operation
        errors = [*OF_EVERY_VERB, *operation.errors]
        if self.route.protected:
            errors.append(Unauthenticated())
        if operation.body:
            errors += [INVALID, UnsupportedMediaType()]
        if operation.tagged or operation.guarded:
            errors.append(PreconditionFailed())
        return sorted(errors, key=lambda error: error.status)


class _Description:
    """The description of a table of routes."""

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self.verbs = [
            _Verb(route, name, operation) for route in routes for name in route.handler_class.described()
            if (operation := operation_of(route.handler_class, name))
        ]
        self.schemas, self.definitions = self._models()
        self.links = {
            verb.id: {"operationId": verb.id, "parameters": {name: f"$response.body#/{name}"}}
            for verb in self.verbs for name in _parameters(verb.route) if len(_parameters(verb.route)) == 1
        }

    def document(self) -> Json:
        first: dict[object, str] = {}
        for route in self.routes:
            first.setdefault(route.handler_class, route.template)
        modules = dict.fromkeys(route.handler_class.__module__ for route in self.routes)
        return {
            "openapi": "3.1.0", "info": INFO, "servers": [{"url": "/"}],
            "tags": [{"name": _tag(name), "description": inspect.getdoc(sys.modules[name])} for name in modules],
            "paths": {_path(route): self._path_item(route, first[route.handler_class]) for route in self.routes},
            "components": {
                "schemas": self.definitions,
                "headers": {name: _header(name) for name in SAID},
                "parameters": {name: _asked(name) for name in ASKED},
                "examples": {
                    error.code: {"value": error.problem(EXAMPLE_ID)} for verb in self.verbs for error in verb.errors},
                "links": self.links,
                "securitySchemes": SECURITY,
            },
        }

    def _models(self) -> tuple[dict[Any, Json], Json]:
        """Where each model is found, by (model, mode); and all of them by name."""
        wanted: dict[Any, None] = {(Problem, "serialization"): None}
        for verb in self.verbs:
            if verb.operation.body:
                wanted[verb.operation.body, "validation"] = None
            if not isinstance(verb.operation.answer, str):
                wanted[verb.operation.answer, "serialization"] = None
        found, definitions = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
        return dict(found), _without_null_defaults(definitions["$defs"])

    def _path_item(self, route: Route, original: str) -> Json:
        alias = "" if original == route.template else f"The same as `{original}`."
        item: Json = {verb.name.lower(): self._verb(verb, alias) for verb in self.verbs if verb.route is route}
        if names := _parameters(route):
            item["parameters"] = [
                _parameter(name, "path", {"type": "string", **UUID_SCHEMA}) | {"required": True}
                for name in names
            ]
        return item

    def _verb(self, verb: _Verb, alias: str) -> Json:
        operation = verb.operation
        described = {
            "operationId": verb.id, "tags": [verb.tag], "summary": operation.summary,
            "description": " ".join(filter(None, (operation.detail, alias))),
            "parameters": [*map(_query, operation.query), *_request_headers(operation)],
            "security": verb.security,
            "responses": self._responses(verb),
        }
        if operation.body:
            described["requestBody"] = self._body(operation)
        return described

    def _body(self, operation: Operation) -> Json:
        assert operation.body
        content = {
            "schema": self.schemas[operation.body, "validation"],
            "example": json.loads(operation.example) if operation.example else
            EXAMPLES["bodies"][operation.body.__name__],
        }
        return {"required": operation.body_needed, "content": {JSON: content}}

    def _responses(self, verb: _Verb) -> Json:
        operation = verb.operation
        tagged = ("ETag", "Vary") if operation.tagged else ()
        responses = {str(operation.status): {
            "description": operation.summary, "headers": _headers(*ALWAYS, *operation.headers, *tagged),
            **self._said(verb.id, operation.answer),
        }}
        if operation.tagged:
            responses["304"] = {"description": "You have it already", "headers": _headers(*ALWAYS, *tagged)}
        by_status: dict[int, list[ApiError]] = {}
        for error in verb.errors:
            by_status.setdefault(error.status, []).append(error)
        return responses | {str(status): self._refusal(errors) for status, errors in by_status.items()}

    def _said(self, operation_id: str, answer: type[BaseModel] | str) -> Json:
        """What success sends, and what can be done with it: what it names as the parameter of a path."""
        example = _example(operation_id, answer)
        if isinstance(answer, str):
            return {"content": {answer: {"schema": TEXT, **example}}}
        links = {
            name: {"$ref": f"#/components/links/{name}"}
            for name, link in self.links.items() if set(link["parameters"]) & set(answer.model_fields)
        }
        return {"content": {JSON: {"schema": self.schemas[answer, "serialization"], **example}}} | (
            {"links": links} if links else {})

    def _refusal(self, errors: list[ApiError]) -> Json:
        codes = list(dict.fromkeys(error.code for error in errors))
        told = {"status": {"const": errors[0].status}, "code": {"enum": codes}}
        headers = [set(error.headers) for error in errors]
        always, some = set.intersection(*headers), set.union(*headers)
        return {
            "description": f"{HTTPStatus(errors[0].status).phrase}: {', '.join(f'`{code}`' for code in codes)}",
            "headers": _headers(*ALWAYS, *sorted(always)) | {
                name: _header(name) | {"required": False} for name in sorted(some - always)},
            "content": {"application/problem+json": {
                "schema": {"allOf": [self.schemas[Problem, "serialization"], {"properties": told}]},
                "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
            }},
        }


def _path(route: Route) -> str:
    """What looks like a file has no slash behind it."""
    return route.template.rstrip("/") if "." in route.template else route.template


def _parameters(route: Route) -> list[str]:
    return re.findall(r"{(\w+)}", route.template)


def _tag(module: str) -> str:
    return module.rpartition(".")[2].replace("_", " ")


def _without_null_defaults(schema: Any) -> Any:
    """A default that is null only says that a field may be left out, which `required` says already."""
    if isinstance(schema, dict):
        return {
            name: _without_null_defaults(value) for name, value in schema.items()
            if not (name == "default" and value is None)
        }
    return [_without_null_defaults(item) for item in schema] if isinstance(schema, list) else schema


def _example(operation_id: str, answer: type[BaseModel] | str) -> Json:
    """What such an answer looks like, but for pages, and for what describes itself."""
    examples, model = EXAMPLES["answers"], answer if isinstance(answer, str) else answer.__name__
    original = operation_id.replace("_collections_", "_collection_")  # of an alias
    named = [name for name in (original, model) if name in examples]
    return {"example": examples[named[0]]} if named else {}


def _parameter(name: str, place: str, schema: Json) -> Json:
    return {"name": name, "in": place, "schema": schema, "example": EXAMPLES["parameters"][name]}


def _query(query: Query) -> Json:
    return _parameter(query.name, "query", query.schema) | {"description": query.meaning}


def _request_headers(operation: Operation) -> list[Json]:
    conditions = ("If-None-Match", "If-Match") if operation.tagged or operation.guarded else ()
    names = (*conditions, *(("Idempotency-Key",) if operation.once else ()), "X-Request-ID")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(name: str) -> Json:
    schema, meaning = SAID[name]
    return {"description": meaning, "required": name not in MAY_BE_ABSENT, "schema": schema}


def _asked(name: str) -> Json:
    schema, meaning = ASKED[name]
    return _parameter(name, "header", schema) | {"description": meaning}
