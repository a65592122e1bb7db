"""The request as routing sees it: the same object on the data plane and in `explain`."""

from __future__ import annotations

from dataclasses import dataclass


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
_SEMICOLON = ord(";")


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The identity that a client has proved: the subject's common name, empty where there is none, and the DNS names and URIs of
    subjectAltName."""

    subject: str
    names: tuple[str, ...]


class Request:
    """One request head, as far as routing needs it.

    `fields` maps lower-case field names to values; several lines of one name are joined by ", ", of Cookie by "; ".
    It must hold every name in `Snapshot.wanted` that the request carries, and may hold more. `host` is lower case and
    has no port. `certificate` is the client's, if it has shown one.
    """

    __slots__ = ("certificate", "client_ip", "fields", "host", "method", "path", "place", "query")

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
        self.certificate: ClientCertificate | None = None

    def cookie(self, name: bytes) -> bytes | None:
        """The value of the first cookie of that name, unquoted; None where there is none.

        RFC 6265 section 5.4: pairs parted by `;`, whatever is quoted. Searching for the name costs a fifth of taking
        the header apart, which with a browser's cookies was a third of a decision.
        """
        header = self.fields.get(b"cookie")
        if header is None:
            return None
        at = header.find(name)
        while at >= 0:
            end = at + len(name)
            if header[end : end + 1] == b"=" and _begins_pair(header, at):
                value = header[end + 1 :].partition(b";")[0].strip(b" \t")
                return value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value
            at = header.find(name, end)
        return None


def _begins_pair(header: bytes, at: int) -> bool:
    """Whether nothing but white space parts that place from a `;` or the beginning before it. A loop, for to cut off what is before
    each place where a name occurs costs the square of the header."""
    at -= 1
    while at >= 0 and header[at] in b" \t":
        at -= 1
    return at < 0 or header[at] == _SEMICOLON
