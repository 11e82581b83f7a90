"""Compares the stored counts of genres with counts from scratch."""
from __future__ import annotations

from contextlib import closing

import psycopg2

from tests.client import Api

MISCOUNTED = "SELECT array_agg(user_id::text) FROM miscounted_users"


def miscounted(url: str, user: Api | None = None) -> list[str] | None:
    """The users whose counts are wrong, of all users or of one; None if there are none."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(MISCOUNTED + (" WHERE user_id = %s" if user else ""), [user.user_id] if user else None)
        found: list[str] | None
        [(found,)] = cursor.fetchall()
        return found


def assert_exact(url: str, user: Api | None = None) -> None:
    """Check the counts of all users, or of one."""
    assert miscounted(url, user) is None
