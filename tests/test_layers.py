"""The layers: imports point down, each library is imported in its own file, SQL is only in sql/."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from movieserver import handlers
from movieserver.app import ROUTES
from movieserver.handlers import web
from movieserver.handlers.base import Handler, OpenHandler
from movieserver.openapi.operation import Route
from movieserver.postgres.statements import load_statements

TOP = Path(__file__).parents[1]
PACKAGE = TOP / "movieserver"
LAYERS = [
    {"movieserver", "addresses", "errors", "formats", "env_file", "terminal"},
    {"settings"},
    {"observability"},
    {"http", "postgres", "redis"},
    {"accounts", "third_party"},
    {"schemas", "resources"},
    {"data", "openapi"},
    {"serving"},
    {"handlers"},
    {"app"},
    {"embedded"},
    {"check", "administration"},
    {"server"},
    {"__main__"},
]
# the files that import each library; the embedded servers are a separate program
LIBRARIES = {
    "aiopg": {"postgres/connection.py"},
    "psycopg2": {"addresses.py", "postgres/connection.py", "postgres/hosts.py", "postgres/migrations.py"},
    "dotenv": {"env_file.py"},
    "yoyo": {"postgres/migrations.py"},
    "redis": {"redis/client.py"},
    "jwt": {"accounts/tokens.py"},
    "bcrypt": {"accounts/passwords.py"},
    "pydantic": {
        "schemas/import_file.py", "schemas/movies.py", "schemas/parsing.py", "schemas/requests.py",
        "schemas/responses.py", "schemas/texts.py", "openapi/operation.py", "openapi/document.py",
        "embedded/services.py", "settings.py",
    },
    "pydantic_core": {
        "schemas/genres.py", "schemas/import_file.py", "schemas/movies.py", "schemas/parsing.py", "schemas/requests.py",
        "schemas/texts.py"},
    "typing_extensions": {"schemas/movies.py"},
    "pydantic_settings": {"settings.py"},
    "pycurl": {"third_party/client.py"},
    "certifi": {"third_party/client.py"},
    "stamina": {"third_party/client.py"},
    "structlog": {"observability/logs.py"},
    "prometheus_client": {"observability/metrics.py"},
    "uvloop": {"server.py"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "movieserver":
                yield from (f"movieserver.{alias.name}" for alias in node.names)


def name_of(file: Path) -> str:
    return str(file.relative_to(PACKAGE)).replace("\\", "/")


def layer(part: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def part_of(file: Path) -> str:
    first = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "movieserver" if first == "__init__" else first


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_down(file: Path) -> None:
    own = part_of(file)
    for name in imported(file):
        if name.startswith("movieserver."):
            other = name.split(".")[1]
            assert other == own or layer(other) < layer(own), f"{name_of(file)} imports {name}"


def test_each_library_is_imported_in_its_file() -> None:
    found: dict[str, set[str]] = {}
    for file in FILES:
        for name in imported(file):
            found.setdefault(name.partition(".")[0], set()).add(name_of(file))
    outside = {
        name: files for name, files in found.items()
        if name not in sys.stdlib_module_names and name not in ("movieserver", "tornado")
    }
    assert outside == LIBRARIES


def test_sql_is_only_in_the_sql_folder() -> None:
    for file in FILES:
        if part_of(file) == "embedded":
            continue  # it creates its database with a statement
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.split()
                statement = len(words) > 1 and words[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "CREATE")
                assert not statement or "pg_advisory_lock" in words[1], f"{name_of(file)}: {node.value}"


def test_every_statement_is_run_by_the_function_of_its_name() -> None:
    run = set()
    for file in sorted((PACKAGE / "data").glob("*.py")):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.AsyncFunctionDef):
                names = {
                    node.value for node in ast.walk(function)
                    if isinstance(node, ast.Constant) and str(node.value).startswith(f"{file.stem}.")
                }
                assert names == {f"{file.stem}.{function.name}"}
                run |= names
    assert run == set(load_statements())


def test_statements_of_users_name_their_owner() -> None:
    for name, statement in load_statements().items():
        if name not in ("users.find", "users.list_all", "shares.get") and not name.startswith("operations."):
            owned = ("user_id = %(user_id)s", "VALUES (%(user_id)s", "user_id = request.user_id")
            assert any(words in statement.text for words in owned), name


def test_a_resource_has_the_same_name_in_every_folder() -> None:
    for name in ("collections", "collection_movies", "exports", "genres", "imports", "personal_tokens"):
        for place in (PACKAGE / "handlers" / f"{name}.py", PACKAGE / "data" / f"{name}.py",
                      TOP / "sql" / f"{name}.sql", TOP / "tests" / f"test_{name}.py"):
            assert place.exists()


def test_every_route_says_whether_it_is_protected() -> None:
    """OWASP ASVS 5.0 8.3.1; a route that does not agree with its handler cannot be made."""
    opened = {
        "/", "/register/", "/login/", "/refresh/", "/logout/", "/request-count/", "/request-count/reset/",
        "/healthz/", "/readyz/", "/metrics/", "/limits/", "/openapi.json", "/docs/", "/docs/docs.css", "/docs/docs.js",
        "/shared/{share_token}/",
    }
    for route in ROUTES:
        assert route.protected == (route.template not in opened)
    with pytest.raises(TypeError, match="protected"):
        Route("/new/", Handler)  # type: ignore[call-arg]
    for handler, protected in ((Handler, False), (OpenHandler, True)):
        with pytest.raises(TypeError, match="does not agree with protected="):
            Route("/new/", handler, protected=protected)


def test_the_route_table_is_complete() -> None:
    modules = [import_module(f"{handlers.__name__}.{module.name}") for module in iter_modules(handlers.__path__)]
    routes = [route for module in modules for route in getattr(module, "routes", [])]
    served = [*ROUTES, *web.routes]  # the files of the page are no part of the API
    assert sorted(route.template for route in served) == sorted(route.template for route in routes)


def test_every_promise_has_a_test() -> None:
    """docs/security.md names a test for each promise; the docstring of each test names the promise's source."""
    text = (TOP / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    tests = "\n".join(file.read_text(encoding="utf-8") for file in sorted((TOP / "tests").glob("test_*.py")))
    for row in rows:
        names = re.findall(r"`(test_\w+)`", row)
        assert names, row
        for name in names:
            function = re.search(rf"def {name}\(.*?\) -> None:\n +\"\"\".*?\"\"\"", tests, re.DOTALL)
            assert function and re.search(r"RFC \d|ASVS", function[0].partition('"""')[2]), name


def test_no_function_is_long() -> None:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert (node.end_lineno or 0) - node.lineno < 25, f"{name_of(file)}: {node.name}"


def test_no_file_is_long() -> None:
    for file in [*FILES, TOP / "run.py"]:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 300, file.name


def test_every_public_function_has_a_docstring() -> None:
    for file in FILES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), name_of(file)
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name[0] != "_":
                assert ast.get_docstring(node), f"{name_of(file)}: {node.name}"


def test_the_server_does_not_import_what_is_embedded() -> None:
    words = ("embedded", "pgserver", "redis_w")
    program = f"import sys, run, movieserver.server; print([m for m in sys.modules for word in {words} if word in m])"
    done = subprocess.run([sys.executable, "-c", program], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
