"""Request bodies, parsed once, at the door, into one of these models."""
from __future__ import annotations

import codecs
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator, ConfigDict, Field, GetJsonSchemaHandler, ModelWrapValidatorHandler, PrivateAttr, TypeAdapter,
    ValidationError, model_validator
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, from_json

from movieserver.accounts.common_passwords import is_common
from movieserver.errors import BadRequest, Fault, InvalidBody
from movieserver.formats import parse_uuid
from movieserver.schemas.movies import MAX_MOVIES, Movie, Movies, movies_adapter
from movieserver.schemas.texts import NOT_NULL, PATTERN_DETAILS, Body, RawUuid, Text, text

MAX_BYTES = 8 * 1024 * 1024
MAX_NESTING = 200  # pydantic's parser reads no further
NAME_CHARACTERS = 150
PASSWORD_CHARACTERS = 8
TITLE_CHARACTERS = 255

AnyBody = TypeVar("AnyBody", bound=Body)


def _uncommon(password: str) -> str:
    if is_common(password):
        raise PydanticCustomError("common", "This password is too common: attackers try it first")
    return password


Title = Annotated[str, text(1, TITLE_CHARACTERS)]
NewPassword = Annotated[
    str, Field(description="Not one of the most common passwords"), text(PASSWORD_CHARACTERS),
    AfterValidator(_uncommon)]


class Registration(Body):
    """POST /register/: a name of 1 to 150 characters, a password of at least 8 that is not a common one."""

    username: Annotated[str, text(1, NAME_CHARACTERS)]
    password: NewPassword


class Credentials(Body):
    """POST /login/: any texts; whether they are right is not a matter of form."""

    username: Text
    password: Text


class Refresh(Body):
    """POST /refresh/ and /logout/."""

    refresh_token: Text


class PasswordChange(Body):
    """PUT /password/."""

    old_password: Text
    new_password: NewPassword


class Deletion(Body):
    """What DELETE /account/ may carry."""

    password: Text | None = None


class NewCollection(Body):
    """POST /collection/."""

    title: Title
    description: Text | None = ""
    movies: Movies = []


class CollectionChanges(Body):
    """PUT /collection/<uuid>/: keys that are missing keep their current value."""

    model_config = ConfigDict(extra="allow")  # so that a body that changes nothing can be told which keys are unknown

    title: Annotated[Title, NOT_NULL] = Field(default_factory=str)  # a default would be in the description
    description: Text | None = Field(default_factory=str)
    movies: Annotated[Movies, NOT_NULL] = Field(default_factory=list)

    @property
    def named(self) -> set[str]:
        """The keys of the body that name something to change."""
        return self.model_fields_set & type(self).model_fields.keys()


class AddedMovies(Body):
    """POST /collection/<uuid>/movies/: {"movies": [movie…]}, the list alone, or one movie."""

    movies: Movies

    @model_validator(mode="wrap")
    @classmethod
    def _short_form(cls, body: object, validate: ModelWrapValidatorHandler[AddedMovies]) -> AddedMovies:
        if isinstance(body, list):
            return cls.model_construct(movies=movies_adapter.validate_python(body))
        if isinstance(body, dict) and "movies" not in body:
            return cls.model_construct(movies=[Movie.model_validate(body)])
        return validate(body)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(core), handler(movies_adapter.core_schema), handler(Movie.__pydantic_core_schema__)]}


Uuids = Annotated[list[RawUuid], Field(max_length=MAX_MOVIES)]
_uuids = TypeAdapter(Uuids)


class Order(Body):
    """PUT /collection/<uuid>/order/: {"movies": [uuid…]}, or the list alone; `pointer` leads to the list."""

    movies: Uuids
    _pointer: str = PrivateAttr("/movies")

    @property
    def pointer(self) -> str:
        return self._pointer

    @property
    def movie_uuids(self) -> list[str]:
        """The uuids in their canonical form."""
        return [uuid.lower() for uuid in self.movies]

    @model_validator(mode="wrap")
    @classmethod
    def _short_form(cls, body: object, validate: ModelWrapValidatorHandler[Order]) -> Order:
        if not isinstance(body, list):
            return validate(body)
        order = cls.model_construct(movies=_uuids.validate_python(body))
        order._pointer = ""
        return order

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(core), handler(_uuids.core_schema)]}


def parse(kind: type[AnyBody], text: bytes) -> AnyBody:
    """The body as a `kind`; BadRequest if it is not JSON, InvalidBody with every field at fault."""
    text = text.removeprefix(codecs.BOM_UTF8)
    if b"NaN" in text or b"Infinity" in text:
        _refuse_non_finite(text)
    try:
        body = kind.model_validate_json(text)
    except ValidationError as error:
        lines = error.errors(include_url=False, include_input=False)
        if lines[0]["type"] == "json_invalid":
            raise _not_json(lines[0]["ctx"]["error"]) from None
        bounded = "movies" in kind.model_fields and all(line["type"] != "too_long" for line in lines)
        raise InvalidBody([_fault(line) for line in lines] + (_repeated(text) if bounded else [])) from None
    uuids = [(movie if isinstance(movie, str) else movie.uuid).lower() for movie in getattr(body, "movies", [])]
    if len(set(uuids)) < len(uuids):
        raise InvalidBody(_repeated(text))
    return body


def _refuse_non_finite(text: bytes) -> None:
    try:
        from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise _not_json(str(error)) from None


def _not_json(reason: str) -> BadRequest:
    if reason.startswith("recursion limit exceeded"):
        return BadRequest(f"The body is nested more than {MAX_NESTING} levels deep.")
    return BadRequest(f"The body is not valid JSON: {reason}.")


def _fault(line: ErrorDetails) -> Fault:
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in line["loc"])
    detail = PATTERN_DETAILS[line["ctx"]["pattern"]] if line["type"] == "string_pattern_mismatch" else line["msg"]
    return Fault("".join(f"/{step}" for step in steps), detail)


def _repeated(text: bytes) -> list[Fault]:
    """Each movie whose uuid an earlier one of its list has."""
    body = from_json(text)
    pointer, movies = ("/movies", body.get("movies")) if isinstance(body, dict) else ("", body)
    seen: set[str] = set()
    faults = []
    for index, movie in enumerate(movies if isinstance(movies, list) else []):
        tail, value = ("/uuid", movie.get("uuid")) if isinstance(movie, dict) else ("", movie)
        uuid = parse_uuid(value) if isinstance(value, str) else None
        if uuid in seen:
            faults.append(Fault(f"{pointer}/{index}{tail}", f"The movie {uuid} is in this list already"))
        elif uuid:
            seen.add(uuid)
    return faults
