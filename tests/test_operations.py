"""Health and readiness."""
from __future__ import annotations

import asyncio
from typing import Any

import pytest

from movieserver.serving import http_server as module
from movieserver.postgres import migrations
from movieserver.postgres.statements import Statement
from movieserver.app import MovieServer
from movieserver.data import operations
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.resources import Resources
from movieserver.serving.http_server import Server
from movieserver.settings import Settings
from tests.client import Api
from tests.conftest import make_settings, started
from tests.factories import registration
from tests.third_party import ThirdParty


async def test_health(api: Api) -> None:
    answer = await api.get("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert answer.headers["Cache-Control"] == "no-store"


async def test_readiness(api: Api) -> None:
    assert (await api.get("/readyz")).status == 200


async def test_not_ready_while_draining(api: Api, app: MovieServer) -> None:
    app.settings["draining"] = True
    answer = await api.get("/readyz")
    assert answer.status == 503
    assert answer.headers["Connection"] == "close"
    assert (await api.get("/healthz")).status == 200


async def test_a_request_that_never_ends_does_not_keep_the_server_from_ending(
    api: Api, http_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base_url.rpartition(":")[2]))
    writer.write(b"POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert (await api.get("/healthz")).status == 200
    await http_server.drain()
    assert not reader.at_eof()
    await http_server.close()
    assert await reader.read() == b""
    writer.close()


async def test_not_ready_on_a_standby(api: Api, resources: Resources) -> None:
    resources.database.statements["operations.migrations"] = Statement("SELECT 1 WHERE false")
    answer = await api.get("/readyz")
    assert answer.status == 503
    assert "standby" in answer.json["detail"]


async def test_not_ready_without_a_migration(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "needed_migrations", lambda: {"0001_users", "9999_next"})
    answer = await api.get("/readyz")
    assert answer.status == 503
    assert "9999_next" in answer.json["detail"] and "0001" not in answer.json["detail"]


class TestWithoutRedis:
    @pytest.fixture
    def settings(self, postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, own_redis.url, third_party.url)

    async def test_not_ready_but_healthy(self, api: Api, own_redis: Redis) -> None:
        assert (await api.get("/readyz")).status == 200
        own_redis.stop()
        answer = await api.get("/readyz")
        assert answer.status == 503
        assert "Redis" in answer.json["detail"]
        assert (await api.get("/healthz")).status == 200
        own_redis.launch()
        own_redis.wait_ready()
        assert (await api.get("/readyz")).status == 200


class TestWithADatabaseOfItsOwn:
    @pytest.fixture
    def own_postgres(self) -> Any:
        with started(Postgres, fsync="off") as running:
            yield running

    @pytest.fixture
    def settings(self, own_postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(own_postgres.url, redis.url, third_party.url)

    async def test_from_empty_to_ready_to_gone_and_back(self, api: Api, own_postgres: Postgres) -> None:
        assert (await api.get("/readyz")).status == 503
        answer = await api.post("/register/", registration())
        assert (answer.status, answer.json["code"]) == (503, "schema_missing")
        assert "run.py migrate" in answer.json["detail"]
        migrations.migrate(own_postgres.url)
        assert (await api.get("/readyz")).status == 200
        pair = registration()
        assert (await api.post("/register/", pair)).status == 201
        own_postgres.stop()
        for answer in (await api.get("/readyz"), await api.post("/login/", pair)):
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1
        assert (await api.get("/healthz")).status == 200
        own_postgres.launch()
        own_postgres.wait_ready()
        assert (await api.get("/readyz")).status == 200
        assert (await api.post("/login/", pair)).status == 200
