"""The PROXY protocol, versions 1 and 2: whom a connection comes from, as the proxy in front of us says before anything else.

Without I/O, and as strict as the specification (HAProxy's proxy-protocol.txt): one form for each thing, and the first byte that
fits none ends it. Where the sender speaks for itself (LOCAL) or can't name an IP address (UNKNOWN, UNSPEC, a Unix socket), the
source is empty.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

V1 = b"PROXY "
V1_MOST = 107  # section 2.1: the line with its CRLF
V2 = b"\r\n\r\n\0\r\nQUIT\n"
V2_FIXED = 16
# Addresses take 36 bytes, of a Unix socket 216; the rest is TLVs, which are skipped. The largest hold a client's certificate.
V2_MOST = 4096
_V1_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_LOCAL, _PROXY = 0x20, 0x21
# Family and transport -> bytes of its addresses. A datagram can't be what came over a stream.
_SIZES = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}


class ProxyHeaderError(Exception):
    """What came is no PROXY header."""


class ProxyHeader:
    """Feed bytes until `complete`; any split of them gives the same. `source` is then the client's address, or empty."""

    __slots__ = ("_buffer", "complete", "source")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.complete = False
        self.source = ""

    def feed(self, data: bytes) -> int:
        """Returns how many of the bytes belong to the header; what is behind is not looked at. Raises ProxyHeaderError."""
        assert not self.complete
        before = len(self._buffer)
        self._buffer += data
        end = self._end()
        if end is None:
            return len(data)
        header = bytes(self._buffer[:end])
        self.source = _v2_source(header) if header[:1] == b"\r" else _v1_source(header)
        self.complete = True
        self._buffer.clear()
        return end - before

    def _end(self) -> int | None:
        """Where the header ends; None where it has not all come."""
        buffer = self._buffer
        if buffer[: len(V1)] == V1[: len(buffer)]:
            end = buffer.find(b"\n", 0, V1_MOST) + 1
            if not end and len(buffer) >= V1_MOST:
                raise ProxyHeaderError("a line that does not end")
            return end or None
        if buffer[: len(V2)] != V2[: len(buffer)]:
            raise ProxyHeaderError("no signature")
        if len(buffer) < V2_FIXED:
            return None
        end = V2_FIXED + int.from_bytes(buffer[14:16], "big")
        if end > V2_MOST:
            raise ProxyHeaderError(f"{end} bytes")
        return end if len(buffer) >= end else None


def _v1_source(line: bytes) -> str:
    found = _V1_LINE.fullmatch(line)
    if found is None:
        if _V1_UNKNOWN.fullmatch(line):
            return ""
        raise ProxyHeaderError("not of the grammar")
    family, *addresses = found[1], found[2].decode(), found[3].decode()
    if int(found[4]) > 65535 or int(found[5]) > 65535:
        raise ProxyHeaderError("no port")
    try:
        source, _ = (_text(IPv4Address(text) if family == b"4" else IPv6Address(text)) for text in addresses)
    except ValueError as error:
        raise ProxyHeaderError("no address") from error
    return source


def _v2_source(header: bytes) -> str:
    command, kind, rest = header[12], header[13], header[V2_FIXED:]
    if command == _LOCAL:
        return ""  # a health check of the proxy's own; what follows is to be skipped
    size = _SIZES.get(kind)
    if command != _PROXY or size is None or len(rest) < size:
        raise ProxyHeaderError("not of the grammar")
    if kind == 0x11:
        return _text(IPv4Address(rest[:4]))
    return _text(IPv6Address(rest[:16])) if kind == 0x21 else ""


def _text(address: IPv4Address | IPv6Address) -> str:
    """An IPv4 address mapped into IPv6 is that IPv4 address."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
