"""Requests out of a client's bytes, without I/O. The grammar is llhttp's (httptools) in its strict setting; what it lets
through and RFC 9112 does not is refused in `request_head.py`.

The parser lives as long as its connection and only collects, whole and partial requests in order: whoever feeds it looks at
what is there when `feed` returns, so no callback ever re-enters. A body of known length that outlasts the first read bypasses
llhttp: its bytes are counted, not copied.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import httptools

from proxy.errors import ErrorKind
from proxy.fields import MAX_CHUNK_EXCESS, NO_LENGTH, Field, FieldTable, chunk_excess, trailers_fit
from routing.request import Request

# Pipelined requests waiting behind the current one, and bytes behind one that asks for an upgrade.
MAX_PIPELINED: Final = 16
MAX_BEHIND = 16 * 1024
# A read is parsed so much at a time: a request of 26 bytes takes 700 once it is parsed, and one read may hold 10,000 of them.
STRETCH: Final = 8 * 1024
# llhttp refuses lengths of more than 64 bits, whose digits are these; before them there may be any number of zeros.
LENGTH_DIGITS = 20

_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class RequestMessage(Request):
    """One request as it comes in: what routing looks at (see `request_head.examine`), and how it was sent.

    `lines` are the fields that go on as they came, `noted` those to be looked at (fields.py), sorted by the table's
    `generation`. `body` holds what has arrived and was not yet taken; `left` counts the bytes still to come of a body that
    outlasts the first read and whose length is known.
    """

    __slots__ = (
        "body",
        "chunked",
        "complete",
        "content_length",
        "generation",
        "keep_alive",
        "left",
        "lines",
        "made",
        "noted",
        "request_id",
        "target",
        "trailers",
        "upgrade",
        "version",
    )

    def __init__(self, generation: int) -> None:
        super().__init__(b"", b"", b"")
        self.target = b""
        self.version = ""
        self.lines: list[bytes] = []
        self.noted: list[Field] = []
        self.generation = generation
        self.trailers: list[Field] = []
        self.body: list[bytes] = []
        self.left = NO_LENGTH
        self.content_length = NO_LENGTH
        self.chunked = False
        self.keep_alive = True
        self.upgrade = False
        self.complete = False
        self.request_id = b""
        self.made = b""
        """Lines that the gateway made up once for all attempts: see request_head.py."""


def length_of(value: bytes) -> int:
    """What a Content-Length says that llhttp has let pass: digits only."""
    return int(value[-LENGTH_DIGITS:])


class RequestParser:
    """Feed bytes; take requests from `requests`. A request enters when its head is complete; its body and `complete` fill
    in later. After an error `error` is set, and nothing further is read."""

    __slots__ = (
        "_at_start",
        "_body_bytes",
        "_count",
        "_current",
        "_excess",
        "_foreign_targets",
        "_head_bytes",
        "_in_head",
        "_limit_fields",
        "_limit_head",
        "_limit_line",
        "_lines",
        "_parser",
        "_plain",
        "_seen",
        "_suspect",
        "_table",
        "_unparsed",
        "error",
        "requests",
        "upgraded",
    )

    def __init__(self, table: FieldTable, limit_line: int, limit_head: int, limit_fields: int) -> None:
        self._table = table
        self._plain = table.plain
        self._limit_line = min(limit_line, limit_head)
        self._limit_head = limit_head
        self._limit_fields = limit_fields
        self._parser = httptools.HttpRequestParser(self)
        self._current = RequestMessage(0)
        self._lines = self._current.lines
        self._count = 0
        self._in_head = False
        self._head_bytes = 0
        self._suspect = False
        self._body_bytes = 0
        self._excess = 0
        self._seen = b""
        self._at_start = True
        self._foreign_targets: set[bytes] | None = None
        self._unparsed = b""
        self.requests: deque[RequestMessage] = deque()
        self.error: ErrorKind | None = None
        self.upgraded: bytes | None = None
        """Behind a request that asks for an upgrade: the bytes that followed, not parsed. See `resume`."""

    @property
    def in_head(self) -> bool:
        """Whether a head has begun and is not complete."""
        return self._in_head

    @property
    def backlog(self) -> bool:
        """Whether enough is kept for later: no more is to be read before the current exchange has ended."""
        if self.upgraded is not None:
            return len(self.upgraded) > MAX_BEHIND
        requests = self.requests
        return bool(requests) and (len(requests) > MAX_PIPELINED or not requests[-1].complete)

    def take(self) -> RequestMessage:
        """The next request. In its place others are parsed, if there are any."""
        message = self.requests.popleft()
        if self._unparsed:
            self._feed_in_stretches(self._unparsed)
        return message

    def feed(self, data: bytes) -> None:
        if self._unparsed or len(data) > STRETCH:
            self._feed_in_stretches(self._unparsed + data)
            return
        behind = self._read(data)
        if behind:
            self._feed_in_stretches(behind)

    def _feed_in_stretches(self, data: bytes) -> None:
        """As much as may be read ahead; the rest stays as it is until a request is taken. So while there is a rest, there are
        more than MAX_PIPELINED requests, and `backlog` keeps more from coming."""
        self._unparsed = b""
        at = 0
        while at < len(data):
            if len(self.requests) > MAX_PIPELINED and self.error is None:
                self._unparsed = data[at:]
                return
            passed_on = self._current.left > 0 or self.upgraded is not None
            part = data[at:] if passed_on else data[at : at + STRETCH]
            at += len(part) - len(self._read(part))

    def _read(self, data: bytes) -> bytes:
        """Returns what has to be read anew, as the beginning of something else."""
        if self.error is not None:
            return b""
        if self.upgraded is not None:
            self.upgraded += data
            return b""
        current = self._current
        if current.left > 0:
            return self._pass_body(current, data)
        continued = self._in_head
        self._suspect = continued or len(data) > self._limit_head
        self._body_bytes = 0
        parts = len(current.body)
        self._seen = window = self._seen + data if continued else data
        self._at_start = continued or current.complete or not current.chunked
        self._foreign_targets = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._seen = b""
            return self._stop_at_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if self.error is None:
                self.error = ErrorKind.BAD_REQUEST
        self._seen = b""
        if self._in_head:
            same = continued and self._current is current  # else it was completed, and another has begun behind it
            if same:
                self._head_bytes += len(data)
            else:
                self._head_bytes = self._begun(data)
                window = data[-self._head_bytes :]
            self._seen = window[: self._limit_line + 64]  # the request's line surely fits in
            if len(self._current.target) > self._limit_line:
                self.error = ErrorKind.TARGET_TOO_LONG
            elif self._head_bytes > self._limit_head:
                self.error = ErrorKind.HEAD_TOO_LARGE
        elif self._current.complete:
            pass
        elif self._current.chunked:
            if self._current is current:
                self._excess = chunk_excess(self._excess, len(data), current.body[parts:])
                if self._excess > MAX_CHUNK_EXCESS and self.error is None:
                    self.error = ErrorKind.BAD_REQUEST
        elif self._current.left == NO_LENGTH:
            self._measure(self._current)
        return b""

    def _begun(self, data: bytes) -> int:
        """How many bytes of a read belong to the head that began in it. What is before them ends with an empty line, or with
        a body of known length; if that body holds an empty line itself, the result is too small."""
        start = data.rfind(b"\r\n\r\n")
        behind = len(data) if start < 0 else len(data) - start - 4
        return max(behind - self._body_bytes, self._parsed_size())

    def _parsed_size(self) -> int:
        """Of the current head, as it would be written."""
        current, table = self._current, self._table
        size = len(current.target) + sum([len(line) + 2 for line in current.lines])
        return size + sum([len(name) + len(value) + 4 for name, value in current.noted if table.takes_out(name)])

    def resume(self) -> None:
        """Go on behind a request whose upgrade did not come about."""
        behind, self.upgraded = self.upgraded, None
        self._parser = httptools.HttpRequestParser(self)
        if behind:
            self.feed(behind)

    def release(self) -> None:
        """The connection has ended: no cycle is left to collect."""
        self._parser = None  # type: ignore[assignment]

    def _stop_at_upgrade(self, behind: bytes) -> bytes:
        """llhttp stops behind any head that asks for an upgrade, even one with a body: then the body is what counts, and what is
        returned begins with it."""
        current = self._current
        if self.error is not None:
            return b""
        self._measure(current)
        if not current.chunked and current.left <= 0:
            self.upgraded = behind
            return b""
        current.complete = current.upgrade = False
        self._parser = httptools.HttpRequestParser(self)
        if current.chunked:  # bring the new parser to where the body begins, by a message that nobody sees
            self._parser.feed_data(_CHUNKED_HEAD)
            self.requests.pop()
            self._current = current
            self._lines = current.lines
        return behind

    def _measure(self, current: RequestMessage) -> None:
        """Of a request whose body is not all here: what is still to come, so that it can bypass llhttp."""
        for name, value in current.noted:
            if name == b"content-length":
                current.left = length_of(value) - sum(map(len, current.body))
            elif name == b"transfer-encoding":
                current.chunked = True

    def _pass_body(self, current: RequestMessage, data: bytes) -> bytes:
        """Counts body bytes past llhttp; returns what is behind the body."""
        left = current.left
        if len(data) < left:
            current.left = left - len(data)
            current.body.append(data)
            return b""
        current.left = 0
        current.body.append(data if len(data) == left else data[:left])
        current.complete = True
        self._parser = httptools.HttpRequestParser(self)  # the old one still waits for the body
        return data[left:]

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        self._current = current = RequestMessage(self._table.generation)
        self._lines = current.lines
        self._count = 0
        self._excess = 0
        self._in_head = True

    def on_url(self, part: bytes) -> None:
        self._current.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self._count += 1
            if name in self._plain:
                self._lines.append(b": ".join((name, value)))
            else:
                self._table.note(name, value, self._lines, self._current.noted)
        else:
            self._current.trailers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._body_bytes = 0
        current, parser = self._current, self._parser
        current.method = parser.get_method()
        current.version = parser.get_http_version()
        current.keep_alive = parser.should_keep_alive()
        current.upgrade = parser.should_upgrade()
        if len(current.target) > self._limit_line:
            self.error = ErrorKind.TARGET_TOO_LONG
        elif self._count > self._limit_fields or (self._suspect and self._parsed_size() > self._limit_head):
            self.error = ErrorKind.HEAD_TOO_LARGE
        elif self._foreign(current):
            self.error = ErrorKind.BAD_REQUEST
        elif self.error is None:
            self.requests.append(current)

    def _foreign(self, current: RequestMessage) -> bool:
        """Whether the request's line says RTSP, which llhttp reads as if it were HTTP (RFC 9112 section 2.3). What stands before
        that word is looked for once, however many requests have come with it."""
        if self._at_start:
            self._at_start = False
            if self._seen.startswith(b"HTTP/", len(current.method) + len(current.target) + 2):
                return False
        targets = self._foreign_targets
        if targets is None:
            before = self._seen.split(b" RTSP/")[:-1]
            self._foreign_targets = targets = {words.rstrip(b" ").rpartition(b" ")[2] for words in before}
        return current.target in targets

    def on_body(self, part: bytes) -> None:
        self._current.body.append(part)
        self._body_bytes += len(part)

    def on_message_complete(self) -> None:
        if self._current.trailers and not trailers_fit(self._current.trailers):
            self.error = self.error or ErrorKind.HEAD_TOO_LARGE
        else:
            self._current.complete = True
            if self._body_bytes and any(name == b"transfer-encoding" for name, _ in self._current.noted):
                self._body_bytes = 0  # it ends with an empty line, as `_begun` looks for
