"""Query parameters: how each is parsed, and its JSON schema in /openapi.json."""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from movieserver.errors import BadRequest

T = TypeVar("T")
DIGITS = re.compile(r"[0-9]+")
HUGE_DIGITS = 18


@dataclass(frozen=True)
class QueryParameter(Generic[T]):
    """A query parameter, which may be sent at most once; subclasses define its type."""

    name: str
    description: str

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of its values."""
        raise NotImplementedError

    def parse(self, values: list[str]) -> T:
        """The value in a request, or the default. Raises BadRequest."""
        if len(values) > 1:
            raise BadRequest(f"The query parameter {self.name} is sent {len(values)} times. Send it once.")
        return self.read(values[0] if values else None)

    def read(self, text: str | None) -> T:
        """The parsed value, or the default for None. Raises BadRequest."""
        raise NotImplementedError


@dataclass(frozen=True)
class TextParameter(QueryParameter[str | None]):
    """Any text, or None; `pattern` is for /openapi.json only, the handler checks the text."""

    pattern: str | None = None

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string"} | ({"pattern": self.pattern} if self.pattern else {})

    def read(self, text: str | None) -> str | None:
        return text


@dataclass(frozen=True)
class CursorParameter(QueryParameter[T | None]):
    """A position in a list, or None for its beginning; clients take it from `source` without changing it."""

    pattern: str
    decode: Callable[[str], T | None]
    source: str = "`next`"

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": self.pattern}

    def read(self, text: str | None) -> T | None:
        position = None if text is None else self.decode(text)
        if text is not None and position is None:
            raise BadRequest(
                f"The query parameter {self.name} must be copied unchanged from {self.source} of another page.")
        return position


@dataclass(frozen=True)
class BooleanParameter(QueryParameter[bool]):
    """`true`, which is the default, or `false`, in any letter case."""

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "boolean", "default": True}

    def read(self, text: str | None) -> bool:
        value = "true" if text is None else text.lower()
        if value not in ("true", "false"):
            raise BadRequest(f"The query parameter {self.name} must be true or false.")
        return value == "true"


@dataclass(frozen=True)
class ChoiceParameter(QueryParameter[str]):
    """One of `choices`, the first of which is the default."""

    choices: tuple[str, ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices), "default": self.choices[0]}

    def read(self, text: str | None) -> str:
        if text is not None and text not in self.choices:
            raise BadRequest(f"The query parameter {self.name} must be {' or '.join(self.choices)}.")
        return text or self.choices[0]


@dataclass(frozen=True)
class IntegerParameter(QueryParameter[int]):
    """A whole number from `min` to `max`; without `max`, larger numbers are capped at 10**18."""

    default: int = 1
    max: int | None = None
    min: int = 1

    @property
    def schema(self) -> dict[str, Any]:
        bounds = {"minimum": self.min} | ({"maximum": self.max} if self.max else {})
        return {"type": "integer", **bounds, "default": self.default}

    def read(self, text: str | None) -> int:
        if text is None:
            return self.default
        digits = text.lstrip("0") if DIGITS.fullmatch(text) else ""
        number = int(digits or 0) if len(digits) <= HUGE_DIGITS else 10**HUGE_DIGITS
        if not DIGITS.fullmatch(text) or number < self.min or self.max and number > self.max:
            bounds = f"from {self.min} to {self.max}" if self.max else f"of at least {self.min}"
            raise BadRequest(f"The query parameter {self.name} must be a whole number {bounds}.")
        return number
