"""Fixtures: PostgreSQL, Redis and a server that tests share; a test that touches the server's parts gets its own."""
from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
from pydantic import SecretStr
from selenium.webdriver import Chrome
from tornado.httpclient import AsyncHTTPClient
from tornado.platform.asyncio import AsyncIOLoop
from tornado.testing import bind_unused_port

import movieserver
from movieserver.accounts import login_attempts, registration_limit
from movieserver.app import make_app
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.postgres import migrations
from movieserver.resources import Resources, open_resources
from movieserver.serving.http_server import Server
from movieserver.serving.request import MovieServer
from movieserver.settings import Settings
from movieserver.third_party import client
from tests import record, web
from tests.client import Api
from tests.counts import assert_exact
from tests.factories import registration
from tests.third_party import PASSWORD, SECRETS, USERNAME, ThirdParty

SECRET = "a signing key for tests of sixty-four bytes and more as HS512 would like it"
# what every process of a server gets that tests start
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).with_name("production"))}
# for clusters that are copied: small files, and no processes for reading ahead
CHEAPER = "min_wal_size = 2MB\nmax_wal_size = 64MB\nfull_page_writes = off\nio_method = sync\n"
# a test that requests one of these gets a server of its own; the others share one
PARTS = {"app", "resources", "http_server", "third_party", "own_redis", "monkeypatch"}
LONG = {"test_chaos", "test_failover", "test_fuzz"}
SignUp = Callable[[], Awaitable[Api]]

for variable in Settings.model_fields:
    os.environ.pop(variable.upper(), None)


def pytest_configure() -> None:
    # a shell starts background jobs with SIGINT ignored, and the servers that tests start would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    record.secret(*SECRETS)
    record.begin()


def pytest_unconfigure() -> None:
    record.end()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)  # so that no process waits for one of them at the end
    for item in items:
        coroutine = isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj)
        if coroutine and not item.get_closest_marker("gen_test"):
            item.add_marker(pytest.mark.gen_test)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder with a path short enough for Unix sockets, open to the user that PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="ms-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty() -> Iterator[Path]:
    """A DATA_DIR that does not exist yet."""
    with temporary_folder() as parent:
        yield parent / "data"


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A DATA_DIR that tests share, which makes their starts faster."""
    with temporary_folder() as parent:
        yield parent / "data"


@cache
def _new_cluster(migrated: bool) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ms-"))
    atexit.register(shutil.rmtree, folder)
    folder.chmod(0o755)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        program = Postgres(folder / "data", folder, lock.fileno(), fsync="off")
        if migrated:
            create_cluster(folder / "data")
            program.start()
            program.wait_ready()
            migrations.migrate(program.url)
            program.stop()
        else:
            program.create()
            program.run("pg_resetwal", "--wal-segsize=1", "-D", str(program.folder))
            with open(program.folder / "postgresql.conf", "a", encoding="utf-8") as configuration:
                configuration.write(CHEAPER)
    return folder / "data"


def create_cluster(folder: Path, migrated: bool = False) -> None:
    """Create the data of an empty PostgreSQL in `folder`: a copy, which is faster than initdb and migrations."""
    subprocess.run(["cp", "-a", _new_cluster(migrated), folder], check=True)


@contextmanager
def started(program: type[Postgres] | type[Redis], *arguments: str, **options: str) -> Iterator[Any]:
    """An embedded server of its own."""
    with temporary_folder() as folder, open(folder / "lock", "w", encoding="ascii") as lock:
        sockets = folder / "run"
        sockets.mkdir()
        if program is Postgres:
            create_cluster(folder / "data")
        running = program(folder / "data", sockets, lock.fileno(), *arguments, **options)
        running.start()
        try:
            running.wait_ready()
            yield running
        finally:
            running.stop_signal = signal.SIGQUIT if program is Postgres else signal.SIGKILL  # its data is not needed
            running.stop()


@pytest.fixture(scope="session", autouse=True)
def _no_secret_is_logged() -> Iterator[None]:
    """After all tests, check that the servers logged none of their secrets."""
    yield
    assert not record.found(record.logged())


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A migrated PostgreSQL. After all tests, check that the stored counts of every user are right."""
    with started(Postgres, fsync="off") as running:
        migrations.migrate(running.url)
        yield running
        assert_exact(running.url)


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """Redis for tests that leave it running."""
    with started(Redis) as running:
        yield running


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """Redis for a test that stops it."""
    with started(Redis) as running:
        yield running


