"""Request bodies: each is parsed once, into one of these models."""
from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator, ConfigDict, Field, GetJsonSchemaHandler, JsonValue, ModelWrapValidatorHandler, PrivateAttr,
    TypeAdapter, ValidationError, model_validator
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, from_json

from movieserver.accounts import usernames
from movieserver.accounts.common_passwords import is_common
from movieserver.accounts.passwords import normalized
from movieserver.errors import BadRequest, Fault, InvalidBody
from movieserver.formats import parse_uuid
from movieserver.schemas.movies import MAX_MOVIES, Movie, Movies, movies_adapter
from movieserver.schemas.texts import NOT_NULL, TEXT_SCHEMA, Body, RawUuid, Text, text

MAX_BYTES = 8 * 1024 * 1024
NUL = re.compile(rb"\\u0000")
UUID_DETAIL = "A uuid must have the form 8-4-4-4-12 hexadecimal digits"
MAX_NESTING = 200  # pydantic's parser reads no further
MIN_PASSWORD_CHARACTERS = 8
# in the description alone: most of what `username_fault` refuses
_REFUSED = r"\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
USERNAME_SCHEMA: dict[str, JsonValue] = {
    "minLength": 1, "maxLength": usernames.MAX_CHARACTERS,
    "pattern": rf"^[^\s{_REFUSED}]([^{_REFUSED}]*[^\s{_REFUSED}])?$",
}
TITLE_CHARACTERS = 255
MAX_SHARE_DAYS = 3660

AnyBody = TypeVar("AnyBody", bound=Body)


def _username(name: str) -> str:
    if fault := usernames.username_fault(name):
        raise PydanticCustomError("username", "{fault}", {"fault": fault})
    return name


def _new_password(password: str) -> str:
    if (length := len(normalized(password))) < MIN_PASSWORD_CHARACTERS:
        raise PydanticCustomError("short", "{fault}", {"fault": (
            f"A password must have at least {MIN_PASSWORD_CHARACTERS} characters; this one has {length}")})
    if is_common(password):
        raise PydanticCustomError("common", "This password is too common: attackers try it first")
    return password


Title = Annotated[str, text(1, TITLE_CHARACTERS)]
Username = Annotated[
    str, AfterValidator(_username), Field(
        description="No space at either end, no control or format character", json_schema_extra=USERNAME_SCHEMA)]
NewPassword = Annotated[
    str, AfterValidator(_new_password), Field(
        description="Not one of the most common passwords",
        json_schema_extra={"minLength": MIN_PASSWORD_CHARACTERS, **TEXT_SCHEMA})]


class Registration(Body):
    """A new account."""

    username: Username
    password: NewPassword


class Credentials(Body):
    """A user name and its password. Any text is well-formed."""

    username: Text
    password: Text


class Refresh(Body):
    """A refresh token."""

    refresh_token: Text


class PasswordChange(Body):
    """The current password and a new one."""

    old_password: Text
    new_password: NewPassword


class Deletion(Body):
    """The password of the account, if it is to be checked."""

    password: Text | None = None


class NewCollection(Body):
    """A new collection; without `description` and `movies` they are empty."""

    title: Title
    description: Text | None = ""
    movies: Movies = []


class CollectionChanges(Body):
    """Changes to a collection; absent keys keep their current value."""

    model_config = ConfigDict(extra="allow")  # so that a body that changes nothing can be told which keys are unknown

    title: Annotated[Title, NOT_NULL] = Field(default_factory=str)  # a default would be in the description
    description: Text | None = Field(default_factory=str)
    movies: Annotated[Movies, NOT_NULL] = Field(default_factory=list)

    @property
    def named(self) -> set[str]:
        """The keys of the body that name something to change."""
        return self.model_fields_set & type(self).model_fields.keys()


class NewShare(Body):
    """For how many days a share is in force; without an end if that is absent or null."""

    expires_in_days: Annotated[int, Field(ge=1, le=MAX_SHARE_DAYS, strict=True)] | None = None


class MovieList(Body):
    """Movies to add."""

    movies: Movies


class AddedMovies(MovieList):
    """POST /collection/<uuid>/movies/: {"movies": [movie…]}, the list alone, or one movie."""

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
        return handler(TypeAdapter(MovieList | Movies | Movie).core_schema)


Uuids = Annotated[list[RawUuid], Field(max_length=MAX_MOVIES)]
_uuids = TypeAdapter(Uuids)


class UuidList(Body):
    """The uuids of all movies of a collection, in the new order."""

    movies: Uuids


class Order(UuidList):
    """PUT /collection/<uuid>/order/: {"movies": [uuid…]}, or the list alone, which is at `pointer`."""

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
        return handler(TypeAdapter(UuidList | Uuids).core_schema)


def parse(kind: type[AnyBody], text: bytes) -> AnyBody:
    """The body as a `kind`; BadRequest if it is not JSON, InvalidBody with every field at fault."""
    text = text.removeprefix(codecs.BOM_UTF8)
    if b"NaN" in text or b"Infinity" in text:
        _refuse_non_finite(text)
    faults = list(_nul_characters(from_json(text))) if NUL.search(text) else []
    try:
        body = kind.model_validate_json(text)
    except ValidationError as error:
        lines = error.errors(include_url=False, include_input=False)
        if lines[0]["type"] == "json_invalid":
            raise _not_json(lines[0]["ctx"]["error"]) from None
        bounded = "movies" in kind.model_fields and all(line["type"] != "too_long" for line in lines)
        raise InvalidBody(
            [_fault(line) for line in lines] + (_repeated(text) if bounded else []) + faults) from None
    uuids = [(movie if isinstance(movie, str) else movie.uuid).lower() for movie in getattr(body, "movies", [])]
    if len(set(uuids)) < len(uuids):
        faults += _repeated(text)
    if faults:
        raise InvalidBody(faults)
    return body


def _nul_characters(value: object, pointer: str = "") -> Iterator[Fault]:
    """Each text in a JSON value that holds a NUL character, which PostgreSQL cannot store."""
    if isinstance(value, str) and "\0" in value:
        yield Fault(pointer, "A text must not contain a NUL character")
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _nul_characters(child, f"{pointer}/{_step(key)}")


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
    detail = UUID_DETAIL if line["type"] == "string_pattern_mismatch" else line["msg"]
    return Fault("".join(f"/{_step(step)}" for step in line["loc"]), detail)


def _step(step: object) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return str(step).replace("~", "~0").replace("/", "~1")


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
