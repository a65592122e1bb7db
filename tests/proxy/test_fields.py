"""Sorting fields by name, and what goes on of those that a Connection field or a trailer section holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fields import MAX_CHUNK_EXCESS, Field, FieldTable, chunk_excess, listed_fields, trailer_lines, trailers_fit


def table() -> FieldTable:
    made = FieldTable(frozenset({b"host", b"te"}), (b"x-headgate-",))
    made.watch(frozenset({b"cookie", b"te"}))
    return made


def sort(names: FieldTable, fields: list[Field]) -> tuple[list[bytes], list[Field]]:
    lines: list[bytes] = []
    noted: list[Field] = []
    for name, value in fields:
        if name in names.plain:
            lines.append(b"%b: %b" % (name, value))
        else:
            names.note(name, value, lines, noted)
    return lines, noted


@pytest.mark.parametrize(
    ("name", "goes_on", "noted"),
    [
        (b"Host", False, True),
        (b"TE", False, True),
        (b"X-HEADGATE-Any", False, True),
        (b"cOOKIE", True, True),
        (b"Accept", True, False),
        (b"X-Headgat", True, False),
        (b"X_HEADGATE_Any", False, True),
        (b"x-headgate_any", False, True),
        (b"X_B", True, False),
    ],
)
def test_field_is_taken_out_watched_or_plain_by_its_name(name: bytes, goes_on: bool, noted: bool) -> None:
    names = table()
    for _ in range(2):  # met for the first time, and remembered
        expected = ([name + b": v"] if goes_on else [], [(name.lower(), b"v")] if noted else [])
        assert sort(names, [(name, b"v")]) == expected


def test_flood_of_names_is_forgotten_and_sorts_as_before() -> None:
    names = table()
    for number in range(5000):
        sort(names, [(b"X-%d" % number, b"v")])
        assert len(names.plain) <= 1024
    assert sort(names, [(b"Host", b"a"), (b"X-1", b"b")]) == ([b"X-1: b"], [(b"host", b"a")])


@pytest.mark.parametrize(
    ("name", "lines", "noted"), [(b"X-Long", 2, 0), (b"X-Headgate-Long", 0, 2), (b"x_headgate_long", 0, 2)]
)
def test_long_names_are_sorted_and_not_remembered(name: bytes, lines: int, noted: int) -> None:
    names = table()
    long = name + b"a" * 1000
    sorted_lines, sorted_noted = sort(names, [(long, b"v"), (long, b"v")])
    assert (len(sorted_lines), len(sorted_noted)) == (lines, noted)
    assert not names.plain | names._special.keys() | names._watched.keys()


NAMES = st.sampled_from([b"Host", b"host", b"te", b"Cookie", b"X-Headgate-A", b"Accept", b"X-B", b"x-b"])
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b"", b"v", b"a: b", b"x"])), max_size=8)


@given(FIELDS, st.sets(st.sampled_from([b"cookie", b"x-b", b"accept", b"host"])))
def test_head_sorted_again_is_as_if_sorted_under_the_new_names(fields: list[Field], watched: set[bytes]) -> None:
    names = table()
    lines, noted = sort(names, fields)
    names.watch(frozenset(watched))
    again, noted_again = names.sort_again(lines, noted)
    expected, expected_noted = sort(names, fields)
    assert again == expected
    assert sorted(noted_again) == sorted(expected_noted)


@pytest.mark.parametrize(
    ("connection", "names"),
    [
        (b"close", set()),
        (b"keep-alive, Upgrade, TE", set()),
        (b"X-A,x-b , ,\tX-C", {b"x-a", b"x-b", b"x-c"}),
        (b"Via, X-Request-Id, traceparent, cookie, X-Forwarded-For", set()),
        (b"Host, Content-Length", {b"host", b"content-length"}),
    ],
)
def test_connection_lists_fields_less_those_that_must_stay(connection: bytes, names: set[bytes]) -> None:
    assert listed_fields(connection) == names


@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"x_forwarded_client_cert", b"X-Headgate-Flags", b"Forwarded"])
def test_trailers_that_would_pass_for_the_gateways_own_word_are_dropped(name: bytes) -> None:
    assert trailer_lines([(name, b"a"), (b"X-Sum", b"1")]) == b"X-Sum: 1\r\n"


def test_trailers_about_framing_routing_and_credentials_are_dropped() -> None:
    trailers = [(b"X-Sum", b"1"), (b"Host", b"a"), (b"AUTHORIZATION", b"b"), (b"set-cookie", b"c"), (b"Digest", b"d")]
    assert trailer_lines(trailers) == b"X-Sum: 1\r\nDigest: d\r\n"


@pytest.mark.parametrize(("count", "size", "fit"), [(32, 10, True), (33, 10, False), (8, 900, True), (10, 900, False)])
def test_trailers_fit_by_number_and_size(count: int, size: int, fit: bool) -> None:
    assert trailers_fit([(b"X-A", b"v" * size)] * count) is fit


def test_overhead_of_ordinary_chunks_never_adds_up() -> None:
    excess = 0
    for _ in range(100_000):
        excess = chunk_excess(excess, 6, [b"x"])
    assert excess == 0
    for _ in range(200):
        excess = chunk_excess(excess, 206, [b"x"])
    assert excess > MAX_CHUNK_EXCESS
