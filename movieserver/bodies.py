"""What a request may say. A body is parsed once, at the door, into one of these records."""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError, from_json

from movieserver.common_passwords import is_common
from movieserver.errors import BadRequest, Fault, InvalidBody

BYTES = 8 * 1024 * 1024
MOVIES = 10_000
NAME_CHARACTERS = 150
GENRES_CHARACTERS = 10_000
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

Body = TypeVar("Body", bound="_Body")


def parse_uuid(text: str) -> str | None:
    """The uuid in its canonical form (RFC 9562 section 4), or None where `text` is none."""
    lower = text.lower()
    return lower if UUID.fullmatch(lower) else None


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


NO_NUL = AfterValidator(_no_nul)
Text = Annotated[str, NO_NUL]
Uuid = Annotated[str, AfterValidator(_uuid)]
Description = Annotated[str, Field(max_length=10_000), NO_NUL, BeforeValidator(blank_for_none)]
Genres = Annotated[str, Field(max_length=GENRES_CHARACTERS), NO_NUL, BeforeValidator(joined)]
Title = Annotated[str, Field(min_length=1, max_length=255), NO_NUL]
NewPassword = Annotated[str, Field(min_length=8), NO_NUL, AfterValidator(_uncommon)]


class _Body(BaseModel):
    """Keys that are not named are ignored."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class Registration(_Body):
    """POST /register/: a name of 1 to 150 characters, a password of at least 8 that is not a common one."""

    username: Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS), NO_NUL]
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
    title: Annotated[str, Field(min_length=1, max_length=500), NO_NUL]
    description: Description = ""
    genres: Genres = ""


Movies = Annotated[list[Movie], Field(max_length=MOVIES)]
_movies = TypeAdapter(list[Movie])


class NewCollection(_Body):
    """POST /collection/."""

    title: Title
    description: Annotated[Text, BeforeValidator(blank_for_none)] = ""
    movies: Movies = []


class CollectionChanges(_Body):
    """PUT /collection/<uuid>/: what is not named is None, and stays as it is."""

    title: Annotated[Title | None, BeforeValidator(_not_null)] = None
    description: Annotated[Text | None, BeforeValidator(blank_for_none)] = None
    movies: Annotated[Movies | None, BeforeValidator(_not_null)] = None


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
            raise BadRequest(f"The body is not valid JSON: {lines[0]['ctx']['error']}.") from None
        bounded = all(line["type"] != "too_long" for line in lines)
        raise InvalidBody([_fault(line) for line in lines] + _repeated(_uuids(text) if bounded else [])) from None
    if repeated := _repeated([movie.uuid for movie in getattr(body, "movies", None) or []]):
        raise InvalidBody(repeated)
    return body


def _refuse_no_numbers(text: bytes) -> None:
    try:
        from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None


def _fault(line: ErrorDetails) -> Fault:
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in line["loc"])
    return Fault("".join(f"/{step}" for step in steps), line["msg"])


def _uuids(text: bytes) -> list[str | None]:
    body = from_json(text)
    movies = body.get("movies") if isinstance(body, dict) else None
    return [_uuid_of(movie) for movie in movies] if isinstance(movies, list) else []


def _uuid_of(movie: Any) -> str | None:
    uuid = movie.get("uuid") if isinstance(movie, dict) else None
    return parse_uuid(uuid) if isinstance(uuid, str) else None


def _repeated(uuids: Sequence[str | None]) -> list[Fault]:
    if len(set(uuids)) == len(uuids):
        return []
    seen: set[str | None] = {None}
    faults = []
    for place, uuid in enumerate(uuids):
        if uuid in seen and uuid is not None:
            faults.append(Fault(f"/movies/{place}/uuid", f"The movie {uuid} is in this list already"))
        seen.add(uuid)
    return faults
