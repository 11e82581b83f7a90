"""The addresses of PostgreSQL, Redis and the movie API in settings: what is wrong with one, without quoting it."""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn

PERCENT_ENCODING = "if it has a password, percent-encode that (% is %25, @ is %40, / is %2F)"
# parts of libpq's messages, which may quote the address, and the messages to show instead
LIBPQ_FAULTS = {
    "percent-encoded token": "has a % that is not followed by two hexadecimal digits",
    "query parameter": "has a parameter after the ? that PostgreSQL does not know",
    "key/value separator": "has a parameter after the ? that is not name=value",
}
PORTS = {"redis": 6379, "rediss": 6379, "redis+cluster": 6379, "redis+sentinel": 26379}
SCHEMES = (*PORTS, "unix")
HOST = re.compile(r"(\[[0-9A-Za-z:.%]+]|[^][:@\s]+)(?::([0-9]{0,5}))?")
DATABASE = r"/?[0-9]{0,9}/?"
# the path by scheme, and the message if it does not match
PATHS = {
    "redis": (DATABASE, "must end with the number of a database, such as /0, or have no path"),
    "rediss": (DATABASE, "must end with the number of a database, such as /0, or have no path"),
    "redis+cluster": (r"/?0?/?", "must have no path: a cluster has only database 0"),
    "redis+sentinel": (r"/[^/@]+(/[0-9]{0,9})?/?", "must end with the master's name, such as /mymaster or /mymaster/0"),
    "unix": (r"/+[^/].*", "must have the form unix:///path/to/redis.sock"),
}
ANY = r".+"
SERVER = {
    "db": r"[0-9]{1,9}", "username": ANY, "password": ANY, "client_name": r"[!-~]+", "protocol": r"[23]",
    "health_check_interval": r"[0-9]{1,9}",
}
TLS = {
    "ssl_ca_certs": ANY, "ssl_ca_path": ANY, "ssl_certfile": ANY, "ssl_keyfile": ANY, "ssl_password": ANY,
    "ssl_cert_reqs": r"none|optional|required", "ssl_check_hostname": r"(?i:true|false|yes|no)",
}
# the query parameters by scheme, each with the pattern of its value
PARAMETERS = {
    "redis": SERVER, "rediss": SERVER | TLS, "unix": SERVER, "redis+cluster": {},
    "redis+sentinel": {"sentinel_password": ANY},
}


FindFault = Callable[[str], str | None]


def check_address(url: str, find_fault: FindFault) -> None:
    """Raise ValueError if `find_fault` finds a fault; the message does not quote the address."""
    try:
        fault = find_fault(url)
    except ValueError:  # its message may quote the address
        fault = "has a user, password, host or port that cannot be read"
    if fault:
        raise ValueError(f"{fault}; {PERCENT_ENCODING}")


def split_address(url: str) -> tuple[dict[str, Any], list[tuple[str, int]], str]:
    """User name and password, hosts with ports, and path; unlike urlsplit, for several hosts."""
    split = urlsplit(url)
    credentials, _, hosts = split.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    user = {"username": unquote(username), "password": unquote(password)}
    nodes = [_node(host, PORTS[split.scheme]) for host in hosts.split(",")]
    return {name: value for name, value in user.items() if value}, nodes, split.path.strip("/")


def _node(text: str, default_port: int) -> tuple[str, int]:
    if not (match := HOST.fullmatch(text)):
        raise ValueError("no host")
    return match[1].strip("[]"), int(match[2] or default_port)


def database_fault(url: str) -> str | None:
    """Why the URI names no PostgreSQL database, or None."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        return "must begin with postgresql://"
    if rest.partition("?")[0].count("@") > 1 or "@" in rest.partition("?")[0].partition("/")[2]:
        return "has an @ in its password or after its host"
    try:
        ports = parse_dsn(url).get("port", "")
    except ProgrammingError as error:
        message = str(error)
        return next(
            (words for part, words in LIBPQ_FAULTS.items() if part in message),
            "is not of the form postgresql://user:password@host:port/database")
    return "has a port that is not a number" if ports and not ports.replace(",", "0").isdecimal() else None


def web_fault(url: str) -> str | None:
    """Why it is not an http:// or https:// address with a host, or None."""
    split = urlsplit(url)
    if split.scheme not in ("https", "http"):
        return "must begin with https:// or http://"
    if not split.hostname:
        return "has no host"
    if not re.fullmatch(r"[!-~]+", url):
        return "has a space or another character that must be percent-encoded"
    split.port  # ValueError unless it is a number
    return "has an @ after its host" if "@" in split.path + split.query + split.fragment else None


def redis_fault(url: str) -> str | None:
    """Why the Redis client cannot use the address, or None."""
    split = urlsplit(url)
    if split.scheme not in SCHEMES:
        return "must begin with " + " or ".join(f"{scheme}://" for scheme in SCHEMES)
    path, form = PATHS[split.scheme]
    if split.fragment:
        return "has a #"
    if fault := _host_fault(split.scheme, split.netloc.rpartition("@")[2], url):
        return fault
    return _parameter_fault(split.scheme, split.query) if re.fullmatch(path, split.path) else form


def _host_fault(scheme: str, hosts: str, url: str) -> str | None:
    if scheme == "unix":
        return PATHS[scheme][1] if hosts else None
    if not hosts:
        return "names no host"
    nodes = split_address(url)[1]
    if len(nodes) > 1 and not scheme.startswith("redis+"):
        return "names several hosts, which only redis+cluster:// and redis+sentinel:// may"
    return None if all(0 < port < 65536 for _, port in nodes) else "has a port that is not from 1 to 65535"


def _parameter_fault(scheme: str, query: str) -> str | None:
    known = PARAMETERS[scheme]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            return f"has an unknown query parameter: it may have {', '.join(known) or 'none'}"
        if not re.fullmatch(known[name], value):
            return f"has a query parameter {name} with a value that cannot be used"
    return None
