"""The calls that are measured, on FastAPI, uvicorn, asyncpg and redis-py, written to be as fast as possible.

uvloop and httptools under uvicorn; one ASGI middleware, and no dependency that is resolved for each request; prepared
statements (asyncpg keeps them), whose JSON is sent as the bytes that PostgreSQL made; a verified token is remembered;
orjson and hiredis; one line of log a request. The count is exact: a response waits for the INCRBY that has it, which
runs beside the work, and which requests that come together share. It keeps no metrics and no entity tags, bounds
nothing in memory, and calls no third party: a page that Redis does not have is a 404 here.
"""
from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import asyncpg
import bcrypt
import jwt
import orjson
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from benchmarks.fastapi_bodies import CREDENTIALS, MOVIE, NEW_COLLECTION, genre_counts
from benchmarks.fastapi_storage import STORAGES, Storage

JSON = "application/json"
CLAIMS = {"require": ["sub", "iat", "exp", "iss", "jti", "typ"], "verify_iat": False}
SECRET = os.environ.get("JWT_SECRET", "").encode()
TOKEN_SECONDS = 60 * float(os.environ.get("ACCESS_TOKEN_MINUTES", "15"))
ROUNDS = int(os.environ.get("BCRYPT_ROUNDS", "12"))
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_TOKENS = 10_000
SESSION = {"timezone": "UTC", "jit": "off", "statement_timeout": "10s", "plan_cache_mode": "force_generic_plan",
           "application_name": "fastapi"}


class RequestCounter:
    """Counts requests in Redis; those that arrive while a command is running share the next one."""

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self._key = key
        self._size = 0
        self._next: asyncio.Future[int] | None = None
        self._sending: asyncio.Task[None] | None = None

    def count(self) -> asyncio.Future[int]:
        """The total with this request in it."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            if self._sending is None:
                self._sending = asyncio.create_task(self._send())
        self._size += 1
        return self._next

    async def _send(self) -> None:
        while self._next is not None:
            waiting, size = self._next, self._size
            self._next, self._size = None, 0
            try:
                waiting.set_result(await self._redis.incrby(self._key, size))
            except Exception as error:
                waiting.set_exception(error)
        self._sending = None


class EveryRequest:
    """For every request: count it before its response is sent, give it an id, and log it."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        began, request_id, status, state = time.perf_counter(), secrets.token_hex(16), 0, scope["state"]

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
                await state["requests"]
            await send(message)

        state["requests"] = state["counter"].count()
        await self._inner(scope, receive, send_counted)
        sys.stderr.buffer.write(orjson.dumps({
            "request_id": request_id, "method": scope["method"], "route": scope["path"], "status": status,
            "ms": round(1000 * (time.perf_counter() - began), 1), "user_id": state.get("user_id"),
            "level": "info", "timestamp": time.time(), "event": "request"}, option=orjson.OPT_APPEND_NEWLINE))
        sys.stderr.buffer.flush()


async def body_of(request: Request, kind: TypeAdapter[Any]) -> Any:
    """The body, validated; 413 or 400."""
    body = await request.body()
    if len(body) > MAX_BODY_BYTES:
        raise HTTPException(413)
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        raise HTTPException(400, error.errors(include_url=False, include_input=False)) from None


def counted(movies: list[dict[str, Any]]) -> bytes:
    """How often each genre comes along, as JSON; 400 for too many of one movie."""
    try:
        return orjson.dumps(genre_counts(movies))
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


known: dict[str, tuple[str, float]] = {}  # verified tokens, with user and expiry


def owner(request: Request) -> str:
    """The user of the request; 401 without a valid token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    user_id, expiry = known.get(token) or verified(token)
    if scheme.lower() != "bearer" or expiry <= time.time():
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    request.scope["state"]["user_id"] = user_id
    return user_id


def verified(token: str) -> tuple[str, float]:
    """The claims of an access token; 401 if it is not valid."""
    try:
        claims = jwt.decode(token, SECRET, ["HS256"], issuer="fastapi", options=CLAIMS)
    except jwt.InvalidTokenError:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from None
    if claims["typ"] != "access":
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    if len(known) >= MAX_TOKENS:
        known.clear()
    known[token] = claims["sub"], claims["exp"]
    return known[token]


async def nothing_to_reset(connection: Any) -> None:
    """asyncpg's reset would be another round trip after each statement, and these statements need none."""


