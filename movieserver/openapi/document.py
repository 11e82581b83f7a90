"""/openapi.json (OpenAPI 3.1), generated from the route table and the operations."""
from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from movieserver.accounts.personal_tokens import InsufficientScope, LoginRequired
from movieserver.accounts.share_tokens import CHARACTERS
from movieserver.errors import (
    ApiError, BadRequest, BodyTooLarge, FieldError, HeadersTooLarge, InternalError, InvalidBody, Overloaded,
    PreconditionFailed, RequestTimeout, Unauthenticated, UnsupportedMediaType
)
from movieserver.http.headers import HEADER_BYTES, HEADER_FIELDS, JSON
from movieserver.openapi import texts
from movieserver.openapi.errors import ErrorResponses
from movieserver.openapi.operation import DATABASE_ERRORS, Operation, Route, operation_of
from movieserver.openapi.parameters import QueryParameter
from movieserver.openapi.texts import ALWAYS, EXAMPLES, TEXT, Json, headers
from movieserver.schemas.requests import MAX_BYTES
from movieserver.schemas.responses import Problem
from movieserver.schemas.texts import UUID_SCHEMA

ERRORS_OF_ALL = (
    BadRequest(), BodyTooLarge(MAX_BYTES), HeadersTooLarge(HEADER_BYTES, HEADER_FIELDS), InternalError(), Overloaded())
UUID_TEXT = {"type": "string", **UUID_SCHEMA}
PATH_SCHEMAS: dict[str, Json] = {"share_token": {"type": "string", "pattern": f"^[A-Za-z0-9_-]{{{CHARACTERS}}}$"}}
INVALID = InvalidBody([FieldError("/title", "Field required")])


def document(routes: Sequence[Route], server: str = "/") -> Json:
    """The OpenAPI document of a route table that is served at `server`.

    If a handler has two routes, the second is an alias and is not described.
    """
    described = list({route.handler_class: route for route in reversed(routes)}.values())
    return _Document(described[::-1], server).document()


def as_json(routes: Sequence[Route], server: str) -> str:
    """The OpenAPI document as JSON."""
    return json.dumps(document(routes, server), ensure_ascii=False)


class _Verb(NamedTuple):
    """A verb of a route."""

    route: Route
    name: str
    operation: Operation

    @property
    def tag(self) -> str:
        return _tag(self.route.handler_class.__module__)

    @property
    def security(self) -> list[Json]:
        if self.operation.security:
            return [{self.operation.security: []}, {}]
        if not self.route.protected:
            return []
        return [{"accessToken": []}] + ([] if self.route.handler_class.login_only else [{"personalToken": []}])

    @property
    def request_headers(self) -> list[str]:
        operation = self.operation
        preconditions = ["If-None-Match", "If-Match"] if operation.etag or operation.preconditions else []
        return [*preconditions, *(["Idempotency-Key"] if operation.idempotency_key else []), "X-Request-ID"]

    @property
    def _token_errors(self) -> list[ApiError]:
        """The errors of a token that is valid, but does not allow this."""
        if self.route.handler_class.login_only:
            return [LoginRequired()]
        return [] if self.name == "GET" else [InsufficientScope()]

    @property
    def errors(self) -> list[ApiError]:
        operation = self.operation
        errors = [*ERRORS_OF_ALL, *operation.errors]
        if self.route.protected:
            errors += [*DATABASE_ERRORS, Unauthenticated(), *self._token_errors]
        if operation.body:
            errors += [INVALID, RequestTimeout(), UnsupportedMediaType(operation.body_texts)]
        if operation.etag or operation.preconditions:
            errors.append(PreconditionFailed())
        return sorted(errors, key=lambda error: error.status)


