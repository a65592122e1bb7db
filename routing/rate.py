"""What a route's rate limit is, and whom it takes for one client."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from socket import AF_INET6, inet_pton

from routing.request import Request


class RateBy(Enum):
    CLIENT_IP = "client_ip"
    HEADER = "header"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`quota` requests in `window` seconds (whole), and `burst` of them at once. `name` is the cookie's or the lower-case
    header's name, empty for the client's address; `salt` (8 bytes) keeps routes apart in one table.
    """

    by: RateBy
    name: bytes
    quota: int
    window: int
    burst: int
    salt: bytes

    @property
    def interval(self) -> float:
        """Seconds between requests that come evenly."""
        return self.window / self.quota

    @property
    def field(self) -> bytes:
        """The request's field to look at; empty for none."""
        return b"cookie" if self.by is RateBy.COOKIE else self.name

    def key(self, request: Request) -> bytes:
        """Who asks. Without the header or the cookie it is the client's address: leaving one out must not be a way around the
        limit."""
        value: bytes | None = None
        if self.by is RateBy.HEADER:
            value = request.fields.get(self.name)
        elif self.by is RateBy.COOKIE:
            value = request.cookie(self.name)
        return b"v" + value if value else b"a" + client_network(request.client_ip)


def client_network(address: str) -> bytes:
    """The address as far as it tells clients apart: IPv4 whole, of IPv6 the first 64 bits, since any client has the rest to
    choose from (RFC 4291 section 2.5.4)."""
    if ":" not in address:
        return address.encode()
    try:
        return inet_pton(AF_INET6, address.partition("%")[0])[:8]
    except OSError:
        return address.encode()