class SharedServer(NamedTuple):
    """A server on an event loop that runs only during tests, and a client of it."""

    io_loop: AsyncIOLoop
    settings: Settings
    server: Server
    app: MovieServer
    client: AsyncHTTPClient
    url: str

    def run_test(self) -> Iterator[AsyncIOLoop]:
        """The event loop for one test; afterwards none of its tasks, requests and connections may be left."""
        loop = self.io_loop.asyncio_loop
        asyncio.set_event_loop(loop)
        before = asyncio.all_tasks(loop)
        yield self.io_loop
        self.io_loop.run_sync(lambda: self._settle(before))
        asyncio.set_event_loop(None)

    async def _settle(self, before: set[asyncio.Task[Any]]) -> None:
        async with asyncio.timeout(10):
            while self.app.active or any(_ours(task) for task in asyncio.all_tasks() - before):
                for connection in [*self.server.connections]:
                    connection.transport.abort()
                await asyncio.sleep(0.002)


def shares(request: pytest.FixtureRequest) -> bool:
    """Whether a test uses the shared server: it calls the API, and asks for none of its parts."""
    return "http_client" in request.fixturenames and PARTS.isdisjoint(request.fixturenames)


@pytest.fixture(scope="session")
def shared(postgres: Postgres, redis: Redis) -> Iterator[SharedServer]:
    """The server that tests share."""
    io_loop = _new_loop()
    party = ThirdParty()
    settings = make_settings(postgres.url, redis.url, party.url)
    stack = AsyncExitStack()
    resources = io_loop.run_sync(lambda: stack.enter_async_context(open_resources(settings)))
    app = make_app(settings, resources)
    server = Server(app)
    listening, port = bind_unused_port()
    io_loop.run_sync(lambda: _serve(server, listening))
    client = AsyncHTTPClient(force_instance=True, max_clients=100)
    yield SharedServer(io_loop, settings, server, app, client, f"http://127.0.0.1:{port}")
    client.close()
    io_loop.run_sync(lambda: _stop(server, app))
    io_loop.run_sync(stack.aclose)
    io_loop.run_sync(party.close)
    io_loop.close(all_fds=False)


@pytest.fixture
def io_loop(request: pytest.FixtureRequest) -> Iterator[AsyncIOLoop]:
    """An event loop like the server's; afterwards no task of the server may be left on it."""
    if shares(request):
        shared: SharedServer = request.getfixturevalue("shared")
        yield from shared.run_test()
        return
    io_loop = _new_loop()
    loop = io_loop.asyncio_loop
    yield io_loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    left = [task for task in asyncio.all_tasks(loop) if _ours(task)]
    io_loop.close(all_fds=False)
    asyncio.set_event_loop(None)
    assert not left


def _new_loop() -> AsyncIOLoop:
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    io_loop: AsyncIOLoop = AsyncIOLoop(asyncio_loop=loop, make_current=False)
    return io_loop


