"""Where a request comes from: what a proxy says of it is believed only when the operator has named that proxy."""
from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORT = re.compile(r"(?P<v4>[^:]+):\d+|\[(?P<v6>.+)\](:\d+)?")
SUBSCRIBER_BITS = 64  # what one customer has of IPv6 at the least (RFC 6177)


class Proxies:
    """The proxies that are believed: `networks` that the operator named."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def client(self, peer: str, forwarded: str) -> str:
        """The address that a request comes from, of IPv6 the network that one customer has."""
        client = self._client(peer, forwarded)
        return _source(client) if client else peer

    def address(self, peer: str, forwarded: str) -> str:
        """The exact address that a request comes from."""
        return str(self._client(peer, forwarded) or peer)

    def _client(self, peer: str, forwarded: str) -> Address | None:
        """Each proxy adds the address of its peer on the right: the right-most one that is not a trusted proxy."""
        client = _address(peer)
        for entry in reversed(forwarded.split(",")):
            address = _address(entry)
            if address is None or not self._trusted(client):
                break
            client = address
        return client

    def scheme(self, peer: str, said: str, own: str) -> str:
        """http or https, as the proxy's X-Forwarded-Proto says; `own` where there is no such proxy."""
        last = said.rpartition(",")[2].strip().lower()
        return last if last in ("http", "https") and self._trusted(_address(peer)) else own

    def _trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """The address written as `text`, with or without a port; an IPv4 one in IPv6 clothes is IPv4."""
    match = PORT.fullmatch(text.strip())
    try:
        address = ip_address(match["v4"] or match["v6"] if match else text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _source(address: Address) -> str:
    """The address, of IPv6 the network that one customer has."""
    return str(address if address.version == 4 else ip_network((address, SUBSCRIBER_BITS), strict=False))
