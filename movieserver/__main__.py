"""One serving process, as run.py starts it: on inherited sockets, with the settings of its environment and .env."""
from __future__ import annotations

import sys

import movieserver
from movieserver import server
from movieserver.observability import logs
from movieserver.serving import supervisor
from movieserver.settings import SettingsError, load


def main() -> None:
    """Serve until SIGTERM."""
    sockets, report_ready, check = supervisor.inherit()
    try:
        settings = load()
        logs.configure(settings.log_level, log_format=settings.log_format)
        logs.log.info("process started", version=movieserver.__version__)
        server.run(settings, sockets, report_ready, check)
    except SettingsError as error:
        sys.exit(f"run.py: {error}")


if __name__ == "__main__":
    main()
