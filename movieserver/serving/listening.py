"""Listening sockets on the addresses of HOST."""
from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Mapping, Sequence

from tornado.netutil import bind_sockets

from movieserver.terminal import CommandError

BACKLOG = 1024  # connections that wait to be accepted
LEFTOVER_SECONDS = 2.0  # how long processes of a killed server may still hold the port
POLL_SECONDS = 0.05
ALL = ("0.0.0.0", "::")


class CannotListen(CommandError):
    """An address cannot be listened on; the message says which and why."""

    def __init__(self, host: str, port: int, reason: str, busy: bool = False) -> None:
        self.busy = busy
        super().__init__(f"cannot listen on {netloc(host, port)}: {reason}; set HOST or PORT")


def netloc(host: str, port: int) -> str:
    """Host and port as in a URL: an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Sockets on the same port of each address or name in `hosts`; `*` is every address of IPv4 and IPv6."""
    addresses = _resolve(hosts, port)
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while True:
        try:
            return _bind_all(addresses, port)
        except CannotListen as error:
            if not error.busy or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def _resolve(hosts: Sequence[str], port: int) -> dict[str, bool]:
    """The addresses of the hosts, each with whether it is the only one of its host: then it must be bound."""
    found: dict[str, bool] = {}
    for host in hosts:
        addresses = ALL if host == "*" else _look_up(host, port)
        for address in addresses:
            found[address] = found.get(address, False) or len(addresses) == 1
    covered = {":" in address for address in found if address in ALL}  # families whose wildcard address is bound
    return {address: only for address, only in found.items() if address in ALL or (":" in address) not in covered}


def _look_up(host: str, port: int) -> Sequence[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise CannotListen(host, port, error.strerror or str(error)) from None
    except UnicodeError:
        raise CannotListen(host, port, "no such name") from None
    return sorted({str(information[4][0]) for information in found})


def _bind_all(addresses: Mapping[str, bool], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for address, only in addresses.items():
            sockets += _bind(address, sockets[0].getsockname()[1] if sockets else port, only)
        if not sockets:
            raise CannotListen(", ".join(addresses), port, os.strerror(errno.EADDRNOTAVAIL))
    except CannotListen:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _bind(address: str, port: int, only: bool) -> list[socket.socket]:
    """One socket; none where this machine lacks the address, and its host has others."""
    try:
        return bind_sockets(port, address, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL and not only:
            return []
        raise CannotListen(address, port, error.strerror or str(error), error.errno == errno.EADDRINUSE) from None
