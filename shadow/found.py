"""The differences of two answers as they are found, one field at a time.

A field is a path with the indexes left out, so hundreds of places in two answers can be one field. Of these few are kept: one
for each pair of classes, up to four, and where they are numbers those with the highest and the lowest. So a single null or a
single value out of range among a hundred values that always differ is not lost.
"""

from __future__ import annotations

from routing.json_path import member
from shadow.profile import class_of, looks_like_id, number_of
from shadow.redaction import Redactor
from shadow.verdict import Difference, Kind

MOST_FIELDS = 200
MOST_OF_A_FIELD = 4
_MOST_MEMBERS = 50
"""An object with more is a map, whose members' names say nothing about its fields."""


class EnoughError(Exception):
    """Raised at MOST_FIELDS: the rest of the pair is not looked at."""


def member_field(field: str, name: str, members: int) -> str:
    """The field of a member; `members` is how many the object has."""
    if members > _MOST_MEMBERS or looks_like_id(name):
        return field + ".*"
    return field + member(name)


class Found:
    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._fields: dict[str, dict[tuple[str, str, str, str], Difference]] = {}

    def add(self, field: str, kind: Kind, one: object, other: object, path: tuple[str | int, ...]) -> None:
        """Two JSON values, or ABSENT. Raises EnoughError."""
        classes = class_of(one), class_of(other)
        # A profile shows the range of its numbers, which are values.
        numbers = (None, None) if self._redactor.hides(path) else (number_of(one), number_of(other))
        kept = self._fields.get(field)
        if kept is None:
            if len(self._fields) >= MOST_FIELDS:
                raise EnoughError
            kept = self._fields[field] = {}
        bounds = [number for number in numbers if number is not None]
        for end in ("low", "high") if bounds else ("",):
            key = (kind.value, *classes, end)
            there = kept.get(key)
            if there is None:
                if not _room(kept, classes):
                    continue
            elif not _beyond(there, bounds, end):
                continue
            kept[key] = Difference(field, kind.value, *self._redactor.values(one, other, path), *classes, *numbers)

    def put(self, difference: Difference) -> None:
        """One that is worded already: status, header or body as a whole."""
        key = (difference.kind, difference.primary_class, difference.other_class, "")
        self._fields.setdefault(difference.field, {})[key] = difference

    def fields(self) -> frozenset[str]:
        return frozenset(self._fields)

    def differences(self) -> tuple[Difference, ...]:
        return tuple(difference for kept in self._fields.values() for difference in dict.fromkeys(kept.values()))


def _room(kept: dict[tuple[str, str, str, str], Difference], classes: tuple[str, str]) -> bool:
    """Whether one of these classes may be kept too; two classes that differ take the place of two that are the same."""
    if len(kept) < MOST_OF_A_FIELD:
        return True
    if classes[0] == classes[1]:
        return False
    for key in kept:
        if key[1] == key[2]:
            del kept[key]
            return True
    return False


def _beyond(there: Difference, bounds: list[float], end: str) -> bool:
    """Whether one of these numbers is higher, or lower, than both of those that are kept."""
    before = [number for number in (there.primary_number, there.other_number) if number is not None]
    if not bounds or not before:
        return False
    return max(bounds) > max(before) if end == "high" else min(bounds) < min(before)
