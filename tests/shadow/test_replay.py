"""Heads of copies: byte-faithful but for what is listed."""

from __future__ import annotations

import pytest

from routing.shadowing import Shadowing
from shadow.replay import CopyHeads, framed, is_chunked

HEAD = (
    b"GET /cart?id=7 HTTP/1.1\r\nHost: 10.0.0.1:8001\r\nUser-Agent: curl/8\r\naUtHoRiZation: Bearer x\r\nCookie: a=b; c=d\r\n"
    b"X-Odd:  two  spaces\r\nX-Forwarded-For: 203.0.113.5\r\nX-Request-Id: 77\r\n\r\n"
)


def test_copy_keeps_order_spelling_and_values_and_drops_credentials() -> None:
    head = CopyHeads(Shadowing("next")).copy(HEAD, b"shop.example")
    assert head == (
        b"GET /cart?id=7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: curl/8\r\nX-Odd:  two  spaces\r\n"
        b"X-Forwarded-For: 203.0.113.5\r\nX-Request-Id: 77\r\nX-Headgate-Shadow: 1\r\n\r\n"
    )


def test_nothing_is_removed_where_the_route_says_so() -> None:
    head = CopyHeads(Shadowing("next", remove_headers=frozenset())).copy(HEAD, b"shop.example")
    assert b"aUtHoRiZation: Bearer x\r\n" in head
    assert b"Cookie: a=b; c=d\r\n" in head


def test_set_headers_replace_those_of_the_client() -> None:
    head = CopyHeads(Shadowing("next", set_headers=((b"User-Agent", b"shadow"),))).copy(HEAD, b"h")
    assert head.count(b"ser-Agent") == 1
    assert b"\r\nUser-Agent: shadow\r\n" in head


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        (b"Idempotency-Key: abc", b"Idempotency-Key: shadow-abc"),
        (b"idempotency-key:abc", b"idempotency-key: shadow-abc"),
        (b'IDEMPOTENCY-KEY:   "q"', b'IDEMPOTENCY-KEY: shadow-"q"'),
    ],
)
def test_idempotency_key_gets_a_name_space_of_its_own(line: bytes, sent: bytes) -> None:
    head = CopyHeads(Shadowing("next")).copy(b"POST / HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n", b"h")
    assert sent in head.split(b"\r\n")


def test_hop_by_hop_and_expect_do_not_go_along() -> None:
    lines = b"TE: trailers\r\nConnection: TE\r\nExpect: 100-continue\r\n"
    head = CopyHeads(Shadowing("next")).copy(b"POST / HTTP/1.1\r\nHost: h\r\n" + lines + b"Accept: a\r\n\r\n", b"h")
    assert head == b"POST / HTTP/1.1\r\nHost: h\r\nAccept: a\r\nX-Headgate-Shadow: 1\r\n\r\n"


def test_body_is_framed_as_its_head_says() -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert is_chunked(chunked)
    assert framed(chunked, b"a" * 17, True) == chunked + b"11\r\n" + b"a" * 17 + b"\r\n0\r\n\r\n"
    assert framed(chunked, b"", True) == chunked + b"0\r\n\r\n"
    plain = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"
    assert not is_chunked(plain)
    assert framed(plain, b"ab", False) == plain + b"ab"
