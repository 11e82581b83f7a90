"""A crash test: scripts that write and follow, random kill -9, and a checker of every acknowledged write.

    python -m tests.chaos --minutes 3 --seed 7
"""
from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.programs import EmbeddedError
from movieserver.embedded.redis import Redis
from movieserver.postgres import migrations
from tests.conftest import SECRET, temporary_folder
from tests.follower import Follower, following
from tests.test_run import Server, gone, serving

USERS = 4
RETURN_SECONDS = 40.0
PAUSE_SECONDS = 0.2  # before a client retries after a failed request
GENRES = ["Drama", "drama", "Comedy", "Action", "Horror", " Crime ", "Western", ""]


class State(NamedTuple):
    """A possible state of a collection: title and movies, or deleted (both None)."""

    title: str | None
    movies: tuple[tuple[str, str, str], ...] | None  # uuid, title, genres

    def body(self) -> dict[str, Any]:
        return {"title": self.title, "movies": [
            {"uuid": movie, "title": title, "genres": genres} for movie, title, genres in self.movies or ()]}


GONE = State(None, None)


class Shared(NamedTuple):
    """A list of movies sent to the shared collection, with the times when it was sent and acknowledged."""

    movies: tuple[tuple[str, str, str], ...]
    sent: float
    acknowledged: float | None


class Client:
    """Sends requests to a port, and counts the requests and their responses."""

    def __init__(self, port: int) -> None:
        self._url = f"http://localhost:{port}"
        self.sent = 0
        self.responses: Counter[int] = Counter()
        self._lock = threading.Lock()

    def call(self, method: str, path: str, body: object = None, token: str | None = None) -> tuple[int, Any]:
        """Status and JSON; (0, None) without a complete response."""
        request = urllib.request.Request(
            self._url + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
        )
        with self._lock:
            self.sent += 1
        status, response = 0, None
        try:
            with urllib.request.urlopen(request, timeout=30) as got:
                status, response = got.status, json.loads(got.read())
        except urllib.error.HTTPError as error:
            with error:
                status, response = error.code, _json(error)
        except (OSError, http.client.HTTPException):
            pass
        with self._lock:
            self.responses[status] += 1
        if status in (0, 503):
            time.sleep(PAUSE_SECONDS)
        return status, response


def _json(error: urllib.error.HTTPError) -> Any:
    try:
        return json.loads(error.read())
    except (OSError, ValueError, http.client.HTTPException):
        return None


class Journal:
    """The possible states of one user's collections, and the faults that were seen."""

    def __init__(self) -> None:
        self.collections: dict[str, list[State]] = {}  # the possible states by uuid; with only one, it is certain
        self.unacknowledged: list[State] = []  # creates without a response
        self.shared_uuid = ""
        self.shared: list[Shared] = []
        self.acknowledged = 0
        self.faults: list[str] = []

    def possible_lists(self) -> set[tuple[tuple[str, str, str], ...]]:
        """The possible lists of the shared collection: all but those that a later one has certainly replaced."""
        latest = max((one.sent for one in self.shared if one.acknowledged), default=0.0)
        return {one.movies for one in self.shared if one.acknowledged is None or one.acknowledged >= latest}


