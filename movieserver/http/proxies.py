"""The address and scheme of a client behind trusted proxies."""
from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from tornado.httputil import HTTPServerRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORT = re.compile(r"(?P<v4>[^:]+):\d+|\[(?P<v6>.+)\](:\d+)?")
SUBSCRIBER_BITS = 64  # the smallest IPv6 network of a customer (RFC 6177)


class Proxies:
    """Trusted proxies: those in `networks`."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def network(self, request: HTTPServerRequest) -> str:
        """What limits are counted by: the IPv4 address of the client, or the network of one customer for IPv6."""
        client = self._client(request)
        return _source(client) if client else str(request.remote_ip)

    def address(self, request: HTTPServerRequest) -> str:
        """The IP address of the client, for the log."""
        peer = str(request.remote_ip)
        return str(self._client(request) or peer) if "X-Forwarded-For" in request.headers else _exact(peer)

    def scheme(self, request: HTTPServerRequest) -> str:
        """http or https: the X-Forwarded-Proto of a trusted proxy, or else how the request came."""
        last = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
        trusted = last in ("http", "https") and self._trusted(_address(str(request.remote_ip)))
        return last if trusted else request.protocol

    def _client(self, request: HTTPServerRequest) -> Address | None:
        """The right-most address that is not a trusted proxy: each proxy appends the address of its peer."""
        client = _address(str(request.remote_ip))
        for entry in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
            address = _address(entry)
            if address is None or not self._trusted(client):
                break
            client = address
        return client

    def _trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """The address in `text`, with or without a port; an IPv4-mapped IPv6 address becomes IPv4."""
    match = PORT.fullmatch(text.strip())
    try:
        address = ip_address(match["v4"] or match["v6"] if match else text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=1024)
def _exact(peer: str) -> str:
    return str(_address(peer) or peer)


def _source(address: Address) -> str:
    """The address; of an IPv6 address, the network of one customer."""
    return str(address if address.version == 4 else ip_network((address, SUBSCRIBER_BITS), strict=False))
