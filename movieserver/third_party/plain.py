"""The provider `plain`: a list with count, next, previous and results (or data), with basic authentication."""
from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote_plus

from tornado.httputil import url_concat

from movieserver.errors import BadRequest
from movieserver.third_party.client import Call, NoSuchPage, invalid_response
from movieserver.third_party.provider import (
    Get, Movie, MoviePage, Provider, canonical_uuid, ids_of, make_movie, poster_of, read_count, read_movies,
    read_object, year_of
)

PLACEHOLDER = "{query}"
SEARCH = re.compile(r"(?<=[?&])[^?&=]+=\{query\}&?")


class Plain(Provider):
    """The list at `url`. If it can be searched, its address names the parameter: https://host/list/?search={query}."""

    def __init__(self, url: str, username: str | None, password: str | None) -> None:
        self.url = url
        self._credentials = {} if username is None else {
            "auth_username": username, "auth_password": password or "", "auth_mode": "basic"
        }

    def check(self, query: str | None) -> None:
        """Raise BadRequest also if the address of the list names no parameter for searches."""
        if query is not None and not SEARCH.search(self.url):
            raise BadRequest("This catalogue cannot be searched. Omit the query parameter `query`.")
        super().check(query)

    async def page(self, get: Get, number: int, query: str | None) -> MoviePage:
        """A page of the third party's list, with its numbering."""
        url = SEARCH.sub("", self.url) if query is None else self.url.replace(PLACEHOLDER, quote_plus(query))
        try:
            body = await get(Call(url_concat(url, {"page": str(number)}), {}, self._credentials))
        except NoSuchPage:
            if number == 1:
                raise invalid_response("status 404 for the first page: is MOVIE_API_URL right?")
            raise
        return _read_page(body)


def _read_page(body: bytes) -> MoviePage:
    page = read_object(body)
    lists = [page[key] for key in ("results", "data") if isinstance(page.get(key), list)]
    entries = max(lists, key=bool, default=None)  # the first that is not empty, or the first
    movies, skipped = read_movies(entries, _read_movie)
    count = read_count(page.get("count"), entries)
    return MoviePage(count, bool(page.get("next")), bool(page.get("previous")), movies, skipped=skipped)


def _read_movie(entry: dict[str, Any]) -> Movie:
    movie = make_movie(
        canonical_uuid(entry.get("uuid")), [entry.get("title")], entry.get("description"), entry.get("genres"))
    return movie._replace(
        year=year_of(entry.get("year")), poster=poster_of(entry.get("poster")), ids=ids_of(entry.get("ids")))
