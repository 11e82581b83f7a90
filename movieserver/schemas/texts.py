"""Texts and uuids as bodies carry them: how they are checked, and how /openapi.json shows them."""
from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

UUID_PATTERN = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
UUID_SCHEMA: dict[str, JsonValue] = {"format": "uuid", "pattern": UUID_PATTERN}
TEXT_SCHEMA: dict[str, JsonValue] = {"pattern": r"^[^\u0000]*$"}  # `parse` checks it for the whole body


class Body(BaseModel):
    """A request body; keys that it does not define are ignored."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


def text(minimum: int = 0, maximum: int | None = None) -> Any:
    """A text without NUL, of `minimum` to `maximum` characters."""
    return Field(min_length=minimum or None, max_length=maximum, json_schema_extra=TEXT_SCHEMA)


def _not_null(value: object) -> object:
    if value is None:
        raise PydanticCustomError("null", "The value must not be null; omit the key to keep the current value")
    return value


NOT_NULL = BeforeValidator(_not_null)
Text = Annotated[str, text()]
RawUuid = Annotated[str, Field(pattern=UUID_PATTERN, json_schema_extra={"format": "uuid"})]
