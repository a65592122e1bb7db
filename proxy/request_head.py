"""The head of a request: refused where RFC 9112 says so, understood for routing, and built anew for the upstream.

Bytes of the client's head are never copied through as they lie: every line is put together again from a parsed name and value.
"""

from __future__ import annotations

import random
import re

from proxy.errors import ErrorKind
from proxy.fields import FRAMING, NO_LENGTH, FieldTable, listed, listed_fields, without
from proxy.request_parser import RequestMessage, length_of

# RFC 9112 section 3.2.1, without the characters RFC 3986 leaves out of a path or query except those that browsers send raw.
_ORIGIN_FORM = re.compile(rb"/[\x21\x22\x24-\x7e]*\Z")
_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://([^/?#@\x00-\x20\x7f-\xff]+)([/?][\x21\x22\x24-\x7e]*)?\Z")
_AUTHORITY = re.compile(rb"([A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?\Z")
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
# SOURCE is Icecast's: llhttp lets ICE/1.0 pass behind it as if it were HTTP.
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE", b"SOURCE"})
# What is written anew. A proxy's word for a client's certificate is never passed on: only what was verified here.
_SAYS_WHO = (b"forwarded", b"x-real-ip")  # beside X-Forwarded-*
_OWN_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-client-cert"})
_MAX_FORWARDS = frozenset({b"max-forwards"})
_VIA = b"1.1 headgate"
_VIA_10 = b"1.0 headgate"

# Host values met before -> the name that routing sees. Bounded; a flood of invented hosts starts it afresh, and longer ones
# than a name in DNS with its port are not kept.
_hosts: dict[bytes, bytes] = {}
_HOSTS_KEPT = 1024
_HOST_KEPT = 260
# Of a Max-Forwards, without its leading zeros: what is longer comes from no hop count.
_FORWARDS_DIGITS = 9

_random = random.Random()  # noqa: S311 - identifiers, not secrets


def examine(message: RequestMessage, table: FieldTable) -> ErrorKind | None:
    """Fill in what routing and forwarding need to know. Returns what is wrong with the head, or None."""
    if message.generation != table.generation:
        message.lines, message.noted = table.sort_again(message.lines, message.noted)
    fields = message.fields
    for name, value in message.noted:
        if name not in fields:
            fields[name] = value
        elif name == b"host":
            return ErrorKind.BAD_REQUEST  # RFC 9112 section 3.2
        else:
            fields[name] += (b"; " if name == b"cookie" else b", ") + value
    if message.version not in ("1.1", "1.0"):
        return ErrorKind.VERSION
    if message.method in _REFUSED_METHODS:
        return ErrorKind.METHOD_NOT_ALLOWED
    error = _examine_target(message, fields)
    if error is not None:
        return error
    if b"content-length" in fields:
        message.content_length = length_of(fields[b"content-length"])
    if b"transfer-encoding" in fields:
        if message.version == "1.0":
            return ErrorKind.BAD_REQUEST  # RFC 9112 section 6.1: faulty framing
        if fields[b"transfer-encoding"].strip().lower() != b"chunked":
            return ErrorKind.NOT_IMPLEMENTED
        message.chunked = True
    if message.upgrade:
        message.upgrade = _is_websocket(message, fields)
    connection = fields.get(b"connection")
    if connection is not None:
        names = listed_fields(connection)
        if not names.isdisjoint(FRAMING):
            return ErrorKind.BAD_REQUEST  # RFC 9110 section 7.6.1: not to be listed; without it the message has no end
        if names:
            message.lines = without(message.lines, names)
            for name in names:
                fields.pop(name, None)
    message.request_id = fields.get(b"x-request-id", b"")
    return None


def _examine_target(message: RequestMessage, fields: dict[bytes, bytes]) -> ErrorKind | None:
    target = message.target
    if _ORIGIN_FORM.match(target) is None:
        absolute = _ABSOLUTE_FORM.match(target)
        if absolute is not None:
            void = fields.get(b"host")
            if _AUTHORITY.match(void) is None if void is not None else message.version == "1.1":
                return ErrorKind.BAD_REQUEST  # RFC 9112 section 3.2: void, and still to be a host
            fields[b"host"] = absolute[1]  # RFC 9112 section 3.2.2: the target's authority wins
            path = absolute[2] or (b"*" if message.method == b"OPTIONS" else b"/")
            message.target = target = path if path[:1] != b"?" else b"/" + path
        elif target != b"*" or message.method != b"OPTIONS":
            return ErrorKind.BAD_REQUEST
    authority = fields.get(b"host")
    if authority is None:
        if message.version == "1.1":
            return ErrorKind.BAD_REQUEST  # RFC 9112 section 3.2
        fields[b"host"] = b""
    else:
        host = _hosts.get(authority)
        if host is None:
            match = _AUTHORITY.match(authority)
            if match is None:
                return ErrorKind.BAD_REQUEST
            host = match[1].lower()
            if host.endswith(b"."):
                host = host[:-1]  # RFC 1034 section 3.1: the same name, written to its end
            if len(authority) <= _HOST_KEPT:
                if len(_hosts) >= _HOSTS_KEPT:
                    _hosts.clear()
                _hosts[authority] = host
        message.host = host
    path, mark, query = target.partition(b"?")
    message.path = b"/" if path == b"*" else path
    if mark:
        message.query = query
    return None