async def json_as_bytes(connection: Any) -> None:
    """JSON is passed as the bytes that are received and sent."""
    await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """The schema, the pool, and a client of Redis."""
    size, url, name = int(os.environ["DATABASE_POOL_SIZE"]), os.environ["DATABASE_URL"], sys.argv[1]
    redis = Redis.from_url(os.environ["REDIS_URL"])
    async with redis, asyncpg.create_pool(
        url, min_size=size, max_size=size, server_settings=SESSION, reset=nothing_to_reset, init=json_as_bytes,
    ) as pool:
        if not await pool.fetchval("SELECT to_regclass('users')"):
            await pool.execute(STORAGES[name].schema)
        yield {"pool": pool, "redis": redis, "counter": RequestCounter(redis, f"fastapi:{name}:requests"),
               "storage": STORAGES[name], "whole": name == "whole"}


app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)


@app.post("/register/")
async def register(request: Request) -> Response:
    """POST /register/"""
    new = await body_of(request, CREDENTIALS)
    hashed = await asyncio.to_thread(bcrypt.hashpw, digest(new.password), bcrypt.gensalt(ROUNDS))
    try:
        user_id = await request.state.pool.fetchval(
            "INSERT INTO users (username, password_hash) VALUES ($1, $2) RETURNING user_id",
            new.username, hashed.decode())
    except asyncpg.UniqueViolationError:
        raise HTTPException(409) from None
    return await tokens(request, user_id, 201)


@app.post("/login/")
async def login(request: Request) -> Response:
    """POST /login/"""
    given = await body_of(request, CREDENTIALS)
    row = await request.state.pool.fetchrow(
        "SELECT user_id, password_hash FROM users WHERE username = $1", given.username)
    if row is None or not await asyncio.to_thread(bcrypt.checkpw, digest(given.password), row[1].encode()):
        raise HTTPException(401)
    return await tokens(request, row[0], 200)


def digest(password: str) -> bytes:
    """The input of bcrypt, in which all bytes of the password count."""
    return hashlib.sha256(password.encode()).hexdigest().encode()


async def tokens(request: Request, user_id: uuid.UUID, status: int) -> Response:
    """A new session: an access token, and a refresh token whose digest is stored."""
    refresh, now = secrets.token_urlsafe(48), int(time.time())
    await request.state.pool.execute(
        "INSERT INTO sessions (user_id, refresh_digest) VALUES ($1, $2)",
        user_id, hashlib.sha256(refresh.encode()).digest())
    access = jwt.encode({"sub": str(user_id), "iat": now, "exp": now + int(TOKEN_SECONDS), "iss": "fastapi",
                         "jti": secrets.token_urlsafe(12), "typ": "access"}, SECRET, "HS256")
    return Response(orjson.dumps({
        "access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": int(TOKEN_SECONDS)},
        option=orjson.OPT_APPEND_NEWLINE), status, media_type=JSON)


@app.delete("/account/")
async def delete_account(request: Request) -> Response:
    """DELETE /account/"""
    await request.state.pool.execute("DELETE FROM users WHERE user_id = $1", owner(request))
    return Response(b'{"message":"Account deleted successfully"}\n', media_type=JSON)


