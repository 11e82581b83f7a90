"""The commands for users: add-user, reset-password, delete-user, users; and closed registration."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.postgres import migrations
from movieserver.settings import Settings
from tests import record
from tests.client import Api, assert_unauthenticated
from tests.conftest import ENVIRONMENT, SECRET, make_settings
from tests.factories import collection, registration
from tests.test_run import TOP, command, database, serving, sign_up, terminal
from tests.third_party import ThirdParty

SETTINGS = {
    "REDIS_URL": "redis://127.0.0.1:1", "MOVIE_API_URL": "http://127.0.0.1:1/", "JWT_SECRET": SECRET,
    "BCRYPT_ROUNDS": "4"}


class Operator:
    """Runs commands: the exit status, and what was printed or the one line of error."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = settings

    def run(self, *arguments: str, sent: str = "") -> tuple[int, str]:
        record.secret(*(sent.splitlines() if sent.isascii() else ()))
        done = command(*arguments, cwd=self.folder, sent=sent, **self.settings)
        assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 1
        return done.returncode, done.stderr or done.stdout

    def type(self, *arguments: str, typed: str) -> tuple[int, str]:
        record.secret(*typed.split())
        return terminal(*arguments, typed=typed, cwd=self.folder, **self.settings)


@pytest.fixture
def operator(postgres: Postgres, tmp_path: Path) -> Operator:
    """An operator of the database that the server of the test uses."""
    return Operator(tmp_path, DATABASE_URL=postgres.url, **SETTINGS)


def row_of(postgres: Postgres, username: str) -> Any:
    with closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT last_login FROM users WHERE username = %s", (username,))
        return cursor.fetchone()


async def test_a_user_who_was_added_logs_in(api: Api, operator: Operator, postgres: Postgres) -> None:
    pair = registration()
    name, password = pair["username"], pair["password"]
    assert operator.run("add-user", name, sent=password + "\r\nsecond line\n") == (0, f"added {name}\n")
    assert row_of(postgres, name) == (None,)
    assert (await api.post("/login/", pair)).status == 200
    assert row_of(postgres, name) != (None,)
    for other in (name, name.upper()):
        assert operator.run("add-user", other, sent=password + "\n") == (1, f"run.py: the name {other} is taken\n")


async def test_a_byte_order_mark_is_no_part_of_the_password(api: Api, operator: Operator) -> None:
    pair = registration()
    assert operator.run("add-user", pair["username"], sent=f"\ufeff{pair['password']}\n")[0] == 0
    assert (await api.post("/login/", pair)).status == 200


@pytest.mark.parametrize(("name", "sent", "words"), [
    (" ada", "good enough", "must not begin with a space"), ("a\tb", "good enough", "control characters"),
    ("x" * 151, "good enough", "1 to 150 characters"), ("\udcff", "good enough", "the name is not UTF-8 text"),
    ("ada", "short", "at least 8 characters"), ("ada", "password1", "too common"), ("ada", "nul\0 in it", "NUL"),
    ("ada", "", "standard input is empty"), ("ada", "\n", "at least 8 characters"),
    ("ada", "\udcff\udcfe12345678\n", "the password is not UTF-8 text"),
])
def test_names_and_passwords_follow_the_rules_of_registration(
    operator: Operator, name: str, sent: str, words: str
) -> None:
    status, said = operator.run("add-user", name, sent=sent)
    assert status == 1 and said.startswith("run.py: ") and words in said


def test_a_password_is_typed_twice_and_hidden(operator: Operator, postgres: Postgres) -> None:
    name = registration()["username"]
    status, shown = operator.type("add-user", name, typed="good enough\nbad enough\n")
    assert status == 1 and "the two passwords differ" in shown and row_of(postgres, name) is None
    status, shown = operator.type("add-user", name, typed="good enough\ngood enough\n")
    assert status == 0 and f"New password of {name}: " in shown and "enough" not in shown
    assert row_of(postgres, name) is not None
    status, shown = operator.type("reset-password", name, typed="\x04")
    assert status == 1 and "no password was typed" in shown


async def test_a_reset_password_ends_logins_and_personal_tokens(api: Api, operator: Operator) -> None:
    """ASVS 5.0 7.4.3, 7.4.5."""
    pair, another = registration(), registration()["password"]
    first = (await api.post("/register/", pair)).json
    signed = api.signed(first["access_token"])
    token = (await signed.post("/tokens/", {"name": "n", "scope": "read"})).json["token"]
    status, said = operator.run("reset-password", f" {pair['username'].upper()} ", sent=another)
    assert status == 0 and "ended: logins 1, personal tokens 1" in said
    assert_unauthenticated(await api.post("/refresh/", {"refresh_token": first["refresh_token"]}))
    assert_unauthenticated(await api.signed(token).get("/collection/"))
    assert_unauthenticated(await signed.post("/tokens/", {"name": "n", "scope": "read"}))
    assert_unauthenticated(await api.post("/login/", pair))
    assert (await api.post("/login/", {**pair, "password": another})).status == 200
    status, said = operator.run("reset-password", pair["username"], sent="short\n")
    assert status == 1 and "at least 8 characters" in said
    assert (await api.post("/login/", {**pair, "password": another})).status == 200


