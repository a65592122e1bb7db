"""The ladder: status, header fields, bytes, decoded bytes, then JSON, text or other content; and what a third answer tells."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from routing.shadowing import Comparing, Redacting
from shadow.answer import Answer
from shadow.compare import Comparer
from shadow.verdict import Difference
from tests.shadow.samples import answer, compare, found

PNG = b"image/png"
TEXT = b"text/plain"
LINE = b"X-A: 1"


def gzipped(body: bytes, *lines: bytes) -> Answer:
    return answer(gzip.compress(body), lines=(b"content-encoding: gzip", *lines))


CASES: list[tuple[str, Answer, Answer, set[tuple[str, str]]]] = [
    ("equal", answer({"a": 1}), answer({"a": 1}), set()),
    ("other order of names", answer(b'{"a":1,"b":2}'), answer(b'{"b":2, "a":1}'), set()),
    ("status alone", answer({"a": 1}), answer({"b": 1}, TEXT, status=500), {("status", "changed")}),
    ("no answer", answer(1), answer(b"", failure="reset"), {("status", "no_answer")}),
    ("no answer of the primary", answer(b"", failure="reset"), answer(1), {("status", "no_answer")}),
    ("no answer twice", answer(b"", failure="reset"), answer(b"", failure="bad_response"), set()),
    ("header changed", answer(1), answer(1, b"text/json"), {("header:content-type", "changed")}),
    ("header missing", answer(1), answer(1, b""), {("header:content-type", "missing")}),
    ("header extra", answer(1), answer(1, lines=(b"Location: /",)), {("header:location", "extra")}),
    ("header not chosen", answer(1), answer(1, lines=(LINE,)), set()),
    ("coded and not", gzipped(b'{"a":1}'), answer(b'{"a":1}'), set()),
    ("coded in two ways", gzipped(b"[1]"), answer(zlib.compress(b"[1]"), lines=(b"content-encoding: deflate",)), set()),
    ("coded and differs", gzipped(b'{"a":1}'), answer(b'{"a":2}'), {("$.a", "changed")}),
    ("text", answer(b"a\nb", TEXT), answer(b"a\nc", TEXT), {("body", "text")}),
    ("html is text", answer(b"<p>a", b"text/html"), answer(b"<p>b", b"text/html"), {("body", "text")}),
    ("bytes", answer(b"\x89a", PNG), answer(b"\x89b", PNG), {("body", "bytes")}),
    ("body missing", answer(b"a", TEXT), answer(b"", TEXT), {("body", "missing")}),
    ("body extra", answer(b"", TEXT), answer(b"a", TEXT), {("body", "extra")}),
    ("JSON and text", answer(b"[1]", TEXT), answer(b"no", TEXT), {("body", "type")}),
    ("JSON that is none", answer(b"{1}"), answer(b"{2}"), {("body", "text")}),
]


@pytest.mark.parametrize(
    ("primary", "shadow", "differs"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_two_answers(primary: Answer, shadow: Answer, differs: set[tuple[str, str]]) -> None:
    assert found(compare(primary, shadow)) == differs


@pytest.mark.parametrize(
    ("shadow", "reason"),
    [
        (answer(b"no gzip", lines=(b"Content-Encoding: gzip",)), "undecodable"),
        (gzipped(bytes(20_000_000)), "bomb"),
        (answer(b"[" * 1000 + b"]" * 1000), "too_deep"),
        (answer(b"[" * 1500 + b"]" * 1500), "too_deep"),
    ],
)
def test_what_can_not_be_compared_is_never_taken_for_equal(shadow: Answer, reason: str) -> None:
    assert compare(answer([[]]), shadow).reason == reason
    assert compare(shadow, answer([[]])).reason == reason


def test_equal_bytes_are_equal_whatever_they_are() -> None:
    broken = answer(b"no gzip", lines=(b"Content-Encoding: gzip",))
    assert found(compare(broken, broken)) == set()


def test_body_that_claims_json_and_is_not_is_told() -> None:
    compared = compare(answer(b"{1}"), answer(b'{"a":1}'))
    assert compared.notes == ("primary claims JSON and is not; compared as text",)


def test_several_lines_of_a_header_are_one_value() -> None:
    comparing = Comparing(headers=("X-A",))
    one, two = answer(1, lines=(b"X-A: 1", b"x-a: 2")), answer(1, lines=(b"x-A:1, 2",))
    assert found(compare(one, two, comparing)) == set()
    assert found(compare(one, answer(1, lines=(LINE,)), comparing)) == {("header:x-a", "changed")}


IGNORED: list[tuple[str, Answer, Answer]] = [
    ("header:content-type", answer(1), answer(1, TEXT)),
    ("status", answer(1), answer(1, status=201)),
    ("body", answer(1), answer(2)),
    ("$", answer(1), answer({"a": 2})),
    ("$.at", answer({"at": 1}), answer({"at": {"deep": 2}})),
    ("$..at", answer([{"b": {"at": 1}}]), answer([{"b": {}}])),
    ("$.a[*].at", answer({"a": [{"at": 1}]}), answer({"a": [{"at": 2}]})),
    ("$.a[*]", answer({"a": [1, 2]}), answer({"a": [3]})),
    ("$.a[1]", answer({"a": [1, 2]}), answer({"a": [1, 3]})),
    ("$.a[1]", answer({"a": [1, 2]}), answer({"a": [1]})),
    ("$.a.*", answer({"a": {"x": 1}}), answer({"a": {"y": 1}})),
    ("$['a b']", answer({"a b": 1}), answer({"a b": 2})),
]


@pytest.mark.parametrize(("path", "primary", "shadow"), IGNORED, ids=[case[0] for case in IGNORED])
def test_ignored_field_does_not_differ(path: str, primary: Answer, shadow: Answer) -> None:
    assert found(compare(primary, shadow)) != set()
    assert found(compare(primary, shadow, Comparing(ignore=(path,)))) == set()


def test_ignored_field_hides_no_other() -> None:
    comparing = Comparing(ignore=("$..at", "status"))
    one, two = answer({"at": 1, "price": 1, "tat": 1}), answer({"at": 2, "price": 2, "tat": 2}, status=201)
    assert found(compare(one, two, comparing)) == {("$.price", "changed"), ("$.tat", "changed")}


@pytest.mark.parametrize(
    ("primary", "shadow", "same"),
    [
        (1.0, 1.0000001, True),
        (100, 100.00000001, True),
        (1, 1.0, True),
        (1.0, 1.1, False),
        (True, 1, False),
        ("1", "1.0", False),
        (0.0, 1e-9, True),
    ],
)
def test_number_tolerance(primary: Any, shadow: Any, same: bool) -> None:
    compared = compare({"n": [primary]}, {"n": [shadow]}, Comparing(number_tolerance=1e-6))
    assert (found(compared) == set()) is same


def test_masked_part_of_a_text_is_not_compared() -> None:
    comparing = Comparing(mask=(r"req-\d+",), headers=("location",))
    one = answer({"a": ["see req-12 now"]}, lines=(b"Location: /req-1",))
    two = answer({"a": ["see req-7 now"]}, lines=(b"Location: /req-2",))
    assert found(compare(one, two, comparing)) == set()
    assert found(compare(answer(b"a req-1", TEXT), answer(b"a req-2", TEXT), comparing)) == set()
    three = answer({"a": ["see req-7 later"]}, lines=(b"Location: /no",))
    assert found(compare(one, three, comparing)) == {("$.a[*]", "changed"), ("header:location", "changed")}


def fields(differences: tuple[Difference, ...] | None) -> list[str]:
    assert differences is not None
    return sorted({difference.field for difference in differences})


def test_third_answer_tells_noise() -> None:
    primary, shadow, third = ({"id": n, "price": price} for n, price in ((1, 5), (2, 6), (3, 5)))
    compared = Comparer(Comparing(), Redacting()).compare(answer(primary), answer(shadow), answer(third))
    assert fields(compared.shadow) == ["$.id", "$.price"]
    assert fields(compared.third) == ["$.id"]
    assert compared.shadow_third == {"$.id", "$.price"}


def test_third_answer_like_the_shadow_makes_the_primary_the_odd_one() -> None:
    compared = Comparer(Comparing(), Redacting()).compare(answer({"a": 1}), answer({"a": 2}), answer({"a": 2}))
    assert (fields(compared.shadow), fields(compared.third)) == (["$.a"], ["$.a"])
    assert compared.shadow_third == frozenset()


def test_third_answer_is_there_though_it_does_not_differ() -> None:
    comparer = Comparer(Comparing(), Redacting())
    assert comparer.compare(answer(1), answer(2), answer(1)).third == ()
    assert comparer.compare(answer(1), answer(2), None).third is None


def test_third_answer_that_can_not_be_compared_leaves_nothing_to_say() -> None:
    broken = answer(b"no gzip", lines=(b"Content-Encoding: gzip",))
    assert Comparer(Comparing(), Redacting()).compare(answer(1), answer(2), broken).reason == "undecodable"


def test_rules_are_applied_once_where_a_body_is_compared_twice() -> None:
    comparing = Comparing(ignore=("$.l[0]",), mask=(".a",), unordered=("$.l",))
    answers = [answer({"l": [n, "aaa", "b"], "n": n}) for n in range(3)]
    compared = Comparer(comparing, Redacting()).compare(*answers)
    assert fields(compared.shadow) == fields(compared.third) == sorted(compared.shadow_third) == ["$.n"]


def test_difference_says_what_stands_there_and_its_class() -> None:
    (difference,) = compare({"a": [{"n": 5}]}, {"a": [{"n": None}]}).shadow
    assert difference == Difference("$.a[*].n", "type", "5", "null", "int", "null", 5.0, None)


def test_long_texts_are_shown_where_they_begin_to_differ() -> None:
    (difference,) = compare({"t": "x" * 5000 + "one"}, {"t": "x" * 5000 + "two"}).shadow
    assert difference.primary.endswith('xone"')
    assert difference.other.endswith('xtwo"')
    assert len(difference.primary) < 60


def test_lines_that_differ_are_shown_with_their_number() -> None:
    one, two = b"\n".join(b"%d" % n for n in range(1000)), b"\n".join(b"%d" % n for n in range(1000) if n != 500)
    (difference,) = compare(answer(one, TEXT), answer(two, TEXT)).shadow
    assert (difference.primary, difference.other) == ("line 501: 500", "no line of its own")
    (difference,) = compare(answer(one, TEXT), answer(one.replace(b"7", b"x"), TEXT)).shadow
    assert (difference.primary, difference.other) == ("lines 8 to 998: 7", "lines 8 to 998: x")
    (difference,) = compare(answer(b"a\nb\nc\nd\ne", TEXT), answer(b"a\nB\nc\nx\nd\nE", TEXT)).shadow
    assert (difference.primary, difference.other) == ("line 2 (and 1 more): b", "line 2 (and 2 more): B")
