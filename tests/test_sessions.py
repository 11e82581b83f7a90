"""Sessions: refresh tokens, the list of logins, and everything that ends them."""
from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest

from movieserver.data import sessions
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.postgres.statements import Statement
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests.client import Response, Api, assert_tokens, assert_unauthenticated
from tests.conftest import SECRET, make_settings
from tests.factories import collection, movies, registration
from tests.test_tokens import LETTERS
from tests.third_party import ThirdParty

Query = Callable[..., Awaitable[Any]]
# the user's row is locked while the others arrive, so that all of them wait for it
HOLD = "SELECT FROM users WHERE user_id = %(user_id)s FOR UPDATE;\nSELECT pg_sleep(0.5)::text"
SLEEPING = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND strpos(query, %(owner)s) > 0"


@pytest.fixture
def query(resources: Resources) -> Query:
    """Run a statement: the first value of its first row, or None."""

    async def run(statement: str, **parameters: object) -> Any:
        resources.database.statements["query"] = Statement(statement)
        row = await resources.database.read("query", **parameters)
        return row[0] if row else None

    return run


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spent refresh token is reuse at once, as it otherwise is after 30 seconds."""
    monkeypatch.setattr(sessions, "GRACE_SECONDS", 0.0)


async def refresh(api: Api, token: str) -> Response:
    """POST /refresh/"""
    return await api.post("/refresh/", {"refresh_token": token})


async def register(api: Api) -> str:
    """The refresh token of a new user."""
    token: str = (await api.post("/register/", registration())).json["refresh_token"]
    return token


def user_id(response: Response) -> str:
    """The user whose tokens a response holds."""
    claims = jwt.decode(response.json["access_token"], SECRET, ["HS256"], issuer="movieserver")
    return str(claims["sub"])


async def test_refresh_gives_a_new_pair(api: Api) -> None:
    """RFC 9700 section 4.14.2: refresh tokens rotate."""
    first = (await api.post("/register/", registration())).json
    response = await refresh(api, first["refresh_token"])
    assert_tokens(response, 200)
    assert response.json["refresh_token"] != first["refresh_token"]
    assert response.json["access_token"] != first["access_token"]
    assert (await api.signed(response.json["access_token"]).get("/collection/")).status == 200
    assert (await refresh(api, response.json["refresh_token"])).status == 200


async def test_refresh_tokens_are_random_and_stored_as_a_digest(api: Api, query: Query) -> None:
    """ASVS 5.0 7.2.3 and 11.5.1: 256 random bits, of which the database has no copy."""
    tokens = [base64.urlsafe_b64decode(await register(api)) for _ in range(20)]
    secrets = {token[32:] for token in tokens}
    assert len(secrets) == 20 and {len(secret) for secret in secrets} == {32}
    for token in tokens:
        stored = await query("SELECT sessions::text FROM sessions WHERE user_id = encode(%(id)s, 'hex')::uuid",
                             id=token[:16])
        assert token[32:].hex() not in stored
        response = await refresh(api, base64.urlsafe_b64encode(token).decode())
        successor = base64.urlsafe_b64decode(response.json["refresh_token"])
        stored = await query("SELECT sessions::text FROM sessions WHERE user_id = encode(%(id)s, 'hex')::uuid",
                             id=token[:16])
        assert successor[32:].hex() not in stored
        assert successor[32:] not in secrets


@pytest.mark.usefixtures("no_grace")
async def test_reuse_of_a_spent_token_ends_the_whole_login(api: Api, query: Query) -> None:
    """RFC 9700 section 4.14.2: one of its two users has stolen it; the server cannot know which."""
    pair = registration()
    first = (await api.post("/register/", pair)).json["refresh_token"]
    other = (await api.post("/login/", pair)).json["refresh_token"]
    second = await refresh(api, first)
    assert_unauthenticated(await refresh(api, first))
    assert_unauthenticated(await refresh(api, second.json["refresh_token"]))
    assert (await refresh(api, other)).status == 200
    assert await query("SELECT count(*) FROM sessions WHERE user_id = %(id)s", id=user_id(second)) == 1


async def test_each_token_spent_in_the_last_30_seconds_gets_its_own_successor_again(api: Api, query: Query) -> None:
    """RFC 9700 section 4.14.2: requests of one client may overtake each other; its login continues."""
    tokens = [await register(api)]
    for _ in range(4):
        tokens.append((await refresh(api, tokens[-1])).json["refresh_token"])
    for spent, successor in [*zip(tokens, tokens[1:])][::-1] * 2:
        assert (await refresh(api, spent)).json["refresh_token"] == successor
    assert await query("SELECT count(*) FROM spent_refresh_tokens JOIN sessions USING (user_id, session_uuid) "
                       "WHERE user_id = encode(%(id)s, 'hex')::uuid", id=base64.urlsafe_b64decode(tokens[0])[:16]) == 4
    assert_tokens(await refresh(api, tokens[-1]), 200)


@pytest.mark.usefixtures("no_grace")
async def test_an_older_refresh_token_is_reuse_after_the_grace(api: Api) -> None:
    """RFC 9700 section 4.14.2."""
    first = await register(api)
    second = (await refresh(api, first)).json["refresh_token"]
    third = (await refresh(api, second)).json["refresh_token"]
    assert_unauthenticated(await refresh(api, first))
    assert_unauthenticated(await refresh(api, third))


async def test_a_lost_response_is_sent_again(api: Api) -> None:
    """RFC 9700 section 4.14.2: a client that lost the response gets the same successor for 30 seconds."""
    assert sessions.GRACE_SECONDS == 30
    first = await register(api)
    successors = [(await refresh(api, first)).json for _ in range(3)]
    assert len({successor["refresh_token"] for successor in successors}) == 1
    assert len({successor["access_token"] for successor in successors}) == 3
    assert_tokens(await refresh(api, successors[0]["refresh_token"]), 200)


async def test_concurrent_refreshes_of_a_token_have_one_successor(
    api: Api, query: Query, resources: Resources
) -> None:
    """RFC 9700 section 4.14.2: the first of several rotates, the others get the same successor."""
    registered = await api.post("/register/", registration())
    token, owner = registered.json["refresh_token"], user_id(registered)
    resources.database.statements["hold"] = Statement(HOLD)
    holding = asyncio.create_task(resources.database.write("hold", user_id=owner))
    while not await query(SLEEPING, owner=owner):
        assert not holding.done()
    responses = await asyncio.gather(*[refresh(api, token) for _ in range(20)])
    for response in responses:
        assert_tokens(response, 200)
    assert len({response.json["refresh_token"] for response in responses}) == 1
    assert await query("SELECT count(*) FROM sessions WHERE user_id = %(id)s", id=owner) == 1
    assert (await refresh(api, responses[0].json["refresh_token"])).status == 200
    await holding


@pytest.mark.usefixtures("no_grace")
async def test_a_forged_secret_ends_a_login_only_with_its_uuid(api: Api) -> None:
    """RFC 9700 section 4.14.2: its 122 random bits are only in refresh tokens, not in lists or access tokens."""
    response = await api.post("/register/", registration())
    token = response.json["refresh_token"]
    packed = base64.urlsafe_b64decode(token)
    listed = (await api.signed(response.json["access_token"]).get("/sessions/")).json["data"][0]["uuid"]
    guess = packed[:16] + bytes.fromhex(listed.replace("-", "")) + packed[32:]
    assert_unauthenticated(await refresh(api, base64.urlsafe_b64encode(guess).decode()))
    await api.post("/logout/", {"refresh_token": base64.urlsafe_b64encode(guess).decode()})
    second = await refresh(api, token)
    assert second.status == 200
    never = base64.urlsafe_b64encode(packed[:32] + bytes(32)).decode()
    assert_unauthenticated(await refresh(api, never))
    assert_unauthenticated(await refresh(api, second.json["refresh_token"]))


async def test_logout_ends_that_login_and_no_other(api: Api) -> None:
    """ASVS 5.0 7.4.1, RFC 7009 section 2."""
    pair = registration()
    first = (await api.post("/register/", pair)).json["refresh_token"]
    second = (await api.post("/login/", pair)).json["refresh_token"]
    response = await api.post("/logout/", {"refresh_token": first})
    assert response.status == 200
    assert list(response.json) == ["message"]
    assert_unauthenticated(await refresh(api, first))
    assert (await refresh(api, second)).status == 200


async def test_logout_with_a_spent_token_ends_the_login_too(api: Api) -> None:
    """RFC 7009 section 2.1: a client that lost the response to a refresh can still end its login."""
    first = await register(api)
    second = (await refresh(api, first)).json["refresh_token"]
    assert (await api.post("/logout/", {"refresh_token": first})).status == 200
    assert_unauthenticated(await refresh(api, second))


async def test_concurrent_refresh_and_logout(api: Api) -> None:
    """ASVS 5.0 7.4.1: in either order, the login ends."""
    for _ in range(10):
        token = await register(api)
        refreshed, logged_out = await asyncio.gather(
            *[api.post(path, {"refresh_token": token}) for path in ("/refresh/", "/logout/")])
        assert logged_out.status == 200
        assert refreshed.status in (200, 401)
        assert_unauthenticated(await refresh(api, token))
        if refreshed.status == 200:
            assert_unauthenticated(await refresh(api, refreshed.json["refresh_token"]))


async def test_a_refresh_token_has_one_spelling(api: Api) -> None:
    """RFC 4648 section 3.5."""
    token = await register(api)
    body = token.rstrip("=")
    for other in (body, body[:-1] + LETTERS[LETTERS.index(body[-1]) ^ 1] + "==", token + "="):
        assert_unauthenticated(await refresh(api, other))
    assert (await refresh(api, token)).status == 200


@pytest.mark.parametrize("token", ["", "x", "é", "a" * 64, "=" * 64, base64.urlsafe_b64encode(bytes(64)).decode()])
async def test_tokens_that_were_never_sent(api: Api, token: str) -> None:
    """RFC 7009 section 2.2: logging out with them is not an error."""
    assert_unauthenticated(await refresh(api, token))
    assert (await api.post("/logout/", {"refresh_token": token})).status == 200


@pytest.mark.parametrize("path", ["/refresh/", "/logout/"])
async def test_a_refresh_token_is_a_text(api: Api, path: str) -> None:
    bodies: list[Any] = [{}, {"refresh_token": 1}, {"refresh_token": None}, []]
    for body in bodies:
        assert (await api.post(path, body)).status == 400


class TestLogins:
    """A user with three logins; the first one sends the requests."""

    @staticmethod
    async def logins(api: Api, pair: dict[str, Any]) -> list[Any]:
        return [(await api.post(path, pair)).json for path in ("/register/", "/login/", "/login/")]

    async def test_sessions_lists_the_logins_of_the_user(self, api: Api) -> None:
        """ASVS 5.0 7.5.2."""
        first, second, third = await self.logins(api, registration())
        third = (await refresh(api, third["refresh_token"])).json
        response = await api.signed(first["access_token"]).get("/sessions/")
        assert response.status == 200
        listed = response.json["data"]
        assert [set(each) for each in listed] == [{"uuid", "created_at", "refreshed_at", "expires_at", "current"}] * 3
        assert [each["current"] for each in listed] == [False, False, True]
        assert [each["refreshed_at"] is None for each in listed] == [False, True, True]
        assert listed == sorted(listed, key=lambda each: str(each["created_at"]), reverse=True)
        for index, tokens in enumerate((third, second, first)):
            seen = (await api.signed(tokens["access_token"]).get("/sessions/")).json["data"]
            assert [each["current"] for each in seen] == [at == index for at in range(3)]

    async def test_a_login_can_be_ended_by_its_uuid(self, api: Api) -> None:
        """ASVS 5.0 7.5.2."""
        first, second, third = await self.logins(api, registration())
        user = api.signed(first["access_token"])
        uuid = (await user.get("/sessions/")).json["data"][1]["uuid"]
        response = await user.delete(f"/sessions/{uuid.upper()}/")
        assert response.status == 200 and list(response.json) == ["message"]
        assert (await user.delete(f"/sessions/{uuid}/")).status == 404
        assert (await user.delete("/sessions/x/")).status == 404
        assert_unauthenticated(await refresh(api, second["refresh_token"]))
        for tokens in (first, third):
            assert (await refresh(api, tokens["refresh_token"])).status == 200

    async def test_logout_all_ends_every_login(self, api: Api) -> None:
        """ASVS 5.0 7.4.1 and 7.5.2; an access token stays valid until it expires (docs/security.md)."""
        other_user = await register(api)
        logins = await self.logins(api, registration())
        user = api.signed(logins[0]["access_token"])
        response = await user.post("/logout/all/")
        assert response.status == 200 and list(response.json) == ["message"]
        for tokens in logins:
            assert_unauthenticated(await refresh(api, tokens["refresh_token"]))
        assert (await user.get("/sessions/")).json == {"data": []}
        assert (await refresh(api, other_user)).status == 200

    async def test_a_new_password_ends_the_other_logins(self, api: Api) -> None:
        """ASVS 5.0 6.2.2, 6.2.3 and 7.4.3."""
        pair = registration()
        first, second, third = await self.logins(api, pair)
        change = {"old_password": pair["password"], "new_password": "another good one"}
        response = await api.signed(first["access_token"]).put("/password/", change)
        assert response.status == 200 and list(response.json) == ["message"]
        for tokens in (second, third):
            assert_unauthenticated(await refresh(api, tokens["refresh_token"]))
        assert (await refresh(api, first["refresh_token"])).status == 200
        assert_unauthenticated(await api.post("/login/", pair))
        assert (await api.post("/login/", {**pair, "password": "another good one"})).status == 200

    async def test_a_token_without_a_login_ends_all_of_them(self, api: Api) -> None:
        """ASVS 5.0 7.4.3: without `sid` the current login is unknown."""
        pair = registration()
        response = await api.post("/register/", pair)
        claims = jwt.decode(response.json["access_token"], SECRET, ["HS256"], issuer="movieserver")
        token = jwt.encode({name: claims[name] for name in claims if name != "sid"}, SECRET, "HS256")
        user = api.signed(token)
        assert [each["current"] for each in (await user.get("/sessions/")).json["data"]] == [False]
        change = {"old_password": pair["password"], "new_password": "another good one"}
        assert (await user.put("/password/", change)).status == 200
        assert_unauthenticated(await refresh(api, response.json["refresh_token"]))


@pytest.mark.parametrize("body, status", [
    ({}, 400), ({"old_password": "x"}, 400), ({"old_password": "x", "new_password": "short"}, 400),
    ({"old_password": "x", "new_password": "password1"}, 400),
    ({"old_password": "", "new_password": "long enough"}, 403),
    ({"old_password": "x" * 300, "new_password": "long enough"}, 403),
])
async def test_invalid_password_changes(api: Api, body: dict[str, Any], status: int) -> None:
    """ASVS 5.0 6.2.3 and 6.2.4."""
    pair = registration()
    tokens = (await api.post("/register/", pair)).json
    response = await api.signed(tokens["access_token"]).put("/password/", body)
    assert response.status == status
    assert (await api.post("/login/", pair)).status == 200
    assert (await refresh(api, tokens["refresh_token"])).status == 200


async def test_a_password_change_during_logins_with_the_old_one(api: Api) -> None:
    """ASVS 5.0 7.4.3: no login with the old password survives."""
    for _ in range(5):
        pair = registration()
        user = api.signed((await api.post("/register/", pair)).json["access_token"])
        change = {"old_password": pair["password"], "new_password": "another good one"}
        changed, *logins = await asyncio.gather(
            user.put("/password/", change), *[api.post("/login/", pair) for _ in range(8)])
        assert changed.status == 200
        for login in logins:
            assert login.status in (200, 401)
            if login.status == 200:
                assert_unauthenticated(await refresh(api, login.json["refresh_token"]))
        assert [each["current"] for each in (await user.get("/sessions/")).json["data"]] == [True]


async def test_one_of_two_concurrent_password_changes_succeeds(api: Api) -> None:
    """ASVS 5.0 6.2.3: the other one had the old password."""
    pair = registration()
    user = api.signed((await api.post("/register/", pair)).json["access_token"])
    words = [f"another good one {number}" for number in range(4)]
    responses = await asyncio.gather(*[
        user.put("/password/", {"old_password": pair["password"], "new_password": word}) for word in words])
    assert sorted(response.status for response in responses)[0] == 200
    assert {response.status for response in responses[1:]} <= {200, 403, 409}
    assert [response.status for response in responses].count(200) == 1
    chosen = words[[response.status for response in responses].index(200)]
    assert (await api.post("/login/", {**pair, "password": chosen})).status == 200


TABLES_OF_USERS = """
SELECT array_agg(table_name::text) FROM information_schema.columns
WHERE table_schema = 'public' AND column_name = 'user_id'
"""


async def test_a_deleted_account_leaves_nothing(api: Api, query: Query) -> None:
    """ASVS 5.0 7.4.2 and 14.2.7: no table with a user_id has a row of this user."""
    pair = registration()
    registered = await api.post("/register/", pair)
    owner, user = user_id(registered), api.signed(registered.json["access_token"])
    for number in range(3):
        await user.post(
            "/collection/", collection(movies=movies(1, genres="Drama")), headers={"Idempotency-Key": str(number)})
    assert (await user.post("/tokens/", {"name": "n", "scope": "read"})).status == 201
    tables = await query(TABLES_OF_USERS)
    assert {
        "users", "sessions", "spent_refresh_tokens", "collections", "user_genres", "personal_tokens", "idempotency_keys"
    } <= set(tables)
    response = await user.delete("/account/")
    assert response.status == 200 and list(response.json) == ["message"]
    for table in tables:
        assert await query(f"SELECT count(*) FROM {table} WHERE user_id = %(id)s", id=owner) == 0, table
    assert_unauthenticated(await refresh(api, registered.json["refresh_token"]))
    assert_unauthenticated(await api.post("/login/", pair))


async def test_an_access_token_of_a_deleted_user_reads_and_writes_nothing(api: Api) -> None:
    """ASVS 5.0 7.4.2: it is valid until it expires, but there is nothing left to read or write."""
    pair = registration()
    user = api.signed((await api.post("/register/", pair)).json["access_token"])
    made = (await user.post("/collection/", collection())).json["collection_uuid"]
    await user.delete("/account/")
    assert (await user.get("/collection/")).json["count"] == 0
    assert (await user.get("/sessions/")).json == {"data": []}
    for method in ("GET", "PUT", "DELETE"):
        body = {"title": "x"} if method == "PUT" else None
        assert (await user.call(method, f"/collection/{made}/", body)).status == 404
    assert_unauthenticated(await user.post("/collection/", collection()))
    assert_unauthenticated(await user.delete("/account/"))
    assert_unauthenticated(await user.put("/password/", {"old_password": "x", "new_password": "long enough"}))
    assert (await api.post("/register/", pair)).status == 201
    assert (await user.get("/sessions/")).json == {"data": []}


@pytest.mark.parametrize("password, status", [(None, 200), ("right", 200), ("wrong", 403), ("", 403), (7, 400)])
async def test_a_password_sent_with_the_deletion_of_an_account_must_be_right(
    api: Api, password: object, status: int
) -> None:
    """ASVS 5.0 7.5.3: a client may require it again."""
    pair = registration()
    user = api.signed((await api.post("/register/", pair)).json["access_token"])
    sent = pair["password"] if password == "right" else password
    assert (await user.delete("/account/", body={"password": sent})).status == status
    assert (await api.post("/login/", pair)).status == (401 if status == 200 else 200)


async def test_deleting_an_account_during_other_requests(api: Api, query: Query) -> None:
    """ASVS 5.0 7.4.2: no concurrent request leaves a row behind or gets a 500."""
    for _ in range(5):
        pair = registration()
        registered = await api.post("/register/", pair)
        user = api.signed(registered.json["access_token"])
        responses = await asyncio.gather(
            user.delete("/account/"), *[user.post("/collection/", collection()) for _ in range(6)],
            *[api.post("/login/", pair) for _ in range(3)], refresh(api, registered.json["refresh_token"]),
            user.put("/password/", {"old_password": pair["password"], "new_password": "another good one"}),
            user.post("/logout/all/"),
        )
        assert responses[0].status == 200
        assert {response.status for response in responses} <= {200, 201, 401, 403, 409}
        for table in await query(TABLES_OF_USERS):
            count = await query(f"SELECT count(*) FROM {table} WHERE user_id = %(id)s", id=user_id(registered))
            assert count == 0, table


class TestThatExpire:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, refresh_token_days=1 / 86400)

    async def test_an_unused_login_expires(self, api: Api) -> None:
        """ASVS 5.0 7.3.1."""
        tokens = (await api.post("/register/", registration())).json
        user = api.signed(tokens["access_token"])
        while (await user.get("/sessions/")).json["data"]:
            await asyncio.sleep(0.1)
        assert_unauthenticated(await refresh(api, tokens["refresh_token"]))

    async def test_expired_sessions_are_deleted(self, api: Api, query: Query) -> None:
        """ASVS 5.0 14.2.7: data that is no longer needed is deleted."""
        pair = registration()
        user = api.signed((await api.post("/register/", pair)).json["access_token"])
        while (await user.get("/sessions/")).json["data"]:
            await asyncio.sleep(0.1)
        response = await api.post("/login/", pair)
        assert await query("SELECT count(*) FROM sessions WHERE user_id = %(id)s", id=user_id(response)) == 1


async def test_the_list_of_logins_has_an_entity_tag(alice: Api) -> None:
    """RFC 9110 section 13.1.2: 304 until a login begins or ends."""
    first = await alice.get("/sessions/")
    known = {"If-None-Match": first.headers["ETag"]}
    assert (await alice.get("/sessions/", headers=known)).status == 304
    assert (await alice.post("/logout/all/")).status == 200
    assert (await alice.get("/sessions/", headers=known)).json == {"data": []}
