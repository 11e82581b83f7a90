"""The migrations: applied, rolled back, applied again, and never two at once."""
from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg2
import pytest

from movieserver.postgres import migrations
from movieserver.data.operations import needed_migrations
from movieserver.embedded.postgres import Postgres

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename !~ 'yoyo'"
SCHEMA = """
SELECT string_agg(format('%s.%s %s %s', table_name, column_name, data_type, is_nullable), E'\n'
    ORDER BY table_name, column_name)
FROM information_schema.columns WHERE table_schema = 'public' AND table_name !~ 'yoyo'
"""


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
    assert migrations.migrate(url) == names
    schema = run(url, SCHEMA)
    assert migrations.migrate(url) == []
    assert migrations.rollback(url) == names[-1:]
    assert migrations.rollback(url, None) == names[-2::-1]
    assert migrations.rollback(url) == []
    assert run(url, TABLES) == (0,)
    assert migrations.migrate(url) == names
    assert run(url, SCHEMA) == schema


def test_every_migration_can_be_rolled_back() -> None:
    for name in needed_migrations():
        assert (migrations.FOLDER / f"{name}.rollback.sql").exists()


def test_several_at_once(url: str) -> None:
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrations.migrate(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, applied)) == [0, 0, 0, len(needed_migrations())]


def test_a_lock_left_by_a_killed_migration_stops_nobody(url: str) -> None:
    migrations.migrate(url)
    migrations.rollback(url, None)
    run(url, "INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 12345)")
    assert migrations.migrate(url) == sorted(needed_migrations())


def test_user_id_leads_every_key(postgres: Postgres) -> None:
    row = run(postgres.url, """
        SELECT string_agg(indexrelid::regclass::text, ',')
        FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
        WHERE indrelid::regclass::text IN (
            'users', 'sessions', 'collections', 'collection_movies', 'idempotency_keys', 'user_tallies',
            'collection_tallies')
            AND attname <> 'user_id'
    """)
    assert row == ("users_username_key_key",)
