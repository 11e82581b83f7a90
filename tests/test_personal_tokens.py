"""Personal tokens: made by a login, used by scripts, valid until they are deleted or expire."""
from __future__ import annotations

import asyncio
import hashlib
import re
import time
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg2
import pytest

from movieserver.accounts import personal_tokens
from movieserver.accounts.personal_tokens import MAX_TOKENS, PersonalToken
from movieserver.app import ROUTES
from movieserver.embedded.postgres import Postgres
from movieserver.resources import Resources
from tests import record
from tests.client import Response, Api, assert_unauthenticated
from tests.conftest import SignUp
from tests.factories import collection, movies, registration
from tests.statements import noted
from tests.test_own import BODIES, PARAMETER
from tests.wire import exchange

LOGIN_ONLY = {
    "/password/", "/account/", "/sessions/", "/sessions/{session_uuid}/", "/logout/all/", "/tokens/",
    "/tokens/{token_uuid}/",
}
TOKEN = re.compile("msv_[A-Za-z0-9_-]{64}")


async def made(owner: Api, scope: str = "write", **given: Any) -> Response:
    """A new personal token."""
    response = await owner.post("/tokens/", {"name": "script", "scope": scope, **given})
    assert response.status == 201, response.json
    return response


async def script(owner: Api, scope: str = "write", **given: Any) -> Api:
    """The API as a script of this user sees it."""
    return owner.signed((await made(owner, scope, **given)).json["token"])


