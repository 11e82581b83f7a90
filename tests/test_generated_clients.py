"""Clients that are generated from /openapi.json are complete and work; `make clients` runs the tests that need Node."""
from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests import record
from tests.client import Api
from tests.conftest import temporary_folder
from tests.described import DOCUMENT
from tests.factories import movies, registration

NPM_PACKAGES = (
    "openapi-typescript@7.13.0", "typescript@5.9.3", "@redocly/cli@2.77.0", "@stoplight/spectral-cli@6.16.3")
OPERATIONS = {
    operation["operationId"] for item in DOCUMENT["paths"].values() for verb, operation in item.items()
    if verb != "parameters"
}
TEXTS = ("text/csv", "application/x-ndjson")
Call = Callable[..., Any]


def run(*command: str | Path, cwd: Path, seconds: int = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=seconds)


@pytest.fixture(scope="module")
def description() -> Iterator[Path]:
    """A folder with openapi.json."""
    with temporary_folder() as folder:
        (folder / "openapi.json").write_text(json.dumps(DOCUMENT), encoding="utf-8")
        yield folder


@pytest.fixture(scope="module")
def python_client(description: Path) -> Iterator[ModuleType]:
    """The package that openapi-python-client makes, without a warning."""
    (description / "config.json").write_text(json.dumps({
        "post_hooks": [], "content_type_overrides": dict.fromkeys(TEXTS, "application/octet-stream"),
    }), encoding="ascii")
    done = run(
        sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--config", "config.json",
        "--fail-on-warning", "--meta", "none", "--output-path", "movieserver_client", cwd=description)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in (done.stdout + done.stderr).upper()
    sys.path.insert(0, str(description))
    yield importlib.import_module("movieserver_client")
    sys.path.remove(str(description))


def part(package: ModuleType, name: str) -> Any:
    return importlib.import_module(f"{package.__name__}.{name}")


def snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def test_the_python_client_has_every_operation(python_client: ModuleType) -> None:
    folder = Path(str(python_client.__file__)).parent / "api"
    assert {file.stem for file in folder.glob("*/*.py")} - {"__init__"} == set(map(snake_case, OPERATIONS))


def calls(package: ModuleType, client: Any) -> Call:
    """A function that calls an operation, such as collections.get_collection, and returns the parsed response."""

    async def call(name: str, *arguments: Any, **parameters: Any) -> Any:
        response = await part(package, f"api.{name}").asyncio_detailed(*arguments, client=client, **parameters)
        return response.parsed

    return call


async def test_calls_with_the_python_client(api: Api, python_client: ModuleType) -> None:
    models, pair = part(python_client, "models"), registration()
    record.exchanged(pair)
    async with python_client.Client(base_url=api.base_url) as client:
        tokens = await calls(python_client, client)("accounts.register", body=models.Registration(**pair))
    record.exchanged(tokens.to_dict())
    async with python_client.AuthenticatedClient(base_url=api.base_url, token=tokens.access_token) as client:
        call = calls(python_client, client)
        page = await call("movies.list_movies", page=1)
        found = [models.Movie.from_dict(movie.to_dict()) for movie in page.data[:2]]
        await change_a_collection(call, models, found)
        assert (await call("request_count.get_request_count")).requests > 0
        problem = await call("collections.create_collection", body=models.NewCollection(title=""))
        assert [error.pointer for error in problem.errors] == ["/title"]
        assert (await call("accounts.delete_account")).message


