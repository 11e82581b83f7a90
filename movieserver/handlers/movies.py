"""The third party's movies, page by page."""
from __future__ import annotations

import json
from urllib.parse import urlencode

from movieserver.errors import UpstreamFault, UpstreamTimeout, UpstreamUnavailable
from movieserver.handlers.base import Handler
from movieserver.openapi.operation import Operation, Route
from movieserver.openapi.parameters import IntegerParameter, TextParameter
from movieserver.schemas import responses
from movieserver.third_party.client import NoSuchPage
from movieserver.third_party.provider import MoviePage

PAGE = IntegerParameter("page", "Which page")
QUERY = TextParameter("query", "Words to search for; 400 if the third party's list cannot be searched")


class MoviesHandler(Handler):
    """GET /movies/?page=N&query=words"""

    @Operation(
        "listMovies", "List the third party's movies", responses.MovieListPage, query=(PAGE, QUERY), etag=True,
        headers=("Age", "Link"), errors=(NoSuchPage(), UpstreamFault(), UpstreamUnavailable(), UpstreamTimeout()),
        description="A page of the list, fetched from the third party or cached: `Age` is its age in seconds.")
    async def get(self) -> None:
        number, query = self.query(PAGE), self.query(QUERY)
        page = await self.resources.movie_api.page(number, query)
        self._set_age(page)
        following = self._address(number + 1, query) if page.has_next else None
        previous = self._address(number - 1, query) if page.has_previous and number > 1 else None
        self.set_links(next=following, prev=previous)
        await self.write_representation(
            f'{{"count": {page.count}, "next": {json.dumps(following)}, "previous": {json.dumps(previous)}, '
            f'"data": {page.movies}}}')

    def _set_age(self, page: MoviePage) -> None:
        """The age of the page, and up to which age it is fresh (RFC 9111 sections 5.1 and 5.2)."""
        self.set_header("Age", str(int(page.age)))
        self.set_header("Cache-Control", f"private, max-age={int(self.resources.movie_api.max_age(page))}")

    def _address(self, number: int, query: str | None) -> str:
        searched = "" if query is None else f"&{urlencode({'query': query})}"
        return self.absolute_url(f"/movies/?page={number}{searched}")


routes = [Route("/movies/", MoviesHandler, protected=True)]