class Writer:
    """A script with a personal token. `write` creates, updates or deletes a collection whose state is certain."""

    def __init__(self, client: Client, chance: random.Random) -> None:
        self._client, self._chance = client, chance
        self.journal = Journal()
        self.token = ""

    def sign_up(self) -> None:
        """Register, and create the collection that several threads write."""
        pair = {"username": f"user-{uuid.uuid4().hex}", "password": "long enough"}
        status, response = self._client.call("POST", "/register/", pair)
        assert status == 201, response
        status, response = self._client.call(
            "POST", "/tokens/", {"name": "script", "scope": "write"}, response["access_token"])
        assert status == 201, response
        self.token = response["token"]
        status, response = self.call("POST", "/collection/", {"title": "shared"})
        assert status == 201, response
        self.journal.shared_uuid = response["collection_uuid"]
        self.journal.shared.append(Shared((), time.monotonic(), time.monotonic()))

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request; any response but success and 503 is a fault."""
        status, response = self._client.call(method, path, body, self.token)
        if status not in (0, 200, 201, 503):
            self.journal.faults.append(f"{method} {path} got {status}: {response}")
        return status, response

    def write(self) -> None:
        certain = [key for key, states in self.journal.collections.items() if len(states) == 1 and states != [GONE]]
        if len(certain) < 3 or self._chance.random() < 0.25:
            self._chance.choice([self._create, self._import])()
        else:
            action = self._chance.choices([self._update, self._delete, self._look], [6, 1, 2])[0]
            action(self._chance.choice(certain))

    def write_shared(self) -> None:
        """Replace the movies of the shared collection."""
        movies, sent = self._movies(), time.monotonic()
        body = {"movies": State("", movies).body()["movies"]}
        status, _ = self.call("PUT", f"/collection/{self.journal.shared_uuid}/", body)
        self.journal.acknowledged += status == 200
        self.journal.shared.append(Shared(movies, sent, time.monotonic() if status == 200 else None))

    def _movies(self) -> tuple[tuple[str, str, str], ...]:
        mark, chance = uuid.uuid4().hex, self._chance
        return tuple(
            (str(uuid.UUID(int=chance.getrandbits(128), version=4)), f"{mark} {number}",
             ",".join(chance.choices(GENRES, k=chance.randrange(4))))
            for number in range(chance.choice([0, 1, 5, 20, 300])))

    def _create(self) -> None:
        new = State(uuid.uuid4().hex, self._movies())
        status, response = self.call("POST", "/collection/", new.body())
        if status == 201:
            self.journal.acknowledged += 1
            self.journal.collections[response["collection_uuid"]] = [new]
        else:
            self.journal.unacknowledged.append(new)

    def _import(self) -> None:
        key, new = str(uuid.uuid4()), State(uuid.uuid4().hex, self._movies())
        self.journal.collections[key] = [GONE]
        status, _ = self.call("POST", "/import/", {"uuid": key, **new.body()})
        self._settle(key, new, status)

    def _update(self, key: str) -> None:
        before, = self.journal.collections[key]
        drawn = State(uuid.uuid4().hex, self._movies())
        after = self._chance.choice([
            drawn, drawn, before._replace(title=drawn.title), before._replace(movies=drawn.movies)])
        changes = {name: value for name, value in after.body().items() if value != before.body()[name]}
        changes = changes or {"title": after.title}
        status, _ = self.call("PUT", f"/collection/{key}/", changes)
        self._settle(key, after, status)

    def _delete(self, key: str) -> None:
        status, _ = self.call("DELETE", f"/collection/{key}/")
        self._settle(key, GONE, status)

    def _settle(self, key: str, after: State, status: int) -> None:
        if status == 200:
            self.journal.acknowledged += 1
            self.journal.collections[key] = [after]
        else:
            self.journal.collections[key].append(after)

    def _look(self, key: str) -> None:
        """Read a collection, and compare it with what was acknowledged."""
        status, response = self.call("GET", f"/collection/{key}/")
        if status == 200 and (found := _state(response)) != self.journal.collections[key][0]:
            self.journal.faults.append(f"{key} reads {found}, acknowledged was {self.journal.collections[key][0]}")


def _state(response: dict[str, Any]) -> State:
    return State(
        response["title"], tuple((movie["uuid"], movie["title"], movie["genres"]) for movie in response["movies"]))


class World:
    """The server with PostgreSQL and Redis; `kill` kills a part with -9 and has it started again.

    If embedded, run.py restarts PostgreSQL and Redis; otherwise the test does, after a while.
    """

    def __init__(self, folder: Path, chance: random.Random, embedded: bool) -> None:
        self._folder, self._chance, self._embedded = folder, chance, embedded
        self._stack = ExitStack()
        self._serving = ExitStack()
        self.port = _free_port()
        self._settings = {
            "PORT": str(self.port), "PROCESSES": "2", "ACCESS_TOKEN_MINUTES": "600", "LOG_LEVEL": "WARNING"}
        if not embedded:
            self._lock = self._stack.enter_context(open(folder / "lock", "w", encoding="ascii"))
            self._start_own()
        self.start()

    def _start_own(self) -> None:
        sockets = self._folder / "run"
        sockets.mkdir()
        self.postgres = Postgres(self._folder / "postgres", sockets, self._lock.fileno())
        self.redis = Redis(self._folder / "redis", sockets, self._lock.fileno())
        for program in (self.postgres, self.redis):
            self._stack.callback(program.stop)
            program.start()
            program.wait_ready()
        migrations.migrate(self.postgres.url)
        self._settings |= {
            "DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url, "JWT_SECRET": SECRET,
            "MOVIE_API_URL": "http://127.0.0.1:1/"}

    @property
    def database_url(self) -> str:
        """The address of PostgreSQL."""
        if not self._embedded:
            return self.postgres.url
        return f"postgresql:///movieserver?host={self._folder / 'data' / 'run'}&user=postgres"

    def start(self) -> None:
        self.server: Server = self._serving.enter_context(serving(self._folder / "data", **self._settings))

    def close(self) -> int:
        """Stop everything in order; the server's exit status."""
        status = self.server.stop()
        self._serving.close()
        self._stack.close()
        return status

    def kill(self, part: str) -> None:
        """End `worker`, `backend`, `postgres`, `redis`, `server` (run.py alone) or `all` with -9."""
        if part in ("server", "all"):
            family = self.server.family()
            for pid in family if part == "all" else family[:1]:
                _kill(pid)
            self._serving.close()
            until(lambda: all(map(gone, family)))  # a process of the killed server still holds the port
            self.start()
        elif part == "backend":
            until(lambda: bool(_children(self._pids("postgres")[0])))  # it may have just been started
            _kill(self._chance.choice(_children(self._pids("postgres")[0])))
        elif self._embedded or part == "worker":
            _kill(self._chance.choice(self._pids({"redis": "redis-server", "worker": "python"}.get(part, part))))
        else:
            self._restart_own(self.postgres if part == "postgres" else self.redis)

    def _restart_own(self, program: Postgres | Redis) -> None:
        assert program.process
        program.process.kill()
        program.process.wait()
        time.sleep(self._chance.uniform(0, 2))
        while True:
            program.start()
            try:
                return program.wait_ready()
            except EmbeddedError:
                continue  # a child of the killed one still runs

    def _pids(self, name: str) -> list[int]:
        """Processes of the server by the name of their program; waits until there is one."""
        if name == "postgres" and not self._embedded:
            assert self.postgres.process
            return [self.postgres.process.pid]
        found: list[int] = []

        def look() -> bool:
            found[:] = [pid for pid in self.server.children() if _program(pid).startswith(name)]
            return bool(found)

        until(look)
        return found


