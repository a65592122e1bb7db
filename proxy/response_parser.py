"""Responses out of an upstream's bytes, without I/O: the counterpart of `request_parser.py`.

How a response ends depends on its request, so the parser is told of each. It lives as long as its connection and only
collects; an answer to nobody's question makes the connection unfit for another request.
"""

from __future__ import annotations

import re

import httptools

from proxy.fields import (
    MAX_CHUNK_EXCESS,
    NO_LENGTH,
    Field,
    FieldTable,
    chunk_excess,
    frames,
    trailers_fit,
    unlisted,
)

# RFC 9110 section 15.2 allows any number of interim responses; a flood of them is an attack.
MAX_INTERIM = 16
_WITHOUT_BODY = frozenset({204, 304})
# RFC 9112 section 4: tab, space, visible and opaque bytes; llhttp lets through the others, too.
_NO_REASON = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


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
        "_excess",
        "_head_bytes",
        "_in_step",
        "_interim_count",
        "_limit_fields",
        "_limit_head",
        "_parser",
        "_plain",
        "_seam",
        "_starts",
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
        "noted",
        "reason",
        "reusable",
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
        self._excess = 0
        self._starts = 0
        self._seam = b"\r\n\r\n"
        self.status = 0
        self.reason = b""
        self.lines: list[bytes] = []
        self.noted: list[Field] = []
        self.trailers: list[Field] = []
        self.body: list[bytes] = []
        self.interim: list[Interim] = []
        """Those not yet taken."""
        self._interim_count = 0
        self.left = NO_LENGTH
        self.chunked = False
        self.until_close = False
        self.head_complete = False
        self.complete = False
        self.reusable = False
        self.error = False
        self.upgraded: bytes | None = None

    @property
    def begun(self) -> bool:
        """Whether anything of the response has come."""
        return self._head_bytes > 0

    def feed(self, data: bytes) -> None:
        if self.complete:
            self.reusable = False
            return
        if self.head_complete and not self.chunked:
            self._pass_body(data)
            return
        inside = self.head_complete
        if not inside:
            if not self._head_bytes and data.startswith(b"HTTP/"):
                self._starts = 1
                self._seam = b""
            self._head_bytes += len(data)
        parts = len(self.body)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.head_complete and self.status == 101:
                self.upgraded = data[upgrade.args[0] :]
            else:
                self.error = self.error or not self.complete
                self.reusable = False
        except httptools.HttpParserError:
            self.error = self.error or not self.complete  # behind a complete response it is surplus, not an error
            self.reusable = False
        if inside:
            self._excess = chunk_excess(self._excess, len(data), self.body[parts:])
            if self._excess > MAX_CHUNK_EXCESS and not self.complete:
                self.error = True
            return
        if self._starts <= self._interim_count and not self._start_well(data):
            self.error = True
        if not self.head_complete:
            self._seam = (self._seam + data)[-8:]
            if self._head_bytes > self._limit_head:
                self.error = True

    def _start_well(self, data: bytes) -> bool:
        """Whether each head begins as HTTP does: llhttp takes RTSP/1.0 and ICE/1.0 for it, and skips line ends before it. Heads
        follow one another here, each behind an empty line; `_starts` counts those looked at."""
        stream = self._seam + data
        at = stream.find(b"\r\n\r\n")
        while at >= 0 and self._starts <= self._interim_count:
            start = stream[at + 4 : at + 9]
            if not b"HTTP/".startswith(start):
                return False
            if len(start) < 5:
                break
            self._starts += 1
            at = stream.find(b"\r\n\r\n", at + 4)
        return True

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
            if not part.isalpha() and _NO_REASON.search(part) is not None:
                self.error = True

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
            self._table.note(name, value, self.lines, self.noted)

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        parser = self._parser
        status = parser.get_status_code()
        if self._count > self._limit_fields:
            self.error = True
        if status < 200 and status != 101:
            self.interim.append(Interim(status, self.reason, unlisted(self.lines, self.noted)))
            self._interim_count += 1
            self.error = self.error or self._interim_count > MAX_INTERIM or status < 100
            self.reason, self.lines, self.noted, self._count = b"", [], [], 0
            return
        self.status = status
        self.reusable = parser.should_keep_alive()
        self._frame()
        version = parser.get_http_version()
        if version != "1.1":
            # llhttp knows 0.9 and 2.0, too. RFC 9112 section 6.1: chunked in HTTP/1.0 is faulty framing, so close behind it.
            self.error = self.error or version != "1.0"
            self.reusable = self.reusable and not self.chunked
        if self._head_bytes > self._limit_head and self._parsed_size() > self._limit_head:
            self.error = True
        self.head_complete = True

    def _parsed_size(self) -> int:
        size = sum([len(line) + 2 for line in self.lines])
        return size + sum([len(name) + len(value) + 4 for name, value in self.noted])

    def _frame(self) -> None:
        """How the body ends: RFC 9112 section 6.3, in its order."""
        for name, value in self.noted:
            if name == b"content-length":
                if not value.isdigit() or len(value) > 18 or self.left not in (NO_LENGTH, int(value)):
                    self.error = True
                    return
                self.left = int(value)
            elif name == b"transfer-encoding":
                if self.chunked or value.strip().lower() != b"chunked":
                    self.error = True
                self.chunked = True
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
            if self.trailers and (not trailers_fit(self.trailers) or frames(self.trailers)):
                self.error = True
            else:
                self.complete = True
