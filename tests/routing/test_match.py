"""Which route takes a request, and that finding it costs the same among a thousand."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from routing.match import Match, MatchTable

ANY = None
GET = frozenset({b"GET"})


def prefix(path: bytes, *hosts: bytes, methods: frozenset[bytes] | None = ANY) -> Match:
    return Match(hosts, methods, prefix=path)


def exact(path: bytes, *hosts: bytes, methods: frozenset[bytes] | None = ANY) -> Match:
    return Match(hosts, methods, path=path)


def regex(pattern: bytes, *hosts: bytes, methods: frozenset[bytes] | None = ANY) -> Match:
    return Match(hosts, methods, regex=re.compile(pattern))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"shop.example.com", 0),
        (b"a.shop.example.com", 1),
        (b"b.a.shop.example.com", 1),
        (b"example.com", 3),
        (b"other.example.com", 2),
        (b"other.org", 3),
        (b"", 3),
        (b"shop.example.com.evil.org", 3),
        (b".example.com", 3),
        (b"[::1]", 4),
    ],
)
def test_host_exact_then_longest_wildcard_then_any(host: bytes, expected: int) -> None:
    table = MatchTable(
        (
            prefix(b"/", b"shop.example.com"),
            prefix(b"/", b"*.shop.example.com"),
            prefix(b"/", b"*.example.com"),
            prefix(b"/"),
            prefix(b"/", b"[::1]"),
        )
    )
    assert table.find(b"GET", host, b"/") == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/api/v1", 0),
        (b"/api/v1/", 3),
        (b"/api/v7", 1),
        (b"/api/users", 2),
        (b"/api/users/5", 2),
        (b"/api", 3),
        (b"/api/", 3),
        (b"/api/usersx", 3),
        (b"/apiary", 5),
        (b"/files", 5),
        (b"/files/", 4),
        (b"/files/a", 4),
        (b"/", 5),
    ],
)
def test_path_exact_then_regex_then_longest_prefix_of_whole_segments(path: bytes, expected: int) -> None:
    table = MatchTable(
        (
            exact(b"/api/v1"),
            regex(rb"^/api/v\d+$"),
            prefix(b"/api/users"),
            prefix(b"/api"),
            prefix(b"/files/"),
            prefix(b"/"),
        )
    )
    assert table.find(b"GET", b"any", path) == expected


def test_regexes_are_tried_in_the_order_of_the_file() -> None:
    table = MatchTable((regex(rb"/a"), regex(rb"/ab")))
    assert table.find(b"GET", b"", b"/ab") == 0


@pytest.mark.parametrize(("method", "expected"), [(b"GET", 1), (b"POST", 0), (b"DELETE", 2), (b"get", 2)])
def test_method_that_a_route_does_not_take_passes_it_over(method: bytes, expected: int) -> None:
    table = MatchTable(
        (
            exact(b"/a", methods=frozenset({b"POST"})),
            prefix(b"/a", methods=GET),
            prefix(b"/"),
        )
    )
    assert table.find(method, b"", b"/a") == expected


def test_same_path_route_with_methods_comes_before_the_one_for_all() -> None:
    table = MatchTable((prefix(b"/"), prefix(b"/", methods=GET)))
    assert table.find(b"GET", b"", b"/") == 1
    assert table.find(b"PUT", b"", b"/") == 0


def test_host_whose_paths_do_not_match_falls_back_to_less_specific_hosts() -> None:
    table = MatchTable((prefix(b"/a", b"x.example.com"), prefix(b"/b", b"*.example.com"), prefix(b"/c")))
    assert [table.find(b"GET", b"x.example.com", path) for path in (b"/a", b"/b", b"/c", b"/d")] == [0, 1, 2, -1]


def test_no_route_at_all_matches_nothing() -> None:
    assert MatchTable(()).find(b"GET", b"a", b"/") == -1


def _calls(action: Callable[[], object]) -> int:
    """How many functions, C functions among them, one call of `action` enters: work without a clock."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


class _Probes(dict[bytes, Any]):
    """A dictionary that counts look-ups."""

    count = 0

    def get(self, key: bytes, default: Any = None) -> Any:
        _Probes.count += 1
        return super().get(key, default)


def _many(number: int) -> tuple[Match, ...]:
    """Routes by prefix on any host, by host, by wildcard and by exact path; prefixes of many different lengths."""
    kinds: tuple[Callable[[int], Match], ...] = (
        lambda i: prefix(b"/svc%d/" % i),
        lambda i: prefix(b"/team/%s%d" % (b"x" * (i % 90), i)),
        lambda i: prefix(b"/", b"h%d.example.com" % i),
        lambda i: prefix(b"/", b"*.w%d.example.com" % i),
        lambda i: exact(b"/only/%d" % i),
    )
    return (prefix(b"/"), *(kinds[i % len(kinds)](i) for i in range(number)))


@pytest.mark.parametrize("path", [b"/", b"/svc0/cart", b"/team/x/y/z", b"/only/4", b"/not/known/at/all"])
@pytest.mark.parametrize("host", [b"h2.example.com", b"a.w3.example.com", b"unknown.org"])
def test_lookup_among_1000_routes_makes_as_many_steps_as_among_few(host: bytes, path: bytes) -> None:
    few, many = MatchTable(_many(5)), MatchTable(_many(1000))
    assert few.find(b"GET", host, path) == many.find(b"GET", host, path)
    calls = [_calls(partial(table.find, b"GET", host, path)) for table in (few, many)]
    assert calls[1] <= calls[0] + 2 * path.count(b"/")  # what the path itself allows, whatever the routes


@pytest.mark.parametrize("number", [10, 1000])
def test_lookup_probes_prefixes_at_most_twice_for_each_slash(number: int) -> None:
    table = MatchTable(_many(number))
    table._any._prefixes = _Probes(table._any._prefixes)
    _Probes.count = 0
    path = b"/a/b/c/d"
    assert table.find(b"GET", b"", path) == 0
    assert _Probes.count <= 2 * path.count(b"/") + 1
