"""Parses request bodies, and finds everything that is wrong with one."""
from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from movieserver.errors import BadRequest, FieldError, InvalidBody
from movieserver.formats import POSTER_PATTERN, movie_uuid, parse_uuid
from movieserver.schemas.movies import identities
from movieserver.schemas.requests import MAX_NESTING, AddedMovies, Order
from movieserver.schemas.texts import UUID_PATTERN, Body

MOVIE = re.compile(r"(?:/movies)?/([0-9]+)\b")  # the beginning of a pointer into a movie
NUL = re.compile(rb"\\u0000")
DETAILS = {
    UUID_PATTERN: "A uuid must have the form 8-4-4-4-12 hexadecimal digits",
    POSTER_PATTERN: "A poster must be an address that begins with https://",
}
NO_IDENTITY = "Field required: a movie with neither ids nor a year needs a uuid"
AnyBody = TypeVar("AnyBody", bound=Body)


def parse(kind: type[AnyBody], text: bytes) -> AnyBody:
    """The body as a `kind`. Raises BadRequest if it is not JSON, InvalidBody that lists every invalid field."""
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
        found = [*(_identity_faults(kind, text) if bounded else ()), *map(_fault, lines), *faults]
        raise InvalidBody(sorted(found, key=_index)) from None
    uuids = body.movie_uuids if isinstance(body, Order) else identities(getattr(body, "movies", []))
    if len(different := set(uuids)) < len(uuids) or "" in different:
        faults += _identity_faults(kind, text)
    if faults:
        raise InvalidBody(sorted(faults, key=_index))
    return body


def _nul_characters(value: object, pointer: str = "") -> Iterator[FieldError]:
    """Each text and key in a JSON value that holds a NUL character, which PostgreSQL cannot store."""
    if isinstance(value, str) and "\0" in value:
        yield FieldError(pointer, "A text must not contain a NUL character")
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        if isinstance(key, str) and "\0" in key:
            yield FieldError(pointer, "A key must not contain a NUL character")
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


def _fault(line: ErrorDetails) -> FieldError:
    detail = DETAILS.get(line.get("ctx", {}).get("pattern", ""), line["msg"])
    return FieldError("".join(f"/{_step(step)}" for step in line["loc"]), detail)


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


def _identity_faults(kind: type[Body], text: bytes) -> Iterator[FieldError]:
    """Each movie that nothing identifies, and each with the uuid of an earlier one in its list."""
    seen: set[str] = set()
    for pointer, movie in _sent_movies(kind, text).items():
        is_movie = isinstance(movie, dict)
        where = f"{pointer}/uuid" if is_movie else pointer
        uuid = _sent_identity(movie if is_movie else {"uuid": movie})
        if uuid in seen:
            yield FieldError(where, f"The movie {uuid} is already in this list; send it once")
        elif uuid:
            seen.add(uuid)
        elif is_movie and kind is not Order and not movie.get("ids") and (
                movie.get("uuid") is None and movie.get("year") is None):
            yield FieldError(where, NO_IDENTITY)


def _index(fault: FieldError) -> int:
    """The index of the movie of a fault; -1 outside movies."""
    movie = MOVIE.match(fault.pointer)
    return int(movie[1]) if movie else -1


def _sent_identity(movie: dict[str, Any]) -> str | None:
    """The uuid of a movie as it was sent, which may have other faults."""
    uuid, ids, title, year = (movie.get(key) for key in ("uuid", "ids", "title", "year"))
    if uuid is not None:
        return parse_uuid(uuid) if isinstance(uuid, str) else None
    named = isinstance(ids, dict) and all(isinstance(value, str) for value in ids.values())
    return movie_uuid(
        ids if named else None, title if isinstance(title, str) else "", year if isinstance(year, int) else None)
