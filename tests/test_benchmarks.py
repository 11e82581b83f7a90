"""The benchmarks: requests, responses, results, and a short load on each service. No test asserts a time."""
from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import calls, growth, messages, people, report, rounds, services
from benchmarks.calls import CALLS, MIXED
from benchmarks.client import BenchmarkError, ask
from benchmarks.load import measure, read_window, wrk_is_installed
from benchmarks.messages import UNIQUE, Request
from benchmarks.people import Person
from benchmarks.results import BARE, OURS, RATE, ROWS, WHOLE, Series, Results, Spread
from benchmarks.services import Ground, Service, cpu_used
from benchmarks.targets import BY_BARE, targets
from tests.conftest import SECRET

SECONDS = 0.2
COUNT = Request("/request-count/")
clients = pytest.mark.parametrize(
    "wrk", [False, pytest.param(True, marks=pytest.mark.skipif(not wrk_is_installed(), reason="wrk is missing"))])


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with services.ground(SECRET) as ground:
        yield ground


@pytest.fixture(scope="module")
def server(ground: Ground) -> Iterator[Service]:
    """The server as it is measured."""
    with services.server(ground.folder / "server.log", ground.variables) as service:
        yield service


@pytest.fixture(scope="module")
def crowd(server: Service) -> list[Person]:
    return people.fill(server.port, people.register(server.port, 3))


def requests_so_far(server: Service) -> int:
    requests: int = json.loads(ask(server.port, [COUNT])[0])["requests"]
    return requests


def measured(*rates: tuple[str, int, str, list[float]]) -> Results:
    results = Results()
    for call, connections, contender, values in rates:
        for value in values:
            results.note(Series(call, connections, contender), rate=value)
    return results


@pytest.mark.parametrize(("fault", "invalid"), [(0, False), (1, True)])
def test_a_wrong_response_invalidates_a_window(fault: int, invalid: bool) -> None:
    output = "Requests/sec: 5\n" + json.dumps(
        {"responses": 10, "seconds": 2.0, "p50": 3.1, "p99": 9.5, "faults": {"status": 0, "length": fault}})
    if invalid:
        with pytest.raises(BenchmarkError, match="length"):
            read_window("GET /", output)
    else:
        assert read_window("GET /", output) == (5.0, 3.1, 9.5, 10)


def test_request_files_round_trip(tmp_path: Path) -> None:
    requests = [Request("/a/", token="x-y"), Request("/b/", "POST", body=b"{}\n", status=201, min_bytes=2, max_bytes=3)]
    messages.write(tmp_path, requests)
    assert messages.read(tmp_path) == requests


def test_a_marked_body_differs_each_time_and_keeps_its_length() -> None:
    first, second = (replace(COUNT, body=people.unique_movie()).message(number) for number in (1, 2))
    assert first != second and len(first) == len(second) and UNIQUE not in first
    assert first.endswith(b"%012x\"}" % 1)


@clients
def test_every_response_of_a_load_is_counted_by_the_server(server: Service, wrk: bool) -> None:
    with people.crowd(server.port, server.database, count=2, filled=True) as crowd:
        before = requests_so_far(server)
        window = measure(calls.mixed(crowd), server.port, 2, SECONDS, wrk=wrk)
        after = requests_so_far(server)
    assert window.rate > 0
    assert window.responses < after - before <= window.responses + 3  # wrk leaves at most 2 responses unread


@clients
@pytest.mark.parametrize(("request_", "fault"), [
    (Request("/collection/"), "'status': [1-9]"), (replace(COUNT, max_bytes=2), "'length': [1-9]")])
def test_a_wrong_response_is_detected_under_load(server: Service, request_: Request, fault: str, wrk: bool) -> None:
    with pytest.raises(BenchmarkError, match=fault):
        measure([request_], server.port, 1, SECONDS, wrk=wrk)


def test_users_have_collections_of_their_own_with_equally_long_responses(server: Service, crowd: list[Person]) -> None:
    for call in CALLS[:3]:
        bodies = ask(server.port, call.requests(crowd))
        assert len(set(bodies)) == len(crowd)
        texts = [json.dumps(people.comparable(json.loads(body))) for body in bodies]
        assert len(set(map(len, texts))) == 1


def test_users_are_deleted_afterwards(server: Service) -> None:
    with people.crowd(server.port, server.database, count=1) as crowd:
        ask(server.port, calls.created(2, crowd))
    assert ask(server.port, [people.credentials("/login/", crowd[0].name, 401)])


def test_processor_time_includes_the_servers_beside_the_process(
        ground: Ground, server: Service) -> None:
    worker, = server.workers()
    before = server.cpu_seconds(ground.programs)
    assert worker != server.process.pid and set(ground.programs) < set(before)
    while cpu_used(before, server.cpu_seconds()) == 0:
        measure([COUNT], server.port, 4, SECONDS, wrk=False)
    assert cpu_used(before, server.cpu_seconds(ground.programs)) >= cpu_used(before, server.cpu_seconds()) > 0


def test_processor_time_ignores_processes_that_ended() -> None:
    assert cpu_used({1: 1.0, 2: 5.0}, {1: 3.0, 2: 0.0, 3: 0.5}) == 2.5


