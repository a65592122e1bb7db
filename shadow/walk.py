"""Down two JSON documents side by side, along what differs alone.

Whether two subtrees are the same is asked of `==` and of orjson, both in C; Python sees only the nodes above a difference.
"""

from __future__ import annotations

from typing import Any

from shadow.found import Found, member_field
from shadow.pairing import by_content, by_key, same
from shadow.paths import State
from shadow.profile import ABSENT
from shadow.rules import IGNORED, Rules, is_unordered, key_of
from shadow.verdict import Kind, Reason, UndecidedError

MOST_DEEP = 200
"""orjson writes no more than 254 levels, and Python calls itself for no more than 1,000 frames."""

Path = tuple[str | int, ...]


class Walk:
    """Raises UndecidedError where they differ too deep down, EnoughError of `found`."""

    def __init__(self, rules: Rules, found: Found) -> None:
        self._rules = rules
        self._found = found

    def documents(self, one: Any, other: Any) -> None:
        self._values(one, other, "$", (), self._rules.start)

    def _values(self, one: Any, other: Any, field: str, path: Path, state: State) -> None:
        kind, other_kind = type(one), type(other)
        if kind is other_kind:
            if kind is dict:
                self._objects(one, other, field, path, state)
            elif kind is list:
                self._lists(one, other, field, path, state)
            elif one != other and not (kind in (int, float) and self._rules.close(one, other)):
                self._found.add(field, Kind.CHANGED, one, other, path)
        elif kind in (int, float) and other_kind in (int, float):
            # 1 and 1.5 differ in value; 1 and 1.0 in type, unless a tolerance says that these are numbers.
            if not self._rules.close(one, other):
                self._found.add(field, Kind.CHANGED if one != other else Kind.TYPE, one, other, path)
        else:
            self._found.add(field, Kind.TYPE, one, other, path)

    def _objects(self, one: dict[str, Any], other: dict[str, Any], field: str, path: Path, state: State) -> None:
        _check_depth(path)
        found = self._found
        members = max(len(one), len(other))
        for name, mine in one.items():
            yours = other.get(name, ABSENT)
            if yours is ABSENT:
                found.add(member_field(field, name, members), Kind.MISSING, mine, ABSENT, (*path, name))
            elif not same(mine, yours):
                below = member_field(field, name, members)
                self._values(mine, yours, below, (*path, name), state.member(name))
        if other.keys() - one.keys():
            for name, yours in other.items():
                if name not in one:
                    found.add(member_field(field, name, members), Kind.EXTRA, ABSENT, yours, (*path, name))

    def _lists(self, one: list[Any], other: list[Any], field: str, path: Path, state: State) -> None:
        _check_depth(path)
        key = key_of(state)
        pairing = by_content(one, other, is_unordered(state)) if key is None else by_key(one, other, key)
        if pairing.moved:
            self._found.add(field, Kind.ORDER, one, other, path)
        below = field + "[*]"
        for i, j in pairing.pairs:
            self._values(one[i], other[j], below, (*path, i), state.element(i))
        for i in pairing.only_one:
            if one[i] != IGNORED:
                self._found.add(below, Kind.MISSING, one[i], ABSENT, (*path, i))
        for j in pairing.only_other:
            if other[j] != IGNORED:
                self._found.add(below, Kind.EXTRA, ABSENT, other[j], (*path, j))


def _check_depth(path: Path) -> None:
    if len(path) >= MOST_DEEP:
        raise UndecidedError(Reason.TOO_DEEP)
