"""What the values of a field look like, learned from answers of stable alone: for fields whose values always differ.

A profile counts classes of values (shadow/profile.py: `string:uuid:36`, `null`, …) and keeps the range of the numbers. A value is
strange where its class has a small share of what was seen so far, or where its number lies well outside the range. Strangeness by
itself proves nothing, since anything new is strange; it is evidence where the shadow's value is and stable's own is not, judged
by the same profile before either is learned (`FieldState`).
"""

from __future__ import annotations

from math import isfinite
from typing import Any

STRANGE_SHARE = 0.05
BEYOND = 0.1
"""How far outside the range a number must lie, as a share of the range."""

LEARNED = 20
"""Values (numbers) without which nothing is strange (out of range)."""

MOST_CLASSES = 32
OTHER_CLASS = "…other"
OUT_OF_RANGE = "…range"


class LearnedProfile:
    __slots__ = ("classes", "high", "low", "numbers", "seen")

    def __init__(self) -> None:
        self.classes: dict[str, int] = {}
        self.seen = 0
        self.numbers = 0
        self.low = 0.0
        self.high = 0.0

    def learn(self, value_class: str, number: float | None) -> None:
        classes = self.classes
        if value_class not in classes and len(classes) >= MOST_CLASSES:
            value_class = OTHER_CLASS
        classes[value_class] = classes.get(value_class, 0) + 1
        self.seen += 1
        if number is not None and isfinite(number):
            self.low = min(self.low, number) if self.numbers else number
            self.high = max(self.high, number) if self.numbers else number
            self.numbers += 1

    def strange(self, value_class: str, number: float | None) -> str:
        """What is strange about a value: its class, or OUT_OF_RANGE; empty where nothing is."""
        if self.seen < LEARNED:
            return ""
        if self.count(value_class) < STRANGE_SHARE * self.seen:
            return value_class
        if number is not None and self.numbers >= LEARNED:
            margin = BEYOND * (self.high - self.low)
            if not self.low - margin <= number <= self.high + margin:
                return OUT_OF_RANGE
        return ""

    def count(self, value_class: str) -> int:
        """How often values of a class were seen; those that came when there were enough classes share one count."""
        if value_class not in self.classes and len(self.classes) >= MOST_CLASSES:
            value_class = OTHER_CLASS
        return self.classes.get(value_class, 0)

    def add(self, other: LearnedProfile) -> None:
        """The same field, seen as another till now."""
        for value_class, count in other.classes.items():
            known = value_class in self.classes or len(self.classes) < MOST_CLASSES
            name = value_class if known else OTHER_CLASS
            self.classes[name] = self.classes.get(name, 0) + count
        self.seen += other.seen
        if other.numbers:
            self.low = min(self.low, other.low) if self.numbers else other.low
            self.high = max(self.high, other.high) if self.numbers else other.high
            self.numbers += other.numbers

    def to_json(self) -> dict[str, Any]:
        return {"classes": dict(self.classes), "numbers": self.numbers, "low": self.low, "high": self.high}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> LearnedProfile:
        profile = cls()
        profile.classes = dict(kept["classes"])
        profile.seen = sum(profile.classes.values())
        profile.numbers, profile.low, profile.high = kept["numbers"], kept["low"], kept["high"]
        return profile