@app.get("/collection/")
async def list_collections(
    request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20, movies: bool = True, cursor: str = "",
) -> Response:
    """GET /collection/"""
    storage: Storage = request.state.storage
    last_at, _, last_uuid = cursor.partition("_")
    row = await request.state.pool.fetchrow(
        storage.list_movies if movies else storage.list_brief, owner(request), limit,
        datetime.fromisoformat(last_at) if cursor else None, last_uuid or None)
    if row is None:
        raise HTTPException(401)
    collections, favourites, count, last_at, last_uuid = row
    link = None
    if last_uuid is not None and (cursor or count > limit):
        link = str(request.url.include_query_params(cursor=f"{last_at.isoformat()}_{last_uuid}"))
    return Response(b'{"is_success":true,"data":{"collections":%b,"favourite_genres":%b},"count":%d,"next":%b}\n' % (
        collections, orjson.dumps(favourites), count, orjson.dumps(link)), media_type=JSON)


@app.get("/collection/{collection_uuid}/")
async def read_collection(request: Request, collection_uuid: uuid.UUID) -> Response:
    """GET /collection/<uuid>/"""
    collection = await request.state.pool.fetchval(request.state.storage.read, owner(request), collection_uuid)
    if collection is None:
        raise HTTPException(404)
    return Response(collection + b"\n", media_type=JSON)


@app.post("/collection/")
async def create_collection(request: Request) -> Response:
    """POST /collection/"""
    user_id, new = owner(request), await body_of(request, NEW_COLLECTION)
    movies = new.get("movies", [])
    uuids = [movie["uuid"] for movie in movies]
    if len(set(uuids)) < len(uuids):
        raise HTTPException(400, "A movie is in this list twice.")
    counts = counted(movies)
    stored = [orjson.dumps(movies)] if request.state.whole else [
        [movie[key] for movie in movies] for key in ("title", "description", "genres")]
    created = await request.state.pool.fetchval(
        request.state.storage.create, user_id, new["title"], new.get("description") or "", counts, uuids, *stored)
    if created is None:
        raise HTTPException(401)
    return Response(b'{"collection_uuid":"%b"}\n' % str(created).encode(), 201,
                    {"Location": f"/collection/{created}/"}, JSON)


@app.post("/collection/{collection_uuid}/movies/")
async def add_movie(request: Request, collection_uuid: uuid.UUID) -> Response:
    """POST /collection/<uuid>/movies/, of one movie."""
    user_id, movie = owner(request), await body_of(request, MOVIE)
    counts = counted([movie])
    stored = [orjson.dumps(movie).decode()] if request.state.whole else [
        movie[key] for key in ("title", "description", "genres")]
    fresh = await request.state.pool.fetchval(
        request.state.storage.add, user_id, collection_uuid, counts, movie["uuid"], *stored)
    if fresh is None:
        raise HTTPException(404)
    return Response(orjson.dumps({
        "added": int(fresh), "existing": int(not fresh),
        "items": [{"uuid": movie["uuid"], "result": "added" if fresh else "existing"}],
    }, option=orjson.OPT_APPEND_NEWLINE), media_type=JSON)


@app.get("/movies/")
async def list_movies(request: Request, page: Annotated[int, Query(ge=1)] = 1) -> Response:
    """GET /movies/?page=N: a cached page, stored as [count, next, previous], a line feed, and the movies."""
    owner(request)
    cached = await request.state.redis.get(f"fastapi:page:{page}")
    if cached is None:
        raise HTTPException(404)
    head, _, movies = cached.partition(b"\n")
    count, following, previous = orjson.loads(head)
    here = f"http://{request.headers['host']}/movies/?page="
    return Response(b'{"count":%d,"next":%b,"previous":%b,"data":%b}\n' % (
        count, orjson.dumps(f"{here}{page + 1}" if following else None),
        orjson.dumps(f"{here}{page - 1}" if previous and page > 1 else None), movies),
        200, {"Cache-Control": "private, max-age=60"}, JSON)


@app.get("/request-count/")
async def request_count(request: Request) -> Response:
    """GET /request-count/"""
    return Response(b'{"requests":%d}\n' % await request.state.requests, media_type=JSON)


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"listens on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        EveryRequest(app), loop="uvloop", http="httptools", access_log=False, log_level="warning",
        proxy_headers=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])
