"""The migrations: applied, rolled back, applied again, and never two at a time."""
from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg2
import pytest

from movieserver.data.operations import needed_migrations
from movieserver.embedded.postgres import Postgres
from movieserver.postgres import migrations
from movieserver.postgres.statements import MIGRATIONS

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename !~ 'yoyo'"
SCHEMA = """
SELECT array_agg(item ORDER BY item) FROM (
    SELECT format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name !~ 'yoyo'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename !~ 'yoyo'
    UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
) AS items (item)
"""
FUNCTIONS = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """An empty database."""
    run(postgres.url, "CREATE DATABASE empty")
    yield postgres.url.replace("/movieserver?", "/empty?")
    run(postgres.url, "DROP DATABASE empty WITH (FORCE)")


def run(url: str, statement: str) -> object:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def test_applied_rolled_back_and_applied_again(url: str) -> None:
    names = sorted(needed_migrations())
    assert names == [
        "0001_users", "0002_sessions", "0003_collections", "0004_user_genres", "0005_idempotency_keys",
        "0006_spent_refresh_tokens", "0007_changes", "0008_shares", "0009_last_logins", "0010_personal_tokens"]
    assert migrations.migrate(url) == names
    schema = run(url, SCHEMA)
    assert migrations.migrate(url) == []
    assert migrations.rollback(url) == names[-1:]
    assert migrations.rollback(url, None) == names[-2::-1]
    assert migrations.rollback(url) == []
    assert run(url, TABLES) == run(url, FUNCTIONS) == (0,)
    assert migrations.migrate(url) == names
    assert run(url, SCHEMA) == schema


def test_every_migration_can_be_rolled_back() -> None:
    for name in needed_migrations():
        assert (MIGRATIONS / f"{name}.rollback.sql").exists()


def test_each_migration_is_rolled_back_and_applied_again_alone(url: str) -> None:
    names = sorted(needed_migrations())
    migrations.migrate(url)
    schema = run(url, SCHEMA)
    for count in range(1, len(names) + 1):
        assert migrations.rollback(url, count) == names[:-count - 1:-1]
        assert migrations.migrate(url) == names[-count:]
        assert run(url, SCHEMA) == schema


def test_concurrent_migrations(url: str) -> None:
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrations.migrate(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, applied)) == [0, 0, 0, len(needed_migrations())]


def test_a_lock_of_a_killed_migration_is_removed(url: str) -> None:
    migrations.migrate(url)
    migrations.rollback(url, None)
    run(url, "INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 12345)")
    assert migrations.migrate(url) == sorted(needed_migrations())


def test_user_id_leads_every_key(postgres: Postgres) -> None:
    row = run(postgres.url, """
        SELECT array_agg(DISTINCT indrelid::regclass::text ORDER BY indrelid::regclass::text),
            array_agg(indexrelid::regclass::text ORDER BY indexrelid::regclass::text)
                FILTER (WHERE attname <> 'user_id')
        FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
        WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname !~ 'yoyo')
    """)
    tables = [
        "collections", "deleted_collections", "idempotency_keys", "personal_tokens", "sessions", "spent_refresh_tokens",
        "user_genres", "users"]
    assert row == (tables, ["collections_shared", "users_username_key_key"])
