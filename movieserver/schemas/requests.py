"""Request bodies: the models that they are parsed into."""
from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator, ConfigDict, Field, GetJsonSchemaHandler, JsonValue, ModelWrapValidatorHandler, PrivateAttr,
    TypeAdapter, model_validator
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from movieserver.accounts import usernames
from movieserver.accounts.common_passwords import MIN_CHARACTERS
from movieserver.accounts.passwords import password_fault
from movieserver.schemas.movies import MAX_MOVIES, Movie, Movies, movie_adapter, movies_adapter
from movieserver.schemas.texts import NOT_NULL, TEXT_SCHEMA, Body, RawUuid, Text, text

MAX_BYTES = 8 * 1024 * 1024
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
    """A user name and its password. Any text is accepted here; a wrong pair is 401."""

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
    """The password, checked if sent."""

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
    def sent_keys(self) -> set[str]:
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
