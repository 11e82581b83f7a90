"""What a verb says of itself, beside its code: the description of the API is made of it, and so is the parsing."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from movieserver.errors import ApiError

Verb = TypeVar("Verb", bound=Callable[..., Any])


@dataclass(frozen=True)
class Query:
    """A query parameter, which may stand once at most; one of the `choices` where they are given."""

    name: str
    meaning: str
    choices: tuple[str, ...] = ()
    pattern: str | None = None  # told to clients; what it is, is known to whoever reads it

    @property
    def schema(self) -> dict[str, Any]:
        """What it may be, in JSON schema."""
        bounds: dict[str, Any] = {"enum": list(self.choices), "pattern": self.pattern}
        return {"type": "string"} | {name: bound for name, bound in bounds.items() if bound}


@dataclass(frozen=True)
class WholeNumber(Query):
    """A query parameter that is a whole number from 1, to `most` where that is given."""

    default: int = 1
    most: int | None = None

    @property
    def schema(self) -> dict[str, Any]:
        """What it may be, in JSON schema."""
        bounds = {"minimum": 1} | ({"maximum": self.most} if self.most else {})
        return {"type": "integer", **bounds, "default": self.default}


@dataclass(frozen=True)
class Operation:
    """One verb of a route, as a decorator of the method that carries it out. `answer` is what success sends: a model,
    or the media type of a text. `body` is what is parsed, `errors` are those beside the ones that every verb has."""

    summary: str
    answer: type[BaseModel] | str
    status: int = 200
    detail: str = ""
    body: type[BaseModel] | None = None
    body_needed: bool = True
    query: tuple[Query, ...] = ()
    errors: tuple[ApiError, ...] = ()
    headers: tuple[str, ...] = ()  # of the answer
    tagged: bool = False  # a representation with an entity tag, and 304 for who has it
    guarded: bool = False  # a change that may be bound to versions
    once: bool = False  # takes an idempotency key
    token: str | None = None  # the security scheme of an open verb that asks for a token of its own
    example: str | None = None  # of the body, in JSON

    def __call__(self, verb: Verb) -> Verb:
        verb.operation = self  # type: ignore[attr-defined]
        return verb

    def but(self, **changes: Any) -> Operation:
        """The same with other words."""
        return replace(self, **changes)


def operation_of(handler: type[object] | object, verb: str) -> Operation | None:
    """What a verb of a handler says of itself."""
    operation: Operation | None = getattr(getattr(handler, verb.lower(), None), "operation", None)
    return operation
