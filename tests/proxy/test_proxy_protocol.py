"""PROXY headers: what is one, whom it names, where it ends."""

from __future__ import annotations

import socket
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.proxy_protocol import V1_MOST, V2, V2_MOST, ProxyHeader, ProxyHeaderError

TCP4 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
TCP6 = b"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n"
PORTS = struct.pack("!HH", 56324, 443)
INET = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + PORTS
INET6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + bytes(16) + PORTS
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1") + bytes(16) + PORTS
TLVS = b"\x04\x00\x03\x00\x00\x00" + b"\x20\x00\x02ab"


def v2(command: int, kind: int, rest: bytes = b"", length: int | None = None) -> bytes:
    return V2 + bytes((command, kind)) + (len(rest) if length is None else length).to_bytes(2, "big") + rest


GOOD = [
    (TCP4, "192.0.2.1"),
    (b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", "255.255.255.255"),
    (TCP6, "2001:db8::1"),
    (b"PROXY TCP6 2001:DB8:0:0::1 ::1 1 2\r\n", "2001:db8::1"),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1"),
    (b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n", "ffff:" * 7 + "ffff"),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN ffff::1 anything at all 65535\r\n", ""),
    (b"PROXY UNKNOWN ".ljust(V1_MOST - 2, b"x") + b"\r\n", ""),
    (v2(0x21, 0x11, INET), "192.0.2.1"),
    (v2(0x21, 0x11, INET + TLVS), "192.0.2.1"),
    (v2(0x21, 0x21, INET6), "2001:db8::1"),
    (v2(0x21, 0x21, MAPPED + TLVS), "192.0.2.1"),
    (v2(0x21, 0x31, bytes(216)), ""),
    (v2(0x21, 0x00), ""),
    (v2(0x21, 0x00, TLVS), ""),
    (v2(0x20, 0x00), ""),
    (v2(0x20, 0x11, INET + TLVS), ""),
    (v2(0x20, 0xFF, b"whatever"), ""),
    (v2(0x21, 0x11, INET + bytes(V2_MOST - 16 - 12)), "192.0.2.1"),
]
BAD = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01",
    b"\r\n\r\nGET",
    b"proxy TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
    b"PROXY  TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
    b"PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 65536\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 056324 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
    b"PROXY TCP4 192.0.2.01 198.51.100.2 56324 443\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.2 56324 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.256 56324 443\r\n",
    b"PROXY TCP4 2001:db8::1 ::1 56324 443\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 56324 443\r\n",
    b"PROXY TCP5 192.0.2.1 198.51.100.2 56324 443\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY UNKNOWN a\rb\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN ".ljust(V1_MOST, b"x") + b"\r\n",
    v2(0x11, 0x11, INET),
    v2(0x22, 0x11, INET),
    v2(0x31, 0x11, INET),
    v2(0x21, 0x11, INET[:11]),
    v2(0x21, 0x21, INET),
    v2(0x21, 0x31, bytes(215)),
    v2(0x21, 0x12, INET),
    v2(0x21, 0x22, INET6),
    v2(0x21, 0x10, INET),
    v2(0x21, 0x01),
    v2(0x21, 0x41, INET),
    v2(0x21, 0x11, INET, V2_MOST - 15) + bytes(V2_MOST),
    v2(0x21, 0x11, INET, 65535),
    V2[:-1] + b"X" + v2(0x21, 0x11, INET)[12:],
]


def read(parts: list[bytes]) -> tuple[str, bytes] | None:
    """The source and what is behind the header; None where it is refused."""
    header, behind = ProxyHeader(), b""
    for part in parts:
        if header.complete:
            behind += part
            continue
        try:
            behind += part[header.feed(part) :]
        except ProxyHeaderError:
            return None
    assert header.complete
    return header.source, behind


@pytest.mark.parametrize(("raw", "source"), GOOD)
def test_header_names_the_source_and_ends_where_it_ends(raw: bytes, source: str) -> None:
    assert read([raw]) == (source, b"")
    assert read([raw + b"GET / HTTP/1.1\r\n"]) == (source, b"GET / HTTP/1.1\r\n")
    assert read([raw + raw]) == (source, raw)


@pytest.mark.parametrize(("raw", "source"), GOOD)
def test_header_that_is_not_whole_is_waited_for(raw: bytes, source: str) -> None:
    for size in range(len(raw)):
        header = ProxyHeader()
        assert header.feed(raw[:size]) == size
        assert not header.complete
        assert header.feed(raw[size:] + b"x") == len(raw) - size
        assert (header.complete, header.source) == (True, source)


@pytest.mark.parametrize("raw", BAD)
def test_anything_else_is_refused(raw: bytes) -> None:
    assert read([raw]) is None


@pytest.mark.parametrize("first", [b"G", b"P" * 2, b"PROXYX", b"\r\r", b"\0", b"\x16"])
def test_first_byte_that_does_not_fit_is_enough(first: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        ProxyHeader().feed(first)


@given(st.sampled_from([raw for raw, _ in GOOD] + BAD), st.binary(max_size=20), st.lists(st.integers(0, 300)))
def test_any_split_gives_the_same(raw: bytes, behind: bytes, cuts: list[int]) -> None:
    whole = raw + behind
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    assert read([whole[a:b] for a, b in pairwise(edges)]) == read([whole])


@given(
    st.one_of(
        st.binary(max_size=80), st.binary(max_size=80).map(V2.__add__), st.binary(max_size=80).map(b"PROXY ".__add__)
    )
)
def test_no_bytes_break_the_parser(raw: bytes) -> None:
    header = ProxyHeader()
    try:
        assert 0 <= header.feed(raw) <= len(raw)
    except ProxyHeaderError:
        assert not header.complete
