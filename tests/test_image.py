"""The requirements files, and the image that the Dockerfile describes. The tests do not need Docker."""
from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import pytest

import movieserver
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.settings import Settings
from tests import packages
from tests.conftest import SECRET, temporary_folder
from tests.packages import TOP
from tests.test_redis_kinds import free_port
from tests.test_run import until

SERVER, EMBEDDED, DEV = "requirements.txt", "requirements-embedded.txt", "requirements-dev.txt"
KNOWN = {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("file", [SERVER, EMBEDDED, DEV])
def test_a_requirements_file_pins_what_its_packages_need_and_nothing_else(file: str) -> None:
    own, needed = packages.listed(file)
    others = {SERVER, EMBEDDED} if file == DEV else set()
    included = {name for other in others for part in packages.listed(other) for name in part}
    assert {*own, *needed} == packages.closure(list(own.values())) - included
    for requirement in (*own.values(), *needed.values()):
        assert [each.operator for each in requirement.specifier] == ["=="]


def test_the_requirements_files_agree() -> None:
    pins = [packages.listed(file)[0] | packages.listed(file)[1] for file in (SERVER, EMBEDDED, DEV)]
    for first, second in combinations(pins, 2):
        for name in first.keys() & second.keys():
            assert first[name].specifier == second[name].specifier, name


def test_the_dev_requirements_include_the_others() -> None:
    lines = (TOP / DEV).read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if line.startswith("-")} == {f"-r {SERVER}", f"-r {EMBEDDED}"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile: instructions and their arguments."""
    text = (TOP / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2]) for line in lines]


def final(name: str) -> str:
    return [arguments for instruction, arguments in instructions() if instruction == name][-1]


def variables() -> dict[str, str]:
    """The environment variables that the image sets."""
    return dict(word.split("=") for word in final("ENV").split())


def copied() -> dict[str, str]:
    """The files and folders that the image contains, and their destinations."""
    found: dict[str, str] = {}
    for instruction, arguments in instructions():
        if instruction == "COPY" and not arguments.startswith("--from"):
            *sources, destination = arguments.split()
            found |= {source: destination for source in sources}
    return found


def test_the_build_context_is_exactly_what_is_copied() -> None:
    ignored = (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert all((TOP / source).exists() for source in copied())
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())


def test_the_image_runs_unprivileged_and_stops_cleanly() -> None:
    names = [name for name, _ in instructions()]
    assert int(final("USER")) > 0 and names.index("USER") > max(i for i, name in enumerate(names) if name == "RUN")
    assert final("STOPSIGNAL") == "SIGTERM"
    assert json.loads(final("ENTRYPOINT")) + json.loads(final("CMD")) == ["python", "run.py", "serve"]
    assert not any(word in arguments for _, arguments in instructions() for word in ("SECRET", "PASSWORD", "TOKEN"))


def test_the_default_image_has_the_packages_of_the_server_only() -> None:
    stages: dict[str, list[str]] = {}
    for name, arguments in instructions():
        if name == "FROM":
            stage = arguments.split()[-1]
        stages.setdefault(stage, []).append(f"{name} {arguments}")
    assert list(stages)[-1] == "server"
    assert stages["server"] == ["FROM app AS server", "COPY --from=packages /venv /venv"]
    assert [line for line in stages["packages"] if line.startswith("COPY")] == [f"COPY {SERVER} /"]
    assert stages["packages"][-1].endswith(f"-r {SERVER}")


def test_the_image_sets_variables_that_exist() -> None:
    assert {name for name in variables() if not name.startswith("PYTHON")} <= KNOWN | {"PATH"}


@contextmanager
def app() -> Iterator[Path]:
    """The folder /app of the image."""
    with temporary_folder() as folder:
        for source, destination in copied().items():
            copy = shutil.copytree if (TOP / source).is_dir() else shutil.copy
            copy(TOP / source, folder / destination)
        yield folder


@contextmanager
def container(python: Path, folder: Path, **settings: str) -> Iterator[tuple[int, Path]]:
    """Run the command of the image until it is healthy; its port and its log."""
    check = json.loads(final("HEALTHCHECK").partition("CMD ")[2])
    environment = variables() | {
        "PATH": f"{python.parent}:{os.environ['PATH']}", "HOST": "127.0.0.1", "PORT": str(free_port()), **settings}

    def healthy() -> bool:
        return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0

    command = [*json.loads(final("ENTRYPOINT")), *json.loads(final("CMD"))]
    with open(folder / "log", "w", encoding="utf-8") as log:
        assert not healthy()
        with subprocess.Popen(
            [python, *command[1:]], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=log,
        ) as process:
            try:
                until(healthy)
                yield int(environment["PORT"]), folder / "log"
            finally:
                process.terminate()
            assert process.wait(20) == 0


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def test_the_server_needs_nothing_but_its_requirements(postgres: Postgres, redis: Redis) -> None:
    addresses = {
        "DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "MOVIE_API_URL": "http://127.0.0.1:1/",
        "JWT_SECRET": SECRET,
    }
    with packages.environment(SERVER) as python, app() as folder, container(python, folder, **addresses) as (port, log):
        assert get(port, "/readyz")[0] == 200
        described = json.loads(get(port, "/openapi.json")[1])["info"]
        lines = map(json.loads, log.read_text(encoding="utf-8").splitlines())
        started = [line["version"] for line in lines if line["event"] == "process started"]
        assert [described["version"], *started] == [movieserver.__version__] * 2


def test_the_demo_needs_no_setting() -> None:
    with packages.environment(SERVER, EMBEDDED) as python, app() as folder:
        with container(python, folder, DATA_DIR=str(folder / "data")) as (port, _):
            assert get(port, "/readyz")[0] == 200


@pytest.mark.parametrize("command", ["serve", "check", "migrate"])
def test_an_embedded_server_that_is_not_installed(command: str) -> None:
    with packages.environment(SERVER) as python, temporary_folder() as folder:
        done = subprocess.run(
            [python, str(TOP / "run.py"), command], cwd=folder, capture_output=True, text=True, check=False, timeout=60,
            env={"PATH": os.environ["PATH"], "PORT": "0"},
        )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("run.py: ") and done.stderr.count("\n") == 1
    assert f"pip install -r {EMBEDDED}" in done.stderr
