"""Header fields: which go on untouched and which need a look, sorted at the speed of a set lookup.

Most fields of a request are forwarded as they came. `FieldTable` remembers the spellings of names met before (bounded), so
that most fields of a head cost one look into a set.
"""

from __future__ import annotations

Field = tuple[bytes, bytes]
NO_LENGTH = -1
"""In place of a Content-Length that is not there."""
MAX_TRAILERS = 32
MAX_TRAILER_BYTES = 8 * 1024
# What a chunked body may cost beyond its data: chunk extensions, tiny chunks, trailers that never end. As in Go's net/http
# (CVE-2023-39326): 16 bytes a chunk and twice the data are free, and of the rest so much.
MAX_CHUNK_EXCESS = 16 * 1024

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
        b"max-forwards",
        b"te",
        b"traceparent",
        b"upgrade",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
    }
)

REQUEST_SPECIALS = HOP_BY_HOP | {b"host", b"content-length", b"forwarded", b"via", b"x-real-ip"}
# Forwarded as they came, but looked at on the way.
REQUEST_WATCHED = frozenset({b"cookie", b"expect", b"max-forwards", b"traceparent", b"x-request-id"})
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
    b"forwarded",
    b"host",
    b"set-cookie",
    b"trailer",
    b"x-real-ip",
}

# Spellings are remembered up to this many; a flood of invented names then starts the memory afresh. Longer ones never are.
_REMEMBERED = 1024
_LONGEST_REMEMBERED = 128


class FieldTable:
    """Sorts the fields of heads as they are parsed. `specials` (lower-case names, and names with one of `prefixes`) are taken
    out; `watched` ones are looked at and go on as they came, in the spelling of their sender; the rest is plain."""

    __slots__ = ("_prefixes", "_special", "_special_names", "_watched", "_watched_names", "generation", "plain")

    def __init__(
        self, specials: frozenset[bytes], prefixes: tuple[bytes, ...] = (), watched: frozenset[bytes] = frozenset()
    ) -> None:
        self._special_names = specials
        self._prefixes = prefixes
        self._watched_names = watched - specials
        # Spellings met before, by what they are: those in `_special` and `_watched` with their lower case.
        self.plain: set[bytes] = set()
        """A parser looks here first, and calls `note` for what is not in it."""
        self._special: dict[bytes, bytes] = {}
        self._watched: dict[bytes, bytes] = {}
        self.generation = 0
        """Grows when the watched names change: a head sorted before that is to be sorted again."""

    def watch(self, names: frozenset[bytes]) -> None:
        """Watch these names from now on, and no others."""
        self._watched_names = names - self._special_names
        self._forget()
        self.generation += 1

    def note(self, name: bytes, value: bytes, lines: list[bytes], noted: list[Field]) -> None:
        """Sort a field whose name is not in `plain` into the lines to be forwarded and the (lower-case) noted ones.

        llhttp leaves the white space behind a value, which is no part of it (RFC 9110 section 5.5)."""
        value = value.rstrip(b" \t")
        lower = self._special.get(name)
        if lower is not None:
            noted.append((lower, value))
            return
        lower = self._watched.get(name)
        if lower is not None:
            noted.append((lower, value))
            lines.append(b": ".join((name, value)))
            return
        lower = name.lower()
        special = self.takes_out(lower)
        if len(name) <= _LONGEST_REMEMBERED:
            self._learn(name, lower, special)
        if special or lower in self._watched_names:
            noted.append((lower, value))
        if not special:
            lines.append(b": ".join((name, value)))

    def takes_out(self, lower: bytes) -> bool:
        """Whether a field of that lower-case name is not among the lines that go on.

        Nor is one that becomes such a name where hyphens and underscores are one, as in CGI and WSGI (HTTP_X_FORWARDED_FOR)."""
        if b"_" in lower:
            lower = lower.replace(b"_", b"-")
        return lower in self._special_names or lower.startswith(self._prefixes)

    def _learn(self, name: bytes, lower: bytes, special: bool) -> None:
        if len(self.plain) + len(self._special) + len(self._watched) >= _REMEMBERED:
            self._forget()
        if special:
            self._special[name] = lower
        elif lower in self._watched_names:
            self._watched[name] = lower
        else:
            self.plain.add(name)

    def _forget(self) -> None:
        self.plain.clear()
        self._special.clear()
        self._watched.clear()

    def sort_again(self, lines: list[bytes], noted: list[Field]) -> tuple[list[bytes], list[Field]]:
        """The sorting of a head that was sorted under another generation."""
        new_lines: list[bytes] = []
        new_noted = [field for field in noted if self.takes_out(field[0])]
        for line in lines:
            name, _, value = line.partition(b": ")
            if name in self.plain:
                new_lines.append(line)
            else:
                self.note(name, value, new_lines, new_noted)
        return new_lines, new_noted


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


def unlisted(lines: list[bytes], noted: list[Field]) -> list[bytes]:
    """The lines that no Connection field among `noted` lists."""
    for name, value in noted:
        if name == b"connection":
            lines = without_listed(lines, value)
    return lines


def without_listed(lines: list[bytes], connection: bytes) -> list[bytes]:
    """The lines that the Connection field of that value does not list."""
    names = listed_fields(connection)
    return without(lines, names) if names else lines


def trailers_fit(trailers: list[Field]) -> bool:
    """Whether they stay within MAX_TRAILERS and MAX_TRAILER_BYTES."""
    size = sum([len(name) + len(value) + 4 for name, value in trailers])
    return len(trailers) <= MAX_TRAILERS and size <= MAX_TRAILER_BYTES


def frames(trailers: list[Field]) -> bool:
    """Whether a trailer says how its message is framed: whoever takes it for a field of the head reads another message."""
    return any(name.lower() in FRAMING for name, _ in trailers)


def chunk_excess(before: int, read: int, parts: list[bytes]) -> int:
    """What a chunked body has cost beyond its data, after a read of so many bytes that gave these parts."""
    return max(0, before + read - 16 * len(parts) - 3 * sum(map(len, parts)))


def chunks(parts: list[bytes]) -> bytes:
    """Parts of a body, each framed as a chunk (RFC 9112 section 7.1)."""
    return b"".join([b"%x\r\n%b\r\n" % (len(part), part) for part in parts])


def last_chunk(trailers: list[Field]) -> bytes:
    """The end of a chunked body, with those trailers that may be forwarded."""
    return b"0\r\n" + trailer_lines(trailers) + b"\r\n"


def trailer_lines(trailers: list[Field]) -> bytes:
    """The trailers that may be forwarded, one line each, ended by CRLF."""
    return b"".join(b"%b: %b\r\n" % (name, value) for name, value in trailers if _may_trail(name))


def _may_trail(name: bytes) -> bool:
    """Not what a receiver would take for the word of the gateway, were it to add trailers to the head."""
    lower = name.lower().replace(b"_", b"-")
    return lower not in FORBIDDEN_TRAILERS and not lower.startswith(REQUEST_PREFIXES)
