"""From plain HTTP to HTTPS: the gateway's own answer on a listener with `redirect`, whatever the routes say."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

from proxy.errors import ErrorKind

if TYPE_CHECKING:
    from proxy.exchange import Exchange

HTTPS_PORT = 443


def redirect(exchange: Exchange, port: int) -> None:
    """End in a 308 (RFC 9110 section 15.4.9: method and body stay) to the same host, path and query."""
    message, plane = exchange.message, exchange.plane
    if not message.host:  # HTTP/1.0 without Host: nobody knows where to
        exchange.refuse(ErrorKind.BAD_REQUEST)
        return
    authority = message.host if port == HTTPS_PORT else b"%b:%d" % (message.host, port)
    target = b"/" if message.target == b"*" else message.target
    lines = [
        b"HTTP/1.1 308 Permanent Redirect",
        b"Location: https://%b%b" % (authority, target),
        b"Content-Length: 0",
        b"Date: " + formatdate(usegmt=True).encode(),
    ]
    if message.request_id:
        lines.append(b"X-Request-Id: " + message.request_id)
    if not message.complete or plane.draining:
        exchange.close_client = True  # the rest of the body would be taken for a request
    if exchange.close_client:
        lines.append(b"Connection: close")
    exchange.status = 308
    exchange.response_started = True
    plane.stats.count("redirects")
    exchange.client.write(b"\r\n".join(lines) + b"\r\n\r\n")
    exchange.finish(reusable=False)