class _Document:
    """The OpenAPI document of routes with different handlers."""

    def __init__(self, routes: list[Route], server: str) -> None:
        self.routes = routes
        self.server = server
        self.verbs = [
            _Verb(route, name, operation) for route in routes for name in route.handler_class.described_verbs
            if (operation := operation_of(route.handler_class, name))
        ]
        self.models, self.schemas = self._models()
        self.errors = ErrorResponses(self.models[Problem, "serialization"])
        self.links = self._links()

    def document(self) -> Json:
        modules = dict.fromkeys(route.handler_class.__module__ for route in self.routes)
        return {
            "openapi": "3.1.0", "info": texts.INFO,
            "servers": [{"url": self.server, "description": texts.SERVER}],
            "tags": [{"name": _tag(name), "description": inspect.getdoc(sys.modules[name])} for name in modules],
            "paths": {route.template: self._path_item(route) for route in self.routes},
            "components": {
                "schemas": self.schemas, "headers": texts.response_headers(), "examples": self.errors.examples,
                "links": self.links, "securitySchemes": texts.SECURITY,
            },
            "x-request-headers": texts.REQUEST_HEADERS,
        }

    def _models(self) -> tuple[dict[Any, Json], Json]:
        """A reference to each model, by (model, mode); and all schemas by name."""
        wanted: dict[Any, None] = {(Problem, "serialization"): None}
        for verb in self.verbs:
            if verb.operation.body:
                wanted[verb.operation.body, "validation"] = None
            if not isinstance(verb.operation.response, str):
                wanted[verb.operation.response, "serialization"] = None
        found, definitions = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
        schemas = {name: without_titles_and_defaults(schema) for name, schema in definitions["$defs"].items()}
        references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps([list(found.values()), schemas])))
        return dict(found), {name: schema for name, schema in schemas.items() if name in references}

    def _links(self) -> Json:
        """Operations whose only path parameter is in some response under the same name."""
        sent = {name for verb in self.verbs for name in getattr(verb.operation.response, "model_fields", ())}
        return {
            verb.operation.id: {"operationId": verb.operation.id, "parameters": {name: f"$response.body#/{name}"}}
            for verb in self.verbs for name in _names(verb.route) if len(_names(verb.route)) == 1 and name in sent
        }

    def _path_item(self, route: Route) -> Json:
        item: Json = {verb.name.lower(): self._verb(verb) for verb in self.verbs if verb.route is route}
        parameters = [_parameter(name, "path", PATH_SCHEMAS.get(name, UUID_TEXT), required=True)
                      for name in _names(route)]
        return item | ({"parameters": parameters} if parameters else {})

    def _verb(self, verb: _Verb) -> Json:
        operation = verb.operation
        described = {
            "operationId": operation.id, "tags": [verb.tag], "summary": operation.summary,
            "description": operation.description or f"{operation.summary}.",
            "parameters": [_query(parameter) for parameter in operation.query],
            "x-request-headers": verb.request_headers,
            "security": verb.security,
            "responses": self._responses(verb),
        }
        if operation.body:
            described["requestBody"] = {"required": operation.body_required, "content": {JSON: {
                "schema": self.models[operation.body, "validation"],
                "example": EXAMPLES["bodies"][operation.body.__name__],
            }} | {kind: {"schema": TEXT, "example": EXAMPLES["bodies"][kind]} for kind in operation.body_texts}}
        return described

    def _responses(self, verb: _Verb) -> Json:
        operation = verb.operation
        tagged = ("ETag", "Vary") if operation.etag else ()
        responses: Json = {str(operation.status): {
            "description": operation.summary, "headers": headers(*ALWAYS, *operation.headers, *tagged),
            **self._content(operation),
        }}
        if operation.may_already_exist:
            responses["200"] = {
                "description": "It already exists", "headers": headers(*ALWAYS, *operation.headers),
                **self._content(operation)}
        if operation.etag:
            responses["304"] = {
                "description": "You have the current version", "headers": headers(*ALWAYS, *tagged)}
        return responses | self.errors.responses(verb.errors)

    def _content(self, operation: Operation) -> Json:
        """The response of success, with links to operations whose path needs a value from it."""
        model, example = operation.response, _example(operation)
        if isinstance(model, str):
            return {"content": {model: {"schema": TEXT, **example}}}
        links = {
            name: {"$ref": f"#/components/links/{name}"}
            for name, link in self.links.items() if set(link["parameters"]) & set(model.model_fields)
        }
        texts = {kind: {"schema": TEXT, "example": EXAMPLES["responses"][kind]} for kind in operation.response_texts}
        content = {JSON: {"schema": self.models[model, "serialization"], **example}} | texts
        return {"content": content} | ({"links": links} if links else {})


def without_titles_and_defaults(schema: Any, names: bool = False) -> Any:
    """A schema without the titles and defaults that mislead client generators.

    They take a key with a default for required, and make a type of a key with a title. `names` means that the keys
    of `schema` are names of properties.
    """
    if isinstance(schema, dict):
        return {
            key: without_titles_and_defaults(value, key == "properties" and not names)
            for key, value in schema.items() if names or key not in ("title", "default")
        }
    return [without_titles_and_defaults(item) for item in schema] if isinstance(schema, list) else schema


def _names(route: Route) -> list[str]:
    """The names of the parameters in the path."""
    return re.findall(r"{(\w+)}", route.template)


def _tag(module: str) -> str:
    return module.rpartition(".")[2].replace("_", " ")


def _example(operation: Operation) -> Json:
    """An example of the response, by operation or model, if there is one."""
    model: type[BaseModel] | str = operation.response
    keys = (operation.id, model if isinstance(model, str) else model.__name__)
    found = [key for key in keys if key in EXAMPLES["responses"]]
    return {"example": EXAMPLES["responses"][found[0]]} if found else {}


def _parameter(name: str, place: str, schema: Json, *, required: bool) -> Json:
    return {
        "name": name, "in": place, "required": required, "schema": schema, "example": EXAMPLES["parameters"][name]}


def _query(parameter: QueryParameter[Any]) -> Json:
    schema = parameter.schema | {"examples": [EXAMPLES["parameters"][parameter.name]]}
    return _parameter(parameter.name, "query", schema, required=False) | {"description": parameter.description}
