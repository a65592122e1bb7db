"""The head of a response, built anew for the client."""

from __future__ import annotations

from proxy.dates import DATES
from proxy.fields import NO_LENGTH, RESPONSE_SPECIALS, FieldTable, without_listed
from proxy.response_parser import Interim, ResponseParser


def interim_head(interim: Interim) -> bytes:
    """A 1xx response as it goes to an HTTP/1.1 client."""
    return b"\r\n".join([b"HTTP/1.1 %d %b" % (interim.status, interim.reason), *interim.lines, b"\r\n"])


def client_head(response: ResponseParser, *, to_http10: bool, close: bool, keep_alive: bool, extra: bytes) -> bytes:
    """The final head. `close` announces that the connection ends with this response, `keep_alive` tells an HTTP/1.0 client
    that it does not; `extra` is ready-made lines, each ended by CRLF."""
    lines = response.lines
    length = response.left
    for name, value in response.noted:
        if name == b"connection":
            lines = without_listed(lines, value)  # those that frame the message are not among them
        elif name == b"trailer" and not to_http10:
            lines.append(b"Trailer: " + value)
        elif name == b"content-length":
            length = int(value)
    lines = [b"HTTP/1.1 %d %b" % (response.status, response.reason), *lines]
    if response.chunked or response.until_close:
        if not to_http10:
            lines.append(b"Transfer-Encoding: chunked")
    elif length != NO_LENGTH and response.status not in (101, 204):
        lines.append(b"Content-Length: %d" % length)
    if response.status == 101:
        lines.append(b"Upgrade: websocket\r\nConnection: Upgrade")
    elif close:
        lines.append(b"Connection: close")
    elif keep_alive:
        lines.append(b"Connection: keep-alive")
    lines.append(extra + b"\r\n")
    head = b"\r\n".join(lines)
    if b"\r\nDate: " not in head and b"\r\ndate:" not in head.lower():
        return b"%b%b\r\n\r\n" % (head[:-2], DATES.line())  # RFC 9110 section 6.6.1: a recipient with a clock adds it
    return head


def response_table() -> FieldTable:
    """The table that response parsers of a worker share."""
    return FieldTable(RESPONSE_SPECIALS, (b"x-headgate-",))
