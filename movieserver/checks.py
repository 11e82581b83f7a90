"""What `run.py check` looks at: whether everything that the settings name can be used."""
from __future__ import annotations

from collections.abc import Awaitable, Callable

from movieserver.data import operations
from movieserver.errors import ApiError
from movieserver.resources import Resources, open_resources
from movieserver.settings import Settings


async def _database(resources: Resources) -> str | None:
    applied = await operations.migrations(resources.database)
    if applied is None:
        return "is a standby: nothing can be written to it"
    missing = operations.needed_migrations() - applied
    return f"lacks the migrations {', '.join(sorted(missing))}: run `python run.py migrate`" if missing else None


async def _redis(resources: Resources) -> str | None:
    return await resources.counter.trouble()


async def _movie_api(resources: Resources) -> str | None:
    await resources.movie_api.page(1)
    return None


CHECKS: dict[str, Callable[[Resources], Awaitable[str | None]]] = {
    "PostgreSQL": _database, "Redis": _redis, "movie API": _movie_api
}


async def check(settings: Settings) -> dict[str, str | None]:
    """What is wrong with each of the three, None where nothing is."""
    found: dict[str, str | None] = {}
    async with open_resources(settings) as resources:
        for name, look in CHECKS.items():
            try:
                found[name] = await look(resources)
            except ApiError as error:
                found[name] = str(error.__cause__ or error.detail).strip()
    return found
