"""Streams of messages for the parsers' properties, and what they consist of whatever way they are cut."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st

from proxy.errors import ErrorKind
from proxy.fields import REQUEST_PREFIXES, REQUEST_SPECIALS, REQUEST_WATCHED, FieldTable
from proxy.request_parser import RequestParser

TOKEN = st.sampled_from([b"Accept", b"x-a", b"X-B", b"COOKIE", b"Via", b"x-headgate-flags", b"Expect"])
VALUE = st.binary(max_size=12).map(lambda raw: bytes(33 + byte % 94 for byte in raw))
FIELDS = st.lists(st.tuples(TOKEN, VALUE), max_size=4)
PARTS = st.lists(st.binary(min_size=1, max_size=40), max_size=4)


@dataclass(frozen=True)
class Sent:
    """A message on the wire, and what it says."""

    raw: bytes
    start: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...] = ()


def _lines(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % field for field in fields)


@st.composite
def messages(draw: st.DrawFn, start: bytes) -> Sent:
    """A message framed by Content-Length or as chunked, or without a body."""
    fields = draw(FIELDS)
    parts = draw(PARTS)
    trailers: list[tuple[bytes, bytes]] = []
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    if framing == "none":
        raw, parts = start + b"\r\n" + _lines(fields) + b"Content-Length: 0\r\n\r\n", []
    elif framing == "length":
        body = b"".join(parts)
        raw = start + b"\r\n" + _lines(fields) + b"Content-Length: %d\r\n\r\n" % len(body) + body
    else:
        trailers = draw(st.lists(st.tuples(st.sampled_from([b"X-Sum", b"Digest"]), VALUE), max_size=2))
        extension = draw(st.sampled_from([b"", b";a=b", b';q="x"']))
        chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
        raw = start + b"\r\n" + _lines(fields) + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
        raw += b"0\r\n" + _lines(trailers) + b"\r\n"
    return Sent(raw, start, tuple(fields), b"".join(parts), tuple(trailers))


REQUESTS = st.lists(
    st.sampled_from([b"POST /a?b=c HTTP/1.1", b"PUT /long/path HTTP/1.1", b"GET / HTTP/1.1"]).flatmap(messages),
    min_size=1,
    max_size=4,
)
# Of two responses the second is asked for when the first is whole, as over a kept connection.
RESPONSE = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 503 "]).flatmap(messages)


@st.composite
def cuts(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    """The same bytes in pieces: anywhere, sometimes one by one."""
    if draw(st.booleans()) and len(raw) < 600:
        return [raw[at : at + 1] for at in range(len(raw))]
    ends = sorted(draw(st.sets(st.integers(0, len(raw)), max_size=12)) | {0, len(raw)})
    return [raw[start:end] for start, end in pairwise(ends)]


def request_table() -> FieldTable:
    table = FieldTable(REQUEST_SPECIALS, REQUEST_PREFIXES)
    table.watch(REQUEST_WATCHED)
    return table


def request_parser(line: int = 8192, head: int = 32768, fields: int = 100) -> RequestParser:
    return RequestParser(request_table(), line, head, fields)


@dataclass(frozen=True)
class Taken:
    """What came out of a parser for one request."""

    start: bytes
    lines: tuple[bytes, ...]
    noted: tuple[tuple[bytes, bytes], ...]
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...]
    complete: bool


def parse(*parts: bytes, parser: RequestParser | None = None) -> tuple[list[Taken], ErrorKind | None]:
    parser = parser or request_parser()
    for part in parts:
        parser.feed(part)
    requests = []
    while parser.requests:
        requests.append(parser.take())
    taken = [
        Taken(
            b"%b %b HTTP/%b" % (one.method, one.target, one.version.encode()),
            tuple(one.lines),
            tuple(one.noted),
            b"".join(one.body),
            tuple(one.trailers),
            one.complete,
        )
        for one in requests
    ]
    return taken, parser.error
