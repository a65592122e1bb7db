"""The request as routing sees it: the same object on the data plane and in `explain`."""

from __future__ import annotations

import re
from dataclasses import dataclass

# RFC 6265 section 5.4: pairs parted by "; ". Browsers send no other white space, some clients leave the space out.
_COOKIE_PAIR = re.compile(rb"(?:^|;)[ \t]*([^=;\s]+)[ \t]*=[ \t]*(\"[^\"]*\"|[^;]*)")


@dataclass(frozen=True, slots=True)
class Place:
    """What a geo database or an inline range knows of an address. Codes are upper case; unknown is an empty string.

    `subdivision` is ISO 3166-2 with its country, such as `US-NY`; `asn` is 0 where unknown.
    """

    continent: str = ""
    country: str = ""
    subdivision: str = ""
    city: str = ""
    asn: int = 0


NOWHERE = Place()


class Request:
    """One request head, as far as routing needs it.

    `fields` maps lower-case field names to values (several lines of one name joined by ", "); it must hold every name in
    `Snapshot.wanted` that the request carries, and may hold more. `host` is lower case and has no port.
    """

    __slots__ = ("client_ip", "fields", "host", "method", "path", "place", "query")

    def __init__(
        self,
        method: bytes,
        host: bytes,
        path: bytes,
        query: bytes = b"",
        fields: dict[bytes, bytes] | None = None,
        client_ip: str = "",
        place: Place = NOWHERE,
    ) -> None:
        self.method = method
        self.host = host
        self.path = path
        self.query = query
        self.fields: dict[bytes, bytes] = {} if fields is None else fields
        self.client_ip = client_ip
        self.place = place

    def cookie(self, name: bytes) -> bytes | None:
        """The value of the first cookie of that name, unquoted; None where there is none."""
        header = self.fields.get(b"cookie")
        if header is None or name not in header:
            return None
        for key, value in _COOKIE_PAIR.findall(header):
            if key == name:
                value = value.strip()
                return value[1:-1] if value[:1] == b'"' and len(value) > 1 else value  # type: ignore[no-any-return]
        return None
