"""What a request may say. A body is parsed once, at the door, into one of these records."""
from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, JsonValue,
    ModelWrapValidatorHandler, PrivateAttr, TypeAdapter, ValidationError, model_validator
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, from_json

from movieserver.accounts.common_passwords import is_common
from movieserver.errors import BadRequest, Fault, InvalidBody
from movieserver.formats import DESCRIPTION_CHARACTERS, GENRES_CHARACTERS, MOVIE_TITLE_CHARACTERS, parse_uuid

BYTES = 8 * 1024 * 1024
NESTING = 200  # pydantic's parser reads no further
MOVIES = 10_000
NAME_CHARACTERS = 150
PASSWORD_CHARACTERS = 8
TITLE_CHARACTERS = 255
UUID_SCHEMA: dict[str, JsonValue] = {
    "format": "uuid", "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
}
TEXT_SCHEMA: dict[str, JsonValue] = {"pattern": r"^[^\u0000]*$"}

Body = TypeVar("Body", bound="_Body")


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "A NUL character cannot be stored")
    return text


def _uncommon(password: str) -> str:
    if is_common(password):
        raise PydanticCustomError("common", "This password is one of the most common ones: attackers try it first")
    return password


def _uuid(text: str) -> str:
    uuid = parse_uuid(text)
    if uuid is None:
        raise PydanticCustomError("uuid", "A uuid is written as 8-4-4-4-12 hexadecimal digits")
    return uuid


def blank_for_none(value: object) -> object:
    """A text that is not there is an empty one."""
    return "" if value is None else value


def _not_null(value: object) -> object:
    if value is None:
        raise PydanticCustomError("null", "null is no value here; what is to stay as it is, is left out")
    return value


def joined(genres: object) -> object:
    """Genres as comma-separated text, also where they come as a list of texts."""
    if isinstance(genres, list) and all(isinstance(genre, str) for genre in genres):
        return ",".join(genres)
    return blank_for_none(genres)


def _text(least: int = 0, most: int | None = None) -> Any:
    """The bounds of a text, in characters, as they are checked and described."""
    return Field(min_length=least or None, max_length=most, json_schema_extra=TEXT_SCHEMA)


NO_NUL = AfterValidator(_no_nul)
Text = Annotated[str, _text(), NO_NUL]
Uuid = Annotated[str, Field(json_schema_extra=UUID_SCHEMA), AfterValidator(_uuid)]
DescriptionText = Annotated[str, _text(most=DESCRIPTION_CHARACTERS), NO_NUL]
Description = Annotated[
    DescriptionText, BeforeValidator(blank_for_none, json_schema_input_type=DescriptionText | None)]
GenresText = Annotated[str, _text(most=GENRES_CHARACTERS), NO_NUL]
Genres = Annotated[GenresText, BeforeValidator(joined, json_schema_input_type=GenresText | list[Text] | None)]
Title = Annotated[str, _text(1, TITLE_CHARACTERS), NO_NUL]
NewPassword = Annotated[
    str, Field(description="None of the most common ones"), _text(PASSWORD_CHARACTERS), NO_NUL,
    AfterValidator(_uncommon)]


