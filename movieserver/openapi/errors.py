"""The error responses of /openapi.json: each is a Problem, with an example of each of its errors."""
from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from movieserver.errors import ApiError
from movieserver.openapi.texts import ALWAYS, EXAMPLES, Json, header, headers

EXAMPLE_ID: str = EXAMPLES["parameters"]["X-Request-ID"]


class ErrorResponses:
    """Makes error responses and collects their `examples`, one for each pair of code and detail."""

    def __init__(self, problem_schema: Json) -> None:
        self.examples: Json = {}
        self._schema = problem_schema

    def responses(self, errors: Iterable[ApiError]) -> Json:
        """The responses of an operation with these errors, by status."""
        by_status: dict[int, list[ApiError]] = {}
        for error in errors:
            by_status.setdefault(error.status, []).append(error)
        return {str(status): self._response(same) for status, same in by_status.items()}

    def _response(self, errors: list[ApiError]) -> Json:
        names = dict.fromkeys(map(self._example, errors))
        codes = dict.fromkeys(f"`{error.code}`" for error in errors)
        found = [set(error.headers) for error in errors]
        always, some = set.intersection(*found), set.union(*found)
        return {
            "description": f"{HTTPStatus(errors[0].status).phrase}: {', '.join(codes)}",
            "headers": headers(*ALWAYS, *sorted(always)) | {
                name: header(name, required=False) for name in sorted(some - always)},
            "content": {"application/problem+json": {
                "schema": self._schema,
                "examples": {name: {"$ref": f"#/components/examples/{name}"} for name in names},
            }},
        }

    def _example(self, error: ApiError) -> str:
        """The name of the example: the code, with a number if the code has several details."""
        example = {"summary": error.detail, "value": error.problem(EXAMPLE_ID)}
        number, name = 1, error.code
        while self.examples.setdefault(name, example) != example:
            number += 1
            name = f"{error.code}_{number}"
        return name
