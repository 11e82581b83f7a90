"""GET /metrics: the metrics with the names in docs/metrics.md, summed over all processes."""
from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from movieserver.accounts import passwords
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from movieserver.postgres.statements import Statement
from movieserver.resources import Resources
from movieserver.settings import Settings
from movieserver.third_party import client
from tests.client import Api
from tests.conftest import SECRET, make_settings, temporary_folder
from tests.factories import registration
from tests.test_movie_cache import grow_old
from tests.test_movies import listing
from tests.test_run import Server, serving, sign_up, until
from tests.third_party import ThirdParty, hang, page

DOCS = Path(__file__).parents[1] / "docs"
ROW = re.compile(r"^\| `(movieserver_\w+)` \| (\w+) \| ([^|]+) \|", re.MULTILINE)
Described = dict[str, tuple[str, frozenset[str]]]


class Measures:
    """One response to GET /metrics."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def of(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and these labels."""
        return sum(
            sample.value for sample in self.samples
            if sample.name == f"movieserver_{name}" and labels.items() <= sample.labels.items())

    def series(self) -> set[tuple[str, str]]:
        return {(sample.name, str(sorted(sample.labels.items()))) for sample in self.samples}

    def described(self) -> Described:
        """Each name in the docs, with its type and labels."""
        return {
            family.name + ("_total" if family.type == "counter" else ""): (
                family.type, frozenset(label for sample in family.samples for label in sample.labels) - {"le"})
            for family in self.families}


async def measured(api: Api) -> Measures:
    response = await api.get("/metrics")
    assert response.status == 200
    return Measures(response.body.decode())


async def seen(api: Api, value: float, name: str, **labels: str) -> None:
    """Wait until a metric has a value."""
    while (await measured(api)).of(name, **labels) != value:
        await asyncio.sleep(0.01)


def documented() -> Described:
    return {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall((DOCS / "metrics.md").read_text(encoding="utf-8"))}


@pytest.fixture
def settings(postgres: Postgres, own_redis: Redis, third_party: ThirdParty) -> Settings:
    """A small pool, and a cache."""
    return make_settings(
        postgres.url, own_redis.url, third_party.url, database_pool_size=2, movie_cache_seconds=60,
        movie_api_seconds=2)


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
async def test_the_response(api: Api, path: str) -> None:
    before = (await api.get("/request-count/")).json["requests"]
    for method in ("GET", "HEAD"):
        response = await api.call(method, path)
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        assert response.headers["Cache-Control"] == "no-store"
        assert (response.body == b"") == (method == "HEAD")
    response = await api.post(path)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await api.get("/request-count/")).json["requests"] == before + 1


async def test_the_names_are_those_of_the_docs(api: Api) -> None:
    await api.get("/request-count/")
    described = documented()
    assert len(described) > 10
    assert (await measured(api)).described() == described


async def test_requests_by_route_method_and_status(alice: Api) -> None:
    before = await measured(alice)
    uuid = (await alice.post("/collections", {"title": "x"})).json["collection_uuid"]
    for path in (f"/collections/{uuid}/", f"/collections/{uuid}", "/collections/57baf4f4-c9ef-4197-9e4f-acf04eae5b4d"):
        await alice.get(path)
    await alice.signed("nonsense").get(f"/collections/{uuid}")
    after = await measured(alice)

    def more(name: str, **labels: str) -> float:
        return after.of(name, **labels) - before.of(name, **labels)

    route = "/collections/{collection_uuid}/"
    assert more("requests_total", route="/collections/", method="POST", status="201") == 1
    for status, count in (("200", 2), ("404", 1), ("401", 1)):
        assert more("requests_total", route=route, method="GET", status=status) == count
    assert more("request_seconds_count", route=route, method="GET") == 4
    assert more("request_seconds_bucket", route=route, method="GET", le="+Inf") == 4
    assert more("request_seconds_bucket", route=route, method="GET", le="0.0") == 0
    assert 0 < more("request_seconds_sum", route=route, method="GET") < 60