def is_for_us(message: RequestMessage) -> bool:
    """Whether Max-Forwards says that an OPTIONS request goes no further; else one less goes on (RFC 9110 section 7.6.2)."""
    most = message.fields.get(b"max-forwards", b"")
    if not most.isdigit():
        return False  # what is no number says nothing
    digits = most.lstrip(b"0")
    if len(digits) > _FORWARDS_DIGITS:
        return False
    left = int(digits or b"0")
    if left > 0:
        message.lines = [*without(message.lines, _MAX_FORWARDS), b"Max-Forwards: %d" % (left - 1)]
    return left == 0


def _is_websocket(message: RequestMessage, fields: dict[bytes, bytes]) -> bool:
    return (
        message.method == b"GET"
        and message.version == "1.1"
        and fields.get(b"upgrade", b"").lower() == b"websocket"
        and b"upgrade" in listed(fields.get(b"connection", b""))
        and message.content_length <= 0
        and not message.chunked
    )


def _identify(message: RequestMessage) -> None:
    """Once for all attempts: what tells this request from others, where the client did not say."""
    fields = message.fields
    made = []
    if not message.request_id:
        if b"x-request-id" in fields:
            message.lines = without(message.lines, frozenset({b"x-request-id"}))  # an empty one
        message.request_id = _random.randbytes(16).hex().encode()
        made.append(b"X-Request-Id: " + message.request_id)
    if b"traceparent" not in fields:
        trace, span = _random.randbytes(16).hex().encode(), _random.randbytes(8).hex().encode()
        made.append(b"traceparent: 00-%b-%b-00" % (trace, span))
    message.made = b"\r\n".join(made)


def forwarding_lines(peer: str, scheme: bytes) -> bytes:
    """What every request of a connection says about its client, where the client is not a trusted proxy. A line for what the
    client has proved may follow."""
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nVia: %b" % (peer.encode(), scheme, _VIA)


def upstream_head(message: RequestMessage, host: bytes, forwarding: bytes, trusted_peer: str, flags: bytes) -> bytes:
    """The head to send upstream. `forwarding` is the connection's `forwarding_lines`; `trusted_peer` is the peer's address
    where it is a trusted proxy (its own X-Forwarded-* then stand), else empty."""
    fields = message.fields
    if not message.made and (not message.request_id or b"traceparent" not in fields):
        _identify(message)
    lines = [b"%b %b HTTP/1.1\r\nHost: %b" % (message.method, message.target, host), *message.lines]
    if message.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif message.content_length != NO_LENGTH:
        lines.append(b"Content-Length: %d" % message.content_length)
    via = fields.get(b"via")
    if trusted_peer or via is not None or message.version == "1.0":
        lines += _forwarded(message, forwarding, trusted_peer)
    else:
        lines.append(forwarding)
    if fields[b"host"] and (not trusted_peer or b"x-forwarded-host" not in fields):
        lines.append(b"X-Forwarded-Host: " + fields[b"host"])
    if message.made:
        lines.append(message.made)
    if flags:
        lines.append(b"X-Headgate-Flags: " + flags)
    te = fields.get(b"te")
    if message.upgrade:
        lines.append(b"Upgrade: websocket\r\nConnection: Upgrade")
    elif te is not None and te.lower() == b"trailers":
        lines.append(b"TE: trailers\r\nConnection: TE")  # RFC 9110 section 10.1.4: never the one without the other
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def _forwarded(message: RequestMessage, forwarding: bytes, trusted_peer: str) -> list[bytes]:
    """The uncommon case: hops before this one have to be told on."""
    own_for, own_proto, _, *proved = forwarding.split(b"\r\n")
    fields = message.fields
    via, own = fields.get(b"via"), _VIA if message.version == "1.1" else _VIA_10
    lines = [b"Via: " + (own if via is None else via + b", " + own), *proved]
    if not trusted_peer:
        return [own_for, own_proto, *lines]
    before = fields.get(b"x-forwarded-for")
    lines.append(own_for if before is None else b"X-Forwarded-For: %b, %b" % (before, trusted_peer.encode()))
    lines.append(b"X-Forwarded-Proto: " + fields[b"x-forwarded-proto"] if b"x-forwarded-proto" in fields else own_proto)
    lines += [
        b"%b: %b" % (name.title(), value)
        for name, value in fields.items()
        if name in _SAYS_WHO or (name.startswith(b"x-forwarded-") and name not in _OWN_FORWARDED)
    ]
    return lines
