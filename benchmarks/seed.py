"""What lies in the database while it is measured: users made by SQL, collections made by the server itself."""
from __future__ import annotations

import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.calls import JSON, Request, collection
from benchmarks.load import BenchmarkError
from movieserver.postgres.database import load_statements
from movieserver.accounts.tokens import Tokens

STATEMENTS = load_statements(Path(__file__).parent / "sql")
ANSWER_SECONDS = 30
TOKEN_SECONDS = 6 * 3600


class Seed:
    """Makes users and what they hold, in the database and through the server on `port`."""

    def __init__(self, connection: Any, secret: str, port: int) -> None:
        self._connection = connection
        self._tokens = Tokens([secret], TOKEN_SECONDS, TOKEN_SECONDS)
        self.port = port

    def user(self, *sizes: int) -> str:
        """A user with a collection of each size; gives the uuid."""
        user_id = str(uuid.uuid4())
        self._run("seed.user", user_id=user_id)
        for size in sizes:
            answer(Request("/collection/", "POST", self.sign(user_id) | JSON, collection(size), 201), self.port)
        return user_id

    def others(self, count: int) -> None:
        """So many more users, with movies of their own."""
        self._run("seed.others", count=count)
        self.tidy()

    def sign(self, user_id: str) -> dict[str, str]:
        """The header of a user's requests."""
        return {"Authorization": f"Bearer {self._tokens.access(user_id, str(uuid.uuid4()))}"}

    def empty(self, user_id: str) -> None:
        """Take from a user all that they hold, as if it had never been there."""
        self._run("seed.forget", user_id=user_id)
        self._run("seed.user", user_id=user_id)
        self.tidy()

    def tidy(self) -> None:
        """Leave nothing to do for autovacuum."""
        self._run("seed.tidy")

    def version(self) -> str:
        """The version of PostgreSQL."""
        return ".".join(map(str, divmod(self._connection.info.server_version, 10_000)))

    def _run(self, name: str, **parameters: object) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(STATEMENTS[name], parameters)


@contextmanager
def seeding(url: str, secret: str, port: int) -> Iterator[Seed]:
    """A Seed over the database at `url`."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        yield Seed(connection, secret, port)


def answer(request: Request, port: int) -> bytes:
    """The body that a request gets; BenchmarkError where it is not answered as it should be."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{request.path}", request.body or None, request.headers, method=request.method)
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answered:
            status, body = answered.status, answered.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    if status != request.status:
        raise BenchmarkError(f"{request.method} {request.path}: {status}, {body.decode('utf-8', 'replace')}")
    return bytes(body)
