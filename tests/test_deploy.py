"""The systemd unit, the nginx site in front of real servers, and the log events in docs/operations.md."""
from __future__ import annotations

import http.client
import json
import os
import re
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
from tornado.httputil import HTTPHeaders

from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.schemas.requests import MAX_BYTES
from movieserver.settings import Settings
from tests.client import Response, assert_problem
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


def test_the_unit_sets_variables_that_exist() -> None:
    lines = re.findall(r"^Environment=(.*)", UNIT.read_text("utf-8"), re.MULTILINE)
    names = re.findall(r"(\w+)=", " ".join(lines))
    assert names and {name for name in names if not name.startswith("PYTHON")} <= KNOWN


def test_the_manual_explains_every_log_event() -> None:
    manual = (TOP / "docs" / "operations.md").read_text(encoding="utf-8")
    for file in (TOP / "movieserver").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        events = re.findall(r"\blog\.(?:info|warning|error|exception)\(\s*\"([^\"]+)", text)
        outages = [f"{name}: outage began" for name in re.findall(r"\bOutage\(\"([^\"]+)", text)]
        for event in (*events, *outages):
            assert f"| `{event}`" in manual, event


@pytest.mark.skipif(SYSTEMD is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit() -> None:
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


def settings_of(postgres: Postgres, redis: Redis) -> dict[str, str]:
    """Settings of a server without embedded services."""
    return {
        "DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "MOVIE_API_URL": "http://127.0.0.1:1/",
        "JWT_SECRET": SECRET,
    }


class Front:
    """nginx with the site, in front of servers on this machine."""

    def __init__(self, folder: Path, *backends: int) -> None:
        self.port, self.plain_port = free_port(), free_port()
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        certificate.cert_chain_pems[0].write_to_path(str(folder / "fullchain.pem"))
        certificate.private_key_pem.write_to_path(str(folder / "privkey.pem"))
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)
        (folder / "site.conf").write_text(self._site(folder, backends), encoding="utf-8")
        paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; events {{}}\n"
            f"http {{ access_log off; {paths} include {folder}/site.conf; }}", encoding="utf-8")
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

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        """One request over TLS."""
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=self.context)
        return response_of(connection, method, path, body, headers)

    def call_without_tls(self, path: str) -> Response:
        """A GET over plain HTTP."""
        return response_of(http.client.HTTPConnection("localhost", self.plain_port, timeout=30), "GET", path, None, {})

    def listens(self) -> bool:
        try:
            self.call_without_tls("/")
        except OSError:
            return False
        return True


def response_of(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"Content-Type": "application/json", **named} if body else named)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    is_json = "json" in response.headers.get("Content-Type", "")
    parsed = json.loads(text) if is_json and text else None
    return Response(response.status, HTTPHeaders(dict(response.headers)), text, parsed)


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
def test_nginx_accepts_the_site() -> None:
    with temporary_folder() as folder:
        front = Front(folder, free_port())
        done = subprocess.run([*front.command, "-t", "-q"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture(scope="module")
def front(postgres: Postgres, redis: Redis) -> Iterator[Front]:
    """nginx in front of a server."""
    with temporary_folder() as folder, serving(folder / "data", **settings_of(postgres, redis)) as server:
        with fronting(int(server.url.rpartition(":")[2])) as running:
            yield running


@with_nginx
def test_nginx_passes_responses_through(front: Front) -> None:
    response = front.call("GET", "/request-count/", X_Request_ID="from-the-client")
    assert response.status == 200 and response.json["requests"] > 0
    assert response.headers.get_list("X-Request-ID") == ["from-the-client"]
    assert front.call("GET", "/healthz").json == {"status": "ok"}
    refused = front.call("GET", "/collection/", X_Request_ID="not well-formed")
    assert_problem(refused)
    assert refused.status == 401 and re.fullmatch("[0-9a-f]{32}", refused.headers["X-Request-ID"])


@with_nginx
def test_nginx_does_not_limit_bodies(front: Front) -> None:
    before = front.call("GET", "/request-count/").json["requests"]
    servers = front.call("POST", "/register/", b" " * (MAX_BYTES + 1))
    of_nginx = front.call("POST", "/register/", b" " * (MAX_BYTES + 2 * 1024 * 1024))
    assert front.call("GET", "/request-count/").json["requests"] == before + 2
    for response in (servers, of_nginx):
        assert_problem(response)
        assert response.status == 413
    servers.json["request_id"] = of_nginx.json["request_id"]
    assert servers.json == of_nginx.json
    assert front.call("POST", "/register/", b" " * MAX_BYTES).status == 400


@with_nginx
@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/readyz", "//readyz/", "/x/../metrics", "/%72eadyz"])
def test_nginx_hides_the_internal_paths(front: Front, path: str) -> None:
    response = front.call("GET", path, X_Request_ID="mine")
    assert_problem(response)
    assert (response.status, response.json["request_id"]) == (404, "mine")
    assert response.json["detail"] == front.call("GET", "/nowhere").json["detail"]


@with_nginx
def test_nginx_redirects_plain_http(front: Front) -> None:
    response = front.call_without_tls("/movies/?page=2")
    assert (response.status, response.headers["Location"]) == (308, "https://localhost/movies/?page=2")


class Echo(BaseHTTPRequestHandler):
    """Responds with the headers of the request and the port of its connection."""

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
def test_nginx_overwrites_the_forwarding_headers() -> None:
    with echoing() as backend, fronting(backend) as front:
        forged: dict[str, Any] = {
            "X_Forwarded_For": "6.6.6.6", "X_Forwarded_Proto": "gopher", "X_Real_IP": "6.6.6.6", "X_Scheme": "gopher",
            "Connection": "Upgrade", "Upgrade": "websocket",
        }
        received = front.call("GET", "/", **forged).json
        assert received["X-Forwarded-For"] == "127.0.0.1"
        assert received["X-Forwarded-Proto"] == "https"
        assert received["Host"] == f"localhost:{front.port}"
        assert re.fullmatch("[0-9a-f]{32}", received["X-Request-ID"])
        assert not set(received) & {"X-Real-IP", "X-Scheme", "Connection"}
        assert front.call("GET", "/").json["port"] == received["port"]  # the connection is reused


@with_nginx
def test_a_server_that_stops_loses_no_request(postgres: Postgres, redis: Redis) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        settings = settings_of(postgres, redis)
        servers = [stack.enter_context(serving(folder / name / "data", **settings)) for name in "ab"]
        front = stack.enter_context(fronting(*(int(server.url.rpartition(":")[2]) for server in servers)))
        stopped = threading.Event()
        with ThreadPoolExecutor(8) as threads:
            clients = [threads.submit(statuses, front, stopped.is_set) for _ in range(8)]
            assert servers[0].stop() == 0
            stopped.set()
            assert [client.result() for client in clients] == [{200}] * 8
        assert servers[1].stop() == 0
        response = front.call("GET", "/request-count/")
        assert_problem(response)
        assert (response.status, response.headers["Retry-After"]) == (503, "1")


def statuses(front: Front, enough: Callable[[], bool]) -> set[int]:
    """The statuses of at least fifty requests, until `enough`."""
    found: set[int] = set()
    calls = 0
    while calls < 50 or not enough():
        found.add(front.call("GET", "/request-count/").status)
        calls += 1
    return found
