"""CORS (fetch.spec.whatwg.org, section 3.3): only scripts of the origins in the settings may read responses."""
from __future__ import annotations

import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.settings import Settings
from tests.client import Api
from tests.conftest import make_settings
from tests.factories import movies
from tests.test_collections import created
from tests.third_party import ThirdParty

NAMED = "https://app.example"
OTHERS = ["https://other.example", "https://app.example.evil", "http://app.example", "https://app.example:8443", "null"]
PATHS = ["/collection/", "/collection/x/", "/movies/", "/request-count/", "/healthz", "/nowhere", "/login/"]


def cors(headers: dict[str, str]) -> set[str]:
    return {name for name in headers if name.startswith("Access-Control-")}


class TestNamedOrigins:
    """CORS_ORIGINS has two origins."""

    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        origins = frozenset({NAMED, "http://localhost:3000"})
        return make_settings(postgres.url, redis.url, third_party.url, cors_origins=origins)

    async def test_allowed_origins_may_read_every_response(self, alice: Api, api: Api) -> None:
        for path in PATHS:
            for client in (alice, api):
                for method in ("GET", "POST", "HEAD"):
                    headers = (await client.call(method, path, headers={"Origin": NAMED})).headers
                    assert headers["Access-Control-Allow-Origin"] == NAMED
                    assert "Access-Control-Allow-Credentials" not in headers
                    assert "Origin" in headers["Vary"].split(",")
                    exposed = headers["Access-Control-Expose-Headers"].split(", ")
                    assert set(exposed) >= {"ETag", "Location", "Link", "X-Request-ID", "Retry-After", "Age"}

    async def test_other_origins_may_not(self, alice: Api) -> None:
        for path in PATHS:
            for origin in OTHERS:
                response = await alice.get(path, headers={"Origin": origin})
                assert not cors(dict(response.headers))
                assert "Origin" in response.headers["Vary"].split(",")
            response = await alice.get(path)
            assert not cors(dict(response.headers))
            assert "Origin" in response.headers["Vary"].split(",")

    async def test_a_preflight(self, api: Api) -> None:
        for path in ("/collection/", "/collection/x/", "/login/", "/movies/"):
            preflight = {"Origin": NAMED, "Access-Control-Request-Method": "POST"}
            response = await api.call("OPTIONS", path, headers=preflight)
            assert (response.status, response.body) == (204, b"")
            assert response.headers["Access-Control-Allow-Origin"] == NAMED
            assert response.headers["Access-Control-Allow-Methods"] == response.headers["Allow"]
            allowed = response.headers["Access-Control-Allow-Headers"].split(", ")
            assert set(allowed) >= {"Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key"}
            assert int(response.headers["Access-Control-Max-Age"]) > 0
            refused = await api.call("OPTIONS", path, headers={**preflight, "Origin": "https://other.example"})
            assert refused.status == 204
            assert not cors(dict(refused.headers))

    async def test_vary_names_encoding_and_origin(self, alice: Api) -> None:
        for count in (0, 30):
            await created(alice, movies=movies(count))
            response = await alice.get("/collection/", headers={"Origin": NAMED})
            assert set(response.headers["Vary"].split(",")) == {"Origin", "Accept-Encoding"}


class TestAllOrigins:
    """CORS_ORIGINS is *."""

    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, cors_origins=frozenset({"*"}))

    async def test_every_origin_may_read(self, alice: Api) -> None:
        for origin in (NAMED, *OTHERS):
            response = await alice.get("/collection/", headers={"Origin": origin})
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert response.headers["Vary"] == "Accept-Encoding"
        assert not cors(dict((await alice.get("/collection/")).headers))


async def test_without_the_setting_there_is_no_cors(alice: Api) -> None:
    for method in ("GET", "OPTIONS"):
        preflight = {"Origin": NAMED, "Access-Control-Request-Method": "GET"}
        response = await alice.call(method, "/collection/", headers=preflight)
        assert not cors(dict(response.headers))
        assert "Origin" not in response.headers.get("Vary", "")
