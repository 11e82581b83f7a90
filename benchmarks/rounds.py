"""In each round every service is measured with each call; nothing is compared across rounds."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import redis

from benchmarks import calls, people, services
from benchmarks.calls import CALLS, Call
from benchmarks.client import BenchmarkError, ask
from benchmarks.load import measure
from benchmarks.messages import ANY_BYTES, Request
from benchmarks.people import Person, comparable
from benchmarks.results import BARE, NODE, OURS, ROWS, TWO, WHOLE, Series, Results
from benchmarks.services import Ground, Service, cpu_used

PAGE = 2
LONG_SECONDS = 4
SHRINKING_BYTES = 200  # by which a list may shrink under the mixed load, with other favourite genres
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure: names of calls (none: all), and how often and for how long."""

    calls: tuple[str, ...] = ()
    connections: tuple[int, ...] = (1, 16, 64)
    rounds: int = 5
    seconds: float = 1
    mixed_seconds: float = 5
    requests: int = 200_000  # requests of the mixed load, while memory is watched
    wrk: bool = True
    two: bool = True  # whether to measure two processes too
    growth: bool = True


class Contender(NamedTuple):
    """A service, and the users that it serves."""

    service: Service
    people: list[Person]


@dataclass(frozen=True)
class Field:
    """The running services by name, and the requests of reads by call and service."""

    ground: Ground
    contenders: dict[str, Contender]
    reads: dict[tuple[str, str], list[Request]]

    @property
    def databases(self) -> list[str]:
        """The names of the services with a database, each database once."""
        return [name for name in (OURS, ROWS, WHOLE) if name in self.contenders]


@contextmanager
def field(ground: Ground, plan: Plan) -> Iterator[Field]:
    """Start every service, create the same users, and check that the responses are the same."""
    with ExitStack() as stack:
        running = {OURS: stack.enter_context(services.server(ground.folder / "server.log", ground.variables))}
        if services.RIVAL.exists():
            running[ROWS] = stack.enter_context(services.fastapi(ground, "rows"))
            running[WHOLE] = stack.enter_context(services.fastapi(ground, "whole"))
        contenders = {name: Contender(service, _filled(service)) for name, service in running.items()}
        _store_page(ground.variables["REDIS_URL"], contenders[OURS])
        for name, contender in contenders.items():
            _check(name, behaviour(contender.service), behaviour(running[OURS]))
        if services.NODE_RIVAL.exists():
            node = stack.enter_context(services.fastify(ground))
            contenders[NODE] = Contender(node, contenders[ROWS].people)
        if plan.two:
            two = stack.enter_context(services.server(ground.folder / "server-2.log", ground.variables, 2))
            contenders[TWO] = Contender(two, contenders[OURS].people)
        reads, bodies = _learned(contenders, plan)
        bare = stack.enter_context(services.bare(ground.folder / "bare.log", bodies))
        contenders[BARE] = Contender(bare, contenders[OURS].people)
        reads |= {(call, BARE): requests for (call, name), requests in reads.items() if name == OURS}
        yield Field(ground, contenders, reads)


def _filled(service: Service) -> list[Person]:
    crowd = people.fill(service.port, people.register(service.port))
    people.tidy(service.database)
    return crowd


def _store_page(url: str, ours: Contender) -> None:
    """Store the server's page for FastAPI, which calls no third party."""
    page = json.loads(ask(ours.service.port, [Request(f"/movies/?page={PAGE}", token=ours.people[0].token)])[0])
    head = json.dumps([page["count"], bool(page["next"]), bool(page["previous"])])
    with redis.Redis.from_url(url) as client:
        client.set(f"fastapi:page:{PAGE}", f"{head}\n{json.dumps(page['data'], separators=(',', ':'))}")