async def test_made_up_paths_and_methods_add_no_series(alice: Api) -> None:
    for method in ("GET", "FOO"):
        await alice.call(method, "/nowhere")
        await alice.call(method, "/collection/nobodys")
    await measured(alice)
    before = await measured(alice)
    for number in range(50):
        await alice.get(f"/nowhere-{number}?q={number}")
        await alice.get(f"/collection/{number}")
        await alice.call(f"FOO{number}", f"/nowhere-{number}")
        await alice.call(f"FOO{number}", f"/collection/{number}")
    after = await measured(alice)
    assert after.series() == before.series()
    for method in ("GET", "other"):
        label = {"route": "unknown", "method": method, "status": "404"}
        assert after.of("requests_total", **label) == before.of("requests_total", **label) + 50


async def test_what_is_not_http(api: Api) -> None:
    before = (await measured(api)).of("requests_total", route="malformed", method="other", status="400")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base_url.rpartition(":")[2]))
    writer.write(b"hello\r\n\r\n")
    await reader.read()
    writer.close()
    await seen(api, before + 1, "requests_total", route="malformed", method="other", status="400")


async def test_the_pool(alice: Api, resources: Resources) -> None:
    before = await measured(alice)
    assert before.of("pool_size") == 2
    idle = before.of("pool_in_use")
    resources.database.pool.limits.acquire = 1.0
    resources.database.statements["genres.list_page"] = Statement("SELECT '[]', 0 FROM pg_sleep(1.5)")
    requests = asyncio.gather(*[alice.get("/genres/") for _ in range(5)])
    await seen(alice, idle + 2, "pool_in_use")
    await seen(alice, 3, "pool_waiting")
    assert sorted(response.status for response in await requests) == [200, 200, 503, 503, 503]
    after = await measured(alice)
    assert after.of("pool_timeouts_total", kind="place") == before.of("pool_timeouts_total", kind="place") + 3
    assert (after.of("pool_in_use"), after.of("pool_waiting")) == (idle, 0)
    resources.database.pool.limits.statement = 0.1
    assert (await alice.get("/genres/")).status == 503
    cut = before.of("pool_timeouts_total", kind="statement")
    await seen(alice, cut + 1, "pool_timeouts_total", kind="statement")


class TestTheThirdParty:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, movie_api_seconds=1)

    @pytest.mark.usefixtures("impatient")
    async def test_upstream_requests_and_failures(
        self, alice: Api, resources: Resources, third_party: ThirdParty, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "REQUEST_SECONDS", 0.2)
        for behaviour, reason, sent in (
            (page(listing()), None, 1), (page({}, 500), "status", 3), (page({}, 429), "status", 3),
            (page({}, 401), "nonsense", 1), (page({"x": 1}), "nonsense", 1), (hang, "timeout", 3),
        ):
            third_party.behaviour = behaviour
            resources.movie_api.upstream.breaker = client.Breaker()
            before = await measured(alice)
            await alice.get("/movies/")
            after = await measured(alice)
            assert after.of("upstream_tries_total") - before.of("upstream_tries_total") == sent
            for each in ("connection", "timeout", "status", "nonsense"):
                failures = [sample.of("upstream_failures_total", reason=each) for sample in (before, after)]
                expected = 0 if each != reason else 1 if reason == "nonsense" else sent
                assert failures[1] - failures[0] == expected, (reason, each)

    async def test_a_server_that_does_not_listen(self, alice: Api, third_party: ThirdParty, impatient: None) -> None:
        before = await measured(alice)
        await third_party.close()
        assert (await alice.get("/movies/")).status == 503
        await seen(
            alice, before.of("upstream_failures_total", reason="connection") + 3,
            "upstream_failures_total", reason="connection")

    async def test_the_breaker(
        self, alice: Api, third_party: ThirdParty, monkeypatch: pytest.MonkeyPatch, impatient: None
    ) -> None:
        monkeypatch.setattr(client, "OPEN_SECONDS", 0.3)
        third_party.behaviour = page({}, 500)
        for _ in range(client.BREAKING_FAILURES):
            await alice.get("/movies/")
        now = await measured(alice)
        assert (now.of("upstream_breaker", state="open"), now.of("upstream_breaker", state="half_open")) == (1, 0)
        third_party.behaviour = hang
        await asyncio.sleep(0.3)
        probe = asyncio.ensure_future(alice.get("/movies/"))
        await seen(alice, 1, "upstream_breaker", state="half_open")
        assert (await measured(alice)).of("upstream_breaker", state="open") == 0
        assert (await probe).status == 504
        await seen(alice, 1, "upstream_breaker", state="open")
        third_party.behaviour = page(listing())
        while (await alice.get("/movies/")).status != 200:
            await asyncio.sleep(0.02)
        assert (await measured(alice)).of("upstream_breaker") == 0