def rows(postgres: Postgres, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What a statement returns, or [] if it changes something."""
    with closing(psycopg2.connect(postgres.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


async def eventually(condition: Any) -> None:
    """Wait until an awaitable condition holds."""
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_a_new_token_is_shown_once_and_stored_as_a_digest(alice: Api, postgres: Postgres) -> None:
    """ASVS 5.0 7.2.3 and 11.4.1: 256 random bits, of which the database has SHA-256."""
    created = (await made(alice, name="backup", expires_in_days=1)).json
    token = PersonalToken.parse(created["token"])
    assert TOKEN.fullmatch(created["token"]) and token and len(token.secret) == 32
    [listed] = (await alice.get("/tokens/")).json["data"]
    assert listed == {key: value for key, value in created.items() if key != "token"}
    assert (listed["name"], listed["scope"], listed["last_used"]) == ("backup", "write", None)
    assert rows(
        postgres, "SELECT expires_at - created_at = interval '1 day', token_digest = %s FROM personal_tokens "
        "WHERE token_uuid = %s", hashlib.sha256(token.secret).digest(), listed["uuid"]) == [(True, True)]
    assert (await made(alice)).json["expires_at"] is None
    assert [each["name"] for each in (await alice.get("/tokens/")).json["data"]] == ["script", "backup"]


@pytest.mark.parametrize(("body", "pointer"), [
    ({"scope": "read"}, "/name"), ({"name": "", "scope": "read"}, "/name"), ({"name": "n"}, "/scope"),
    ({"name": "n", "scope": "admin"}, "/scope"),
    ({"name": "n", "scope": "read", "expires_in_days": 0}, "/expires_in_days"),
    ({"name": "n", "scope": "read", "expires_in_days": "7"}, "/expires_in_days"),
])
async def test_invalid_bodies_name_the_field(alice: Api, body: dict[str, Any], pointer: str) -> None:
    response = await alice.post("/tokens/", body)
    assert (response.status, [error["pointer"] for error in response.json["errors"]]) == (400, [pointer])


@pytest.mark.parametrize("route", [route for route in ROUTES if route.protected], ids=lambda route: str(route.template))
async def test_what_each_scope_allows(alice: Api, route: Any) -> None:
    """ASVS 5.0 8.2.1: nothing with accounts, sessions and tokens; and with the scope `read` no change."""
    assert route.handler_class.login_only == (route.template in LOGIN_ONLY)
    path = PARAMETER.sub(str(uuid4()), route.template)
    for scope in ("read", "write"):
        sent = await script(alice, scope)
        for method in route.handler_class.verbs:
            response = await sent.call(method, path, BODIES.get(method))
            code = response.json and response.json.get("code")
            if method == "OPTIONS":
                assert response.status == 204
            elif route.template in LOGIN_ONLY:
                assert response.status == 403 and (method == "HEAD" or code == "login_required")
            elif scope == "read" and method not in ("GET", "HEAD"):
                assert (response.status, code) == (403, "insufficient_scope")
                assert response.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
            else:
                assert response.status not in (401, 403)


async def test_a_token_reads_and_writes_the_collections_of_its_user(alice: Api, sign_up: SignUp) -> None:
    writing, reading = await script(alice), await script(alice, "read")
    given = collection()
    path = (await writing.post("/collection/", given)).headers["Location"]
    assert (await reading.get(path)).json == (await alice.get(path)).json
    assert (await reading.delete(path)).status == 403
    assert (await reading.get(path)).status == 200
    stranger = await script(await sign_up(), "read")
    assert (await stranger.get(path)).status == 404
    assert (await stranger.get("/collection/")).json["count"] == 0


async def test_everything_but_a_valid_token_is_401(alice: Api) -> None:
    token = (await made(alice)).json["token"]
    other = "A" if token[-1] != "A" else "B"
    for text in ("msv_", "msv_x", token[:-1], token + "A", token + "=", token[:-1] + other, token[4:], token.upper(),
                 str(PersonalToken.new(alice.user_id)), str(PersonalToken.new(str(uuid4())))):
        assert_unauthenticated(await alice.signed(text).get("/collection/"))
    assert (await alice.signed(token).get("/collection/")).status == 200


async def test_a_deleted_token_is_refused_at_once_here_and_soon_elsewhere(
    alice: Api, postgres: Postgres
) -> None:
    """ASVS 5.0 7.4.1: at once in the process that deletes it; another process asks again after 3 seconds."""
    one, other = [(await made(alice)).json for _ in range(2)]
    scripts = [alice.signed(each["token"]) for each in (one, other)]
    for sent in scripts:
        assert (await sent.get("/genres/")).status == 200
    assert (await alice.delete(f"/tokens/{one['uuid']}/")).json == {"message": "Token deleted successfully"}
    assert_unauthenticated(await scripts[0].get("/genres/"))
    assert (await scripts[1].get("/genres/")).status == 200
    rows(postgres, "DELETE FROM personal_tokens WHERE token_uuid = %s", other["uuid"])  # as another process would
    began = time.monotonic()

    async def refused() -> bool:
        return (await scripts[1].get("/genres/")).status == 401

    await eventually(refused)
    assert personal_tokens.CACHE_SECONDS < 5 and time.monotonic() - began < 5
    assert (await alice.delete(f"/tokens/{one['uuid']}/")).status == 404


async def test_an_expired_token_is_refused_and_deleted(
    alice: Api, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = (await made(alice, expires_in_days=1)).json
    sent = alice.signed(created["token"])
    rows(postgres, "UPDATE personal_tokens SET expires_at = now() + interval '1.5 seconds' WHERE token_uuid = %s",
         created["uuid"])
    monkeypatch.setattr(personal_tokens, "CACHE_SECONDS", 3600.0)
    assert (await sent.get("/genres/")).status == 200

    async def refused() -> bool:
        return (await sent.get("/genres/")).status == 401

    await eventually(refused)
    assert (await alice.get("/tokens/")).json == {"data": []}
    await made(alice)
    assert rows(postgres, "SELECT 1 FROM personal_tokens WHERE token_uuid = %s", created["uuid"]) == []


async def test_deleting_the_account_deletes_its_tokens(sign_up: SignUp) -> None:
    """ASVS 5.0 7.4.2."""
    owner = await sign_up()
    sent = await script(owner)
    assert (await sent.get("/collection/")).status == 200
    assert (await owner.delete("/account/")).status == 200
    assert_unauthenticated(await sent.get("/collection/"))


async def test_an_ended_login_cannot_create_a_token(api: Api) -> None:
    """ASVS 5.0 7.4.1: who holds an access token for its last minutes cannot make it a permanent one."""
    pair = registration()
    first, second = [(await api.post(path, pair)).json for path in ("/register/", "/login/")]
    ended, lasting = [api.signed(each["access_token"]) for each in (first, second)]
    sent = await script(ended)
    await api.post("/logout/", {"refresh_token": first["refresh_token"]})
    response = await ended.post("/tokens/", {"name": "n", "scope": "read"})
    assert_unauthenticated(response)
    assert "Log in again" in response.json["detail"]
    await made(lasting)
    assert (await sent.get("/collection/")).status == 200


async def test_the_number_of_tokens_is_limited(alice: Api) -> None:
    bound = (await alice.get("/limits/")).json["personal_tokens"]["tokens"]
    assert bound == MAX_TOKENS
    responses = await asyncio.gather(
        *[alice.post("/tokens/", {"name": "n", "scope": "read"}) for _ in range(bound + 3)])
    refused = [response for response in responses if response.status == 409]
    assert len(refused) == 3 and len([response for response in responses if response.status == 201]) == bound
    assert refused[0].json["code"] == "too_many_tokens" and str(bound) in refused[0].json["detail"]
    uuid = (await alice.get("/tokens/")).json["data"][0]["uuid"]
    await alice.delete(f"/tokens/{uuid}/")
    await made(alice)


async def test_the_day_of_its_last_use_is_written_once(
    alice: Api, resources: Resources, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(personal_tokens, "CACHE_SECONDS", 0.0)
    created = (await made(alice)).json
    sent, statements = alice.signed(created["token"]), noted(resources.database)

    def writes() -> int:
        return [statement.name for statement in statements].count("personal_tokens.record_use")

    assert (await sent.get("/genres/")).status == 200
    [listed] = (await alice.get("/tokens/")).json["data"]
    assert rows(postgres, "SELECT (now() AT TIME ZONE 'UTC')::date::text") == [(listed["last_used"],)]
    for _ in range(3):
        assert (await sent.get("/genres/")).status == 200
    assert writes() == 1
    rows(postgres, "UPDATE personal_tokens SET last_used = last_used - 1 WHERE token_uuid = %s", created["uuid"])
    assert (await sent.get("/genres/")).status == 200
    assert (await alice.get("/tokens/")).json["data"] == [listed]
    assert writes() == 2


async def test_a_read_does_not_wait_for_the_day_to_be_written(alice: Api, postgres: Postgres) -> None:
    """During a write of the user it is not written; a later request writes it."""
    sent = await script(alice)
    with closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM users WHERE user_id = %s FOR UPDATE", (alice.user_id,))
        assert (await sent.get("/genres/")).status == 200
        assert (await alice.get("/tokens/")).json["data"][0]["last_used"] is None
        connection.rollback()

    async def written() -> bool:
        assert (await sent.get("/genres/")).status == 200
        return (await alice.get("/tokens/")).json["data"][0]["last_used"] is not None

    await eventually(written)


async def test_a_verified_token_is_not_looked_up_again(
    alice: Api, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(personal_tokens, "MAX_VERIFIED", 1)
    scripts, statements = [await script(alice) for _ in range(2)], noted(resources.database)
    for sent in (scripts[0], scripts[0], scripts[1], scripts[0]):
        assert (await sent.get("/genres/")).status == 200
    assert [statement.name for statement in statements].count("personal_tokens.find") == 3


async def test_large_bodies_with_a_personal_token(alice: Api) -> None:
    """A body that is refused by its head would be refused before the token is looked up."""
    token = (await made(alice)).json["token"]
    response = await alice.signed(token).post("/collection/", collection(movies=movies(200)))
    assert response.status == 201
    stranger = alice.signed(str(PersonalToken.new(str(uuid4()))))
    assert_unauthenticated(await stranger.post("/collection/", collection(movies=movies(200))))
    head = (b"POST /collection/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n"
            b"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n{\"title\": \"x\"}")
    responses = await exchange(alice, head % token.encode())
    assert [response.status for response in responses][-1] == 201


async def test_neither_metrics_nor_the_log_show_a_token(alice: Api) -> None:
    """ASVS 5.0 16.2.5."""
    start = record.position()
    token = (await made(alice)).json["token"]
    await alice.signed(token).get("/collection/")
    assert_unauthenticated(await alice.signed(token[:-4] + "AAAA").get("/collection/"))
    metrics = (await alice.get("/metrics")).body.decode()
    for text in (record.logged(start), metrics):
        assert "/collection/" in text and "msv_" not in text
