"""What can go wrong with a request, as values: the kind, whose fault it is, and the one place that maps it to an answer."""

from __future__ import annotations

from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from math import ceil

import orjson

from routing.maintenance import Maintenance
from routing.rate import RateLimit

# Of every temporary refusal, unless it knows better.
RETRY_AFTER = b"Retry-After: 1\r\n"


class Side(Enum):
    """Whose fault an error is. What may be retried is RetryOn's to say, and a policy's."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


class ErrorKind(Enum):
    """(name, status, side, what a person reads). The name is the value of X-Headgate-Error and the label of the metric."""

    BAD_REQUEST = ("bad_request", 400, Side.CLIENT, "The request is not valid HTTP/1.1.")
    NO_ROUTE = ("no_route", 404, Side.CLIENT, "No route takes this request.")
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405, Side.CLIENT, "The gateway does not forward this method.")
    REQUEST_TIMEOUT = ("request_timeout", 408, Side.CLIENT, "The request did not arrive in time.")
    SLOW_BODY = ("slow_body", 408, Side.CLIENT, "The request's body comes more slowly than the gateway allows.")
    BODY_TOO_LARGE = ("body_too_large", 413, Side.CLIENT, "The request's body is larger than the gateway allows.")
    TARGET_TOO_LONG = ("target_too_long", 414, Side.CLIENT, "The request's target is longer than the gateway allows.")
    RATE_LIMITED = ("rate_limited", 429, Side.CLIENT, "The client sends more requests than the route allows it.")
    HEAD_TOO_LARGE = ("head_too_large", 431, Side.CLIENT, "The request's head is larger than the gateway allows.")
    NOT_IMPLEMENTED = ("not_implemented", 501, Side.CLIENT, "The gateway knows no transfer coding but chunked.")
    VERSION = ("version", 505, Side.CLIENT, "The gateway speaks HTTP/1.0 and HTTP/1.1.")
    CONNECT = ("connect", 502, Side.UPSTREAM, "The upstream refused the connection.")
    TLS = ("tls", 502, Side.UPSTREAM, "The upstream's certificate is not valid, or it does not speak TLS.")
    RESET = ("reset", 502, Side.UPSTREAM, "The upstream closed the connection before its response was complete.")
    BAD_RESPONSE = ("bad_response", 502, Side.UPSTREAM, "The upstream's response is not valid HTTP/1.1.")
    CONNECT_TIMEOUT = ("connect_timeout", 504, Side.UPSTREAM, "The upstream did not accept a connection in time.")
    RESPONSE_TIMEOUT = ("response_timeout", 504, Side.UPSTREAM, "The upstream did not answer in time.")
    CUT_BACK = ("cut_back", 503, Side.GATEWAY, "The request was aborted by a cutback.")
    NO_ENDPOINT = ("no_endpoint", 503, Side.GATEWAY, "The upstream has no endpoint to send this request to.")
    OVERLOADED = ("overloaded", 503, Side.GATEWAY, "The upstream has as many requests as it may have.")
    MEMORY = ("memory", 503, Side.GATEWAY, "The gateway is short of memory.")
    CLIENT_CONNECTIONS = ("client_connections", 503, Side.CLIENT, "The client has as many connections as it may have.")
    CONNECTIONS = ("connections", 503, Side.GATEWAY, "The gateway has no room for another connection.")

    def __init__(self, label: str, status: int, side: Side, detail: str) -> None:
        self.label = label
        self.status = status
        self.side = side
        self.detail = detail


REASONS: dict[int, bytes] = {
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}

# Of a page, whose status people choose.
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


def rate_lines(limit: RateLimit, wait: float) -> bytes:
    """The fields of a 429: when to come again (RFC 9110 section 10.2.3) and what the limit is
    (draft-ietf-httpapi-ratelimit-headers-10)."""
    seconds = max(1, ceil(wait))
    policy = b"%d;w=%d" % (limit.quota, limit.window)
    lines = (
        b"Retry-After: %d" % seconds,
        b'RateLimit-Policy: "default";q=' + policy,
        b'RateLimit: "default";r=0;t=%d' % seconds,
    )
    return b"".join(line + b"\r\n" for line in lines)


def response(
    kind: ErrorKind,
    *,
    close: bool,
    head_only: bool,
    request_id: bytes = b"",
    extra: bytes = RETRY_AFTER,
    listener: bytes = b"",
    page: Maintenance | None = None,
) -> bytes:
    """The whole response to a client for an error of the gateway's own: problem+json (RFC 9457). `extra` are the lines of a
    429 or 503, `listener` those of every response over the client's listener, each ended by CRLF. A `page` stands in for status
    and problem."""
    if page is None:
        status, content_type, reason = kind.status, b"application/problem+json", REASONS[kind.status]
        problem = {"type": "about:blank", "title": reason.decode(), "status": status}
        body = orjson.dumps({**problem, "kind": kind.label, "detail": kind.detail})
    else:
        status, content_type, body = page.status, page.content_type, page.body
        reason = _PHRASES.get(status, b"")
        extra = b"Retry-After: %d\r\n" % page.retry_after
    lines = [
        b"HTTP/1.1 %d %b" % (status, reason),
        b"Content-Type: " + content_type,
        b"Content-Length: %d" % len(body),
        b"Date: " + formatdate(usegmt=True).encode(),  # RFC 9110 section 6.6.1: of this answer we are the origin
        b"X-Headgate-Error: " + kind.label.encode(),
        b"Cache-Control: no-store",
    ]
    if request_id:
        lines.append(b"X-Request-Id: " + request_id)
    if kind is ErrorKind.METHOD_NOT_ALLOWED:
        lines.append(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    if close:
        lines.append(b"Connection: close")
    head = b"\r\n".join(lines) + b"\r\n" + listener + (extra if kind.status in (429, 503) else b"")
    return head + b"\r\n" + (b"" if head_only else body)
