"""Health and readiness."""
from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from movieserver.check import check
from movieserver.data import operations
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.postgres import migrations
from movieserver.resources import Resources
from movieserver.serving import http_server as module
from movieserver.serving.http_server import Server
from movieserver.serving.request import MovieServer
from movieserver.settings import Settings
from tests.client import Api
from tests.conftest import make_settings, started
from tests.factories import registration
from tests.replica import pair
from tests.test_redis_kinds import PROGRAMS
from tests.third_party import ThirdParty


async def test_health(api: Api) -> None:
    response = await api.get("/healthz")
    assert (response.status, response.json) == (200, {"status": "ok"})
    assert response.headers["Cache-Control"] == "no-store"


async def test_readiness(api: Api) -> None:
    assert (await api.get("/readyz")).status == 200


async def test_not_ready_while_draining(api: Api, app: MovieServer) -> None:
    app.settings["draining"] = True
    response = await api.get("/readyz")
    assert response.status == 503
    assert response.headers["Connection"] == "close"
    assert (await api.get("/healthz")).status == 200


async def test_an_endless_request_does_not_prevent_shutdown(
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


async def test_not_ready_without_a_migration(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "needed_migrations", lambda: {"0001_users", "9999_next"})
    response = await api.get("/readyz")
    assert response.status == 503
    assert "9999_next" in response.json["detail"] and "0001" not in response.json["detail"]


class TestWithoutRedis:
    @pytest.fixture
    def settings(self, postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, own_redis.url, third_party.url)

    async def test_not_ready_but_healthy(self, api: Api, own_redis: Redis) -> None:
        assert (await api.get("/readyz")).status == 200
        own_redis.stop()
        response = await api.get("/readyz")
        assert response.status == 503
        assert "Redis" in response.json["detail"]
        assert (await api.get("/healthz")).status == 200
        own_redis.start()
        own_redis.wait_ready()
        assert (await api.get("/readyz")).status == 200

    @pytest.mark.parametrize("refusing, again", [
        (["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]),
        (["CONFIG SET min-replicas-to-write 1"], ["CONFIG SET min-replicas-to-write 0"]),
        (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]),
    ], ids=["memory", "replicas", "replica"])
    async def test_not_ready_while_redis_refuses_writes(
        self, api: Api, own_redis: Redis, refusing: list[str], again: list[str]
    ) -> None:
        ask(own_redis, *refusing)
        response = await api.get("/readyz")
        assert (response.status, response.json["code"]) == (503, "not_ready")
        assert "Redis cannot be written to" in response.json["detail"]
        ask(own_redis, *again)
        assert (await api.get("/readyz")).status == 200

    async def test_the_probe_leaves_nothing_and_is_not_counted(self, api: Api, own_redis: Redis) -> None:
        requests = (await api.get("/request-count/")).json["requests"]
        written = ask(own_redis, "DBSIZE", "INFO persistence")
        for _ in range(3):
            assert (await api.get("/readyz")).status == 200
        assert ask(own_redis, "DBSIZE", "INFO persistence") == written
        assert (await api.get("/request-count/")).json["requests"] == requests + 1


def ask(redis: Redis, *commands: str) -> list[str]:
    """Redis' responses to commands; of INFO the number of changes."""
    done = subprocess.run(
        [str(PROGRAMS / "redis-cli"), "-s", urlsplit(redis.url).path], input="\n".join(commands), text=True,
        capture_output=True, check=True)
    assert "ERR" not in done.stdout
    return [line for line in done.stdout.splitlines() if ":" not in line or line.startswith("rdb_changes_since")]


class TestOfADatabase:
    @pytest.fixture
    def settings(self, own_database: str, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(own_database, redis.url, third_party.url)

    @pytest.fixture
    def own_database(self, postgres: Postgres) -> Iterator[str]:
        """A migrated database, used by a role that owns nothing."""
        execute(postgres.url, "CREATE DATABASE readiness", "CREATE ROLE server LOGIN")
        url = postgres.url.replace("/movieserver?", "/readiness?")
        migrations.migrate(url)
        execute(url, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO server")
        yield url.replace("user=postgres", "user=server")
        execute(url, "DROP OWNED BY server")
        execute(postgres.url, "DROP DATABASE readiness WITH (FORCE)", "DROP ROLE server")

    @pytest.mark.parametrize("change, back, words", [
        ("ALTER DATABASE readiness SET default_transaction_read_only = on",
         "ALTER DATABASE readiness RESET default_transaction_read_only", "it is read-only"),
        ("REVOKE INSERT ON users FROM server", "GRANT INSERT ON users TO server", "may not read and write all tables"),
        ("REVOKE SELECT ON _yoyo_migration FROM server", "GRANT SELECT ON _yoyo_migration TO server",
         "may not read and write all tables"),
    ], ids=["read-only", "insert", "migrations"])
    async def test_not_ready_while_it_refuses_writes(
        self, api: Api, resources: Resources, postgres: Postgres, change: str, back: str, words: str
    ) -> None:
        owner = postgres.url.replace("/movieserver?", "/readiness?options=-cdefault_transaction_read_only%3Doff&")
        assert (await api.get("/readyz")).status == 200
        execute(owner, change)
        resources.database.pool.close_idle()
        response = await api.get("/readyz")
        assert (response.status, response.json["code"]) == (503, "not_ready")
        assert words in response.json["detail"] and "server" not in response.json["detail"].partition(":")[2]
        execute(owner, back)
        resources.database.pool.close_idle()
        assert (await api.get("/readyz")).status == 200


def execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)


class TestOnAStandby:
    @pytest.fixture
    def settings(self, redis: Redis, third_party: ThirdParty) -> Iterator[Settings]:
        with pair("local") as (_, standby):
            yield make_settings(standby.url, redis.url, third_party.url)

    async def test_not_ready(self, api: Api, settings: Settings) -> None:
        response = await api.get("/readyz")
        assert (response.status, response.json["code"]) == (503, "not_ready")
        assert "it is a standby" in response.json["detail"]
        found = (await check(settings))["PostgreSQL"]
        assert found.problem == "it is a standby: nothing can be written to it"


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
        response = await api.post("/register/", registration())
        assert (response.status, response.json["code"]) == (503, "schema_missing")
        assert "run.py migrate" in response.json["detail"]
        migrations.migrate(own_postgres.url)
        assert (await api.get("/readyz")).status == 200
        pair = registration()
        assert (await api.post("/register/", pair)).status == 201
        own_postgres.stop()
        for response in (await api.get("/readyz"), await api.post("/login/", pair)):
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1
        assert (await api.get("/healthz")).status == 200
        own_postgres.start()
        own_postgres.wait_ready()
        assert (await api.get("/readyz")).status == 200
        assert (await api.post("/login/", pair)).status == 200
