"""PUBLIC_URL: every address that goes out begins with it, and paths are served with and without its prefix."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.handlers.web import VERSION
from movieserver.settings import Settings
from tests.client import Api
from tests.conftest import make_settings
from tests.factories import collection, movies
from tests.test_movies import listing
from tests.test_run import command
from tests.third_party import ThirdParty, page

PUBLIC = "https://example.org/films"
PREFIXES = ("", "/films")


@pytest.fixture
def settings(postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Iterator[Settings]:
    """A server that its clients know as PUBLIC."""
    yield make_settings(postgres.url, redis.url, third_party.url, public_url=f"{PUBLIC}/")


def addresses(value: Any) -> Iterator[str]:
    """Each text in a JSON value that is an address or an absolute path."""
    if isinstance(value, str) and value.startswith(("http", "/")):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from addresses(child)


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_every_address_begins_with_it(alice: Api, third_party: ThirdParty, prefix: str) -> None:
    third_party.behaviour = page(listing(2))
    movie = movies(1, genres="Drama,Comedy")[0]
    for _ in range(2):
        created = await alice.post(f"{prefix}/collection/", collection(movies=[movie]))
        assert created.headers["Location"] == f"{PUBLIC}/collection/{created.json['collection_uuid']}/"
    forwarded = {"X-Forwarded-Proto": "http", "Host": "inside.example"}
    for path in ("/collection/?limit=1", f"/movies/{movie['uuid']}/collections/?limit=1", "/genres/?limit=1",
                 "/movies/?page=2"):
        answer = await alice.get(prefix + path, headers=forwarded)
        start = path.partition("?")[0]
        found = [*addresses({key: answer.json[key] for key in ("next", "previous") if key in answer.json})]
        found += [link.partition(">")[0][1:] for link in answer.headers["Link"].split(", ")]
        assert found and all(each.startswith(f"{PUBLIC}{start}?") for each in found), found
        following = found[0].removeprefix("https://example.org")
        for spelling in (following, following.removeprefix("/films")):
            assert (await alice.get(spelling)).status == 200


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_the_root_and_the_description_name_it(api: Api, prefix: str) -> None:
    assert (await api.get(f"{prefix}/")).json == {"openapi": f"{PUBLIC}/openapi.json", "docs": f"{PUBLIC}/docs/"}
    for path in {prefix or "/", f"{prefix}/"}:
        html = (await api.get(path, headers={"Accept": "text/html"})).body.decode()
        assert f'src="/films/web/{VERSION}/app.js"' in html and 'href="/films/docs/"' in html
    assert (await api.http.fetch(f"{api.base_url}{prefix}/web/{VERSION}/app.js")).code == 200
    [server] = (await api.get(f"{prefix}/openapi.json")).json["servers"]
    assert server["url"] == PUBLIC
    html = (await api.get(f"{prefix}/docs/")).body.decode()
    assert 'src="/films/docs/docs.js"' in html and 'href="/films/docs/docs.css"' in html
    assert 'href="/films/docs/"' in html and 'value="/login/"' in html


async def test_other_prefixes_are_404(api: Api) -> None:
    for path in ("/filmsx/healthz", "/films/films/healthz", "/x/films/healthz", "/film/healthz", "//films/healthz",
                 "/films*"):
        assert (await api.get(path)).status == 404
    assert (await api.get("/films/healthz")).status == (await api.get("/healthz")).status == 200


@pytest.mark.parametrize(("url", "kept"), [
    ("https://example.org", "https://example.org"), ("https://example.org/", "https://example.org"),
    ("http://localhost:8080/a/b-c/", "http://localhost:8080/a/b-c"), ("https://[2001:db8::1]:1/x", None), ("", ""),
])
def test_accepted_values(url: str, kept: str | None) -> None:
    settings = make_settings("postgresql://h/d", "redis://h", "http://h/", public_url=url)
    assert settings.public_url == (url if kept is None else kept)


@pytest.mark.parametrize("url", [
    "example.org/films", "ftp://example.org", "https://example.org/films?x=1", "https://example.org/#x", "https://",
    "https://user@example.org", "https://example.org/a//b", "https://example.org/../x", 'https://example.org/"x',
    "https://example.org/a b", "https://example.org/ä",
])
def test_refused_values(url: str) -> None:
    with pytest.raises(ValidationError, match="https://example.org/films"):
        make_settings("postgresql://h/d", "redis://h", "http://h/", public_url=url)


@pytest.mark.parametrize("verb", ["serve", "check"])
def test_a_prefix_that_begins_like_a_route_stops_the_start(empty: Path, verb: str) -> None:
    done = command(verb, cwd=empty.parent, DATA_DIR=str(empty), PORT="0",
                   PUBLIC_URL="https://example.org/collection/x")
    assert done.returncode == 1
    message = "PUBLIC_URL: has the path /collection/x, whose first part is also a path of this server; use another"
    assert message in done.stderr
    assert "Traceback" not in done.stderr
