"""Rates and latency with large collections, beside large writes and under a mixed load, and memory under that."""
from __future__ import annotations

import time
from contextlib import ExitStack, closing, contextmanager
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import psycopg2

from benchmarks import calls, load, people, services
from benchmarks.calls import MIXED
from benchmarks.client import BenchmarkError, ask
from benchmarks.messages import Request
from benchmarks.people import Person
from benchmarks.results import OURS, ROWS, WHOLE, Series, Results
from benchmarks.rounds import Contender, Field, Plan, Say, expecting, note
from benchmarks.services import Ground

LARGE, SMALL = "list of users with 100,000 movies", "list of users with 10 movies"
NEIGHBOUR = "neighbour"
LARGE_USERS = 5
CONNECTIONS = 16
NEIGHBOUR_CONNECTIONS = 4
LOGIN_ROUNDS = "12"  # the production default
STEPS = 10
RAMP_SECONDS = 1  # until the creates are running


def measure_large(field: Field, plan: Plan, results: Results, say: Say) -> None:
    """The list, without movies, of users with ten collections of 10,000 movies or of one movie."""
    say("users with 100,000 movies")
    service = field.contenders[OURS].service
    crowds = {name: people.fill(service.port, people.register(service.port, LARGE_USERS), movies=movies)
              for name, movies in ((SMALL, 1), (LARGE, 10_000))}
    people.tidy(service.database)
    for _ in range(plan.rounds):
        for name, crowd in crowds.items():
            requests = calls.of_each("/collection/?movies=false")(crowd)
            note(results, Series(name, CONNECTIONS, OURS), field, expecting(requests, ask(service.port, requests)),
                 plan.seconds, plan.wrk)
    for crowd in crowds.values():
        people.forget(service.port, crowd)
    people.tidy(service.database)


def measure_neighbours(field: Field, plan: Plan, results: Results, say: Say) -> None:
    """The list of some users while others create collections of 10,000 movies."""
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}: neighbours of those who create 10,000 movies")
        for name in field.databases:
            service = field.contenders[name].service
            seconds = plan.mixed_seconds + RAMP_SECONDS
            with people.crowd(service.port, service.database) as crowd, load.background(
                    calls.created(10_000, crowd), service.port, NEIGHBOUR_CONNECTIONS, seconds, wrk=False) as writing:
                time.sleep(RAMP_SECONDS)
                note(results, Series(NEIGHBOUR, NEIGHBOUR_CONNECTIONS, name), field, field.reads["list", name],
                     plan.mixed_seconds, plan.wrk)
                load.read_window("creates beside the neighbour", writing.communicate(timeout=load.GRACE_SECONDS)[0])


def measure_mixed(field: Field, plan: Plan, results: Results, say: Say) -> None:
    """The mixed load on each service."""
    logins = {name: _costly_login(field.ground, name) for name in field.databases}
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}: mixed load")
        for name in field.databases:
            contender = field.contenders[name]
            with _mixed(contender) as requests, _logging_in(contender.service.port, logins[name]):
                note(results, Series(MIXED.name, CONNECTIONS, name), field, requests, plan.mixed_seconds, plan.wrk)


@contextmanager
def _mixed(contender: Contender) -> Iterator[list[Request]]:
    """The mixed load of new users; a read may grow."""
    service = contender.service
    with people.crowd(service.port, service.database, filled=True) as crowd:
        requests = calls.mixed(crowd)
        reads = list({request: None for request in requests if request.method == "GET"})
        known = dict(zip(reads, expecting(reads, ask(service.port, reads), exact=False)))
        yield [known.get(request, request) for request in requests]


def _costly_login(ground: Ground, name: str) -> Person:
    """A user whose password is hashed at the production cost, by a separate process."""
    with ExitStack() as stack:
        service = stack.enter_context(
            services.server(ground.folder / "login.log", ground.variables | {"BCRYPT_ROUNDS": LOGIN_ROUNDS})
            if name == OURS else services.fastapi(ground, {ROWS: "rows", WHOLE: "whole"}[name],
                                                  BCRYPT_ROUNDS=LOGIN_ROUNDS))
        return people.register(service.port, 1)[0]


@contextmanager
def _logging_in(port: int, person: Person) -> Iterator[None]:
    """Make a login per second during the block."""
    over, faults = Event(), []

    def log_in() -> None:
        while not over.wait(1):
            try:
                ask(port, [people.credentials("/login/", person.name)])
            except BenchmarkError as error:
                faults.append(error)

    thread = Thread(target=log_in)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if faults:
        raise faults[0]


def measure_memory(ground: Ground, plan: Plan, results: Results, say: Say) -> None:
    """Memory, files and connections of a fresh process before and after each tenth of `plan.requests` of the mix."""
    say(f"memory over {plan.requests:,} requests of the mixed load")
    with services.server(ground.folder / "memory.log", ground.variables) as service:
        worker, = service.workers()
        done = 0
        _note_process(results, worker, service.database)
        for step in range(STEPS):
            with _mixed(Contender(service, [])) as requests:
                while done < plan.requests * (step + 1) / STEPS:
                    done += load.measure(requests, service.port, CONNECTIONS, plan.seconds, wrk=plan.wrk).responses
            _note_process(results, worker, service.database)
        results.numbers["requests"].append(done)


def _note_process(results: Results, pid: int, database: str) -> None:
    results.numbers["memory"].append(resident(pid))
    results.numbers["files"].append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        results.numbers["connections"] += cursor.fetchone() or ()


def resident(pid: int) -> float:
    """The resident memory of a process in megabytes of 10**6 bytes."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6
