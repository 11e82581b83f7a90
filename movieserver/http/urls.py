"""The URLs of this server in responses: under PUBLIC_URL, or as the request names the server."""
from __future__ import annotations

from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from movieserver.http.proxies import Proxies


class Urls:
    """Makes URLs of paths; `prefix` is the path of PUBLIC_URL, "" without one."""

    def __init__(self, public_url: str, proxies: Proxies) -> None:
        self.prefix = urlsplit(public_url).path
        self._public_url = public_url
        self._proxies = proxies

    def relative(self, path: str) -> str:
        """The path under PUBLIC_URL; without one the path itself, which clients resolve."""
        return self._public_url + path

    def absolute(self, path: str, request: HTTPServerRequest) -> str:
        """The absolute URL of a path, as the client of this request knows it."""
        origin = self._public_url or f"{self._proxies.scheme(request)}://{request.host}"
        return origin + path

    def without_prefix(self, path: str) -> str:
        """The path of a request without the prefix, which a proxy may have removed already."""
        return path[len(self.prefix):] if path == self.prefix or path.startswith(f"{self.prefix}/") else path
