"""Response bodies. PostgreSQL writes most of them; /openapi.json is made of these models, and tests check both."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, RootModel

from movieserver.accounts.personal_tokens import PREFIX
from movieserver.formats import MAX_YEAR, MIN_YEAR, POSTER_PATTERN
from movieserver.schemas.texts import UUID_SCHEMA

Uuid = Annotated[str, Field(json_schema_extra=UUID_SCHEMA)]
Timestamp = Annotated[str, Field(
    pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$", json_schema_extra={"format": "date-time"})]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", json_schema_extra={"format": "date"})]
Count = Annotated[int, Field(ge=0)]
Address = Annotated[str, Field(description="An absolute address, to be followed without changes", pattern="^https?://")]


class Response(BaseModel, extra="forbid"):
    """A response with these keys and no others; keys with a default may be absent."""


class Message(Response):
    """What happened."""

    message: str


class Tokens(Response):
    """An access token, and a refresh token for the next pair (RFC 6749 section 5.1)."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Field(ge=1, description="Seconds until the access token expires")]


class Session(Response):
    """A login of yours."""

    uuid: Uuid
    created_at: Timestamp
    refreshed_at: Timestamp | None
    expires_at: Timestamp
    current: Annotated[bool, Field(description="Whether the access token of this request belongs to it")]


class Sessions(Response):
    """Your logins, newest first."""

    data: list[Session]


class PersonalToken(Response):
    """A personal token of yours, without the token itself."""

    uuid: Uuid
    name: str
    scope: Literal["read", "write"]
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used: Day | None


class PersonalTokens(Response):
    """Your personal tokens, newest first."""

    data: list[PersonalToken]


class CreatedPersonalToken(PersonalToken):
    """A new personal token; `token` is shown this once."""

    token: Annotated[str, Field(pattern=f"^{PREFIX}[A-Za-z0-9_-]{{64}}$")]


class ListedMovie(Response):
    """A movie of the catalogue."""

    title: str
    description: str
    genres: str
    uuid: Uuid
    year: Annotated[int, Field(ge=MIN_YEAR, le=MAX_YEAR)] = Field(default_factory=int)
    poster: Annotated[str, Field(pattern=POSTER_PATTERN)] = Field(default_factory=str)
    ids: dict[str, str] = Field(default_factory=dict, description="Its ids in other services, by name of the service")


class MovieListPage(Response):
    """A page of the catalogue."""

    count: Count
    next: Address | None
    previous: Address | None
    data: list[ListedMovie]


class CollectionMovie(ListedMovie):
    """A movie of a collection; `year`, `poster`, `ids` and `note` are absent if they were not sent."""

    note: str = Field(default_factory=str)


class CreatedCollection(Response):
    """The new collection: its address is /collection/<collection_uuid>/."""

    collection_uuid: Uuid


class UpdatedCollection(CreatedCollection, Message):
    """What happened, and to which collection."""


class CollectionTitle(Response):
    """The uuid and the title of a collection."""

    uuid: Uuid
    title: str


class _Collection(CollectionTitle):
    description: str
    created_at: Timestamp
    updated_at: Timestamp
    shared: Annotated[bool, Field(description="Whether a share link shows it")]


class Collection(_Collection):
    """A collection with its movies, in their order."""

    movies: list[CollectionMovie]


class ListedCollection(_Collection):
    """A collection in a list; `movies` is absent with movies=false."""

    movie_count: Count
    movies: list[CollectionMovie] = Field(default_factory=list)


class Collections(Response):
    """The collections of a page, and the favourite genres of all your collections."""

    collections: list[ListedCollection]
    favourite_genres: Annotated[str, Field(description="At most three, comma-separated, most frequent first")]


class CollectionPage(Response):
    """A page of your collections, newest first; `count` is the number of all."""

    is_success: Annotated[bool, Field(description="Always true")]
    data: Collections
    count: Count
    next: Address | None


class Share(Response):
    """A share link, and when it ends."""

    url: Address
    token: str
    expires_at: Timestamp | None


class Shared(Response):
    """A collection as its share link shows it."""

    title: str
    description: str
    updated_at: Timestamp
    movies: list[CollectionMovie]


class ContainingPage(Response):
    """A page of your collections that contain a movie, newest first; `count` is the number of all."""

    collections: list[CollectionTitle]
    count: Count
    next: Address | None


class Addition(Response):
    """Whether a movie was added or already existed."""

    uuid: Uuid
    result: Literal["added", "existing"]


class Additions(Response):
    """Whether each movie was added, in the order of the request."""

    added: Count
    existing: Count
    items: list[Addition]


class ImportedInto(Response):
    """A collection, new or not, how many movies were added to it, and how many it had."""

    uuid: Uuid
    added: Count
    existing: Count


class LineFault(Response):
    """A line of a file (from 1), and why it, or a movie in it, was not imported."""

    line: Annotated[int, Field(ge=1)]
    detail: str


class Imported(Response):
    """The result of an import; `skipped` are the movies that were not imported."""

    added: Count
    existing: Annotated[int, Field(ge=0, description="In the collection before, or repeated in the file")]
    skipped: Count
    collections: list[ImportedInto]
    error_count: Count
    errors: Annotated[list[LineFault], Field(description="The first 100 errors")]


class Genre(Response):
    """A genre, in its most frequent spelling, and how often it occurs."""

    genre: str
    count: Annotated[int, Field(ge=1)]


class GenrePage(Response):
    """A page of your genres, most frequent first; `count` is the number of all."""

    genres: list[Genre]
    count: Count
    next: Address | None


class Change(Response):
    """What last happened to a collection of yours."""

    collection_uuid: Uuid
    change: Literal["created", "updated", "deleted"]
    version: Annotated[Uuid, Field(description="The version after the change, which is its entity tag")]
    at: Timestamp


class ChangePage(Response):
    """A page of changes, oldest first."""

    changes: list[Change]
    next: Annotated[str, Field(description="The cursor to send as `since` next, also if there is no change")]
    more: Annotated[bool, Field(description="Whether more changes follow")]


class RequestCount(Response):
    """The number of requests since the last reset, this one included."""

    requests: Annotated[int, Field(ge=1)]


class Status(Response):
    """The state of the server."""

    status: Literal["ok", "ready"]


class Limits(RootModel[dict[str, dict[str, Count | dict[str, Count]]]]):
    """The limits of each subject; those of `pages` are by path."""


class Document(RootModel[dict[str, Any]]):
    """An OpenAPI document."""


class Fault(Response):
    """One error in the body: a JSON pointer (RFC 6901) to the field, and what is wrong with it."""

    pointer: str
    detail: str


class Problem(Response):
    """An error (RFC 9457). Programs read `code`, people read `detail`."""

    type: Literal["about:blank"]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: str
    request_id: Annotated[str, Field(description="The same as in X-Request-ID")]
    errors: list[Fault] = Field(default_factory=list, min_length=1)


class Root(Response):
    """The addresses of the OpenAPI document and of the docs."""

    openapi: Annotated[str, Field(pattern=r"/openapi\.json$")]
    docs: Annotated[str, Field(pattern="/docs/$")]
