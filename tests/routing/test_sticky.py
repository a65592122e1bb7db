"""The bucket of a client: from a cookie that only we can sign, from a header, from an address."""

from __future__ import annotations

from typing import Any

import pytest

from routing.sticky import Sticky, StickyBy
from tests.routing.samples import SECRET, get

BY_COOKIE = Sticky(StickyBy.COOKIE, b"hg", 60, SECRET)
BY_HEADER = Sticky(StickyBy.HEADER, b"x-user-id", 0, SECRET)
BY_ADDRESS = Sticky(StickyBy.CLIENT_IP, b"", 0, SECRET)


@pytest.mark.parametrize("bucket", [0, 1, 0xDEADBEEF, 2**64 - 1])
def test_cookie_that_we_signed_gives_its_bucket(bucket: int) -> None:
    value = BY_COOKIE.sign(bucket)
    assert len(value) == 32
    assert BY_COOKIE.verify(value) == bucket
    assert BY_COOKIE.bucket(get(cookie=f"a=b; hg={value.decode()}")) == bucket


SIGNED = BY_COOKIE.sign(7)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"7",
        SIGNED[:-1],
        SIGNED + b"0",
        SIGNED[:16],
        b"%016x" % 8 + SIGNED[16:],
        SIGNED.upper(),
        Sticky(StickyBy.COOKIE, b"hg", 60, b"another secret, 32 bytes long...").sign(7),
        "é".encode() * 16,
        b"\xff" * 32,
    ],
)
def test_cookie_that_we_did_not_sign_gives_no_bucket(value: bytes) -> None:
    assert BY_COOKIE.verify(value) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("hg=1", b"1"),
        ("a=b; hg=1; c=d", b"1"),
        ("a=b;hg=1", b"1"),
        ("a=b ;\thg=1", b"1"),
        ('hg="quoted"', b"quoted"),
        ('hg="', b'"'),
        ("hg=", b""),
        ("hg=1; hg=2", b"1"),
        ("hg=a=b", b"a=b"),
        ("xhg=1", None),
        ("x-hg=1", None),
        ("hgx=1", None),
        ("a=hg=1", None),
        ("a=hg", None),
        ("hg", None),
        ("", None),
        ("xhg=1; hg=2", b"2"),
    ],
)
def test_request_cookie_reads_pairs_as_rfc_6265_parts_them(header: str, expected: bytes | None) -> None:
    assert get(cookie=header).cookie(b"hg") == expected


class Counted(bytes):
    """Counts the bytes that are cut out of it."""

    cut = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        Counted.cut += len(part) if isinstance(part, bytes) else 1
        return part


@pytest.mark.parametrize("header", [b"x" + b"hg=" * 5000, b"x" + b"hg= \t" * 5000, b"x" + b" " * 15000 + b"hg=1"])
def test_request_cookie_looks_at_each_byte_once(header: bytes) -> None:
    request, Counted.cut = get(), 0
    request.fields[b"cookie"] = Counted(header)
    assert request.cookie(b"hg") is None
    assert Counted.cut < 3 * len(header)


def test_request_without_cookies_has_none() -> None:
    assert get().cookie(b"hg") is None


def test_header_of_the_same_value_gives_the_same_bucket() -> None:
    assert BY_HEADER.bucket(get(x_user_id="ann")) == BY_HEADER.bucket(get(x_user_id="ann", client_ip="198.51.100.9"))
    assert BY_HEADER.bucket(get(x_user_id="ann")) != BY_HEADER.bucket(get(x_user_id="bob"))


@pytest.mark.parametrize("sticky", [BY_COOKIE, BY_HEADER])
def test_request_without_the_mark_has_no_bucket(sticky: Sticky) -> None:
    assert sticky.bucket(get(cookie="other=1")) is None


def test_header_that_is_empty_gives_no_bucket() -> None:
    assert BY_HEADER.bucket(get(x_user_id="")) is None


def test_address_gives_its_bucket_and_none_where_it_is_unknown() -> None:
    assert BY_ADDRESS.bucket(get(client_ip="192.0.2.1")) == BY_ADDRESS.bucket(get("/x", client_ip="192.0.2.1"))
    assert BY_ADDRESS.bucket(get(client_ip="192.0.2.1")) != BY_ADDRESS.bucket(get(client_ip="192.0.2.2"))
    assert BY_ADDRESS.bucket(get(client_ip="")) is None
