"""Differences, pairs and answers, made by hand."""

from __future__ import annotations

from collections.abc import Iterable

from shadow.answer import Answer
from shadow.examples import PairFacts
from shadow.profile import class_of, number_of
from shadow.verdict import Compared, Difference


def difference(field: str, primary: object = 1, other: object = 2, kind: str = "changed") -> Difference:
    return Difference(
        field,
        kind,
        str(primary),
        str(other),
        class_of(primary),
        class_of(other),
        number_of(primary),
        number_of(other),
    )


def compared(shadow: Iterable[str] = (), third: Iterable[str] | None = None, between: Iterable[str] = ()) -> Compared:
    """By the names of the fields that differ."""
    noise = None if third is None else tuple(map(difference, third))
    return Compared("", tuple(map(difference, shadow)), noise, frozenset(between))


def facts(target: bytes = b"/orders/17", head: bytes = b"", shadow_seconds: float = 0.02) -> PairFacts:
    primary = Answer(200, [], b"one", 0.01)
    return PairFacts(b"GET", target, head, primary, Answer(200, [], b"other", shadow_seconds))
