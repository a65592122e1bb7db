"""Answers of the gateway's own that are no errors: from plain HTTP to HTTPS, and OPTIONS that goes no further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.dates import DATES
from proxy.errors import ErrorKind
from proxy.request_head import is_for_us

if TYPE_CHECKING:
    from proxy.exchange import Exchange

HTTPS_PORT = 443


def answered_here(exchange: Exchange) -> bool:
    """Whether the request ends here, whatever the routes say: it has its answer then."""
    if exchange.client.redirect:
        _redirect(exchange, exchange.client.redirect)
    elif exchange.message.method == b"OPTIONS" and is_for_us(exchange.message):
        _answer(exchange, 204, b"No Content", [b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"])
    return exchange.ended


def _redirect(exchange: Exchange, port: int) -> None:
    """A 308 (RFC 9110 section 15.4.9: method and body stay) to the same host, path and query."""
    message = exchange.message
    if not message.host:  # HTTP/1.0 without Host: nobody knows where to
        exchange.refuse(ErrorKind.BAD_REQUEST)
        return
    authority = message.host if port == HTTPS_PORT else b"%b:%d" % (message.host, port)
    target = b"/" if message.target == b"*" else message.target
    exchange.plane.stats.count("redirects")
    lines = [b"Location: https://%b%b" % (authority, target), b"Content-Length: 0"]
    _answer(exchange, 308, b"Permanent Redirect", lines)


def _answer(exchange: Exchange, status: int, reason: bytes, lines: list[bytes]) -> None:
    """End in a response without a body; `lines` are its fields, beside those that every one of ours has."""
    message, plane = exchange.message, exchange.plane
    lines = [b"HTTP/1.1 %d %b" % (status, reason), *lines, DATES.line()]
    if message.request_id:
        lines.append(b"X-Request-Id: " + message.request_id)
    if not message.complete or plane.draining:
        exchange.close_client = True  # the rest of the body would be taken for a request
    if exchange.close_client:
        lines.append(b"Connection: close")
    exchange.status = status
    exchange.response_started = True
    exchange.client.write(b"\r\n".join(lines) + b"\r\n" + exchange.client.extra + b"\r\n")
    exchange.finish(reusable=False)
