"""Request bodies: the models that they are parsed into."""
from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator, ConfigDict, Field, GetJsonSchemaHandler, JsonValue, ModelWrapValidatorHandler, PrivateAttr,
    TypeAdapter, ValidationError, model_validator
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, from_json

from movieserver.accounts import usernames
from movieserver.accounts.passwords import MIN_CHARACTERS, password_fault
from movieserver.errors import BadRequest, Fault, InvalidBody
from movieserver.formats import movie_uuid, parse_uuid
from movieserver.schemas.movies import MAX_MOVIES, Movie, Movies, identities, movie_adapter, movies_adapter
from movieserver.schemas.texts import NOT_NULL, TEXT_SCHEMA, Body, RawUuid, Text, text

MAX_BYTES = 8 * 1024 * 1024
MOVIE = re.compile("(?:/movies)?/[0-9]+/|/")  # the beginning of a pointer into a movie
NUL = re.compile(rb"\\u0000")
UUID_DETAIL = "A uuid must have the form 8-4-4-4-12 hexadecimal digits"
NO_IDENTITY = "Field required: a movie with neither ids nor a year needs a uuid"
MAX_NESTING = 200  # pydantic's parser reads no further
# for /openapi.json only: most of what `username_fault` refuses
_REFUSED = r"\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
USERNAME_SCHEMA: dict[str, JsonValue] = {
    "minLength": 1, "maxLength": usernames.MAX_CHARACTERS,
    "pattern": rf"^[^\s{_REFUSED}]([^{_REFUSED}]*[^\s{_REFUSED}])?$",
}
TITLE_CHARACTERS = 255
TOKEN_NAME_CHARACTERS = 100
TOKEN_DAYS = 3660
MAX_SHARE_DAYS = 3660

AnyBody = TypeVar("AnyBody", bound=Body)


def _username(name: str) -> str:
    if fault := usernames.username_fault(name):
        raise PydanticCustomError("username", "{fault}", {"fault": fault})
    return name


def _new_password(password: str) -> str:
    if fault := password_fault(password):
        raise PydanticCustomError("password", "{fault}", {"fault": fault})
    return password


Title = Annotated[str, text(1, TITLE_CHARACTERS)]
Username = Annotated[
    str, AfterValidator(_username), Field(
        description="No space at either end, no control or format character", json_schema_extra=USERNAME_SCHEMA)]
NewPassword = Annotated[
    str, AfterValidator(_new_password), Field(
        description="Not one of the most common passwords",
        json_schema_extra={"minLength": MIN_CHARACTERS, **TEXT_SCHEMA})]


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


class NewPersonalToken(Body):
    """A new personal token; without `expires_in_days` it does not expire."""

    name: Annotated[str, text(1, TOKEN_NAME_CHARACTERS)]
    scope: Literal["read", "write"]
    expires_in_days: Annotated[int, Field(strict=True, ge=1, le=TOKEN_DAYS)] | None = None


class NewCollection(Body):
    """A new collection; without `description` and `movies` they are empty."""

    title: Title
    description: Text | None = ""
    movies: Movies = []


class CollectionChanges(Body):
    """Changes to a collection; absent keys keep their current value."""

    model_config = ConfigDict(extra="allow")  # the error for a body that changes nothing lists them

    title: Annotated[Title, NOT_NULL] = Field(default_factory=str)  # a default would be in /openapi.json
    description: Text | None = Field(default_factory=str)
    movies: Annotated[Movies, NOT_NULL] = Field(default_factory=list)

    @property
    def named(self) -> set[str]:
        """The keys of the body that name something to change."""
        return self.model_fields_set & type(self).model_fields.keys()


