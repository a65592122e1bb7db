"""What a route wants compared, compiled: how documents are made ready, and which numbers are alike."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson

from routing.json_path import json_path
from routing.shadowing import Comparing
from shadow.paths import Automaton, State

MASKED = "*"
"""Stands where a mask matched."""
IGNORED = "\0ignored"
"""Stands for a list's element that is ignored by its index; the others keep theirs."""

_IGNORE, _UNORDERED, _KEYED = "ignore", "unordered", "keyed "


def canonical(value: object) -> bytes:
    """Equal exactly for values that are equal and of equal type: 1, 1.0 and true differ. Raises orjson.JSONEncodeError where
    it is nested more than 254 deep."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


class Rules:
    """`ignore_status`, `ignore_body` and `headers` are for the answer as a whole; the rest for JSON, by `start`, where the root
    stands."""

    def __init__(self, comparing: Comparing) -> None:
        ignored = set(comparing.ignore)
        self.ignore_status = "status" in ignored
        self.ignore_body = bool({"body", "$"} & ignored)
        self.headers = tuple(name for name in map(str.lower, comparing.headers) if f"header:{name}" not in ignored)
        self.tolerance = comparing.number_tolerance
        self._masks = tuple(re.compile(mask) for mask in comparing.mask)
        paths = [(json_path(text), _IGNORE) for text in comparing.ignore if text.startswith("$")]
        paths += [(json_path(text), _UNORDERED) for text in comparing.unordered]
        self.prepares = bool(paths or self._masks)
        paths += [(json_path(text), _KEYED + name) for text, name in comparing.keyed]
        self.start = Automaton(paths).start

    def masked(self, text: str) -> str:
        for mask in self._masks:
            text = mask.sub(MASKED, text)
        return text

    def close(self, one: float, other: float) -> bool:
        return self.tolerance > 0 and math.isclose(one, other, rel_tol=self.tolerance, abs_tol=self.tolerance)

    def prepared(self, value: Any, state: State) -> Any:
        """The value without what is ignored, what masks match hidden, unordered lists sorted. Changes the value itself."""
        if isinstance(value, dict):
            self._prepare_object(value, state)
        elif isinstance(value, list):
            self._prepare_list(value, state)
        elif self._masks and isinstance(value, str):
            return self.masked(value)
        return value

    def _prepare_object(self, value: dict[str, Any], state: State) -> None:
        masks = self._masks
        for name in list(value):
            below = state.member(name)
            if _IGNORE in below.marks:
                del value[name]
            elif masks or below.live or below.marks:
                value[name] = self.prepared(value[name], below)

    def _prepare_list(self, value: list[Any], state: State) -> None:
        for index, element in enumerate(value):
            below = state.element(index)
            if _IGNORE in below.marks:
                value[index] = IGNORED
            elif self._masks or below.live or below.marks:
                value[index] = self.prepared(element, below)
        if is_unordered(state):
            value.sort(key=canonical)


def is_unordered(state: State) -> bool:
    return _UNORDERED in state.marks


def key_of(state: State) -> str | None:
    """The field by which the elements of the list there are paired, where there is one."""
    return min((mark.removeprefix(_KEYED) for mark in state.marks if mark.startswith(_KEYED)), default=None)
