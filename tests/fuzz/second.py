"""h11 as a second opinion: what it makes of the same bytes, and whether it can disagree with us in a way that matters.

Stricter is fine: what we refuse or leave incomplete goes nowhere. What we forward must be what h11 reads, too: the same messages,
cut at the same places. Where we accept and h11 does not, the way it does so has to be one of DIFFERENCES, with its reason;
docs/http.md has the same table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import h11

from proxy.fields import Field, chunks, last_chunk
from proxy.request_head import examine, forwarding_lines, upstream_head
from proxy.request_parser import RequestMessage
from proxy.response_head import client_head, interim_head, response_table
from proxy.response_parser import ResponseParser
from tests.proxy.streams import request_parser, request_table

_LARGEST = 1 << 20
_FORWARDING = forwarding_lines("203.0.113.5", b"http")


@dataclass(frozen=True)
class Difference:
    """Something that h11 refuses and we take. `said` is how h11 complains, `where` what the bytes then look like; `example` shows
    it, `because` is the reason why it may be forwarded."""

    said: re.Pattern[str]
    where: re.Pattern[bytes]
    example: bytes
    because: str
    instead: bytes = b""

    def mended(self, raw: bytes) -> bytes:
        """As h11 takes it, so that the rest can be compared."""
        return self.where.sub(self.instead, raw, count=1)


DIFFERENCES = {
    "line ends before a request": Difference(
        re.compile("no request line received|illegal request line"),
        re.compile(rb"\A[\r\n]+"),
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "RFC 9112 section 2.2 asks servers to pass over empty lines; none is forwarded",
    ),
    "spaces in the request line": Difference(
        re.compile("illegal request line"),
        re.compile(rb"\A([A-Z-]+) +([^ \r\n]+) +(?=HTTP/)"),
        b"GET  /  HTTP/1.1\r\nHost: a\r\n\r\n",
        "RFC 9112 section 3 allows to read several as one; the line is built anew",
        rb"\1 \2 ",
    ),
    "chunk size of more than 20 digits": Difference(
        re.compile("illegal chunk header"),
        re.compile(rb"0{9,}(?=[0-9A-Fa-f])"),
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 30 + b"3\r\nabc\r\n0\r\n\r\n",
        "RFC 9112 section 7.1 sets no bound to leading zeros; chunks are written anew, and what they cost is bounded",
    ),
}


@dataclass
class Read:
    """One message as h11 reads it. `refused` is its complaint, where it has one."""

    start: tuple[bytes, ...] = ()
    fields: list[Field] = field(default_factory=list)
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)
    head: bool = False
    complete: bool = False
    keep_alive: bool = True
    switching: bool = False
    refused: str = ""
    rest: bytes = b""


def _stripped(fields: list[Field]) -> list[Field]:
    """In an order of their own: ours are kept apart by what is to be done with them. Codings have no case."""
    stripped = [(name.lower(), value.strip(b" \t")) for name, value in fields]
    return sorted((name, value.lower() if name == b"transfer-encoding" else value) for name, value in stripped)


def read_request(raw: bytes) -> Read:
    """The first request of `raw`, after which more may come."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST)
    read = Read()
    connection.receive_data(raw)
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                read.head = True
                read.start = (event.method, event.target, event.http_version)
                read.fields = list(event.headers)
            elif isinstance(event, h11.Data):
                read.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                read.trailers = list(event.headers)
                read.complete = True
                read.keep_alive = connection.their_state is not h11.MUST_CLOSE
                read.switching = repr(connection.their_state) == "MIGHT_SWITCH_PROTOCOL"
                read.rest = connection.trailing_data[0]
                return read
            else:
                return read
    except h11.RemoteProtocolError as error:
        read.refused = str(error)
        return read