def behaviour(service: Service) -> list[Any]:
    """The responses to the writes of a new user."""
    with people.crowd(service.port, service.database, count=1) as crowd:
        person, = people.fill(service.port, crowd, count=1)
        add = replace(calls.mixed([person])[0], path=f"/collection/{person.collections[0]}/movies/", method="POST",
                      body=people.unique_movie(), status=200, token=person.token)
        requests = [*calls.created(2, [person]), add, add, *calls.created(100, [person]), *(
            Request(path, token=person.token) for path in ("/collection/", f"/collection/{person.collections[0]}/"))]
        return [comparable(json.loads(ask(service.port, [request])[0])) for request in requests]


def _check(name: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise BenchmarkError(f"{name} does not respond as {OURS} does: {found} instead of {wanted}")


def _learned(contenders: dict[str, Contender], plan: Plan,
             ) -> tuple[dict[tuple[str, str], list[Request]], list[tuple[str, str, str, int, str]]]:
    """The reads with the lengths of their compared responses; and the responses of the bare handler."""
    reads, sent = {}, [("POST", "/collection/", "", 201, json.dumps({"collection_uuid": "0" * 36}))]
    for call in CALLS:
        if call.writes:
            continue
        wanted = None
        for name, (service, crowd) in contenders.items():
            requests = call.requests(crowd)
            bodies = ask(service.port, requests, 16)
            found = [comparable(json.loads(body)) for body in bodies]
            wanted = wanted or found
            _check(f"{name}, {call.title},", found, wanted)
            reads[call.name, name] = expecting(requests, bodies, call.exact)
            if name == OURS:
                sent += [(request.method, request.path, request.token, 200, body.decode())
                         for request, body in zip(requests, bodies)]
    return reads, sent


def expecting(requests: Sequence[Request], bodies: Sequence[bytes], exact: bool = True) -> list[Request]:
    """The requests with the lengths of their responses; if not exact, they may grow and shrink a little."""
    return [replace(request, min_bytes=len(body) if exact else max(len(body) - SHRINKING_BYTES, 1),
                    max_bytes=len(body) if exact else ANY_BYTES) for request, body in zip(requests, bodies)]


def measure_rounds(field: Field, plan: Plan, results: Results, say: Say) -> None:
    """Run all rounds; the order of the services rotates."""
    chosen = [call for call in CALLS if not plan.calls or call.name in plan.calls]
    for number in range(plan.rounds):
        for call in chosen:
            say(f"round {number + 1} of {plan.rounds}: {call.title}")
            for connections in set(call.connections) & set(plan.connections):
                names = [name for name in field.contenders if _takes_part(name, call, connections)]
                for name in reversed(names) if number % 2 else names:
                    _turn(field, plan, call, Series(call.name, connections, name), results)


def _takes_part(name: str, call: Call, connections: int) -> bool:
    if name in (NODE, TWO) and call.writes:
        return False
    return name != TWO or connections > 1


def _turn(field: Field, plan: Plan, call: Call, series: Series, results: Results) -> None:
    service, crowd = field.contenders[series.contender]
    if not call.writes:
        note(results, series, field, field.reads[call.name, series.contender], plan.seconds, plan.wrk)
        return
    wrk, seconds = plan.wrk and not call.long, LONG_SECONDS if call.long else plan.seconds
    if series.contender == BARE:
        note(results, series, field, call.requests(crowd), seconds, wrk)
        return
    with people.crowd(service.port, service.database) as crowd:
        requests = call.requests(crowd)
        first = ask(service.port, requests[:1])
        note(results, series, field, expecting(requests, first * len(requests)), seconds, wrk)


def note(results: Results, series: Series, field: Field, requests: list[Request], seconds: float, wrk: bool) -> None:
    """Measure a service, and record the result."""
    service, programs = field.contenders[series.contender].service, field.ground.programs
    before, all_before = service.cpu_seconds(), service.cpu_seconds(programs)
    window = measure(requests, service.port, series.connections, seconds, wrk=wrk)
    own, everything = cpu_used(before, service.cpu_seconds()), cpu_used(all_before, service.cpu_seconds(programs))
    results.note(series, rate=window.rate, p99=window.p99, cpu=1e6 * own / window.responses,
                 all_cpu=1e6 * everything / window.responses)
