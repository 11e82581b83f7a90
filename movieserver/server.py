"""One serving process: its event loop, its HTTP server, its orderly end."""
from __future__ import annotations

import asyncio
import gc
import resource
import signal
import socket
from collections.abc import Callable

import uvloop

from movieserver.app import make_app
from movieserver.check import log_unusable
from movieserver.resources import open_resources
from movieserver.serving.http_server import Server
from movieserver.settings import Settings

FILES = 4096


async def serve(settings: Settings, sockets: list[socket.socket], ready: Callable[[], None], check: bool) -> None:
    """Serve on bound sockets until SIGTERM, then finish the requests in progress.

    `ready` is called once it listens; then, with `check`, it logs which services cannot be used.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_resources(settings) as resources:
        app = make_app(settings, resources)
        server = Server(app)
        server.add_sockets(sockets)
        tasks = [asyncio.create_task(server.watch())]
        gc.collect()
        gc.freeze()  # objects that exist now are never garbage, so the collector can skip them
        ready()
        if check:
            tasks.append(asyncio.create_task(log_unusable(settings, resources)))
        await stop.wait()
        server.stop_listening()
        await server.drain()
        for task in tasks:
            task.cancel()
        await server.close()


def run(settings: Settings, sockets: list[socket.socket], ready: Callable[[], None], check: bool) -> None:
    """`serve` on an event loop of its own, with up to FILES open files if the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, hard):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FILES)), hard))
    uvloop.run(serve(settings, sockets, ready, check))
