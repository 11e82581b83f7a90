"""The benchmarks: what they read and write, and one short look at the real server. No test asserts a time."""
from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from benchmarks import pgbench, report, rounds, services
from benchmarks.calls import Request, Statement, created, listed, movies
from benchmarks.load import BenchmarkError, look, read_window, wrk_is_here
from benchmarks.results import BARE, OURS, RIVAL, Place, Results, Spread
from benchmarks.seed import Seed, answer, seeding
from benchmarks.services import Service
from benchmarks.targets import SHARES, TITLES, targets
from movieserver.embedded.postgres import Postgres
from movieserver.embedded.redis import Redis
from tests.conftest import SECRET

LOOK_SECONDS = 0.2
WRK = """\
Running 1s test @ http://127.0.0.1:8000/collection/?movies=false
Requests/sec:   5000.00
{"answers": 10000, "seconds": 2.0, "middle": 3.1, "late": 9.5, "errors": {"connect": 0, "read": 0, "status": %d}}
"""
PGBENCH = """\
number of transactions actually processed: 1158
number of failed transactions: %d (0.000%%)
initial connection time = 15.330 ms
tps = 1149.213 (without initial connection time)
"""


@pytest.fixture(scope="module")
def server(postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The server as it is measured, but that nobody is asked for movies."""
    variables = {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "MOVIE_API_URL": "http://127.0.0.1:9/",
                 "JWT_SECRET": SECRET, "ACCESS_TOKEN_MINUTES": "360"}
    with services.server(tmp_path_factory.mktemp("server") / "log", variables) as service:
        service.wait_ready()
        yield service


@pytest.fixture
def seed(postgres: Postgres, server: Service) -> Iterator[Seed]:
    with seeding(postgres.url, SECRET, server.port) as made:
        yield made


def measured(*rates: tuple[str, int, str, list[float]]) -> Results:
    results = Results()
    for call, connections, contender, found in rates:
        results.rates[Place(call, connections, contender)] += found
    return results


def test_a_look_counts_the_answers() -> None:
    assert read_window("GET /", WRK % 0) == (5000.0, 3.1, 9.5, 10000)


def test_one_wrong_answer_makes_a_look_worthless() -> None:
    with pytest.raises(BenchmarkError, match="status"):
        read_window("GET /", WRK % 1)


def test_pgbench_is_read() -> None:
    assert pgbench.read_rate(PGBENCH % 0) == 1149.213


@pytest.mark.parametrize("said", ["", PGBENCH % 3])
def test_a_failed_statement_makes_pgbench_worthless(said: str) -> None:
    with pytest.raises(BenchmarkError):
        pgbench.read_rate(said)


@pytest.mark.parametrize("wrk", [False, pytest.param(True, marks=pytest.mark.skipif(not wrk_is_here(), reason="wrk"))])
def test_a_look_at_the_real_server(server: Service, seed: Seed, wrk: bool) -> None:
    user_id = seed.user(3)
    request = listed("list", "", user_id, seed.sign(user_id)).request
    before = int(answer(Request("/request-count/"), server.port).split()[1].rstrip(b"}"))
    window = look(request, server.port, 2, LOOK_SECONDS, wrk=wrk)
    after = int(answer(Request("/request-count/"), server.port).split()[1].rstrip(b"}"))
    assert window.rate > 0
    assert before < before + window.answers < after <= before + window.answers + 3  # wrk leaves at most 2 unread


def test_a_look_at_a_refusal_is_worthless(server: Service) -> None:
    with pytest.raises(BenchmarkError, match="status"):
        look(Request("/collection/"), server.port, 1, LOOK_SECONDS, wrk=False)


def test_the_processor_time_is_that_of_the_serving_process(server: Service) -> None:
    assert len(server.workers()) == 1 and server.process.pid not in server.workers()
    results, place, before = Results(), Place("count", 4, OURS), server.processor_seconds()
    while server.processor_seconds() == before:
        rounds.note(results, place, server, Request("/request-count/"), LOOK_SECONDS, wrk=False)
    assert max(results.cpu[place]) > 0
    assert len(results.cpu[place]) == len(results.rates[place])


def test_a_created_collection_is_gone_when_its_user_is_emptied(server: Service, seed: Seed) -> None:
    user_id = seed.user()
    answer(created(user_id, seed.sign(user_id), 2).request, server.port)
    seed.empty(user_id)
    assert b'"count": 0' in answer(listed("list", "", user_id, seed.sign(user_id)).request, server.port)


def test_other_users_have_movies(seed: Seed, postgres: Postgres) -> None:
    with closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM collection_movies")
        (before,) = cursor.fetchone() or ()
        connection.rollback()
        seed.others(2)
        cursor.execute("SELECT count(*) FROM collection_movies")
        assert cursor.fetchone() == (before + 12,)


def test_the_yardstick_answers_the_same_bytes(tmp_path: Path) -> None:
    pairs = [(Request("/collection/?movies=false"), '{"count": 1}\n'), (Request("/collection/"), '{"count": "é"}\n'),
             (Request("/collection/", "POST", {}, b"{}", 201), '{"collection_uuid": "…"}\n')]
    with services.bare(tmp_path / "bare.log", pairs) as bare:
        for request, body in pairs:
            assert answer(request, bare.port) == body.encode()


def test_pgbench_runs_a_statement_with_its_parameters_in_the_text(seed: Seed, postgres: Postgres) -> None:
    user_id = seed.user()
    call = created(user_id, seed.sign(user_id), 2)
    assert call.statement and pgbench.rate(postgres.url, call.statement, 1, LOOK_SECONDS, "simple")
    listing = json.loads(answer(listed("list", "", user_id, seed.sign(user_id), True).request, seed.port))
    newest = listing["data"]["collections"][0]
    assert (newest["title"], newest["movies"]) == ("Silent evenings", movies(2))


def test_pgbench_runs_a_statement_with_bound_parameters(seed: Seed, postgres: Postgres) -> None:
    statement = listed("list", "", seed.user(1), {}).statement
    assert statement and pgbench.rate(postgres.url, statement, 1, LOOK_SECONDS, "prepared")


def test_pgbench_cannot_bind_what_is_too_long(postgres: Postgres) -> None:
    statement = Statement("collections.create", {"movies": "x" * 200_000})
    assert pgbench.rate(postgres.url, statement, 1, LOOK_SECONDS, "prepared") is None


def test_ratios_are_taken_within_a_round() -> None:
    results = measured(("list", 16, OURS, [10, 30, 40]), ("list", 16, BARE, [100, 60, 50]))
    places = Place("list", 16, OURS), Place("list", 16, BARE)
    assert results.ratio(*places) == Spread(0.5, 0.1, 0.8)
    assert results.cost(*places) is None


@pytest.mark.parametrize(("rate", "reached"), [(50.0, False), (60.0, True)])
def test_a_target_is_reached_or_not_at_each_number_of_connections(rate: float, reached: bool) -> None:
    results = measured(*(("list", many, BARE, [100.0]) for many in (16, 64)),
                       ("list", 16, OURS, [90.0]), ("list", 64, OURS, [rate]))
    first, second = targets(results)[:2]
    assert (first.reached, second.reached) == (reached, None)


def test_the_report_and_its_chart(tmp_path: Path) -> None:
    results = measured(*((call, many, name, [rate, rate]) for call in TITLES for many in (1, 16, 64)
                         for name, rate in ((OURS, 60.0), (BARE, 100.0), (RIVAL, 50.0))))
    results.numbers["memory"] += [80.0, 85.0, 88.5]
    results.numbers["requests"] += [200_000]
    text = report.written(results, {"Date": "2026-01-01"})
    report.write(tmp_path, text, results)
    lines = (tmp_path / "benchmarks.md").read_text(encoding="utf-8").splitlines()
    told = next(line for line in lines if line.startswith("| request count, by the bare"))
    assert [cell.strip() for cell in told.split("|")[2:-1]] == ["≥ 0.65", "0.60 (0.60–0.60), 0.60 (0.60–0.60)", "no"]
    assert "after each tenth of 200,000 lists, MB | 80.0, 85.0, 88.5 |" in text
    picture = ElementTree.parse(tmp_path / "benchmarks.svg").getroot()
    targets_drawn = [path for path in picture.findall(".//{*}path") if path.get("class") == "target"]
    assert len(targets_drawn) == len(SHARES) + 1  # and the one of the legend
    assert len([bar for bar in picture.findall(".//{*}rect") if bar.get("class") == "ours"]) == len(SHARES) + 1
