"""JSON: which field differs, how, and where the elements of a list belong together."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from routing.json_path import json_path
from routing.shadowing import Comparing
from shadow.found import MOST_FIELDS, MOST_OF_A_FIELD
from shadow.pairing import by_content
from shadow.rules import canonical
from tests.shadow.samples import DOCUMENTS, SCALARS, answer, compare, found

UUID = "6f1b7c2a-3f5e-4a57-9c0e-2f8f5bb1a001"
Json = Any


def items(*prices: int) -> dict[str, Json]:
    return {"items": [{"id": f"i{n}", "price": price, "tags": ["a"]} for n, price in enumerate(prices)]}


def noisy(order: str, price: int = 1) -> list[Json]:
    """Named elements that are each time a little different."""
    return [{"id": name, "price": price, "seen": random.random()} for name in order]


DEEP_ONE: Json = [
    {"meta": {"name": name, "seen": n}, "body": {"text": name * 9, "at": n}} for n, name in enumerate("abcd")
]
DEEP_OTHER: Json = [
    {"meta": {**each["meta"], "seen": 10}, "body": {**each["body"], "at": 11}} for each in reversed(DEEP_ONE)
]

CASES: list[tuple[str, Json, Json, set[tuple[str, str]]]] = [
    ("value", {"a": 1}, {"a": 2}, {("$.a", "changed")}),
    ("type", {"a": 1}, {"a": "1"}, {("$.a", "type")}),
    ("null", {"a": 1}, {"a": None}, {("$.a", "type")}),
    ("int and float", {"a": 1}, {"a": 1.0}, {("$.a", "type")}),
    ("true and 1", {"a": True}, {"a": 1}, {("$.a", "type")}),
    ("int and another float", {"a": 1}, {"a": 1.5}, {("$.a", "changed")}),
    ("strict inside of what seems equal", {"a": {"b": [1]}}, {"a": {"b": [1.0]}}, {("$.a.b[*]", "type")}),
    ("missing", {"a": 1, "b": 2}, {"a": 1}, {("$.b", "missing")}),
    ("extra", {"a": 1}, {"a": 1, "b": {"c": 2}}, {("$.b", "extra")}),
    ("null is not missing", {"a": None}, {}, {("$.a", "missing")}),
    ("quoted name", {"a b": {"it's": 1}}, {"a b": {"it's": 2}}, {("$['a b']['it\\'s']", "changed")}),
    ("in a list", items(1, 2, 3), items(1, 2, 4), {("$.items[*].price", "changed")}),
    ("all in a list", items(1, 2, 3), items(4, 5, 6), {("$.items[*].price", "changed")}),
    ("list longer", items(1, 2), items(1, 2, 3), {("$.items[*]", "extra")}),
    ("list shorter at its head", [1, 2, 3], [2, 3], {("$[*]", "missing")}),
    ("list with repeats longer", [1, 1, 2, 1, 1, 2], [2, 1, 1, 2, 1, 1, 2], {("$[*]", "extra")}),
    ("put in here and there", [1, 2, 1, 3], [9, 1, 2, 8, 1, 3, 7], {("$[*]", "extra")}),
    ("put in among repeats", [1, 2], [2, 1, 2, 9], {("$[*]", "extra")}),
    ("put in among repeats, and one changed", [1, 2, 3], [2, 1, 2, 9], {("$[*]", "extra"), ("$[*]", "changed")}),
    (
        "whole numbers that name nothing",
        [{"n": 1, "p": 0.5}, {"n": 2, "p": 0.6}],
        [{"n": 2, "p": 0.7}, {"n": 3, "p": 0.8}],
        {("$[*].n", "changed"), ("$[*].p", "changed")},
    ),
    (
        "alike in what few have rather than in what all have",
        [{"currency": "EUR", "unit": "kg", "sizes": [n], "at": 0.5} for n in (1, 2, 3)],
        [{"currency": "EUR", "unit": "kg", "sizes": [n], "at": 0.7} for n in (9, 3, 2)]
        + [{"currency": "USD", "unit": "lb", "sizes": [1], "at": 0.7}],
        {("$[*]", "extra"), ("$[*].at", "changed"), ("$[*].currency", "changed"), ("$[*].unit", "changed")},
    ),
    ("two swapped", [1, 2, 3], [2, 1, 3], {("$", "order")}),
    ("swapped, and one changed", [1, 2, 3, 4], [2, 1, 3, 5], {("$", "order"), ("$[*]", "changed")}),
    ("empty list", {"a": []}, {"a": [1]}, {("$.a[*]", "extra")}),
    ("list and object", {"a": []}, {"a": {}}, {("$.a", "type")}),
    ("moved, each a little different", noisy("abcd"), noisy("dcba"), {("$", "order"), ("$[*].seen", "changed")}),
    ("one more, each a little different", noisy("abcd"), noisy("abxcd"), {("$[*]", "extra"), ("$[*].seen", "changed")}),
    (
        "members alike deeper down",
        {"a": [1, *DEEP_ONE]},
        {"a": [*DEEP_OTHER, 1]},
        {("$.a[*].meta.seen", "changed"), ("$.a[*].body.at", "changed")},
    ),
    ("ids as names", {"u": {UUID: {"n": 1}}}, {"u": {UUID: {"n": 2}}}, {("$.u.*.n", "changed")}),
    ("numbers as names", {"u": {"17": 1}}, {"u": {"18": 1}}, {("$.u.*", "missing"), ("$.u.*", "extra")}),
    (
        "an object that is a map",
        {f"k{n}x": n for n in range(60)},
        {f"k{n}x": n + (n > 50) for n in range(60)},
        {("$.*", "changed")},
    ),
]


@pytest.mark.parametrize(
    ("primary", "shadow", "differs"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_two_documents(primary: Json, shadow: Json, differs: set[tuple[str, str]]) -> None:
    assert found(compare(primary, shadow)) == differs
    turned = {"missing": "extra", "extra": "missing"}
    assert found(compare(shadow, primary)) == {(field, turned.get(kind, kind)) for field, kind in differs}


def test_unordered_list_has_no_order() -> None:
    comparing = Comparing(unordered=("$.a", "$.b[*].c"))
    one = {"a": [1, {"x": 1}, "s"], "b": [{"c": [1, 2]}, {"c": [3, 4]}]}
    two: Json = {"a": ["s", 1, {"x": 1}], "b": [{"c": [2, 1]}, {"c": [4, 3]}]}
    assert found(compare(one, two, comparing)) == set()
    two["b"].reverse()
    assert found(compare(one, two, comparing)) == {("$.b", "order")}
    two["b"].reverse()
    two["a"].append(5)
    assert found(compare(one, two, comparing)) == {("$.a[*]", "extra")}


def test_unordered_list_still_shows_what_changed_in_an_element() -> None:
    one, two = noisy("abcdef"), noisy("fbdeca")
    two[2]["price"] = 9
    comparing = Comparing(unordered=("$",), ignore=("$[*].seen",))
    assert found(compare(one, two, comparing)) == {("$[*].price", "changed")}


def test_keyed_list_is_paired_by_its_field() -> None:
    one = [{"sku": name, "id": n, "n": 1} for n, name in enumerate("abc")]
    two = [{"sku": name, "id": n, "n": 2} for n, name in enumerate("cab")]
    keyed = Comparing(keyed=(("$", "sku"),))
    assert found(compare(one, two, keyed)) == {("$[*].id", "changed"), ("$[*].n", "changed")}
    assert found(compare(one, [*two, {"sku": "z"}], keyed)) >= {("$[*]", "extra")}
    assert found(compare([*one, 5], [*two, 6], keyed)) >= {("$[*]", "changed")}


def test_json_nested_too_deep_to_walk_gives_no_verdict() -> None:
    def nested(inner: Json, depth: int) -> Json:
        for _ in range(depth):
            inner = [inner]
        return inner

    assert found(compare(nested(1, 190), nested(2, 190))) == {("$" + "[*]" * 190, "changed")}
    assert compare(nested(1, 220), nested(2, 220)).reason == "too_deep"


def test_fields_of_a_pair_are_bounded_and_that_is_told() -> None:
    def wide(value: int) -> Json:
        return {"abcdefghij"[n % 10] * (1 + n // 10): {"klmno"[m] * 2: value for m in range(5)} for n in range(50)}

    compared = compare(wide(1), wide(2))
    assert len({difference.field for difference in compared.shadow}) == MOST_FIELDS
    assert compared.notes == (f"more than {MOST_FIELDS} fields differ; the rest were not looked at",)


def test_field_is_told_a_few_times_with_what_is_rare_among_them() -> None:
    one: Json = {"a": [{"n": n, "id": f"text {n}"} for n in range(100)]}
    two = copy.deepcopy(one)
    for element in two["a"]:
        element["n"] += 1000
        element["id"] += "x"
    two["a"][57]["n"] = 10**9
    two["a"][80]["id"] = None
    told = compare(one, two).shadow
    numbers = [difference for difference in told if difference.field == "$.a[*].n"]
    assert {difference.other_number for difference in numbers} == {1000.0, 1e9}
    names = [difference.other_class for difference in told if difference.field == "$.a[*].id"]
    assert "null" in names
    assert len(names) <= MOST_OF_A_FIELD


def test_rare_class_is_kept_though_others_came_before_it() -> None:
    lengths = (1, 3, 10, 40, 100, 300)
    one, two = ([mark + " " * length for length in lengths] for mark in "ab")
    two.append("")
    one.append("a b")
    classes = {(d.primary_class, d.other_class) for d in compare({"a": one}, {"a": two}).shadow}
    assert ("text 2-4", "empty") in classes
    assert len(classes) == MOST_OF_A_FIELD


def test_elements_have_the_same_partners_either_way() -> None:
    by = random.Random(3)

    def element() -> Json:
        return {"m": {"a": by.randrange(3), "b": by.randrange(3)}, "n": {"c": by.randrange(4), "d": [by.randrange(2)]}}

    for _ in range(40):
        one, other = ([element() for _ in range(by.randrange(2, 5))] for _ in range(2))
        there, back = by_content(one, other, unordered=True), by_content(other, one, unordered=True)
        assert set(there.pairs) == {(i, j) for j, i in back.pairs}
        assert (there.only_one, there.only_other) == (back.only_other, back.only_one)


@given(DOCUMENTS)
def test_document_does_not_differ_from_itself(document: Json) -> None:
    assert compare(document, copy.deepcopy(document)).shadow == ()


@given(DOCUMENTS, DOCUMENTS)
def test_documents_that_differ_are_found_to_and_the_same_fields_either_way(one: Json, other: Json) -> None:
    there, back = compare(one, other), compare(other, one)
    assert there.reason == back.reason == ""
    fields = {difference.field for difference in there.shadow}
    assert fields == {difference.field for difference in back.shadow}
    # -0.0 and 0.0 are written differently and are the same number.
    assume(b"-0.0" not in canonical([one, other]))
    assert bool(fields) is (canonical(one) != canonical(other))
    for field in fields:
        json_path(field)


def places(document: Json, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inside: list[tuple[str | int, Json]] = []
    if isinstance(document, dict):
        inside = list(document.items())
    elif isinstance(document, list):
        inside = list(enumerate(document))
    return [path, *(place for key, value in inside for place in places(value, (*path, key)))]


@given(DOCUMENTS, SCALARS, st.data())
def test_value_put_in_somewhere_is_found_there_or_above(document: Json, value: Json, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([place for place in places(document) if place] or [()]))
    assume(place)
    changed = copy.deepcopy(document)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    assume(canonical(parent[place[-1]]) != canonical(value))
    parent[place[-1]] = value
    assume(b"-0.0" not in canonical([document, changed]))
    differences = compare(document, changed).shadow
    depths = {difference.field.count("[*]") for difference in differences}
    assert differences
    # One place can differ as one field, or as several where lists are paired anew by what their elements hold.
    lists = [index for index, key in enumerate(place) if isinstance(key, int)]
    assert min(depths) <= len(lists)
    if not lists:
        (difference,) = differences
        assert difference.field.startswith("$")
        assert difference.primary_class != "absent"
        assert difference.other_class != "absent"


@given(st.lists(DOCUMENTS, max_size=8), st.randoms(use_true_random=False))
def test_shuffled_list_differs_in_its_order_at_most_and_not_where_it_has_none(
    elements: list[Json], by: random.Random
) -> None:
    shuffled = copy.deepcopy(elements)
    by.shuffle(shuffled)
    assert found(compare({"a": elements}, {"a": shuffled})) <= {("$.a", "order")}
    assert found(compare({"a": elements}, {"a": shuffled}, Comparing(unordered=("$.a",)))) == set()


@given(DOCUMENTS, DOCUMENTS)
def test_rules_of_all_kinds_never_make_a_comparison_fail(one: Json, other: Json) -> None:
    comparing = Comparing(
        ignore=("$..id", "$.a[0]", "$..*.name", "$['a b']"),
        unordered=("$..a", "$"),
        keyed=(("$..b", "id"), ("$.price", "a b")),
        number_tolerance=0.1,
        mask=("[a-c]",),
    )
    assert compare(one, other, comparing).reason == ""


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from([b"gzip", b"br", b"zstd", b"deflate", b""]))
def test_bytes_of_any_kind_never_make_a_comparison_fail(one: bytes, other: bytes, coding: bytes) -> None:
    lines = (b"Content-Encoding: " + coding, b"broken line")
    for media in (b"application/json", b"text/html", b"image/png", b""):
        compared = compare(answer(one, media, lines=lines), answer(other, media, lines=lines))
        assert compared.reason in ("", "undecodable")
