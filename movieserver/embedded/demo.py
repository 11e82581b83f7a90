"""The demo catalogue as run.py starts it beside the server: on an inherited socket, with the server's credentials."""
from __future__ import annotations

import os

from movieserver.embedded.catalogue import serve
from movieserver.serving.supervisor import inherit


def main() -> None:
    """Serve the catalogue until SIGTERM."""
    (listening,), report_ready, _ = inherit()
    serve(listening, os.environ["MOVIE_API_USERNAME"], os.environ["MOVIE_API_PASSWORD"], report_ready)


if __name__ == "__main__":
    main()