def read_response(raw: bytes, *, to_head: bool, ended: bool) -> tuple[list[Read], Read]:
    """Interim responses and the final one; `ended` says that the connection ends behind `raw`."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST)
    connection.send(h11.Request(method="HEAD" if to_head else "GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    interim: list[Read] = []
    read = Read()
    try:
        connection.receive_data(raw)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA and ended:
                ended = False
                connection.receive_data(b"")
            elif isinstance(event, h11.InformationalResponse | h11.Response):
                start = (b"%d" % event.status_code, event.reason, event.http_version)
                if isinstance(event, h11.InformationalResponse):
                    interim.append(Read(start, list(event.headers), head=True, complete=True))
                else:
                    read.start, read.fields, read.head = start, list(event.headers), True
            elif isinstance(event, h11.Data):
                read.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                read.trailers = list(event.headers)
                read.complete = True
                return interim, read
            else:
                return interim, read
    except h11.RemoteProtocolError as error:
        read.refused = str(error)
        return interim, read


def excused(complaint: str, raw: bytes) -> str | None:
    """The difference that the complaint is about, if it is one that we know of."""
    for name, known in DIFFERENCES.items():
        if known.said.search(complaint) and known.where.search(raw):
            return name
    return None


def ours(message: RequestMessage) -> list[Field]:
    """All fields of a head, before it was examined."""
    table = request_table()
    lines = [line.partition(b": ")[::2] for line in message.lines]
    return _stripped([*lines, *[one for one in message.noted if table.takes_out(one[0])]])


def check_requests(raw: bytes) -> set[str]:
    """Raises AssertionError where we forward something that h11 refuses or understands in another way. Returns the names of the
    differences that were met."""
    parser = request_parser()
    parser.feed(raw)
    rest = raw
    met: set[str] = set()
    while parser.requests:
        message = parser.take()
        read = read_request(rest)
        target, fields = message.target, ours(message)
        broken = parser.error is not None and not message.complete
        if examine(message, request_table()) is not None or broken:
            return met  # answered and closed, or the upstream sees it cut
        while read.refused:
            name = excused(read.refused, rest)
            assert name is not None, f"forwarded, refused by h11: {read.refused}"
            met.add(name)
            rest = DIFFERENCES[name].mended(rest)
            read = read_request(rest)
        assert read.head, "forwarded, not yet a head to h11"
        assert (message.method, target, message.version.encode()) == read.start
        assert fields == _stripped(read.fields)
        if message.complete or read.complete:
            assert (message.complete, b"".join(message.body)) == (read.complete, read.body)
            assert _stripped(message.trailers) == _stripped(read.trailers)
            assert message.keep_alive == read.keep_alive or message.version == "1.0" or read.switching
        _check_forwarded(message)
        if not message.keep_alive:
            return met
        rest = read.rest
    return met


def _check_forwarded(message: RequestMessage) -> None:
    """What goes to the upstream reads as one whole request."""
    raw = upstream_head(message, message.fields[b"host"] or b"origin:80", _FORWARDING, "", b"")
    raw += chunks(message.body) + last_chunk(message.trailers) if message.chunked else b"".join(message.body)
    read = read_request(raw)
    assert not read.refused, f"forwarded as what h11 refuses: {read.refused}"
    assert read.start == (message.method, message.target, b"1.1")
    assert read.body == b"".join(message.body)
    assert read.rest == b""
    assert read.complete == (message.complete or message.chunked)


def check_response(raw: bytes, *, to_head: bool, to_http10: bool = False) -> set[str]:
    """The same of a response that is followed by the end of its connection."""
    response = ResponseParser(response_table(), 64 * 1024, 256)
    response.begin(to_head)
    response.feed(raw)
    response.end()
    if response.error or not response.complete or response.status == 101:
        return set()
    interim, read = read_response(raw, to_head=to_head, ended=True)
    if read.refused or any(one.refused for one in interim):
        name = excused(read.refused, raw)
        assert name is not None, f"forwarded, refused by h11: {read.refused}"
        return {name}
    assert [(b"%d" % one.status, one.reason) for one in response.interim] == [one.start[:2] for one in interim]
    assert (b"%d" % response.status, response.reason) == read.start[:2]
    lines = [line.partition(b": ")[::2] for line in response.lines]
    assert _stripped([*lines, *response.noted]) == _stripped(read.fields)
    assert b"".join(response.body) == read.body
    assert _stripped(response.trailers) == _stripped(read.trailers)
    _check_answered(response, to_head, to_http10)
    return set()


def _check_answered(response: ResponseParser, to_head: bool, to_http10: bool) -> None:
    """What goes to the client reads as one whole response."""
    raw = b"" if to_http10 else b"".join([interim_head(one) for one in response.interim])
    raw += client_head(response, to_http10=to_http10, close=to_http10, keep_alive=False, extra=b"")
    if (response.chunked or response.until_close) and not to_http10:
        raw += chunks(response.body) + last_chunk(response.trailers)
    else:
        raw += b"".join(response.body)
    _, read = read_response(raw, to_head=to_head, ended=to_http10)
    assert not read.refused, f"answered with what h11 refuses: {read.refused}"
    assert (read.complete, read.body) == (True, b"".join(response.body))