def _ours(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and Path(code.co_filename).is_relative_to(Path(movieserver.__file__).parent)


@pytest.fixture(autouse=True)
def _attempts_of_its_own() -> Iterator[None]:
    """Wrong passwords and registrations of one test do not count in the next."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (login_attempts, registration_limit):
            patch.setattr(module, "PREFIX", module.PREFIX + uuid.uuid4().hex)
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls to the third party are retried without a pause."""
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def third_party(io_loop: AsyncIOLoop) -> Iterator[ThirdParty]:
    """The stand-in for the third party."""
    party = ThirdParty()
    yield party
    io_loop.run_sync(party.close)


@pytest.fixture
def settings(request: pytest.FixtureRequest, postgres: Postgres, redis: Redis) -> Settings:
    """Production settings, but with a cheap password hash. Tests override this fixture."""
    if shares(request):
        shared: SharedServer = request.getfixturevalue("shared")
        return shared.settings
    return make_settings(postgres.url, redis.url, request.getfixturevalue("third_party").url)


@pytest.fixture(scope="session")
def site(postgres: Postgres, redis: Redis) -> Iterator[Any]:
    """A server in a process of its own, with the demo catalogue."""
    from tests.test_run import serving

    with temporary_folder() as folder, serving(
        folder / "data", DATABASE_URL=postgres.url, REDIS_URL=redis.url, JWT_SECRET=SECRET,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    """A browser."""
    with web.browsing() as driver:
        yield driver


@pytest.fixture
def page(browser: Chrome, site: Any) -> Iterator[web.Page]:
    """The browser as if it were new; in the end there is no message in its console and no request to another host."""
    page = web.Page(browser, site)
    yield page
    complaints, foreign = page.complaints(), page.foreign()
    page.forget()
    assert complaints == [] and foreign == []


@pytest.fixture
def person(site: Any) -> web.Person:
    """Somebody who has an account."""
    return web.Person(site)


@cache
def _read_settings(**given: Any) -> Settings:
    return Settings(**given)


def make_settings(database_url: str, redis_url: str, movie_api_url: str, **given: Any) -> Settings:
    """Settings from addresses."""
    settings = _read_settings(**{
        "_env_file": None, "database_url": database_url, "redis_url": redis_url, "movie_api_url": "http://localhost/",
        "movie_api_username": USERNAME, "movie_api_password": PASSWORD, "jwt_secret": SECRET, "bcrypt_rounds": 4,
        "movie_cache_seconds": 0,
    } | given).model_copy(update={"movie_api_url": SecretStr(movie_api_url)})  # another for each test
    record.settings(dict(settings))
    return settings


@pytest.fixture
def resources(io_loop: AsyncIOLoop, settings: Settings) -> Iterator[Resources]:
    """What the server holds open."""
    stack = AsyncExitStack()
    yield io_loop.run_sync(lambda: stack.enter_async_context(open_resources(settings)))
    io_loop.run_sync(stack.aclose)


@pytest.fixture
def app(settings: Settings, resources: Resources) -> MovieServer:
    """The application."""
    return make_app(settings, resources)


@pytest.fixture
def http_server(io_loop: AsyncIOLoop, app: MovieServer, _unused_port: Any) -> Iterator[Server]:
    """The server, on a free port."""
    server = Server(app)
    io_loop.run_sync(lambda: _serve(server, _unused_port[0]))
    yield server
    io_loop.run_sync(lambda: _stop(server, app))


async def _serve(server: Server, listening: socket.socket) -> None:
    server.add_sockets([listening])


async def _stop(server: Server, app: MovieServer) -> None:
    server.stop_listening()
    await server.close()
    async with asyncio.timeout(10):
        while app.active:  # written to a client that is gone
            await asyncio.sleep(0.01)


@pytest.fixture
def http_client(
    request: pytest.FixtureRequest, io_loop: AsyncIOLoop, settings: Settings
) -> Iterator[AsyncHTTPClient]:
    """A client for many concurrent requests."""
    if shares(request):
        shared = request.getfixturevalue("shared")
        assert settings is shared.settings, f"a test with settings of its own must request one of {PARTS}"
        yield shared.client
        return
    request.getfixturevalue("http_server")
    client = AsyncHTTPClient(force_instance=True, max_clients=100)
    yield client
    client.close()


@pytest.fixture
def base_url(request: pytest.FixtureRequest, http_client: AsyncHTTPClient) -> str:
    """The address of the server."""
    if shares(request):
        shared: SharedServer = request.getfixturevalue("shared")
        return shared.url
    return f"http://127.0.0.1:{request.getfixturevalue('http_port')}"


@pytest.fixture
def api(http_client: AsyncHTTPClient, base_url: str) -> Api:
    """The API, without a token."""
    return Api(http_client, base_url)


@pytest.fixture
def sign_up(api: Api) -> SignUp:
    """Register a user; returns the API with their token."""

    async def register() -> Api:
        response = await api.post("/register/", registration())
        assert response.status == 201
        return api.signed(response.json["access_token"])

    return register


@pytest.fixture
def alice(io_loop: AsyncIOLoop, sign_up: SignUp) -> Api:
    """The API with the token of a registered user."""
    signed: Api = io_loop.run_sync(sign_up)
    return signed
