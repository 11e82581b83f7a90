"""What becomes of it: with more movies, more users, more requests; and how soon it is ready."""
from __future__ import annotations

import time
from pathlib import Path

from benchmarks import services
from benchmarks.calls import Request, listed
from benchmarks.load import look
from benchmarks.results import BARE, OURS, Place, Results
from benchmarks.rounds import Field, Plan, Say, note
from benchmarks.seed import Seed, seeding
from benchmarks.services import Ground

CONNECTIONS = 16
COLLECTIONS = 10
STEPS = 10
REQUESTS_SECONDS = 300


def own(movies: int) -> str:
    """The name of the list of a user with so many movies."""
    return f"{movies:,} movies"


def among(others: int) -> str:
    """The name of the list of a user with ten movies, among so many other users."""
    return f"10 movies, among {others:,} other users"


def measure_growth(field: Field, plan: Plan, results: Results, say: Say) -> None:
    """The list of users with ever more movies, then of one among ever more users."""
    say("users with more movies")
    users = {movies: field.seed.user(*[movies // COLLECTIONS] * COLLECTIONS) for movies in plan.movies}
    field.seed.tidy()
    smallest = min(plan.movies)
    _interleave(field, plan, results, {own(movies): _list(field.seed, user) for movies, user in users.items()})
    for movies in plan.movies:
        if movies != smallest:
            field.seed.empty(users[movies])
    before = 0
    for others in (0, *plan.others):
        say(among(others))
        if others:
            field.seed.others(others - before)
        before = others
        _interleave(field, plan, results, {among(others): _list(field.seed, users[smallest])})


def _list(seed: Seed, user_id: str) -> Request:
    return listed("", "", user_id, seed.sign(user_id)).request


def _interleave(field: Field, plan: Plan, results: Results, requests: dict[str, Request]) -> None:
    for _ in range(plan.rounds):
        for name, request in requests.items():
            for contender in (BARE, OURS):
                place = Place(name, CONNECTIONS, contender)
                note(results, place, field.services[contender], request, plan.seconds, plan.wrk)


def measure_memory(ground: Ground, plan: Plan, results: Results, say: Say) -> None:
    """Megabytes of one fresh process that has served nothing, and after each tenth of `plan.requests` lists."""
    say(f"memory over {plan.requests:,} requests")
    with services.server(ground.folder / "memory.log", ground.variables) as service:
        service.wait_ready()
        (worker,) = service.workers()
        results.numbers["memory"].append(resident(worker))
        with seeding(ground.database, ground.variables["JWT_SECRET"], service.port) as seed:
            user_id = seed.user(*[COLLECTIONS] * COLLECTIONS)
            request = _list(seed, user_id)
        done, deadline = 0, time.monotonic() + REQUESTS_SECONDS
        for step in range(STEPS):
            while done < plan.requests * (step + 1) / STEPS and time.monotonic() < deadline:
                done += look(request, service.port, CONNECTIONS, plan.seconds, wrk=plan.wrk).answers
            results.numbers["memory"].append(resident(worker))
        results.numbers["requests"].append(done)


def resident(pid: int) -> float:
    """The resident memory of a process in megabytes of 10**6 bytes."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


def measure_starts(ground: Ground, plan: Plan, results: Results, say: Say) -> None:
    """Seconds from the command to the first 200 of /readyz."""
    say("time to ready")
    embedded = {"DATA_DIR": str(ground.folder / "embedded")}
    kinds = [("ready, everything embedded, first start", embedded, 1),
             ("ready, everything embedded", embedded, plan.starts),
             ("ready, on servers that run", ground.variables, plan.starts)]
    for name, variables, times in kinds:
        for _ in range(times):
            with services.server(ground.folder / "starts.log", variables) as service:
                results.numbers[name].append(service.wait_ready())
