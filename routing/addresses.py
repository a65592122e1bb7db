"""Client addresses: sets of networks, and who the client is behind trusted proxies."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

# Parsing an address costs about 2 us; the same clients come back, so verdicts are kept, up to this many.
_KEPT = 8192


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in `text`, or None. IPv4 mapped into IPv6 counts as IPv4; a zone (`%eth0`) is dropped."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Networks:
    """A set of CIDR networks. Raises ValueError for text that is no network."""

    __slots__ = ("_known", "_networks")

    def __init__(self, cidrs: tuple[str, ...]) -> None:
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(ip_network(c, strict=False) for c in cidrs)
        self._known: dict[str, bool] = {}

    def __reduce__(self) -> tuple[type[Networks], tuple[tuple[str, ...]]]:
        return Networks, (tuple(map(str, self._networks)),)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def contain(self, text: str) -> bool:
        """Whether the address is in one of the networks; text that is no address is in none."""
        known = self._known.get(text)
        if known is None:
            address = parse_address(text)
            known = address is not None and any(
                network.version == address.version and address in network for network in self._networks
            )
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[text] = known
        return known


def client_of(peer: str, forwarded_for: bytes | None, trusted: Networks) -> str:
    """The client's address: the peer, or, where the peer is a trusted proxy, the last hop in X-Forwarded-For that is
    not.

    A hop that is no address ends the walk at the hop before it: nothing beyond an unreadable entry can be believed.
    """
    if forwarded_for is None or not trusted.contain(peer):
        return peer
    client = peer
    for hop in reversed(forwarded_for.split(b",")):
        text = hop.strip().decode("latin-1")
        if text.startswith("["):  # [2001:db8::1]:4711
            text = text[1:].partition("]")[0]
        elif text.count(":") == 1:  # 192.0.2.1:4711
            text = text.partition(":")[0]
        address = parse_address(text)
        if address is None:
            return client
        client = str(address)
        if not trusted.contain(client):
            return client
    return client