PARTS = ("worker", "backend", "postgres", "redis", "server", "all")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _children(pid: int) -> list[int]:
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())]


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; over RETURN_SECONDS is a fault."""
    deadline = time.monotonic() + RETURN_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.02)


class Checker:
    """Compares journals with the database, through SQL and the API; `faults` describes what is wrong."""

    def __init__(self, url: str, client: Client) -> None:
        self.url, self._client = url, client

    def faults(self, writers: list[Writer]) -> list[str]:
        found = [fault for writer in writers for fault in writer.journal.faults]
        session = psycopg2.connect(self.url)
        with session, session.cursor() as cursor:
            cursor.execute(ORPHANS)
            found += [f"{count} rows of {table} without an owner" for table, count in cursor.fetchall() if count]
            cursor.execute(MISCOUNTED)
            found += [f"the counts of user {user_id} are wrong" for user_id, in cursor.fetchall()]
            cursor.execute(TORN)
            found += [f"{key} has other uuids than its movies" for key, in cursor.fetchall()]
            cursor.execute(COLLECTIONS)
            stored = {key: State(title, tuple(map(tuple, movies))) for key, title, movies in cursor.fetchall()}
        session.close()
        known = {key: states for writer in writers for key, states in writer.journal.collections.items()}
        known |= {writer.journal.shared_uuid: [
            State("shared", movies) for movies in writer.journal.possible_lists()] for writer in writers}
        found += [
            f"{key} is {stored.get(key, GONE)}, and may be {states}"
            for key, states in known.items() if stored.get(key, GONE) not in states]
        unacknowledged = Counter(state for writer in writers for state in writer.journal.unacknowledged)
        unknown = Counter(state for key, state in stored.items() if key not in known)
        found += [f"{state} was not sent, or less often" for state in unknown - unacknowledged]
        for writer in writers:
            found += self._api_faults(writer, stored)
        return found

    def _api_faults(self, writer: Writer, stored: dict[str, State]) -> Iterator[str]:
        """Compare the responses of the API with what is stored."""
        seen: dict[str, State] = {}
        favourite, link = "", "/collection/?limit=100"
        while link:
            status, page = self._client.call("GET", link, token=writer.token)
            if status != 200:
                yield f"the list got {status}"
                return
            seen |= {one["uuid"]: _state(one) for one in page["data"]["collections"]}
            favourite, link = page["data"]["favourite_genres"], (page["next"] or "").partition("localhost")[2]
            link = link[link.find("/"):] if link else ""
        yield from (f"the API shows {key} as {seen[key]}" for key in seen if seen[key] != stored.get(key))
        mine = {key for key, states in writer.journal.collections.items() if key in stored}
        yield from (f"the API does not show {key}" for key in mine - set(seen))
        if favourite != favourite_genres(seen.values()):
            yield f"favourite genres are {favourite!r}, and should be {favourite_genres(seen.values())!r}"


def favourite_genres(collections: Any) -> str:
    """The expected value: the three most frequent genres, each in its most frequent spelling."""
    spellings: Counter[str] = Counter(
        name for state in collections for _, _, genres in state.movies
        for name in map(str.strip, genres.split(",")) if name)
    genres: Counter[str] = Counter()
    for name, times in spellings.items():
        genres[name.lower()] += times
    favourite = sorted(genres, key=lambda genre: (-genres[genre], genre))[:3]
    written = sorted(spellings, key=lambda name: (-spellings[name], name))
    return ",".join(next(name for name in written if name.lower() == genre) for genre in favourite)


TABLES = (
    "sessions", "spent_refresh_tokens", "collections", "user_genres", "idempotency_keys", "personal_tokens",
    "deleted_collections")
ORPHANS = " UNION ALL ".join(
    f"SELECT '{table}', count(*) FROM {table} WHERE user_id NOT IN (SELECT user_id FROM users)" for table in TABLES)
MISCOUNTED = "SELECT user_id::text FROM miscounted_users"
# the two copies of the uuids in a row agree
TORN = """
SELECT collection_uuid::text FROM collections
WHERE movie_uuids <> ARRAY(
    SELECT (movie ->> 'uuid')::uuid FROM json_array_elements(movies) WITH ORDINALITY AS one (movie, index)
    ORDER BY index)
