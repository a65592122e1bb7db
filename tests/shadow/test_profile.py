"""Classes of values: alike for values of one kind, different where a value lost its kind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.profile import ABSENT, class_of, looks_like_id, number_of, size_class
from tests.shadow.samples import DOCUMENTS

CLASSES: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "bool"),
    (1, "int"),
    (1.0, "float"),
    (ABSENT, "absent"),
    ([], "list 0"),
    ([1, 2, 3], "list 2-4"),
    ({"a": 1}, "object 1"),
    ("", "empty"),
    ("6f1b7c2a-3f5e-4a57-9c0e-2f8f5bb1a001", "uuid"),
    ("6f1b7c2a-3f5e-4a57-9c0e-2f8f5bb1a00", "token 35"),
    ("2026-11-20", "date"),
    ("2026-11-20T14:00:00Z", "timestamp"),
    ("2026-11-20 14:00:00.123456+01:00", "timestamp"),
    ("Fri, 20 Nov 2026 14:00:00 GMT", "http date"),
    ("1234567", "integer 5-16"),
    ("-3.25", "number"),
    ("0" * 30 + "a" * 10, "hex 40"),
    ("bob@example.com", "email"),
    ("https://example.com/a?b=c", "url"),
    ("10.0.0.1:80", "address"),
    ("/orders/7", "path"),
    ("shipped", "word"),
    ("Müller", "word"),
    ("aX93kf02Lq7b", "token 12"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig", "token 40"),
    ("hello world", "text 5-16"),
    ("x" * 1000 + " ", "text 257-1024"),
    ("x1" * 500, "token 257-1024"),
]


@pytest.mark.parametrize(("value", "name"), CLASSES, ids=[str(case[0])[:30] for case in CLASSES])
def test_class_of_a_value(value: Any, name: str) -> None:
    assert class_of(value) == name


@given(DOCUMENTS | st.text(max_size=600))
def test_class_is_short_and_pure_for_any_value(value: Any) -> None:
    assert 0 < len(class_of(value)) < 32
    assert class_of(value) == class_of(value)


@given(st.uuids())
def test_uuids_are_of_one_class(value: Any) -> None:
    assert class_of(str(value)) == "uuid"


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), (2.5, 2.5), (True, None), ("3", None), (None, None), (float("inf"), None), (ABSENT, None)],
)
def test_number_of_a_value(value: Any, number: float | None) -> None:
    assert number_of(value) == number


@given(st.integers(0, 10**9))
def test_size_classes_cover_all_sizes_by_powers_of_four(size: int) -> None:
    low, _, high = size_class(size).partition("-")
    assert int(low) <= size <= int(high or low)
    assert int(high or low) <= max(4, 4 * int(low))


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        ("17", True),
        ("6f1b7c2a-3f5e-4a57-9c0e-2f8f5bb1a001", True),
        ("2026-11-20", True),
        ("deadbeef01", True),
        ("bob@example.com", True),
        ("x" * 101, True),
        ("price", False),
        ("line1", False),
        ("address_2", False),
        ("x-request-id", False),
        ("", False),
        ("/path", False),
    ],
)
def test_names_that_are_ids(name: str, is_id: bool) -> None:
    assert looks_like_id(name) is is_id
