"""Starts the embedded services and completes the settings with their addresses: the server does not know of them."""
from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from pydantic import SecretStr

from movieserver.embedded import catalogue
from movieserver.embedded.postgres import Postgres, running_url
from movieserver.embedded.programs import EmbeddedError
from movieserver.embedded.redis import Redis
from movieserver.serving.supervisor import Child, Worker, stop, temporary_folder
from movieserver.settings import Settings

LEFTOVER_SECONDS = 20.0
SPARE_CONNECTIONS = 20  # for migrations and psql
SOCKET_PATH_BYTES = 107 - len("/.s.PGSQL.5432.lock")  # unix(7): 108 with the final NUL
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")


@contextmanager
def running(settings: Settings) -> Iterator[tuple[Settings, list[Child]]]:
    """Start each service that has no address in `settings`; yields complete settings and the processes to supervise."""
    folder = settings.data_dir.resolve()
    _make_folder(folder)
    with ExitStack() as stack:
        lock = stack.enter_context(_locked(folder))
        sockets = stack.enter_context(_socket_folder(folder))
        programs = _programs(settings, folder, sockets, lock)
        for program in programs.values():
            stack.callback(program.stop)
            program.start()
        completed: dict[str, object] = {name: SecretStr(program.url) for name, program in programs.items()}
        children: list[Child] = [*programs.values()]
        if not settings.movie_api_url:
            worker, addresses = stack.enter_context(_catalogue(settings))
            children.append(worker)
            completed |= addresses
        for program in programs.values():
            program.wait_ready()
        if not settings.jwt_secret:
            completed["jwt_secret"] = _stored_secret(folder / "jwt_secret")
        yield settings.model_copy(update=completed), children


@contextmanager
def database(settings: Settings) -> Iterator[tuple[Settings, bool]]:
    """Settings with the address of the embedded PostgreSQL, and whether this call started it."""
    if url := running_url(settings.data_dir.resolve() / "postgres"):
        yield settings.model_copy(update={"database_url": SecretStr(url)}), False
    else:
        with running(settings) as (complete, _):
            yield complete, True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (owner := folder.stat().st_uid) != os.geteuid():
            raise EmbeddedError(f"DATA_DIR {folder} belongs to user ID {owner}: set DATA_DIR to another folder")
        (folder / "lock").touch()
    except OSError as error:
        raise EmbeddedError(f"DATA_DIR {folder} cannot be written to: {error.strerror}") from None


def _programs(settings: Settings, folder: Path, sockets: Path, lock: int) -> dict[str, Postgres | Redis]:
    programs: dict[str, Postgres | Redis] = {}
    if not settings.database_url:
        connections = settings.processes * settings.database_pool_size + SPARE_CONNECTIONS
        programs["database_url"] = Postgres(folder / "postgres", sockets, lock, max_connections=str(connections))
    if not settings.redis_url:
        programs["redis_url"] = Redis(folder / "redis", sockets, lock)
    return programs


@contextmanager
def _catalogue(settings: Settings) -> Iterator[tuple[Worker, dict[str, object]]]:
    username = settings.movie_api_username or "demo"
    password = settings.movie_api_password or SecretStr(secrets.token_urlsafe())
    listening, url = catalogue.listen()
    with closing(listening):
        worker = Worker("demo catalogue", "movieserver.embedded.demo", [listening], {
            "MOVIE_API_USERNAME": username, "MOVIE_API_PASSWORD": password.get_secret_value()})
        try:
            yield worker, {
                "movie_api_url": SecretStr(url), "movie_api_username": username, "movie_api_password": password}
        finally:
            stop([worker])


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Lock the folder. The programs inherit the lock: it is released when the last of them has ended."""
    with open(folder / "lock", "a+", encoding="ascii") as file:
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip()
                if _is_running(holder) or time.monotonic() > deadline:
                    raise EmbeddedError(
                        f"DATA_DIR {folder} is in use by process {holder or 'unknown'}: "
                        "stop that server first, or set another DATA_DIR (and, to serve, PORT)"
                    ) from None
                time.sleep(0.05)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file.fileno()


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _socket_folder(folder: Path) -> Iterator[Path]:
    """`run` in `folder`; a temporary folder if that path is too long for a socket or has unusual characters."""
    if len(os.fsencode(folder / "run")) <= SOCKET_PATH_BYTES and PLAIN_PATH.fullmatch(str(folder)):
        (folder / "run").mkdir(mode=0o700, exist_ok=True)
        yield folder / "run"
    else:
        with temporary_folder() as short:
            yield Path(short)


def _stored_secret(file: Path) -> SecretStr:
    """The signing key in `file`; the first start generates it."""
    if not file.exists():
        draft = file.with_suffix(".new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as new:
            new.write(secrets.token_urlsafe(48))
            new.flush()
            os.fsync(new.fileno())
        draft.rename(file)
    return SecretStr(file.read_text(encoding="ascii").strip())
