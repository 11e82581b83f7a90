"""The calls that are measured, on FastAPI, uvicorn, asyncpg and redis-py: the rival, as well as that can be written.

uvloop and httptools under uvicorn; one ASGI middleware, and no dependency that is resolved for each request; prepared
statements (asyncpg keeps them), the statements of sql/ as they are, and their JSON sent as the bytes that PostgreSQL
made; bodies parsed by pydantic from the bytes; tokens verified by PyJWT; orjson and hiredis; one line of log a request.
The count is exact: an answer waits for the INCRBY that has it, which requests that come together share. It keeps no
metrics, bounds neither bodies nor answers, and calls no third party: a page that Redis does not have is a 404 here.
"""
from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
import jwt
import orjson
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError
from redis.asyncio import Redis
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from movieserver.postgres.database import SESSION, load_statements
from movieserver.data.collections import PAGE_BYTES

PARAMETER = re.compile(r"%\((\w+)\)s")
JSON = "application/json"
CLAIMS = {"require": ["sub", "iat", "exp", "iss", "jti", "typ"], "verify_iat": False}
SECRET = os.environ.get("JWT_SECRET", "").encode()
PAGE_KEY = "rival:page:"
STATEMENT_SECONDS = 10


class Counter:
    """Counts requests in Redis; those that come while a command is under way share the next one."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
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
                waiting.set_result(await self._redis.incrby("rival:requests", size))
            except Exception as error:
                waiting.set_exception(error)
        self._sending = None


class Outside:
    """What every request needs: it is counted, gets an id, and leaves a line in the log."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        began, request_id, status = time.perf_counter(), uuid.uuid4().hex, 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        state = scope["state"]
        state["requests"] = await state["counter"].count()
        await self._inner(scope, receive, send_marked)
        sys.stderr.buffer.write(orjson.dumps({
            "request_id": request_id, "method": scope["method"], "route": scope["path"], "status": status,
            "ms": round(1000 * (time.perf_counter() - began), 1), "user_id": state.get("user_id"),
            "level": "info", "timestamp": time.time(), "event": "request"}, option=orjson.OPT_APPEND_NEWLINE))
        sys.stderr.buffer.flush()


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character cannot be stored")
    return text


NO_NUL = AfterValidator(_no_nul)


class Movie(BaseModel):
    """A movie of a collection."""

    uuid: uuid.UUID
    title: Annotated[str, Field(min_length=1, max_length=500), NO_NUL]
    description: Annotated[str, Field(max_length=10_000), NO_NUL] = ""
    genres: Annotated[str, Field(max_length=10_000), NO_NUL] = ""


class NewCollection(BaseModel):
    """The body of a new collection."""

    title: Annotated[str, Field(min_length=1, max_length=255), NO_NUL]
    description: Annotated[str, NO_NUL] = ""
    movies: Annotated[list[Movie], Field(max_length=10_000)] = []


MOVIES = TypeAdapter(list[Movie])


class Statement:
    """A statement of sql/ with its parameters as asyncpg numbers them."""

    def __init__(self, name: str) -> None:
        self.names: list[str] = []
        self.text = PARAMETER.sub(self._number, load_statements()[name].replace("%%", "%"))

    def _number(self, found: re.Match[str]) -> str:
        if found[1] not in self.names:
            self.names.append(found[1])
        return f"${self.names.index(found[1]) + 1}"

    async def row(self, pool: Any, **parameters: Any) -> Any:
        """The first row."""
        return await pool.fetchrow(self.text, *[parameters[name] for name in self.names])


LIST, READ, CREATE = (Statement(f"collections.{name}") for name in ("list", "read", "create"))