class _Body(BaseModel):
    """Keys that are not named are ignored."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class Registration(_Body):
    """POST /register/: a name of 1 to 150 characters, a password of at least 8 that is not a common one."""

    username: Annotated[str, _text(1, NAME_CHARACTERS), NO_NUL]
    password: NewPassword


class Credentials(_Body):
    """POST /login/: any texts; whether they are right is not a matter of form."""

    username: Text
    password: Text


class Refresh(_Body):
    """POST /refresh/ and /logout/."""

    refresh_token: Text


class PasswordChange(_Body):
    """PUT /password/."""

    old_password: Text
    new_password: NewPassword


class Deletion(_Body):
    """What DELETE /account/ may carry."""

    password: Text | None = None


class Movie(_Body):
    """A movie of a collection; genres are comma-separated text on the way out."""

    uuid: Uuid
    title: Annotated[str, _text(1, MOVIE_TITLE_CHARACTERS), NO_NUL]
    description: Description = ""
    genres: Genres = ""


Movies = Annotated[list[Movie], Field(max_length=MOVIES)]
Uuids = Annotated[list[Uuid], Field(max_length=MOVIES)]
_movies = TypeAdapter(Movies)
_uuids = TypeAdapter(Uuids)


class NewCollection(_Body):
    """POST /collection/."""

    title: Title
    description: Annotated[Text, BeforeValidator(blank_for_none, json_schema_input_type=Text | None)] = ""
    movies: Movies = []


class CollectionChanges(_Body):
    """PUT /collection/<uuid>/: what is not named stays as it is."""

    title: Annotated[Title | None, BeforeValidator(_not_null, json_schema_input_type=Title)] = None
    description: Annotated[
        Text | None, BeforeValidator(blank_for_none, json_schema_input_type=Text | None)] = None
    movies: Annotated[Movies | None, BeforeValidator(_not_null, json_schema_input_type=Movies)] = None


class AddedMovies(_Body):
    """POST /collection/<uuid>/movies/: {"movies": [movie…]}, the list alone, or one movie."""

    movies: Movies

    @model_validator(mode="wrap")
    @classmethod
    def _short(cls, body: object, validate: ModelWrapValidatorHandler[AddedMovies]) -> AddedMovies:
        if isinstance(body, list):
            return cls.model_construct(movies=_movies.validate_python(body))
        if isinstance(body, dict) and "movies" not in body:
            return cls.model_construct(movies=[Movie.model_validate(body)])
        return validate(body)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(core), handler(_movies.core_schema), handler(Movie.__pydantic_core_schema__)]}


class Order(_Body):
    """PUT /collection/<uuid>/order/: {"movies": [uuid…]}, or the list alone; `pointer` is where the list stands."""

    movies: Uuids
    _pointer: str = PrivateAttr("/movies")

    @property
    def pointer(self) -> str:
        return self._pointer

    @model_validator(mode="wrap")
    @classmethod
    def _short(cls, body: object, validate: ModelWrapValidatorHandler[Order]) -> Order:
        if not isinstance(body, list):
            return validate(body)
        order = cls.model_construct(movies=_uuids.validate_python(body))
        order._pointer = ""
        return order

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(core), handler(_uuids.core_schema)]}


def movies_json(movies: list[Movie]) -> str:
    """The list as the SQL statements take it: a JSON array of {uuid, title, description, genres}."""
    return _movies.dump_json(movies).decode()


def parse(kind: type[Body], text: bytes) -> Body:
    """The body as a record of `kind`; BadRequest where it is no JSON, InvalidBody naming every field at fault."""
    if b"NaN" in text or b"Infinity" in text:
        _refuse_no_numbers(text)
    try:
        body = kind.model_validate_json(text)
    except ValidationError as error:
        lines = error.errors(include_url=False, include_input=False)
        if lines[0]["type"] == "json_invalid":
            raise _no_json(lines[0]["ctx"]["error"]) from None
        bounded = "movies" in kind.model_fields and all(line["type"] != "too_long" for line in lines)
        raise InvalidBody([_fault(line) for line in lines] + (_repeated(text) if bounded else [])) from None
    uuids = [movie if isinstance(movie, str) else movie.uuid for movie in getattr(body, "movies", None) or []]
    if len(set(uuids)) < len(uuids):
        raise InvalidBody(_repeated(text))
    return body


def _refuse_no_numbers(text: bytes) -> None:
    try:
        from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise _no_json(str(error)) from None


def _no_json(reason: str) -> BadRequest:
    if reason.startswith("recursion limit exceeded"):
        return BadRequest(f"The body is nested more than {NESTING} levels deep.")
    return BadRequest(f"The body is not valid JSON: {reason}.")


def _fault(line: ErrorDetails) -> Fault:
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in line["loc"])
    return Fault("".join(f"/{step}" for step in steps), line["msg"])


def _repeated(text: bytes) -> list[Fault]:
    """The movies of a body that are in its list already."""
    body = from_json(text)
    pointer, listed = ("/movies", body.get("movies")) if isinstance(body, dict) else ("", body)
    seen: set[str | None] = {None}
    faults = []
    for place, movie in enumerate(listed if isinstance(listed, list) else []):
        tail, uuid = ("/uuid", _uuid_of(movie.get("uuid"))) if isinstance(movie, dict) else ("", _uuid_of(movie))
        if uuid in seen and uuid is not None:
            faults.append(Fault(f"{pointer}/{place}{tail}", f"The movie {uuid} is in this list already"))
        seen.add(uuid)
    return faults


def _uuid_of(said: object) -> str | None:
    return parse_uuid(said) if isinstance(said, str) else None
