"""What routes and the verbs of their handlers declare. The description of the API is generated from it."""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from tornado.routing import URLSpec

from movieserver.errors import ApiError, DatabaseTimeout, DatabaseUnavailable, SchemaMissing
from movieserver.openapi.parameters import QueryParameter

Verb = TypeVar("Verb", bound=Callable[..., Any])
DATABASE_ERRORS = (DatabaseUnavailable(), DatabaseTimeout(), SchemaMissing())


@dataclass(frozen=True)
class Operation:
    """One verb of a route, as a decorator of the method that carries it out.

    `response` is what success sends: a model of JSON, or the media type of a text. `body` is the model that the method
    parses. `errors` are those that only some verbs have; every protected one has DATABASE_ERRORS.
    """

    id: str
    summary: str
    response: type[BaseModel] | str
    status: int = 200
    description: str = ""
    body: type[BaseModel] | None = None
    body_required: bool = True
    body_texts: tuple[str, ...] = ()  # media types accepted besides JSON; the method gets the raw bytes
    response_texts: tuple[str, ...] = ()  # media types that it may send instead of JSON
    query: tuple[QueryParameter[Any], ...] = ()
    errors: tuple[ApiError, ...] = ()
    headers: tuple[str, ...] = ()  # of the response
    etag: bool = False  # the response has an entity tag, for If-None-Match and If-Match
    preconditions: bool = False  # a change that can depend on If-Match or If-None-Match
    idempotency_key: bool = False
    may_already_exist: bool = False  # some requests get a 200 with what already exists instead
    security: str | None = None  # a security scheme, if it is not the one of the route

    def __call__(self, verb: Verb) -> Verb:
        verb.operation = self  # type: ignore[attr-defined]
        return verb


def operation_of(handler: type[object] | object, verb: str) -> Operation | None:
    """The declaration of a verb of a handler, or None."""
    operation: Operation | None = getattr(getattr(handler, verb.lower(), None), "operation", None)
    return operation


class Route(URLSpec):
    """A route from a template such as /collection/{collection_uuid}/, with and without its trailing slash.

    `protected` must agree with the handler, and every verb of the handler must have an @Operation.
    """

    def __init__(self, template: str, handler: type[Any], *, protected: bool) -> None:
        if protected != handler.protected:
            raise TypeError(f"{handler.__name__} does not agree with protected={protected} of its route {template}")
        if missing := [verb for verb in handler.described_verbs if not operation_of(handler, verb)]:
            raise TypeError(f"{handler.__name__} has no @Operation for {' and '.join(missing)}")
        pattern = re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(template.rstrip("/")))
        super().__init__(f"{pattern}/?", handler, {"route": template})
        self.template = template
        self.protected = protected
