"""HTTP/1 messages out of bytes, without I/O. The grammar is llhttp's (httptools) in its strict setting; what it lets through
and RFC 9112 does not is refused in `request_head.py`.

`RequestParser` collects whole and partial requests in order; `ResponseParser` is told of each request first, because how a
response ends depends on it. Both live as long as their connection, and only collect: whoever feeds them looks at what is
there when `feed` returns, so no callback ever re-enters.

Bodies of known length that outlast the first read bypass llhttp: their bytes are counted, not copied.
"""

from __future__ import annotations

from collections import deque

import httptools

from proxy.errors import ErrorKind
from proxy.fields import Field, FieldTable
from routing.request import Request

NO_LENGTH = -1
# RFC 9110 section 15.2 allows any number of interim responses; a flood of them is an attack.
MAX_INTERIM = 16
MAX_TRAILERS = 32
_WITHOUT_BODY = frozenset({204, 304})


class RequestMessage(Request):
    """One request as it comes in: what routing looks at (see `request_head.examine`), and how it was sent.

    `lines` are the fields that go on as they came, `noted` those to be looked at (fields.py), sorted by the table's
    `generation`. `body` holds what has arrived and was not yet taken; `left` counts the bytes still to come of a body that outlasts the
    first read and whose length is known.
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


class RequestParser:
    """Feed bytes; take requests from `requests`. A request enters when its head is complete; its body and `complete` fill
    in later. After an error `error` is set, and nothing further is read."""

    __slots__ = (
        "_count",
        "_current",
        "_head_bytes",
        "_in_head",
        "_limit_fields",
        "_limit_head",
        "_limit_line",
        "_lines",
        "_parser",
        "_plain",
        "_table",
        "error",
        "requests",
        "upgraded",
    )

    def __init__(self, table: FieldTable, limit_line: int, limit_head: int, limit_fields: int) -> None:
        self._table = table
        self._plain = table.plain
        self._limit_line = limit_line
        self._limit_head = limit_head
        self._limit_fields = limit_fields
        self._parser = httptools.HttpRequestParser(self)
        self._current = RequestMessage(0)
        self._lines = self._current.lines
        self._count = 0
        self._in_head = False
        self._head_bytes = 0
        self.requests: deque[RequestMessage] = deque()
        self.error: ErrorKind | None = None
        self.upgraded: bytes | None = None
        """Behind a request that asks for an upgrade: the bytes that followed, not parsed. See `resume`."""

    @property
    def in_head(self) -> bool:
        """Whether a head has begun and is not complete."""
        return self._in_head

    def feed(self, data: bytes) -> None:
        if self.error is not None:
            return
        if self._current.left > 0:
            data = self._pass_body(self._current, data)
            if not data:
                return
        continued = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stop_at_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if self.error is None:
                self.error = ErrorKind.BAD_REQUEST
        if self._in_head:
            self._head_bytes = self._head_bytes + len(data) if continued else len(data)
            if self._head_bytes > self._limit_head:
                self.error = ErrorKind.HEAD_TOO_LARGE if self._count else ErrorKind.TARGET_TOO_LONG
        elif len(data) > self._limit_head:
            self._check_heads()
        if not (self._in_head or self._current.complete or self._current.chunked) and self._current.left == NO_LENGTH:
            self._measure(self._current)

    def _check_heads(self) -> None:
        """Of a read larger than a head may be: whether a head in it is larger than a head may be."""
        for number, message in enumerate(self.requests):
            size = len(message.target) + sum(len(line) + 2 for line in message.lines)
            size += sum(len(name) + len(value) + 4 for name, value in message.noted)
            if size > self._limit_head:
                self.error = ErrorKind.HEAD_TOO_LARGE
                while len(self.requests) > number:
                    self.requests.pop()
                break

    def resume(self) -> None:
        """Go on behind a request whose upgrade did not come about."""
        behind, self.upgraded = self.upgraded, None
        self._parser = httptools.HttpRequestParser(self)
        if behind:
            self.feed(behind)

    def release(self) -> None:
        """The connection has ended: no cycle is left to collect."""
        self._parser = None  # type: ignore[assignment]

    def _stop_at_upgrade(self, behind: bytes) -> None:
        """llhttp stops behind any head that asks for an upgrade, even one with a body: then the body is what counts."""
        current = self._current
        self._measure(current)
        if current.chunked:
            self.error = ErrorKind.BAD_REQUEST
        elif current.left > 0:
            current.complete = current.upgrade = False
            self._parser = httptools.HttpRequestParser(self)
            self.feed(behind)
        else:
            self.upgraded = behind

    def _measure(self, current: RequestMessage) -> None:
        """Of a request whose body is not all here: what is still to come, so that it can bypass llhttp."""
        for name, value in current.noted:
            if name == b"content-length":
                current.left = int(value) - sum(map(len, current.body))
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
        current, parser = self._current, self._parser
        current.method = parser.get_method()
        current.version = parser.get_http_version()
        current.keep_alive = parser.should_keep_alive()
        current.upgrade = parser.should_upgrade()
        if len(current.target) > self._limit_line:
            self.error = ErrorKind.TARGET_TOO_LONG
        elif self._count > self._limit_fields:
            self.error = ErrorKind.HEAD_TOO_LARGE
        elif self.error is None:
            self.requests.append(current)

    def on_body(self, part: bytes) -> None:
        self._current.body.append(part)

    def on_message_complete(self) -> None:
        if len(self._current.trailers) > MAX_TRAILERS:
            self.error = ErrorKind.HEAD_TOO_LARGE
        self._current.complete = True


class Interim:
    """A 1xx response on its way to the client."""

    __slots__ = ("lines", "reason", "status")

    def __init__(self, status: int, reason: bytes, lines: list[bytes]) -> None:
        self.status = status
        self.reason = reason
        self.lines = lines


class ResponseParser:
    """Call `begin`, feed the bytes of one response, then look at `head_complete`, `interim`, `body`, `complete`, `error`.

    `until_close` says that only the end of the connection ends the body: call `end` then. `reusable` says that the
    response was framed, the upstream keeps the connection, and nothing came behind it.
    """

    __slots__ = (
        "_count",
        "_head_bytes",
        "_in_step",
        "_limit_fields",
        "_limit_head",
        "_parser",
        "_plain",
        "_table",
        "_without_body",
        "body",
        "chunked",
        "complete",
        "error",
        "head_complete",
        "interim",
        "left",
        "lines",
        "reason",
        "reusable",
        "special",
        "status",
        "trailers",
        "until_close",
        "upgraded",
    )

    def __init__(self, table: FieldTable, limit_head: int, limit_fields: int) -> None:
        self._table = table
        self._plain = table.plain
        self._limit_head = limit_head
        self._limit_fields = limit_fields
        self._parser = httptools.HttpResponseParser(self)
        self._in_step = True
        self.begin(False)

    def begin(self, head_request: bool) -> None:
        """Expect the response to another request."""
        if not self._in_step:  # llhttp still waits for a body that did not come, or that bypassed it
            self._parser = httptools.HttpResponseParser(self)
        self._in_step = False
        self._without_body = head_request
        self._head_bytes = 0
        self._count = 0
        self.status = 0
        self.reason = b""
        self.lines: list[bytes] = []
        self.special: list[Field] = []
        self.trailers: list[Field] = []
        self.body: list[bytes] = []
        self.interim: list[Interim] = []
        self.left = NO_LENGTH
        self.chunked = False
        self.until_close = False
        self.head_complete = False
        self.complete = False
        self.reusable = False
        self.error = False
        self.upgraded: bytes | None = None

    def feed(self, data: bytes) -> None:
        if self.complete:
            self.reusable = False
            return
        if self.head_complete and not self.chunked:
            self._pass_body(data)
            return
        if not self.head_complete:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.head_complete and self.status == 101:
                self.upgraded = data[upgrade.args[0] :]
            else:
                self.error = not self.complete
                self.reusable = False
        except httptools.HttpParserError:
            self.error = not self.complete  # behind a complete response it is surplus, not an error
            self.reusable = False
        if not self.head_complete and self._head_bytes > self._limit_head:
            self.error = True

    def _pass_body(self, data: bytes) -> None:
        left = self.left
        if left == NO_LENGTH or len(data) < left:
            self.body.append(data)
            if left > 0:
                self.left = left - len(data)
            return
        self.left = 0
        self.body.append(data if len(data) == left else data[:left])
        self.complete = True
        if len(data) > left:
            self.reusable = False

    def release(self) -> None:
        """Done with it: parts from llhttp's object, whose callbacks lead back here, so that no cycle is left to collect."""
        self._parser = None  # type: ignore[assignment]

    def end(self) -> None:
        """The connection ended. Completes a body that only this ends; anything else unfinished is an error."""
        if self.head_complete and self.until_close:
            self.complete = True
        elif not self.complete:
            self.error = True

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        if self.complete:
            self.reusable = False

    def on_status(self, part: bytes) -> None:
        if not self.complete:
            self.reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return  # of a second response that nobody asked for
        if self.head_complete:
            self.trailers.append((name, value))
            return
        self._count += 1
        if name in self._plain:
            self.lines.append(b": ".join((name, value)))
        else:
            self._table.note(name, value, self.lines, self.special)

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        parser = self._parser
        status = parser.get_status_code()
        if self._count > self._limit_fields:
            self.error = True
        if status < 200 and status != 101:
            self.interim.append(Interim(status, self.reason, self.lines))
            self.error = self.error or len(self.interim) > MAX_INTERIM or status < 100
            self.reason, self.lines, self.special, self._count = b"", [], [], 0
            return
        self.status = status
        self.reusable = parser.should_keep_alive()
        self._frame()
        self.head_complete = True

    def _frame(self) -> None:
        """How the body ends: RFC 9112 section 6.3, in its order."""
        for name, value in self.special:
            if name == b"content-length":
                if not value.isdigit() or len(value) > 18 or self.left not in (NO_LENGTH, int(value)):
                    self.error = True
                    return
                self.left = int(value)
            elif name == b"transfer-encoding":
                self.chunked = True
                if value.strip().lower() != b"chunked":
                    self.error = True
        if self._without_body or self.status in _WITHOUT_BODY or self.status == 101:
            self.complete = True
            self.chunked = False
        elif self.chunked:
            if self.left != NO_LENGTH:
                self.error = True
        elif self.left == 0:
            self.complete = True
        elif self.left == NO_LENGTH:
            self.until_close = True
            self.reusable = False

    def on_body(self, part: bytes) -> None:
        if self.complete:
            self.reusable = False  # a body where none may be
            return
        self.body.append(part)
        if self.left > 0:
            self.left -= len(part)
            if self.left == 0:
                self.complete = True

    def on_message_complete(self) -> None:
        if not self.head_complete:
            return  # an interim response ends so too
        self._in_step = True
        if self.chunked:
            self.complete = True
            if len(self.trailers) > MAX_TRAILERS:
                self.error = True