def owner(request: Request) -> str:
    """Whose request this is; 401 where the token does not tell."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        claims = jwt.decode(token, SECRET, ["HS256"], issuer="movieserver", options=CLAIMS)
    except jwt.InvalidTokenError:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from None
    if scheme.lower() != "bearer" or claims["typ"] != "access":
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    request.scope["state"]["user_id"] = claims["sub"]
    return str(claims["sub"])


async def nothing_to_reset(connection: Any) -> None:
    """asyncpg's own way asks PostgreSQL once more after each statement; none of ours leaves anything behind."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """The pool, and a client of Redis."""
    size = int(os.environ["DATABASE_POOL_SIZE"])
    redis = Redis.from_url(os.environ["REDIS_URL"])
    async with redis, asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=size, max_size=size, command_timeout=STATEMENT_SECONDS,
        server_settings=SESSION, reset=nothing_to_reset,
    ) as pool:
        yield {"pool": pool, "redis": redis, "counter": Counter(redis)}


app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(Outside)


@app.get("/collection/")
async def list_collections(
    request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20, movies: bool = True,
) -> Response:
    """GET /collection/"""
    user_id = owner(request)
    row = await LIST.row(
        request.state.pool, user_id=[user_id], limit=[limit], movies=[movies], bytes=[PAGE_BYTES],
        after_microseconds=[None], after_uuid=[None], apart=[True])
    _, collections, favourite, count, microseconds, last = row
    link = f"http://{request.headers['host']}/collection/?cursor={microseconds}-{last}" if last else None
    return Response(
        f'{{"is_success": true, "data": {{"collections": {collections}, "favourite_genres": {favourite}}}, '
        f'"count": {count}, "next": {orjson.dumps(link).decode()}}}\n', media_type=JSON)


@app.get("/collection/{collection_uuid}/")
async def read_collection(request: Request, collection_uuid: uuid.UUID) -> Response:
    """GET /collection/<uuid>/"""
    row = await READ.row(request.state.pool, user_id=[owner(request)], collection_uuid=[collection_uuid], apart=[True])
    if row is None:
        raise HTTPException(404)
    return Response(row[1] + "\n", media_type=JSON)


@app.post("/collection/")
async def create_collection(request: Request) -> Response:
    """POST /collection/"""
    user_id = owner(request)
    try:
        new = NewCollection.model_validate_json(await request.body())
    except ValidationError as error:
        raise HTTPException(400, error.errors(include_url=False, include_input=False)) from None
    if len({movie.uuid for movie in new.movies}) < len(new.movies):
        raise HTTPException(400, "A movie is in this list twice.")
    row = await CREATE.row(
        request.state.pool, user_id=user_id, title=new.title, description=new.description,
        movies=MOVIES.dump_json(new.movies).decode())
    if row is None:
        raise HTTPException(401)
    return Response(
        orjson.dumps({"collection_uuid": row[0]}, option=orjson.OPT_APPEND_NEWLINE), 201,
        {"Location": f"/collection/{row[0]}/"}, JSON)


@app.get("/movies/")
async def list_movies(request: Request, page: Annotated[int, Query(ge=1)] = 1) -> Response:
    """GET /movies/?page=N, kept ones"""
    owner(request)
    text = await request.state.redis.get(f"{PAGE_KEY}{page}")
    if text is None:
        raise HTTPException(404)
    kept, here = orjson.loads(text), f"http://{request.headers['host']}/movies/?page="
    kept["next"] = f"{here}{page + 1}" if kept["next"] else None
    kept["previous"] = f"{here}{page - 1}" if kept["previous"] and page > 1 else None
    return Response(
        orjson.dumps(kept, option=orjson.OPT_APPEND_NEWLINE), 200, {"Cache-Control": "private, max-age=60"}, JSON)


@app.get("/request-count/")
async def request_count(request: Request) -> Response:
    """GET /request-count/"""
    return Response(orjson.dumps({"requests": request.state.requests}, option=orjson.OPT_APPEND_NEWLINE),
                    media_type=JSON)


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"listens on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", access_log=False, log_level="warning", proxy_headers=False,
        server_header=False)
    uvicorn.Server(config).run(sockets=[listening])
