"""The provider `tmdb`: The Movie Database, version 3 (developer.themoviedb.org/reference), with a bearer token."""
from __future__ import annotations

import asyncio
import time
from typing import Any

from tornado.httputil import url_concat

from movieserver.errors import ApiError
from movieserver.formats import movie_uuid
from movieserver.observability.logs import Outage
from movieserver.third_party.client import Call, NoSuchPage, invalid_response
from movieserver.third_party.provider import (
    MAX_NUMBER, Get, Movie, MoviePage, Provider, make_movie, poster_of, read_count, read_movies, read_object, text,
    whole_number, year_of
)

MAX_PAGES = 500  # TMDB serves no page beyond
GENRES_SECONDS = 86400
GENRES_RETRY_SECONDS = 10
TITLES = ("title", "name", "original_title", "original_name")
NAME_CHARACTERS = 100
POSTERS = "https://image.tmdb.org/t/p/w342"  # and poster_path; 342 pixels wide


class Tmdb(Provider):
    """The movies that TMDB finds. Genre names are fetched once a day; without them a page is incomplete."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._names: dict[int, str] = {}
        self._names_until = 0.0
        self._learning: asyncio.Task[None] | None = None
        self._outage = Outage("movie API, genre names")

    async def page(self, get: Get, number: int, query: str | None) -> MoviePage:
        """A page of /discover/movie, or of /search/movie if there is a query."""
        if number > MAX_PAGES:
            raise NoSuchPage
        path, parameters = ("/discover/movie", {}) if query is None else ("/search/movie", {"query": query})
        names, body = await asyncio.gather(  # wait for both, so that no call goes on in the background
            self._genre_names(get), self._get(get, path, parameters | {"page": str(number)}), return_exceptions=True)
        if isinstance(names, BaseException):
            raise names
        if isinstance(body, BaseException):
            raise body
        return _read_page(body, number, names)

    async def close(self) -> None:
        """Stop the call for the genre names."""
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.wait([self._learning])

    async def _genre_names(self, get: Get) -> dict[int, str]:
        """The names by id, shared by all pages. If they cannot be fetched, the old ones are used, or none."""
        if time.monotonic() > self._names_until:
            if self._learning is None:
                self._learning = asyncio.create_task(self._learn_names(get))
            if not self._names:
                await asyncio.wait([self._learning])
        return self._names

    async def _learn_names(self, get: Get) -> None:
        try:
            self._names = _read_names(await self._get(get, "/genre/movie/list", {}))
            self._names_until = time.monotonic() + GENRES_SECONDS
            self._outage.record_success()
        except ApiError as error:
            self._names_until = time.monotonic() + GENRES_RETRY_SECONDS
            self._outage.record_failure(str(error.__cause__ or error))
        finally:
            self._learning = None

    async def _get(self, get: Get, path: str, parameters: dict[str, str]) -> bytes:
        try:
            return await get(Call(url_concat(self._url + path, parameters), self._headers, {}))
        except NoSuchPage:
            raise invalid_response(f"status 404 for {path}: is MOVIE_API_URL right?")


def _read_names(body: bytes) -> dict[int, str]:
    genres = read_object(body).get("genres")
    names = {
        genre_id: name for genre in (genres if isinstance(genres, list) else []) if isinstance(genre, dict)
        if (genre_id := whole_number(genre.get("id"))) is not None
        if (name := text(genre.get("name"), NAME_CHARACTERS).strip())}
    if not names:
        raise invalid_response("the list of genres is empty")
    return names


def _read_page(body: bytes, number: int, names: dict[int, str]) -> MoviePage:
    page = read_object(body)
    if whole_number(page.get("page")) not in (None, number):
        raise invalid_response(f"the page is not page {number}")
    entries, pages = page.get("results"), whole_number(page.get("total_pages"))
    if pages is None:  # then a page with movies has a next page
        pages = number + bool(entries)
    last = min(pages, MAX_PAGES)
    if number > max(last, 1):
        raise NoSuchPage
    movies, skipped = read_movies(entries, lambda entry: _read_movie(entry, names))
    count = read_count(page.get("total_results"), entries)
    return MoviePage(count, number < last, number > 1, movies, complete=bool(names), skipped=skipped)


def _read_movie(entry: dict[str, Any], names: dict[int, str]) -> Movie:
    movie_id = whole_number(entry.get("id"))
    ids = {"tmdb": str(movie_id)} if movie_id and movie_id < MAX_NUMBER else None
    genre_ids, path = entry.get("genre_ids"), entry.get("poster_path")
    numbers = map(whole_number, genre_ids if isinstance(genre_ids, list) else [])
    movie = make_movie(
        movie_uuid(ids, "", None), [entry.get(key) for key in TITLES], entry.get("overview"),
        [names[genre_id] for genre_id in dict.fromkeys(numbers) if genre_id in names])
    poster = poster_of(POSTERS + path) if isinstance(path, str) and path.startswith("/") else None
    return movie._replace(year=year_of(entry.get("release_date")), poster=poster, ids=ids)