async def test_a_deletion_is_confirmed(api: Api, operator: Operator) -> None:
    pair = registration()
    name = pair["username"]
    signed = api.signed((await api.post("/register/", pair)).json["access_token"])
    await signed.post("/collection/", collection())
    for typed in ("no\n", "\x04"):
        status, shown = operator.type("delete-user", name, typed=typed)
        assert status == 1 and "all of their data" in shown and "no user was deleted" in shown
    status, said = operator.run("delete-user", name)
    assert (status, said) == (1, "run.py: no user was deleted: without a terminal, delete-user needs --yes\n")
    assert (await signed.get("/collection/")).json["count"] == 1
    status, shown = operator.type("delete-user", name, typed="yes\n")
    assert status == 0 and f"deleted {name}" in shown
    assert (await signed.get("/collection/")).json["count"] == 0
    assert operator.run("delete-user", name, "--yes") == (1, f"run.py: there is no user {name}\n")
    assert operator.run("reset-password", name) == (1, f"run.py: there is no user {name}\n")


def test_users_are_listed(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with database(postgres, "listing") as url:
        operator = Operator(tmp_path, DATABASE_URL=url, **SETTINGS)
        assert "run `python run.py migrate`" in operator.run("users")[1]
        migrations.migrate(url)
        for name in ("ada", "grace hopper"):
            operator.run("add-user", name, sent="good enough")
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("UPDATE users SET created_at = '2026-01-31 23:59Z', last_login = '2026-02-01 01:00Z' "
                           "WHERE username = 'grace hopper'")
            cursor.execute("INSERT INTO collections (user_id, title, description, movies, movie_uuids, movie_genres) "
                           "SELECT user_id, '', '', '[]', '{}', '[]' FROM users WHERE username = 'grace hopper'")
        status, said = operator.run("users")
    head, grace, ada = said.splitlines()
    assert status == 0 and head.split() == ["since", "last", "login", "collections", "name"]
    assert grace.split() == ["2026-01-31", "2026-02-01", "1", "grace", "hopper"]
    assert ada.split()[1:] == ["never", "0", "ada"]


def test_what_the_output_cannot_show_is_escaped(postgres: Postgres, operator: Operator) -> None:
    operator.settings["PYTHONIOENCODING"] = "ascii"
    assert operator.run("add-user", "zo\xeb", sent="good enough") == (0, "added zo\\xeb\n")
    status, said = operator.run("users")
    assert status == 0 and "zo\\xeb" in said


def test_a_closed_pipe_is_no_error(operator: Operator) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, str(TOP / "run.py"), "users"], cwd=operator.folder, stdout=writing, stderr=subprocess.PIPE,
        timeout=60, env={**ENVIRONMENT, **operator.settings}, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_unavailable_database_is_reported_in_one_line(operator: Operator) -> None:
    operator.settings["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    for arguments in (("users",), ("delete-user", "ada", "--yes"), ("add-user", "ada")):
        status, said = operator.run(*arguments, sent="good enough")
        assert (status, said) == (1, "run.py: the database cannot be used: `python run.py check` says why\n")


def test_an_embedded_database_while_the_server_runs_and_before_and_after(empty: Path) -> None:
    operator, pair = Operator(empty.parent, DATA_DIR=str(empty), BCRYPT_ROUNDS="4"), registration()
    status, said = operator.run("add-user", "early bird", sent="good enough")
    assert status == 0 and said.endswith("added early bird\n")
    with serving(empty, REGISTRATION="closed") as server:
        assert server.call("POST", "/register/", pair)[1]["code"] == "registration_closed"
        assert operator.run("add-user", pair["username"], sent=pair["password"])[0] == 0
        assert server.call("POST", "/login/", pair)[0] == 200
        assert server.call("POST", "/login/", {"username": "early bird", "password": "good enough"})[0] == 200
        assert operator.run("delete-user", "early bird", "--yes") == (0, "deleted early bird\n")
        assert server.stop() == 0
    assert [line.split()[-1] for line in operator.run("users")[1].splitlines()] == ["name", pair["username"]]
    with serving(empty) as server:
        assert sign_up(server, registration())
        server.process.kill()
        server.process.wait()
    assert len(operator.run("users")[1].splitlines()) == 3


class TestClosed:
    """REGISTRATION=closed."""

    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Iterator[Settings]:
        yield make_settings(postgres.url, redis.url, third_party.url, registration="Closed")

    async def test_registration_is_closed(self, api: Api, postgres: Postgres) -> None:
        pair = registration()
        response = await api.post("/register/", pair)
        assert (response.status, response.json["code"]) == (403, "registration_closed")
        assert row_of(postgres, pair["username"]) is None
        assert_unauthenticated(await api.post("/login/", pair))
