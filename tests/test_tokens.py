"""Access tokens: an invalid one is 401, before any statement is sent to the database."""
from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import jwt
import pytest

from movieserver.accounts import tokens
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.errors import Unauthenticated
from movieserver.resources import Resources
from movieserver.settings import Settings
from tests.client import Api, assert_unauthenticated
from tests.conftest import SECRET, make_settings
from tests.factories import registration
from tests.third_party import ThirdParty

CLAIMS: dict[str, Any] = {
    "iss": "movieserver", "typ": "access", "jti": "x", "iat": 1, "sub": "0b5ee8a8-95c3-4ba9-b9a5-d9c0cf3a4f04",
    "sid": "7d9c2a5e-55a8-4b39-8d9f-a0f0a3b1c2d4",
}
HEADER = {"alg": "HS256", "typ": "JWT"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
OLD_SECRET = "the key that signed the tokens before this one"
UNKNOWN_SECRET = "another signing key of thirty-two bytes or more"
LIFETIME = 15 * 60


def forged(key: str = SECRET, algorithm: str = "HS256", header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A correctly signed token; claims that are None are omitted."""
    every = {**CLAIMS, "exp": time.time() + 60, **claims}
    return jwt.encode({name: value for name, value in every.items() if value is not None}, key, algorithm, header)


def signed(payload: str, header: str = '{"alg":"HS256","typ":"JWT"}', key: str = SECRET) -> str:
    """A correctly signed token of texts that need not be JSON."""
    parts = [base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (header, payload)]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(b".".join(parts), key.encode())
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def with_claim(name: str, value: str) -> str:
    """A token with a claim whose value is this JSON."""
    claims = {**CLAIMS, "exp": int(time.time()) + 60, name: None}
    return signed(json.dumps(claims).replace(f'"{name}": null', f'"{name}": {value}'))


# JSON values, each of the wrong type for at least one claim
OF_EVERY_TYPE = ["null", "true", "false", '"x"', '""', "[]", "{}", "[1]", '["x"]', '{"a": 1}', "NaN", "1e400", "-1e400"]
NUMBERS = ["1", "0", "-1", "1.5", str(10**300)]
OTHER_TYPES = {
    **{name: OF_EVERY_TYPE for name in ("iat", "exp", "nbf")},
    **{name: OF_EVERY_TYPE + NUMBERS for name in ("sub", "sid", "iss", "typ", "aud")},
    "jti": [value for value in OF_EVERY_TYPE + NUMBERS if not value.startswith('"')],
}


async def test_forged_tokens_without_a_fault_are_valid(api: Api) -> None:
    for token in (forged(), forged(sid=None), with_claim("exp", str(time.time() + 60)), forged(nbf=1)):
        assert (await api.signed(token).get("/collection/")).status == 200


@pytest.mark.parametrize("name", OTHER_TYPES)
async def test_a_claim_of_another_type_is_401(api: Api, name: str) -> None:
    """RFC 7519 section 4.1: even with a right signature, and never 500."""
    for value in OTHER_TYPES[name]:
        assert_unauthenticated(await api.signed(with_claim(name, value)).get("/collection/"))


async def test_the_claims_of_an_access_token(api: Api) -> None:
    """RFC 9068 section 2.2 names the claims, ASVS 5.0 9.2.2 requires the type."""
    response = await api.post("/register/", registration())
    claims = jwt.decode(response.json["access_token"], SECRET, ["HS256"], issuer="movieserver")
    assert set(claims) == {"sub", "iat", "exp", "iss", "jti", "typ", "sid"}
    assert claims["typ"] == "access"
    assert claims["exp"] - claims["iat"] in (LIFETIME, LIFETIME + 1)
    assert abs(claims["iat"] - time.time()) < 60
    assert jwt.get_unverified_header(response.json["access_token"]) == HEADER


INVALID: dict[str, Callable[[], str | None]] = {
    "missing": lambda: None,
    "empty": lambda: "",
    "scheme alone": lambda: "Bearer",
    "scheme and space": lambda: "Bearer ",
    "not a JWT": lambda: "Bearer x",
    "three parts that are not base64": lambda: "Bearer a.b.c",
    "two tokens": lambda: f"Bearer {forged()} {forged()}",
    "another scheme": lambda: f"Token {forged()}",
    "no scheme": forged,
    "cut short": lambda: f"Bearer {forged()[:-2]}",
    "without signature": lambda: f"Bearer {forged().rpartition('.')[0]}.",
    "another key": lambda: f"Bearer {forged(key=UNKNOWN_SECRET)}",
    "a list of keys as the key": lambda: f"Bearer {forged(key=f'{SECRET},{OLD_SECRET}')}",
    "expired": lambda: f"Bearer {forged(exp=time.time() - 1)}",
    "without exp": lambda: f"Bearer {forged(exp=None)}",
    "exp beyond every lifetime": lambda: f"Bearer {forged(exp=time.time() + LIFETIME + 120)}",
    "exp in a hundred years": lambda: f"Bearer {forged(exp=time.time() + 100 * 365 * 86400)}",
    "huge exp": lambda: f"Bearer {forged(exp=10**300)}",
    "not before tomorrow": lambda: f"Bearer {forged(nbf=time.time() + 86400)}",
    "exp of infinity": lambda: f"Bearer {with_claim('exp', '1e400')}",
    "exp that is not a number": lambda: f"Bearer {with_claim('exp', 'NaN')}",
    "negative exp": lambda: f"Bearer {with_claim('exp', '-1')}",
    "exp of minus infinity": lambda: f"Bearer {with_claim('exp', '-1e400')}",
    "exp as a text": lambda: f"Bearer {forged(exp=str(int(time.time()) + 60))}",
    "exp that is true": lambda: f"Bearer {forged(exp=True)}",
    "exp as a list": lambda: f"Bearer {forged(exp=[time.time() + 60])}",
    "another type": lambda: f"Bearer {forged(typ='refresh')}",
    "without type": lambda: f"Bearer {forged(typ=None)}",
    "type that is a list": lambda: f"Bearer {forged(typ=['access'])}",
    "another issuer": lambda: f"Bearer {forged(iss='somebody')}",
    "without issuer": lambda: f"Bearer {forged(iss=None)}",
    "for another audience": lambda: f"Bearer {forged(aud='somebody')}",
    "without subject": lambda: f"Bearer {forged(sub=None)}",
    "subject that is not a uuid": lambda: f"Bearer {forged(sub='1')}",
    "subject in another spelling": lambda: f"Bearer {forged(sub=CLAIMS['sub'].upper())}",
    "without id": lambda: f"Bearer {forged(jti=None)}",
    "without iat": lambda: f"Bearer {forged(iat=None)}",
    "login that is not a uuid": lambda: f"Bearer {forged(sid='7')}",
    "another algorithm": lambda: f"Bearer {forged(algorithm='HS512')}",
    "no algorithm": lambda: f"Bearer {forged(algorithm='none', key='')}",
    "none in other letters": lambda: f"Bearer {signed(json.dumps(CLAIMS), header=json.dumps({'alg': 'nOnE'}))}",
    "kid": lambda: f"Bearer {forged(header={'kid': '../../dev/null'})}",
    "jku": lambda: f"Bearer {forged(header={'jku': 'https://example.org/keys'})}",
    "jwk": lambda: f"Bearer {forged(header={'jwk': {'kty': 'oct', 'k': 'AAAA'}})}",
    "x5u": lambda: f"Bearer {forged(header={'x5u': 'https://example.org/keys'})}",
    "x5c": lambda: f"Bearer {forged(header={'x5c': ['AAAA']})}",
    "crit": lambda: f"Bearer {forged(header={'crit': ['exp'], 'exp': 1})}",
    "b64": lambda: f"Bearer {forged(header={'b64': False, 'crit': ['b64']})}",
    "header without typ": lambda: f"Bearer {signed(json.dumps(CLAIMS), header=json.dumps({'alg': 'HS256'}))}",
    "header typ of another type": lambda: f"Bearer {forged(header={'typ': 7})}",
    "list as alg": lambda: f"Bearer {signed(json.dumps(CLAIMS), header=json.dumps(HEADER | {'alg': ['HS256']}))}",
    "header of brackets": lambda: f"Bearer {signed('{}', header='[' * 700)}",
    "header of many brackets": lambda: f"Bearer {signed('{}', header='[' * 40_000)}",
    "claims of brackets": lambda: f"Bearer {signed('[' * 600)}",
    "claims that are not an object": lambda: f"Bearer {signed('[]')}",
    "header that is not an object": lambda: f"Bearer {signed(json.dumps(CLAIMS), header='[]')}",
    "oversize": lambda: f"Bearer {forged(more='x' * 30_000)}",
    "four parts": lambda: f"Bearer {forged()}.{forged()}",
}


@pytest.mark.parametrize("case", INVALID)
@pytest.mark.parametrize("path", ["/movies/", "/collection/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d/", "/sessions/"])
async def test_invalid_tokens_are_401(api: Api, case: str, path: str) -> None:
    """RFC 8725 sections 3.1 to 3.12, RFC 6750 section 3.1, ASVS 5.0 9.1.1 to 9.2.2."""
    header = INVALID[case]()
    assert_unauthenticated(await api.get(path, headers={} if header is None else {"Authorization": header}))


async def test_the_scheme_may_be_in_any_letter_case(api: Api) -> None:
    """RFC 9110 section 11.1."""
    assert (await api.get("/collection/", headers={"Authorization": f"bearer {forged()}"})).status == 200


async def test_a_token_with_any_changed_character_is_401(api: Api) -> None:
    """RFC 8725 section 3.3, ASVS 5.0 9.1.1: each of the six bits of each character is signed, or has one value."""
    token = (await api.post("/register/", registration())).json["access_token"]
    flipped = [
        token[:index] + (LETTERS[LETTERS.index(token[index]) ^ 1 << bit] if token[index] != "." else "A")
        + token[index + 1:]
        for bit in range(6) for index in range(len(token))
    ]
    for begin in range(0, len(flipped), 50):
        calls = (api.signed(other).get("/sessions/") for other in flipped[begin:begin + 50])
        for response in await asyncio.gather(*calls):
            assert_unauthenticated(response)
    assert (await api.signed(token).get("/sessions/")).status == 200


async def test_an_access_token_has_one_spelling(api: Api) -> None:
    """RFC 7515 section 2: base64url without padding, and RFC 4648 section 3.5 about the bits left over."""
    token = (await api.post("/register/", registration())).json["access_token"]
    head, payload, signature = token.split(".")
    for other in (f"{token}=", f"{token}==", f"{head}=.{payload}.{signature}", f"{head}.{payload}=.{signature}",
                  f"{token[:-1]}+", f"{token[:-1]}/", f"{head}.{payload}.~{signature}"):
        assert_unauthenticated(await api.signed(other).get("/collection/"))


async def test_a_refresh_token_is_not_an_access_token(api: Api) -> None:
    """RFC 8725 section 3.12, ASVS 5.0 9.2.2."""
    tokens = (await api.post("/register/", registration())).json
    assert_unauthenticated(await api.signed(tokens["refresh_token"]).get("/collection/"))
    assert_unauthenticated(await api.post("/refresh/", {"refresh_token": tokens["access_token"]}))


@pytest.mark.parametrize("case", INVALID)
async def test_a_bad_token_costs_no_database_connection(api: Api, resources: Resources, case: str) -> None:
    """ASVS 5.0 7.2.1: it is refused even while no connection is free."""
    header = INVALID[case]()
    pool = resources.database.pool
    async with AsyncExitStack() as stack:
        for _ in range(pool.size):
            await stack.enter_async_context(pool.slot())
        assert_unauthenticated(
            await api.get("/sessions/", headers={} if header is None else {"Authorization": header}))


async def test_a_token_that_was_verified_before_expires(api: Api) -> None:
    """RFC 8725 section 3.3: a signature that was checked is not accepted after the expiry."""
    expiry = time.time() + 3
    signed_in = api.signed(forged(exp=expiry))
    assert (await signed_in.get("/collection/")).status == 200
    while time.time() < expiry:
        await asyncio.sleep(0.05)
    assert_unauthenticated(await signed_in.get("/collection/"))


def test_the_number_of_cached_tokens_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_VERIFIED", 3)
    reading = tokens.Tokens([SECRET], LIFETIME, LIFETIME)
    for _ in range(20):
        token = reading.access(CLAIMS["sub"], CLAIMS["sid"])
        assert reading.verify(token) == reading.verify(token) == (CLAIMS["sub"], CLAIMS["sid"], tokens.LOGIN)
        assert len(reading.verified) <= 3
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            reading.verify(forged(key=UNKNOWN_SECRET))
    assert len(reading.verified) <= 3


class TestWithAnOlderKey:
    """JWT_SECRET=new,old."""

    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, jwt_secret=f"{SECRET} , {OLD_SECRET}")

    async def test_both_keys_are_accepted_and_the_first_one_signs(self, api: Api) -> None:
        """ASVS 5.0 13.3.4, RFC 8725 section 3.5: a key can be replaced while its tokens are valid."""
        for key in (SECRET, OLD_SECRET):
            assert (await api.signed(forged(key=key)).get("/collection/")).status == 200
        assert_unauthenticated(await api.signed(forged(key=UNKNOWN_SECRET)).get("/collection/"))
        assert_unauthenticated(await api.signed(forged(key=f"{SECRET} , {OLD_SECRET}")).get("/collection/"))
        token = (await api.post("/register/", registration())).json["access_token"]
        assert jwt.decode(token, SECRET, ["HS256"], issuer="movieserver")

    @pytest.mark.parametrize("case", INVALID)
    async def test_invalid_tokens_are_refused_with_two_keys_too(self, api: Api, case: str) -> None:
        header = INVALID[case]()
        assert_unauthenticated(await api.get("/movies/", headers={} if header is None else {"Authorization": header}))

    async def test_a_refresh_token_follows_across_the_keys(self, api: Api, resources: Resources) -> None:
        """A retry of a refresh may reach another machine, which signs with another key."""
        first = (await api.post("/register/", registration())).json["refresh_token"]
        resources.tokens = tokens.Tokens([OLD_SECRET, SECRET], LIFETIME, LIFETIME)
        second = (await api.post("/refresh/", {"refresh_token": first})).json["refresh_token"]
        resources.tokens = tokens.Tokens([SECRET, OLD_SECRET], LIFETIME, LIFETIME)
        assert (await api.post("/refresh/", {"refresh_token": first})).json["refresh_token"] == second
        resources.tokens = tokens.Tokens([SECRET], LIFETIME, LIFETIME)  # it cannot derive the successor
        assert_unauthenticated(await api.post("/refresh/", {"refresh_token": first}))
        assert (await api.post("/refresh/", {"refresh_token": second})).status == 200


class TestWithShortLifetimes:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, access_token_minutes=0.5)

    async def test_tokens_have_their_lifetimes(self, api: Api) -> None:
        """ASVS 5.0 9.2.1; RFC 8725 section 3.8: a token that expires later than a new one is refused."""
        tokens = (await api.post("/register/", registration())).json
        assert tokens["expires_in"] == 30
        claims = jwt.decode(tokens["access_token"], SECRET, ["HS256"], issuer="movieserver")
        assert claims["exp"] - claims["iat"] in (30, 31)
        assert_unauthenticated(await api.signed(forged(exp=time.time() + 120)).get("/collection/"))
