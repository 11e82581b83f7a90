"""The hosts of a libpq URI: what it names, and the addresses at which they are found."""
from __future__ import annotations

import asyncio
import socket

from psycopg2.extensions import parse_dsn

# Defaults for what the URL does not set. Without them, TCP notices a vanished host only after 15 minutes.
NETWORK = {
    "fallback_application_name": "movieserver",
    "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3", "tcp_user_timeout": "4000",
}
# parameters whose values a message may quote: where the server is, and the files for TLS
QUOTABLE = ("host", "port", "dbname", "user", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir")

Address = dict[str, str]  # libpq parameters


class ConnectFailed(Exception):
    """The connection failed; the message is from libpq or the operating system."""


def describe(url: str) -> str:
    """Servers, database and user of a libpq URI, without its password."""
    fields = parse_dsn(url)
    hosts = fields.get("host", "").split(",")
    ports = fields.get("port", "5432").split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    servers = ", ".join(f"{host or 'this machine'}:{port or 5432}" for host, port in zip(hosts, ports))
    database, user = fields.get("dbname", "(same as user)"), fields.get("user", "(of this process)")
    return f"{servers}, database {database}, user {user}"


def hosts_of(url: str) -> list[Address]:
    """The libpq parameters of each host in `url`. libpq alone would wait for the first host without limit."""
    fields = parse_dsn(url)
    common = NETWORK | fields
    lists = {key: fields[key].split(",") for key in ("host", "hostaddr", "port") if "," in fields.get(key, "")}
    if not lists:
        return [common]
    common.setdefault("target_session_attrs", "read-write")
    if len({len(values) for values in lists.values()}) > 1:
        return [common]  # libpq reports the mistake
    return [common | dict(zip(lists, values)) for values in zip(*lists.values())]


async def resolve(host: Address, seconds: float) -> list[Address]:
    """The addresses of a host; libpq would block the process while it resolves a name. Raises ConnectFailed."""
    name = host.get("host", "")
    if not name or name[0] in "/@" or "," in name or "hostaddr" in host:
        return [host]
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectFailed(message_of(error, host)) from error
    return [host | {"hostaddr": str(information[4][0])} for information in found]


def message_of(error: Exception, address: Address) -> str:
    """The driver's message, without the secret values of an address that it quotes."""
    message = str(error).strip() or type(error).__name__
    for name, value in address.items():
        if name not in QUOTABLE:
            message = message.replace(f'"{value}"', '"…"')
    return message