"""
COLLECTIONS = """
SELECT collection_uuid::text, title, (
    SELECT coalesce(json_agg(
        json_build_array(movie -> 'uuid', movie -> 'title', movie -> 'genres') ORDER BY index), '[]')
    FROM json_array_elements(movies) WITH ORDINALITY AS one (movie, index))
FROM collections
"""


@contextmanager
def writing(client: Client, seed: int) -> Iterator[list[Writer]]:
    """Users who write until the end of the block; two threads of each user share a collection."""
    over = threading.Event()
    writers = [Writer(client, random.Random(f"{seed} {number}")) for number in range(USERS)]
    for writer in writers:
        writer.sign_up()

    def loop(action: Callable[[], None]) -> None:
        while not over.is_set():
            action()
            over.wait(0.02)

    actions = [action for writer in writers for action in (writer.write, writer.write_shared, writer.write_shared)]
    threads = [threading.Thread(target=loop, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield writers
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def followed(client: Client, seed: int) -> Iterator[tuple[list[Writer], list[Follower]]]:
    """Users who write, and two followers of each, who stop after the writers."""
    with ExitStack() as stack:
        writing_now = stack.enter_context(ExitStack())
        writers = writing_now.enter_context(writing(client, seed))
        followers = stack.enter_context(following(client, [writer.token for writer in writers] * 2))
        yield writers, followers
        writing_now.close()


class Outcome(NamedTuple):
    """The result of a run."""

    faults: list[str]
    kills: Counter[str]
    acknowledged: int
    client: Client
    counted: int
    errors: list[str]  # lines of the server's log

    def __str__(self) -> str:
        kills = ", ".join(f"{part} {times}" for part, times in sorted(self.kills.items()))
        uncertain = self.client.responses[0] + self.client.responses[503]
        return (
            f"killed: {kills}\n{self.acknowledged} writes acknowledged; {self.client.sent} requests, {uncertain} of "
            f"them without a response or with 503; counted {self.counted}\n"
            + ("\n".join(["FAULTS:", *self.faults, "ERRORS IN THE LOG:", *self.errors]) if self.faults
               else "nothing is missing, nothing is half-written"))


def storm(world: World, writers: list[Writer], chance: random.Random, seconds: float) -> Counter[str]:
    """Kill the parts in turn, and wait each time until the writers make progress again."""
    kills: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(kills) < len(PARTS):
        part = chance.choice([part for part in PARTS if kills[part] == min(kills[part] for part in PARTS)])
        kills[part] += 1
        world.kill(part)
        if chance.random() < 0.7:  # otherwise the next part is killed before they recover
            before = acknowledged(writers)
            until(lambda: acknowledged(writers) >= before + 20)
        time.sleep(chance.uniform(0, 0.5))
    return kills


def acknowledged(writers: list[Writer]) -> int:
    """The number of successful writes."""
    return sum(writer.journal.acknowledged for writer in writers)


@contextmanager
def survived(seconds: float, seed: int, embedded: bool) -> Iterator[tuple[Outcome, Checker, list[Writer]]]:
    """The result of a run of `seconds`."""
    chance = random.Random(seed)
    with temporary_folder() as folder:
        world = World(folder, chance, embedded)
        try:
            client = Client(world.port)
            with followed(client, seed) as (writers, followers):
                kills = storm(world, writers, chance, seconds)
            until(lambda: client.call("GET", "/request-count/")[0] == 200 == client.call("GET", "/readyz")[0])
            checker = Checker(world.database_url, client)
            faults = checker.faults(writers)
            faults += [f"follower {number} has other collections than its user" for number, follower
                       in enumerate(followers) if follower.collections != follower.truth()]
            _, response = client.call("GET", "/request-count/")
            if response["requests"] > client.sent:
                faults.append(f"{response['requests']} requests are counted, {client.sent} were sent")
            log = world.server.log.read_text(encoding="utf-8")
            errors = [line for line in log.splitlines() if '"level": "error"' in line]
            yield Outcome(faults, kills, acknowledged(writers), client, response["requests"], errors), checker, writers
        finally:
            assert world.close() == 0


def main() -> int:
    """Half of the time with embedded servers, half with servers that stay down for a while."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    faults = 0
    for embedded in (True, False):
        print(f"seed {seed}, {'embedded servers' if embedded else 'servers of their own'}", flush=True)
        with survived(options.minutes * 30, seed, embedded) as (outcome, _, _):
            print(outcome, flush=True)
            faults += len(outcome.faults)
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
