"""How a third party speaks: what to ask for a page, and what its answer means.

`plain`: count, next, previous and results (or data), with basic authentication.
`tmdb`: The Movie Database's API, version 3 (developer.themoviedb.org/reference), with a bearer token.
"""
from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import cached_property, lru_cache
from typing import Annotated, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator
from tornado.httputil import url_concat

from movieserver.schemas.requests import blank_for_none, joined
from movieserver.errors import BadRequest, NotFound
from movieserver.third_party.client import Call, nonsense

TMDB_PAGES = 500  # TMDB answers no page beyond
GENRES_SECONDS = 86400
MOST_PARSED, SHORT_CHARACTERS = 64, 32 * 1024

Get = Callable[[Call], Awaitable[bytes]]
Model = TypeVar("Model", bound=BaseModel)


Text = Annotated[str, BeforeValidator(blank_for_none)]


class CatalogueMovie(BaseModel):
    """A movie as the third party lists it; genres are comma-separated text."""

    title: str
    description: Text = ""
    genres: Annotated[str, BeforeValidator(joined)] = ""
    uuid: str


class MoviePage(BaseModel):
    """One page of the third party's list; `next` and `previous` tell only whether there is such a page."""

    count: int = Field(strict=True, ge=0)
    next: str | None = None
    previous: str | None = None
    data: list[CatalogueMovie]

    @cached_property
    def movies(self) -> str:
        """Its movies as the text of a JSON array, made once."""
        return json.dumps([movie.model_dump() for movie in self.data], ensure_ascii=False)

    @model_validator(mode="before")
    @classmethod
    def _results(cls, page: object) -> object:
        if isinstance(page, dict) and "results" in page:
            return {**page, "data": page["results"]}
        return page


class Dialect(Protocol):
    """A way to get a page of a list."""

    def check(self, query: str | None) -> None:
        """BadRequest where the catalogue cannot be searched for that."""

    async def page(self, get: Get, number: int, query: str | None) -> MoviePage:
        """Page `number` (from 1) of the list, or of what `query` finds; NotFound past the end."""

    async def close(self) -> None:
        """Give up what is under way."""


class Plain:
    """The list at `url`."""

    def __init__(self, url: str, username: str | None, password: str | None) -> None:
        self._url = url
        self._credentials = {} if username is None else {
            "auth_username": username, "auth_password": password or "", "auth_mode": "basic"
        }

    def check(self, query: str | None) -> None:
        """It cannot be searched."""
        if query is not None:
            raise BadRequest("This catalogue cannot be searched: leave the query parameter query out.")

    async def page(self, get: Get, number: int, query: str | None) -> MoviePage:
        """The third party's own page."""
        try:
            body = await get(Call(url_concat(self._url, {"page": str(number)}), {}, self._credentials))
        except NotFound:
            if number == 1:
                raise nonsense("status 404 for the first page: is MOVIE_API_URL right?")
            raise
        return read(MoviePage, body)

    async def close(self) -> None:
        """Nothing is under way but what a page waits for."""


class _TmdbMovie(BaseModel):
    id: int = Field(strict=True)
    title: str
    overview: Text = ""
    genre_ids: list[int] = []


class _TmdbPage(BaseModel):
    page: int
    results: list[_TmdbMovie]
    total_pages: int = Field(strict=True, ge=0)
    total_results: int = Field(strict=True, ge=0)


class _TmdbGenre(BaseModel):
    id: int
    name: str


class _TmdbGenres(BaseModel):
    genres: list[_TmdbGenre] = Field(min_length=1)


class Tmdb:
    """The movies that TMDB finds; genre names are asked for once a day."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._names: dict[int, str] = {}
        self._names_until = 0.0
        self._naming: asyncio.Task[None] | None = None

    def check(self, query: str | None) -> None:
        """A search is for something."""
        if query is not None and not query.strip():
            raise BadRequest("The query parameter query is empty: leave it out, or search for something.")

    async def page(self, get: Get, number: int, query: str | None) -> MoviePage:
        """A page of /discover/movie, or of /search/movie where there is a query."""
        if number > TMDB_PAGES:
            raise NotFound
        path, given = ("/discover/movie", {}) if query is None else ("/search/movie", {"query": query})
        names, body = await asyncio.gather(  # both to their end: nothing is left under way
            self._genre_names(get), self._get(get, path, given | {"page": str(number)}), return_exceptions=True)
        if isinstance(names, BaseException):
            raise names
        if isinstance(body, BaseException):
            raise body
        found = read(_TmdbPage, body)
        if found.page != number:
            raise nonsense(f"page {found.page} for page {number}")
        last = min(found.total_pages, TMDB_PAGES)
        if number > max(last, 1):
            raise NotFound
        return MoviePage(
            count=found.total_results, next="more" if number < last else None, previous="more" if number > 1 else None,
            data=[self._movie(movie, names) for movie in found.results],
        )

    async def close(self) -> None:
        """Give up the call for the genres' names."""
        if self._naming is not None:
            self._naming.cancel()
            await asyncio.gather(self._naming, return_exceptions=True)

    async def _genre_names(self, get: Get) -> dict[int, str]:
        """The names; callers share one call for them, and old ones are better than none."""
        if time.monotonic() > self._names_until:
            if self._naming is None:
                self._naming = asyncio.create_task(self._learn_names(get))
                self._naming.add_done_callback(self._named)
            if not self._names:
                await asyncio.shield(self._naming)
        return self._names

    async def _learn_names(self, get: Get) -> None:
        answer = read(_TmdbGenres, await self._get(get, "/genre/movie/list", {}))
        self._names = {genre.id: genre.name for genre in answer.genres}
        self._names_until = time.monotonic() + GENRES_SECONDS

    def _named(self, naming: asyncio.Task[None]) -> None:
        self._naming = None
        if not naming.cancelled():
            naming.exception()  # those who wait for it are told

    async def _get(self, get: Get, path: str, given: dict[str, str]) -> bytes:
        try:
            return await get(Call(url_concat(self._url + path, given), self._headers, {}))
        except NotFound:
            raise nonsense(f"status 404 for {path}: is MOVIE_API_URL right?")

    def _movie(self, movie: _TmdbMovie, names: dict[int, str]) -> CatalogueMovie:
        return CatalogueMovie(
            title=movie.title, description=movie.overview, uuid=tmdb_uuid(movie.id),
            genres=",".join(names[number] for number in movie.genre_ids if number in names),
        )


def tmdb_uuid(movie_id: int) -> str:
    """The uuid of a TMDB movie: version 5 (RFC 9562) of the address of its page."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://www.themoviedb.org/movie/{movie_id}"))


def read(kind: type[Model], body: bytes) -> Model:
    """A body as a record of `kind`; UpstreamFault where it is none."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['type']}" for fault in error.errors()[:5]]
        raise nonsense(f"a page that cannot be read: {', '.join(faults)}")


def remembered(text: str) -> MoviePage | None:
    """A page from the text that `model_dump_json` made of it; None where another version made it.

    The same text, where it is not long, gives the same object for as long as it is asked for often.
    """
    return _parsed(text) if len(text) <= SHORT_CHARACTERS else _parsed.__wrapped__(text)


@lru_cache(maxsize=MOST_PARSED)
def _parsed(text: str) -> MoviePage | None:
    try:
        return MoviePage.model_validate_json(text)
    except ValidationError:
        return None


def dialect(kind: str, url: str, username: str | None, password: str | None, token: str | None) -> Dialect:
    """The dialect of a name, plain or tmdb, for the third party at `url`."""
    return Tmdb(url, token or "") if kind == "tmdb" else Plain(url, username, password)