async def change_a_collection(call: Call, models: Any, found: list[Any]) -> None:
    """Create a collection of movies, list, change and read it, and delete it."""
    created = await call("collections.create_collection", body=models.NewCollection(title="Mine", movies=found))
    uuid = created.collection_uuid
    listed = await call("collections.list_collections", limit=5, movies=False)
    assert (listed.is_success, listed.count, listed.data.collections[0].uuid) == (True, 1, uuid)
    assert not listed.data.collections[0].movies
    changes = models.CollectionChanges(description="Changed")
    assert (await call("collections.update_collection", uuid, body=changes)).collection_uuid == uuid
    extra = [models.Movie.from_dict(movie) for movie in movies(3, genres="Drama")]
    for body in (models.MovieList(movies=extra[:1]), extra[1:2], extra[2]):
        assert (await call("collection_movies.add_movies", uuid, body=body)).added == 1
    order = [movie.uuid for movie in reversed([*found, *extra])]
    await call("collection_movies.reorder_collection", uuid, body=models.UuidList(movies=order))
    assert (await call("collection_movies.remove_movie", uuid, order.pop())).message
    collection = await call("collections.get_collection", uuid)
    assert (collection.title, collection.description) == ("Mine", "Changed")
    assert [movie.uuid for movie in collection.movies] == order
    assert "Drama" in [genre.genre for genre in (await call("genres.list_genres")).genres]
    assert (await call("collections.delete_collection", uuid)).message
    problem = await call("collections.get_collection", uuid)
    assert (type(problem), problem.status, problem.code) == (models.Problem, 404, "not_found")


@pytest.fixture(scope="module")
def node(description: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program of NPM_PACKAGES in the folder with openapi.json."""
    assert shutil.which("npm"), "npm is not installed"
    (description / "package.json").write_text("{}", encoding="ascii")
    installed = run("npm", "install", "--no-audit", "--no-fund", "--silent", *NPM_PACKAGES, cwd=description)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return lambda program, *arguments: run(description / "node_modules" / ".bin" / program, *arguments, cwd=description)


TYPESCRIPT = """
import type { components, operations, paths } from "./api";

const collection: components["schemas"]["NewCollection"] = { title: "Mine" };
const movie: components["schemas"]["Movie"] = { uuid: "57baf4f4-c9ef-4197-9e4f-acf04eae5b4d", title: "A movie" };
const changes: components["schemas"]["CollectionChanges"] = { movies: [movie] };
const single: components["schemas"]["AddedMovies"] = movie;
const query: operations["listCollections"]["parameters"]["query"] = { movies: false };
const everything: operations["listCollections"]["parameters"] = {};
declare const page: paths["/collection/"]["get"]["responses"][200]["content"]["application/json"];
const titles: string[] = page.data.collections.map(({ title }) => title);
declare const problem: operations["createCollection"]["responses"][400]["content"]["application/problem+json"];
const code: string = problem.code, pointers: string[] = (problem.errors ?? []).map(({ pointer }) => pointer);
export { code, collection, changes, everything, pointers, query, single, titles };
"""


@pytest.mark.node
def test_a_typescript_client_compiles(
    description: Path, node: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    made = node("openapi-typescript", "openapi.json", "-o", "api.ts")
    assert made.returncode == 0, made.stdout + made.stderr
    (description / "client.ts").write_text(TYPESCRIPT, encoding="ascii")
    compiled = node("tsc", "--noEmit", "--strict", "--target", "es2022", "--moduleResolution", "bundler", "--module",
                    "esnext", "client.ts")
    assert compiled.returncode == 0, compiled.stdout


@pytest.mark.node
def test_the_linters_find_nothing_but_the_trailing_slashes(
    description: Path, node: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (description / "redocly.yaml").write_text(
        "extends: [recommended]\nrules: {no-path-trailing-slash: off}\n", encoding="ascii")
    (description / ".spectral.yaml").write_text(
        "extends: ['spectral:oas']\nrules: {path-keys-no-trailing-slash: off}\n", encoding="ascii")
    redocly = node("redocly", "lint", "openapi.json", "--format", "json")
    assert redocly.returncode == 0 and json.loads(redocly.stdout)["problems"] == [], redocly.stdout
    spectral = node("spectral", "lint", "openapi.json", "--fail-severity", "hint", "--format", "json")
    assert spectral.returncode == 0, spectral.stdout