def test_the_bare_handler_sends_each_user_the_same_bytes(tmp_path: Path) -> None:
    lines = [("GET", "/collection/", token, 200, f'{{"count": "é{token}"}}\n') for token in ("a", "b")]
    with services.bare(tmp_path / "bare.log", [*lines, ("POST", "/collection/", "", 201, "{}")]) as bare:
        requests = [Request("/collection/", token=token) for _, _, token, _, _ in lines]
        created = Request("/collection/", "POST", "c", b"{}", 201)
        assert ask(bare.port, [*requests, created]) == [*(line[4].encode() for line in lines), b"{}"]


@pytest.mark.skipif(not services.RIVAL.exists(), reason="`make bench` installs what FastAPI needs")
@pytest.mark.parametrize("storage", ["rows", "whole"])
def test_fastapi_responds_as_the_server_does(ground: Ground, server: Service, storage: str) -> None:
    with services.fastapi(ground, storage) as fastapi:
        assert rounds.behaviour(fastapi) == rounds.behaviour(server)
        assert reads_of_two_users(fastapi) == reads_of_two_users(server)


@pytest.mark.skipif(not services.NODE_RIVAL.exists(), reason="`make bench` installs what Fastify needs")
def test_fastify_responds_as_fastapi_does(ground: Ground) -> None:
    with services.fastapi(ground, "rows") as fastapi, services.fastify(ground) as fastify:
        with people.crowd(fastapi.port, fastapi.database, count=2, filled=True) as crowd:
            requests = [request for call in CALLS[:3] for request in call.requests(crowd)]
            assert ask(fastify.port, requests) == ask(fastapi.port, requests)


def reads_of_two_users(service: Service) -> list[object]:
    """What they get before a mixed load."""
    with people.crowd(service.port, service.database, count=2, filled=True) as crowd:
        bodies = [body for call in CALLS[:3] for body in ask(service.port, call.requests(crowd))]
        assert measure(MIXED.requests(crowd), service.port, 2, SECONDS, wrk=False).responses
    return [people.comparable(json.loads(body)) for body in bodies]


def test_ratios_are_taken_within_a_round() -> None:
    results = measured(("list", 16, OURS, [10, 30, 40]), ("list", 16, BARE, [100, 60, 50]))
    ours, bare, rows = (Series("list", 16, name) for name in (OURS, BARE, ROWS))
    assert results.ratio(RATE, ours, bare) == Spread(0.5, 0.1, 0.8)
    assert results.ratio(RATE, ours, rows) is None


@pytest.mark.parametrize(("rate", "reached"), [(60.0, (False, False)), (70.0, (True, False)), (80.0, (True, True))])
def test_a_minimum_and_a_goal_are_reached_or_not(rate: float, reached: tuple[bool, bool]) -> None:
    first, second, *_ = targets(measured(("list", 16, BARE, [100.0]), ("list", 16, OURS, [rate])))
    assert first.reached == reached
    assert second.measured is None and second.reached == (None, None)


def test_the_slowest_call_at_one_connection_counts() -> None:
    results = measured(("list", 1, OURS, [3.0]), ("list", 1, WHOLE, [2.0]), ("one", 1, OURS, [1.0]),
                       ("one", 1, WHOLE, [2.0]))
    found, = (target for target in targets(results) if "all calls at 1 connection," in target.title)
    assert found.title.endswith("one collection, 10 movies") and found.measured == Spread(0.5, 0.5, 0.5)


def test_the_report_and_its_chart(tmp_path: Path) -> None:
    results = measured(*((call.name, connections, name, [rate, rate]) for call in CALLS for connections in (1, 16, 64)
                         for name, rate in ((OURS, 60.0), (BARE, 100.0), (ROWS, 50.0), (WHOLE, 40.0))))
    results.note(Series(growth.NEIGHBOUR, growth.NEIGHBOUR_CONNECTIONS, OURS), p99=8.5)
    results.numbers["memory"] += [80.0, 85.0, 88.5]
    results.numbers["requests"] += [200_000]
    (tmp_path / "speed.md").write_text(f"# Speed\n\n{report.MARK}old figures\n{report.MARK}\nMore.\n", encoding="utf-8")
    for _ in range(2):
        report.write(tmp_path, report.written(results, {"Date": "2026-01-01"}), results)
    head, figures, rest = (tmp_path / "speed.md").read_text(encoding="utf-8").split(report.MARK)
    assert (head, rest) == ("# Speed\n\n", "\nMore.\n") and "old figures" not in figures
    assert [cell.strip() for cell in figures.split("\n")[3].split("|")[2:-1]] == ["60", "0.60", "1.50"]
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert text.splitlines()[2].startswith(f"{people.USERS} users, each with a token")
    line = next(line for line in text.splitlines() if line.startswith("| list with movies, 10 × 10, by bare"))
    assert [cell.strip() for cell in line.split("|")[2:-1]] == ["≥ 0.60", "yes", "≥ 0.65", "no", "0.60 (0.60–0.60)"]
    assert "80.0, 85.0, 88.5" in text and "8.5 (8.5–8.5)" in text
    picture = ElementTree.parse(tmp_path / "benchmarks.svg").getroot()
    for kind in ("ours", "whole", "rows", "bare"):
        bars = [bar for bar in picture.findall(".//{*}rect") if bar.get("class") == kind]
        assert len(bars) == len(CALLS) + 1  # and the one of the legend
    assert set(BY_BARE) < {call.name for call in CALLS}
