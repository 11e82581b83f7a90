"""One serving process, as run.py starts it: on inherited sockets, with the settings of its environment and .env."""
from __future__ import annotations

import sys

UNUSED = ("cryptography", "rich")  # the tests' packages, which PyJWT and structlog import where they are: 15 MB


def main() -> None:
    """Serve until SIGTERM."""
    for name in UNUSED:
        sys.modules[name] = None  # type: ignore[assignment]
    from movieserver import server
    from movieserver.observability import logs
    from movieserver.redis.client import check_address
    from movieserver.serving import supervisor
    from movieserver.settings import SettingsError, load

    sockets, report_ready = supervisor.inherit()
    try:
        settings = load(check_address)
    except SettingsError as error:
        sys.exit(f"run.py: {error}")
    logs.configure(settings.log_level, log_format=settings.log_format)
    server.run(settings, sockets, report_ready)


if __name__ == "__main__":
    main()
