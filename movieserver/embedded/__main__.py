"""The demo catalogue on its own: python -m movieserver.embedded --port 9000 --errors 0.3"""
from __future__ import annotations

import argparse
import contextlib
import os
import sys
from dataclasses import asdict

from movieserver.embedded.catalogue import Faults, listen, serve


def main() -> None:
    """Serve the demo catalogue until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m movieserver.embedded",
        description="A demo movie catalogue, for the credentials MOVIE_API_USERNAME and MOVIE_API_PASSWORD.",
    )
    parser.add_argument("--port", type=int, default=9000)
    for name in asdict(Faults()):
        parser.add_argument(
            f"--{name}", type=float, default=0.0, metavar="SHARE", help="share of requests that fail like this, 0 to 1")
    options = parser.parse_args()
    try:
        listening, url = listen(options.port)
    except OSError as error:
        sys.exit(f"cannot listen on 127.0.0.1:{options.port}: {os.strerror(error.errno or 0)}; set --port")
    print(f"demo catalogue: {url}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        serve(
            listening, os.environ.get("MOVIE_API_USERNAME", ""), os.environ.get("MOVIE_API_PASSWORD", ""),
            lambda: None, Faults(options.errors, options.hangs, options.halves),
        )


if __name__ == "__main__":
    main()