async def test_the_page_cache(alice: Api, resources: Resources, third_party: ThirdParty) -> None:
    third_party.behaviour = page(listing())

    async def results() -> list[float]:
        now = await measured(alice)
        return [now.of("page_cache_results_total", result=result) for result in ("miss", "fresh", "stale")]

    before = await results()
    assert (await alice.get("/movies/")).status == 200
    grow_old(resources.movie_api, 61)
    assert (await alice.get("/movies/")).status == 200
    assert [after - was for after, was in zip(await results(), before)] == [1, 0, 1]
    for _ in range(2):
        assert (await alice.get("/movies/?page=2")).status == 200
    assert [after - was for after, was in zip(await results(), before)] == [2, 0, 2]


async def test_the_backlog_of_the_counter(api: Api, own_redis: Redis) -> None:
    await seen(api, 0, "counter_backlog")
    own_redis.stop()
    for _ in range(7):
        await api.get("/nowhere")
    await seen(api, 7, "counter_backlog")
    own_redis.start()
    own_redis.wait_ready()
    await seen(api, 0, "counter_backlog")


async def test_logins(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = registration()
    await api.post("/register/", pair)
    before = await measured(api)
    assert (await api.post("/login/", pair)).status == 200
    assert (await api.post("/login/", {**pair, "password": "not the one"})).status == 401
    assert (await api.post("/login/", registration())).status == 401
    with monkeypatch.context() as full:
        full.setattr(passwords, "MAX_WAITING", 0)
        assert (await api.post("/login/", pair)).status == 503
    slowed = [(await api.post("/login/", {**pair, "password": "not the one"})).status for _ in range(10)].count(429)
    assert slowed
    after = await measured(api)
    for result, count in (("success", 1), ("refused", 12 - slowed), ("busy", 1), ("slowed", slowed)):
        assert after.of("logins_total", result=result) == before.of("logins_total", result=result) + count


class TestPasswords:
    @pytest.fixture
    def settings(self, postgres: Postgres, redis: Redis, third_party: ThirdParty) -> Settings:
        return make_settings(postgres.url, redis.url, third_party.url, bcrypt_rounds=12)

    async def test_waiting_clients_and_passwords(self, api: Api) -> None:
        requests = asyncio.gather(*[api.post("/register/", registration()) for _ in range(6)])
        while (await measured(api)).of("passwords_waiting") < 2:  # on a busy machine some end before the last begins
            await asyncio.sleep(0.01)
        assert {response.status for response in await requests} == {201}
        assert (await measured(api)).of("passwords_waiting") == 0


def scraped(server: Server) -> Measures:
    with urllib.request.urlopen(server.url + "/metrics", timeout=30) as response:
        return Measures(response.read().decode())


@pytest.fixture
def several(own_redis: Redis, postgres: Postgres) -> Iterator[tuple[Server, Path]]:
    """Three processes, and the folder of their metrics."""
    with temporary_folder() as folder:
        shared = folder / "shared"
        shared.mkdir()
        with serving(
            folder / "data", PROCESSES="3", TMPDIR=str(shared), DATABASE_URL=postgres.url, REDIS_URL=own_redis.url,
            MOVIE_API_URL="http://127.0.0.1:1/", JWT_SECRET=SECRET, DATABASE_POOL_SIZE="5",
        ) as server:
            yield server, shared


def test_several_processes_are_one(several: tuple[Server, Path]) -> None:
    server, folder = several
    token = sign_up(server, registration())

    def ask(count: int) -> None:
        with ThreadPoolExecutor(10) as threads:
            responses = threads.map(lambda _: server.call("GET", "/collection/", token=token)[0], range(count))
            assert set(responses) == {200}

    def counted() -> list[float]:
        return [scraped(server).of("requests_total", route="/collection/", status="200") for _ in range(10)]

    ask(150)
    until(lambda: counted() == [150] * 10)  # a process counts a request just after its response is sent
    assert scraped(server).of("pool_size") == 15
    assert scraped(server).described() == documented()
    for pid in server.children():
        os.kill(pid, signal.SIGKILL)
        until(lambda: len(server.children()) == 3 and pid not in server.children())
        until(lambda: not list(folder.glob(f"*/*_{pid}.db")))
        until(lambda: scraped(server).of("pool_size") == 15)
        assert counted() == [150] * 10
    ask(50)
    until(lambda: counted() == [200] * 10)
    assert scraped(server).of("request_seconds_count", route="/collection/") == 200
    assert server.stop() == 0
    assert list(folder.iterdir()) == []


def test_an_empty_file_of_a_starting_process(
    several: tuple[Server, Path]
) -> None:
    server, folder = several
    (measures,) = folder.iterdir()
    fresh = measures / "counter_4000001.db"
    fresh.touch()
    with ThreadPoolExecutor(1) as threads:
        scraping = threads.submit(scraped, server)
        time.sleep(0.05)
        fresh.unlink()
        assert scraping.result().of("pool_size") > 0
    for pid in server.children()[:1]:
        os.kill(pid, signal.SIGSTOP)
        counted = next(measures.glob(f"counter_{pid}.db"))
        counted.write_bytes(b"")
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid not in server.children() and len(server.children()) == 3)
        until(lambda: scraped(server).of("pool_size") == 15)
    assert server.stop() == 0


