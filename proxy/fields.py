"""Header fields: which go on untouched and which need a look, sorted at the speed of a set lookup.

Most fields of a request are forwarded as they came. `FieldTable` remembers the spellings of names met before (bounded), so
that a head of 15 fields costs one list comprehension and a look at the few special ones.
"""

from __future__ import annotations

Field = tuple[bytes, bytes]

# RFC 9110 section 7.6.1 and what older software still sends. Proxy-Auth* are meant for this hop.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
FRAMING = frozenset({b"content-length", b"host", b"transfer-encoding"})
# Not to be removed because a Connection field lists them (RFC 9110 section 7.6.1: removal must not break the message
# or hide what this hop adds).
NEVER_LISTED = frozenset(
    {
        b"close",
        b"connection",
        b"cookie",
        b"keep-alive",
        b"traceparent",
        b"upgrade",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
    }
)

REQUEST_SPECIALS = HOP_BY_HOP | {b"host", b"content-length", b"forwarded", b"via"}
# Forwarded as they came, but looked at on the way.
REQUEST_WATCHED = frozenset({b"cookie", b"expect", b"traceparent", b"x-request-id"})
REQUEST_PREFIXES = (b"x-forwarded-", b"x-headgate-")

RESPONSE_SPECIALS = HOP_BY_HOP | {b"content-length", b"trailer"}

# Framing, routing and authentication don't belong in trailers (RFC 9110 section 6.5.1).
FORBIDDEN_TRAILERS = HOP_BY_HOP | {
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
    b"set-cookie",
    b"trailer",
}

# Spellings are remembered up to this many; a flood of invented names then starts the memory afresh.
_REMEMBERED = 1024


class FieldTable:
    """Sorts the fields of heads. `specials` (lower-case names, and names with one of `prefixes`) are taken out; `watched`
    ones are looked at and go on as they came, in the spelling of their sender."""

    __slots__ = ("_plain", "_prefixes", "_special", "_specials", "_watched", "_watching")

    def __init__(
        self, specials: frozenset[bytes], prefixes: tuple[bytes, ...] = (), watched: frozenset[bytes] = frozenset()
    ) -> None:
        self._specials = specials
        self._prefixes = prefixes
        self._watching = watched - specials
        # Spelled names met before. A watched one is plain too.
        self._plain: set[bytes] = set()
        self._special: dict[bytes, bytes] = {}
        self._watched: dict[bytes, bytes] = {}

    def sort(self, fields: list[Field]) -> tuple[list[bytes], list[Field]]:
        """(lines of the plain and watched fields, the special and watched ones with lower-case names)."""
        plain, special, watched = self._plain, self._special, self._watched
        lines = [b": ".join(field) for field in fields if field[0] in plain]
        noted: list[Field] = []
        if len(lines) != len(fields):
            try:
                noted = [(special[field[0]], field[1]) for field in fields if field[0] not in plain]
            except KeyError:
                self._learn(fields)
                return self.sort(fields)
        if watched:
            noted += [(watched[field[0]], field[1]) for field in fields if field[0] in watched]
        return lines, noted

    def _learn(self, fields: list[Field]) -> None:
        if len(self._plain) + len(self._special) + len(fields) > _REMEMBERED:
            self._plain.clear()
            self._special.clear()
            self._watched.clear()
        for name, _ in fields:
            lower = name.lower()
            if lower in self._specials or lower.startswith(self._prefixes):
                self._special[name] = lower
                continue
            self._plain.add(name)
            if lower in self._watching:
                self._watched[name] = lower


# What nearly every Connection field says; it lists no field to be removed.
_LISTS_NOTHING = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})
_NONE: frozenset[bytes] = frozenset()


def listed(connection: bytes) -> list[bytes]:
    """The members of a Connection field, lower case, empty ones left out."""
    return [member for part in connection.lower().split(b",") if (member := part.strip())]


def listed_fields(connection: bytes) -> frozenset[bytes]:
    """The fields that a Connection field asks to have removed, lower case, less those that must not be."""
    if connection in _LISTS_NOTHING:
        return _NONE
    return frozenset(listed(connection)) - NEVER_LISTED


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The lines whose field name is not among the lower-case `names`."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def trailer_lines(trailers: list[Field]) -> bytes:
    """Trailers fit to be forwarded, one CRLF-ended line each."""
    return b"".join(b"%b: %b\r\n" % (name, value) for name, value in trailers if name.lower() not in FORBIDDEN_TRAILERS)
