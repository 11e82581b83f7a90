"""What the server answers. PostgreSQL writes most of it; these models describe it, and the tests hold it to them."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model

from movieserver.schemas.texts import UUID_SCHEMA

Uuid = Annotated[str, Field(json_schema_extra=UUID_SCHEMA)]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(ge=0)]
Address = Annotated[str, Field(description="An absolute address, to be followed as it is", pattern="^https?://")]


class Answer(BaseModel):
    """These keys, and no others; those with a default may be left out."""

    model_config = ConfigDict(extra="forbid")


class Message(Answer):
    """What was done."""

    message: str


class Tokens(Answer):
    """A login: a token for calls, and one for the next pair (RFC 6749 section 5.1)."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Field(ge=1, description="Seconds for which the access token is in force")]


class Session(Answer):
    """A login of yours."""

    uuid: Uuid
    created_at: Moment
    refreshed_at: Moment | None
    expires_at: Moment
    current: Annotated[bool, Field(description="Whether it is the one of this request's token")]


class Sessions(Answer):
    """Your logins, newest first."""

    data: list[Session]


class ListedMovie(Answer):
    """A movie of the third party's."""

    title: str
    description: str
    genres: str
    uuid: Uuid


class MovieListPage(Answer):
    """A page of the third party's movies."""

    count: Count
    next: Address | None
    previous: Address | None
    data: list[ListedMovie]


class CollectionMovie(ListedMovie):
    """A movie of a collection."""


class CreatedCollection(Answer):
    """Where to find it: /collection/<collection_uuid>/."""

    collection_uuid: Uuid


class UpdatedCollection(Message):
    """What was done, and to which."""

    collection_uuid: Uuid


class CollectionTitle(Answer):
    """A collection, by name."""

    uuid: Uuid
    title: str


class _Collection(CollectionTitle):
    description: str
    created_at: Moment
    updated_at: Moment


class Collection(_Collection):
    """A collection of yours, its movies in their order."""

    movies: list[CollectionMovie]


class ListedCollection(_Collection):
    """A collection of a list; `movies` is left out where the request says so."""

    movie_count: Count
    movies: list[CollectionMovie] = Field(default_factory=list)


class Collections(Answer):
    """The collections of a page, and the favourite genres of all of yours."""

    collections: list[ListedCollection]
    favourite_genres: Annotated[str, Field(description="Three at most, comma-separated, most frequent first")]


class CollectionPage(Answer):
    """A page of your collections, newest first; `count` is how many there are in all."""

    is_success: Literal[True]
    data: Collections
    count: Count
    next: Address | None


class HoldingPage(Answer):
    """A page of your collections that hold a movie; `count` is how many there are in all."""

    collections: list[CollectionTitle]
    count: Count
    next: Address | None


class Addition(Answer):
    """What became of one movie."""

    uuid: Uuid
    result: Literal["added", "existing"]


class Additions(Answer):
    """What became of each, in the order given."""

    added: Count
    existing: Count
    items: list[Addition]


class Genre(Answer):
    """A genre, as most often written, and how often it occurs."""

    genre: str
    count: Annotated[int, Field(ge=1)]


class GenrePage(Answer):
    """A page of your genres, most frequent first; `count` is how many there are in all."""

    genres: list[Genre]
    count: Count
    next: Address | None


class RequestCount(Answer):
    """How many requests were answered since the last reset, this one included."""

    requests: Annotated[int, Field(ge=1)]


class Status(Answer):
    """How the server is."""

    status: Literal["ok", "ready"]


class Document(RootModel[dict[str, Any]]):
    """An OpenAPI description."""


class Fault(Answer):
    """One field at fault: an RFC 6901 JSON pointer into the body, and what is wrong there."""

    pointer: str
    detail: str


class Problem(Answer):
    """Every error (RFC 9457); `code` is the one thing in it that programs need to read."""

    type: Literal["about:blank"]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: str
    request_id: Annotated[str, Field(description="The same as X-Request-ID")]
    errors: list[Fault] = Field(default_factory=list, min_length=1)


def numbers(name: str, tree: dict[str, Any]) -> type[BaseModel]:
    """The model of a tree of whole numbers such as `tree`."""
    fields: dict[str, Any] = {
        f"field_{place}": (
            numbers(f"{name} {key}", value) if isinstance(value, dict) else Count, Field(alias=key))
        for place, (key, value) in enumerate(tree.items())
    }
    return create_model(name, __base__=Answer, **fields)
