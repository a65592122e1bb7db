"""Answers and documents that tests of comparison share."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import strategies as st

from routing.shadowing import Comparing, Redacting
from shadow.answer import Answer
from shadow.compare import Comparer
from shadow.verdict import Compared

JSON = b"application/json"

NAMES = st.sampled_from(["a", "b", "id", "name", "a b", "7", "price", "e'x", ""]) | st.text(max_size=3)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6).filter(lambda text: text.isprintable())
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


def answer(
    value: Any,
    media: bytes = JSON,
    *,
    status: int = 200,
    lines: tuple[bytes, ...] = (),
    failure: str = "",
) -> Answer:
    """A body given as bytes is sent as it is, anything else as JSON."""
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    return Answer(status, [b"Content-Type: " + media, *lines] if media else list(lines), body, 0.1, failure)


def compare(
    primary: Any, shadow: Any, comparing: Comparing | None = None, redacting: Redacting | None = None
) -> Compared:
    """Of two JSON values or answers."""
    pair = [value if isinstance(value, Answer) else answer(value) for value in (primary, shadow)]
    return Comparer(comparing or Comparing(), redacting or Redacting()).compare(pair[0], pair[1], None)


def found(compared: Compared) -> set[tuple[str, str]]:
    """(field, kind) of what differs; nothing may have stood in the way."""
    assert compared.reason == ""
    return {(difference.field, difference.kind) for difference in compared.shadow}
