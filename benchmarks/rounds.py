"""Round after round each contender has its turn on each call; nothing is compared across rounds."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from benchmarks import pgbench, services
from benchmarks.calls import Call, Request, all_calls, listed
from benchmarks.load import BenchmarkError, look
from benchmarks.results import BARE, OURS, PREPARED, RIVAL, SIMPLE, TWO, Place, Results
from benchmarks.seed import Seed, answer, seeding
from benchmarks.services import POOL, Ground, Service

PAGE = 2
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much is measured: names of calls (none: all), and how often and for how long."""

    calls: tuple[str, ...] = ()
    connections: tuple[int, ...] = ()
    rounds: int = 5
    seconds: float = 1
    wrk: bool = True
    growth: bool = True
    others: tuple[int, ...] = (1_000, 100_000)
    movies: tuple[int, ...] = (10, 1_000, 100_000)
    requests: int = 200_000
    starts: int = 3

    def places(self, call: Call) -> list[int]:
        """At how many connections a call is measured."""
        return [number for number in call.connections if not self.connections or number in self.connections]


@dataclass(frozen=True)
class Field:
    """What runs while it is measured: the contenders by name, the calls, the one who writes."""

    ground: Ground
    seed: Seed
    services: dict[str, Service]
    calls: list[Call]
    writer: str


@contextmanager
def field(ground: Ground, plan: Plan) -> Iterator[Field]:
    """Every contender, started, and seen to give the same answers."""
    with ExitStack() as stack:
        running: dict[str, Service] = {}
        for name, processes in ((OURS, 1), (TWO, 2)):
            log = ground.folder / f"server-{processes}.log"
            running[name] = stack.enter_context(services.server(log, ground.variables, processes))
            running[name].wait_ready()
        port = running[OURS].port
        seed = stack.enter_context(seeding(ground.database, ground.variables["JWT_SECRET"], port))
        reader, writer = seed.user(*[10] * 10), seed.user()
        calls = _calls(seed, reader, writer, port)
        answers = [(call.request, answer(call.request, port).decode()) for call in calls]
        running[BARE] = stack.enter_context(services.bare(ground.folder / "bare.log", answers))
        if services.RIVAL.exists():
            _keep_page(ground.variables["REDIS_URL"], calls, port)
            running[RIVAL] = stack.enter_context(services.rival(ground.folder / "rival.log", ground.variables))
        chosen = [call for call in calls if not plan.calls or call.name in plan.calls]
        for call in chosen:
            _compare(call, running)
        seed.empty(writer)
        yield Field(ground, seed, running, chosen, writer)


def _calls(seed: Seed, reader: str, writer: str, port: int) -> list[Call]:
    listing = json.loads(answer(listed("", "", reader, seed.sign(reader)).request, port))
    first = listing["data"]["collections"][0]["uuid"]
    return all_calls(reader, seed.sign(reader), first, writer, seed.sign(writer))


def _keep_page(url: str, calls: list[Call], port: int) -> None:
    """Give the rival, which calls no third party, the page that ours has."""
    movies = next(call for call in calls if call.name == "movies")
    page = answer(movies.request, port)
    with redis.Redis.from_url(url) as client:
        client.set(f"rival:page:{PAGE}", page)


def _compare(call: Call, running: dict[str, Service]) -> None:
    """BenchmarkError where the contenders do not say the same: what differs by nature is left out."""
    said = {name: _comparable(call.request, service.port) for name, service in running.items()}
    if any(answered != said[OURS] for answered in said.values()):
        raise BenchmarkError(f"{call.name}: the contenders do not say the same: {said}")


def _comparable(request: Request, port: int) -> Any:
    found = json.loads(answer(request, port))
    return {name: None if name in ("requests", "collection_uuid", "next", "previous") else value
            for name, value in found.items()}


def measure(field: Field, plan: Plan, results: Results, say: Say) -> None:
    """All rounds."""
    for number in range(plan.rounds):
        for call in field.calls:
            say(f"round {number + 1} of {plan.rounds}: {call.title}")
            for connections in plan.places(call):
                _turn(field, plan, call, connections, results, backwards=bool(number % 2))
            _statements(field, plan, call, results)


def _turn(field: Field, plan: Plan, call: Call, connections: int, results: Results, backwards: bool) -> None:
    """Each contender once, in turn; who is first changes from round to round."""
    names = [name for name in (BARE, OURS, RIVAL, TWO) if name in field.services and (name != TWO or connections > 1)]
    for name in reversed(names) if backwards else names:
        place = Place(call.name, connections, name)
        note(results, place, field.services[name], call.request, _seconds(plan, call), plan.wrk)
        if call.writes and name != BARE:
            field.seed.empty(field.writer)


def note(
    results: Results, place: Place, service: Service, request: Request, seconds: float, wrk: bool,
) -> None:
    """Look at a service, and keep what was seen."""
    before = service.processor_seconds()
    window = look(request, service.port, place.connections, seconds, wrk=wrk)
    results.rates[place].append(window.rate)
    results.late[place].append(window.late)
    results.cpu[place].append((service.processor_seconds() - before) / window.answers * 1e6)


def _statements(field: Field, plan: Plan, call: Call, results: Results) -> None:
    if call.statement is None:
        return
    for name, mode in zip((SIMPLE, PREPARED), pgbench.MODES):
        rate = pgbench.rate(field.ground.database, call.statement, POOL, _seconds(plan, call), mode)
        if rate is not None:
            results.rates[Place(call.name, POOL, name)].append(rate)
        if call.writes:
            field.seed.empty(field.writer)


def _seconds(plan: Plan, call: Call) -> float:
    return max(plan.seconds, call.least_seconds)
