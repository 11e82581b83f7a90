"""Response bodies that are trees of whole numbers, such as /limits/."""
from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, Field, create_model

from movieserver.schemas.responses import Count, Response


def numbers(name: str, tree: dict[str, Any]) -> type[BaseModel]:
    """The model of a tree of whole numbers."""
    fields: dict[str, Any] = {
        f"field_{index}": (
            numbers(name + _camel_case(key), value) if isinstance(value, dict) else Count, Field(alias=key))
        for index, (key, value) in enumerate(tree.items())
    }
    return create_model(name, __base__=Response, **fields)


def _camel_case(key: str) -> str:
    return "".join(word.title() for word in re.findall("[a-z]+", key))