class NewShare(Body):
    """How many days a share link is valid; it does not expire if that is absent or null."""

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
            return cls.model_construct(movies=[movie_adapter.validate_python(body)])
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
    """The body as a `kind`; BadRequest if it is not JSON, InvalidBody that lists every invalid field."""
    text = text.removeprefix(codecs.BOM_UTF8)
    if b"NaN" in text or b"Infinity" in text:
        _value(text, allow_inf_nan=False)
    faults = list(_nul_characters(_value(text))) if NUL.search(text) else []
    try:
        body = kind.model_validate_json(text)
    except ValidationError as error:
        lines = error.errors(include_url=False, include_input=False)
        if lines[0]["type"] == "json_invalid":
            raise _not_json(lines[0]["ctx"]["error"]) from None
        bounded = "movies" in kind.model_fields and not any(
            line["type"] == "too_long" and line["loc"] in ((), ("movies",)) for line in lines)
        found = _with_unidentified(kind, text, map(_fault, lines)) if bounded else map(_fault, lines)
        raise InvalidBody([*found, *(_repeated(kind, text) if bounded else ()), *faults]) from None
    uuids = body.movie_uuids if isinstance(body, Order) else identities(getattr(body, "movies", []))
    if len(different := set(uuids)) < len(uuids) or "" in different:
        faults += [*_with_unidentified(kind, text, ()), *_repeated(kind, text)]
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


def _value(text: bytes, allow_inf_nan: bool = True) -> Any:
    try:
        return from_json(text, allow_inf_nan=allow_inf_nan)
    except ValueError as error:
        raise _not_json(str(error)) from None


def _not_json(reason: str) -> BadRequest:
    if reason.startswith("recursion limit exceeded"):
        return BadRequest(f"The body must not be nested more than {MAX_NESTING} levels deep.")
    return BadRequest(f"The body is not valid JSON: {reason}.")


def _fault(line: ErrorDetails) -> Fault:
    detail = UUID_DETAIL if line["type"] == "string_pattern_mismatch" else line["msg"]
    return Fault("".join(f"/{_step(step)}" for step in line["loc"]), detail)


def _step(step: object) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return str(step).replace("~", "~0").replace("/", "~1")


def _sent_movies(kind: type[Body], text: bytes) -> dict[str, Any]:
    """The movies of a body, or their uuids, by their pointers."""
    body = from_json(text)
    if kind is AddedMovies and isinstance(body, dict) and "movies" not in body:
        return {"": body}
    pointer, movies = ("/movies", body.get("movies")) if isinstance(body, dict) else ("", body)
    if not isinstance(movies, list) or not pointer and kind not in (AddedMovies, Order):
        return {}
    return {f"{pointer}/{index}": movie for index, movie in enumerate(movies)}


def _with_unidentified(kind: type[Body], text: bytes, faults: Iterable[Fault]) -> Iterator[Fault]:
    """Faults, and each movie that has nothing to identify it before the other faults of that movie."""
    missing = {
        f"{pointer}/": Fault(f"{pointer}/uuid", NO_IDENTITY) for pointer, movie in _sent_movies(kind, text).items()
        if isinstance(movie, dict) and not movie.get("ids") and movie.get("uuid") is None and movie.get("year") is None
        if kind is not Order}
    for fault in faults:
        if (movie := MOVIE.match(fault.pointer)) and (unidentified := missing.pop(movie[0], None)):
            yield unidentified
        yield fault
    yield from missing.values()


def _repeated(kind: type[Body], text: bytes) -> Iterator[Fault]:
    """Each movie with the uuid of an earlier one in its list."""
    seen: set[str] = set()
    for pointer, movie in _sent_movies(kind, text).items():
        uuid = _sent_identity(movie if isinstance(movie, dict) else {"uuid": movie})
        if uuid in seen:
            tail = "/uuid" if isinstance(movie, dict) else ""
            yield Fault(pointer + tail, f"The movie {uuid} is already in this list; send it once")
        elif uuid:
            seen.add(uuid)


def _sent_identity(movie: dict[str, Any]) -> str | None:
    """The uuid of a movie as it was sent, which may have other faults."""
    uuid, ids, title, year = (movie.get(key) for key in ("uuid", "ids", "title", "year"))
    if uuid is not None:
        return parse_uuid(uuid) if isinstance(uuid, str) else None
    named = isinstance(ids, dict) and all(isinstance(value, str) for value in ids.values())
    return movie_uuid(
        ids if named else None, title if isinstance(title, str) else "", year if isinstance(year, int) else None)
