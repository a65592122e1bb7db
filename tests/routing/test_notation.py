"""How the document writes durations, sizes, shares and addresses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from routing import notation
from routing.notation import Address
from routing.snapshot import Endpoint


@pytest.mark.parametrize(
    ("parse", "value", "expected"),
    [
        (notation.duration, "2s", 2.0),
        (notation.duration, "250ms", 0.25),
        (notation.duration, "5m", 300.0),
        (notation.duration, "1.5h", 5400.0),
        (notation.duration, "1h30m", 5400.0),
        (notation.duration, "30d", 30 * 86400.0),
        (notation.duration, 5, 5.0),
        (notation.duration, "5", 5.0),
        (notation.duration, 0.5, 0.5),
        (notation.duration, "0s", 0.0),
        (notation.size, "32KiB", 32768),
        (notation.size, "256KB", 256_000),
        (notation.size, "1.5 MiB", 1_572_864),
        (notation.size, "1gb", 10**9),
        (notation.size, 65536, 65536),
        (notation.size, "10B", 10),
        (notation.size, 0, 0),
        (notation.percent, "20%", 20.0),
        (notation.percent, 0.5, 0.5),
        (notation.percent, 100, 100.0),
        (notation.ratio, "20%", 0.2),
        (notation.ratio, "0.5 %", 0.005),
        (notation.fraction, 0.25, 0.25),
        (notation.fraction, "25%", 0.25),
        (notation.workers, "auto", "auto"),
        (notation.workers, 4, 4),
        (notation.retry_on, "connect", "connect"),
        (notation.retry_on, 503, 503),
        (notation.cidr, "10.1.2.3/8", "10.0.0.0/8"),
        (notation.cidr, "10.1.2.3", "10.1.2.3/32"),
        (notation.address, "0.0.0.0:8080", Address("0.0.0.0", 8080)),
        (notation.address, ":8080", Address("", 8080)),
        (notation.address, "[::1]:8080", Address("::1", 8080)),
        (notation.address, "localhost:0", Address("localhost", 0)),
        (notation.host_pattern, "Shop.Example.COM", "shop.example.com"),
        (notation.host_pattern, "*.example.com", "*.example.com"),
        (notation.host_pattern, "*", "*"),
        (notation.host_pattern, "münchen.example", "xn--mnchen-3ya.example"),
        (notation.host_pattern, "[::1]", "[::1]"),
        (notation.host_pattern, "example.com.", "example.com"),
    ],
)
def test_notation_reads_as_documented(parse: Callable[[object], object], value: object, expected: object) -> None:
    assert parse(value) == expected


@pytest.mark.parametrize(
    ("parse", "values"),
    [
        (
            notation.duration,
            ("2x", "", "s", "-1s", -1, None, True, "1e3s", float("inf"), float("nan"), "5 s 3", "99999d"),
        ),
        (notation.positive_duration, (0, "0s", "soon")),
        (notation.size, ("32K", "-1", -1, 1.5, "1.0001KB", None, True, float("nan"), float("inf"), "lots")),
        (notation.count, (-1, 1.5, "x", None, True, float("inf"))),
        (notation.positive_count, (0, -1)),
        (notation.percent, (-1, 101, "101%", "a", None, True, float("nan"))),
        (notation.ratio, (0.2, 20, "20", "120%", "-1%", None)),
        (notation.fraction, (1.5, -0.1, "x", None, float("nan"))),
        (notation.number, (True, "x", None, float("nan"), float("inf"), [])),
        (notation.weight, (True, "5", None, [])),
        (notation.truth, (1, "true", "yes", None)),
        (notation.workers, (0, -1, 1.5, "many", True, 5000, None)),
        (notation.retry_on, ("conect", 99, 200, 600, None, True)),
        (notation.cidr, ("10.0.0.0/33", "ten", "", None)),
        (notation.token, ("", "a b", "a:b", "é", None)),
        (
            notation.address,
            ("8080", "host:", "host:99999", "a:b:80", "::1:80", "[nope]:80", "a b:80", "h:-1", "h:8²", None),
        ),
        (notation.host_pattern, ("", "a*.com", "*.*.com", "a.com:80", "a/b", "-a.com", "*.", "a..", None)),
        (notation.regex, ("a(", "*", "[", None)),
        (
            notation.endpoint,
            (
                "127.0.0.1:80",
                "ftp://a",
                "http://",
                "http://a:0",
                "http://a:99999",
                "http://a/path",
                "http://a?x",
                "http://u:p@a",
                "http://a b",
                "unix:relative.sock",
                "http://[::1",
                "http://[x]",
                None,
                "",
            ),
        ),
    ],
)
def test_notation_refuses_in_plain_words(parse: Callable[[object], object], values: tuple[object, ...]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=r"^[^\n]{10,}$") as caught:
            print(repr(value), "was read as", repr(parse(value)))
        assert "invalid literal" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://10.0.0.7:8000", Endpoint("http://10.0.0.7:8000", "10.0.0.7", 8000, "", False, b"10.0.0.7:8000")),
        ("http://App.Internal/", Endpoint("http://app.internal", "app.internal", 80, "", False, b"app.internal")),
        ("http://app:80", Endpoint("http://app", "app", 80, "", False, b"app")),
        ("https://app", Endpoint("https://app", "app", 443, "", True, b"app")),
        ("https://app:8443", Endpoint("https://app:8443", "app", 8443, "", True, b"app:8443")),
        ("http://[::1]:9001", Endpoint("http://[::1]:9001", "::1", 9001, "", False, b"[::1]:9001")),
        ("unix:///run/app.sock", Endpoint("unix:///run/app.sock", "", 0, "/run/app.sock", False, b"localhost")),
        ("unix:/run/app.sock", Endpoint("unix:///run/app.sock", "", 0, "/run/app.sock", False, b"localhost")),
    ],
)
def test_endpoint_is_read_into_its_parts(url: str, expected: Endpoint) -> None:
    assert notation.endpoint(url) == expected


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        (":1", False),
        ("0.0.0.0:1", False),
        ("a:1", False),
    ],
)
def test_address_knows_whether_others_reach_it(text: str, loopback: bool) -> None:
    assert notation.address(text).loopback is loopback
    assert str(notation.address(text)) == text
