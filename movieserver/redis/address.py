"""The forms of a Redis address, and what they may contain."""
from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PORTS = {"redis": 6379, "rediss": 6379, "redis+cluster": 6379, "redis+sentinel": 26379}
SCHEMES = (*PORTS, "unix")
HOST = re.compile(r"(\[[0-9A-Za-z:.%]+]|[^][:@\s]+)(?::([0-9]{0,5}))?")
DATABASE = r"/?[0-9]{0,9}/?"
# the path by scheme, and the message if it does not match
PATHS = {
    "redis": (DATABASE, "must end with the number of a database, such as /0, or have no path"),
    "rediss": (DATABASE, "must end with the number of a database, such as /0, or have no path"),
    "redis+cluster": (r"/?0?/?", "must have no path: a cluster has only database 0"),
    "redis+sentinel": (r"/[^/]+(/[0-9]{0,9})?/?", "must end with the master's name, such as /mymaster or /mymaster/0"),
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
ENCODE = "a password with special characters must be percent-encoded"


def check_address(url: str) -> None:
    """Raise ValueError unless the client can use the address. The message does not quote it: it holds a password."""
    try:
        fault = _fault(url)
    except ValueError:  # its message may quote the address
        fault = f"cannot be read; {ENCODE}"
    if fault:
        raise ValueError(fault)


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


def _fault(url: str) -> str | None:
    """The fault of an address, or None."""
    split = urlsplit(url)
    if split.scheme not in SCHEMES:
        return "must begin with " + " or ".join(f"{scheme}://" for scheme in SCHEMES)
    path, form = PATHS[split.scheme]
    if split.fragment:
        return f"has a #; {ENCODE}"
    if fault := _host_fault(split.scheme, split.netloc.rpartition("@")[2], url):
        return fault
    return _parameter_fault(split.scheme, split.query) if re.fullmatch(path, split.path) else form


def _host_fault(scheme: str, hosts: str, url: str) -> str | None:
    if scheme == "unix":
        return PATHS[scheme][1] if hosts else None
    if not hosts:
        return f"names no host; {ENCODE}"
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