def samples_of(described: Described) -> set[str]:
    """The names of the metrics in queries."""
    return {
        name + ending for name, (kind, _) in described.items()
        for ending in (("_bucket", "_count", "_sum") if kind == "histogram" else ("",))}


def queries(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def test_the_dashboard_shows_every_metric() -> None:
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    assert dashboard["schemaVersion"] >= 36 and dashboard["title"]
    assert [variable["name"] for variable in dashboard["templating"]["list"] if variable["type"] == "datasource"] == [
        "datasource"]
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert len({(place["x"], place["y"]) for place in places}) == len(places)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
    for panel in dashboard["panels"]:
        for shown in (panel, *panel["targets"]) if panel["type"] != "row" else ():
            assert shown["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    described = documented()
    shown = {name for query in queries(dashboard) for name in re.findall(r"movieserver_\w+", query)}
    assert shown <= samples_of(described)
    for name in described:
        assert shown & samples_of({name: described[name]}), name


@pytest.mark.parametrize("source", ["grafana-dashboard.json", "metrics.md"])
def test_every_query_parses_and_uses_existing_labels(source: str) -> None:
    text = (DOCS / source).read_text(encoding="utf-8")
    spans = [span for span in re.findall("`([^`]*)`", text) if re.search(r"movieserver_\w+\W", span)]
    requests = queries(json.loads(text)) if source.endswith("json") else spans
    assert len(requests) > 3
    for query in requests:
        promql_parser.parse(query.replace("$__rate_interval", "5m"))
        for name, matchers in re.findall(r"(movieserver_\w+)(?:{([^}]*)})?", query):
            [(_, labels)] = [kind for metric, kind in documented().items() if name in samples_of({metric: kind})]
            given = set(re.findall(r"(\w+)[!=]", matchers))
            assert given <= labels | {"instance"}, query
