"""What people may see of a value: no secrets, no personal data, no more than 256 characters.

Names of members and of header fields are compared without regard to case: `Password` is one too. What looks like an e-mail
address is hidden wherever it stands, and in text also what stands behind a name on the list (`?token=…`, `"email": "…"`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson

from routing.json_path import JsonPath, json_path
from routing.shadowing import Redacting
from shadow.paths import Automaton, State
from shadow.profile import ABSENT
from shadow.text import around_first_difference

HIDDEN = "***"
MOST_SHOWN = 256
"""Characters."""
# A container is shown by its first values; beyond these it would be cut anyway.
_MOST_VALUES = 64
_DEEPEST = 16
# Room for what hiding makes shorter, and for an address that begins within what is shown.
_LOOKED_AT = 4 * MOST_SHOWN

_EMAIL = re.compile(r"[^\s@<>\"'()=,;:?&/%]+(?:@|%40)[\w-]+(?:\.[\w-]+)*", re.IGNORECASE)
_VALUE = r"""(?:(?:bearer|basic|digest)\s+)?(?:\\+"(?:(?!\\+").)*|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s&,;<>"'}\]]+)"""


def cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"


class Redactor:
    """Stateless but for what it compiled; see `redactor`, which keeps them."""

    def __init__(self, redacting: Redacting) -> None:
        paths = [_in_lower_case(json_path(text)) for text in redacting.paths]
        self._start = Automaton((path, HIDDEN) for path in paths).start
        self._headers = frozenset(name.lower() for name in redacting.headers)
        last = {path.steps[-1].key for path in paths if path.steps}
        names = sorted(self._headers | {key for key in last if isinstance(key, str)}, key=len, reverse=True)
        alternatives = "|".join(re.escape(name) for name in names)
        self._named = (
            re.compile(rf"""(?i)(?<![A-Za-z0-9])((?:{alternatives})(?:\\?["'])?\s*[=:]\s*){_VALUE}""")
            if names
            else None
        )

    def hides_header(self, name: str) -> bool:
        return name.lower() in self._headers

    def hides(self, path: tuple[str | int, ...]) -> bool:
        """Whether the value there, or one that it is part of, is on the list."""
        state = self._start
        if state.marks:
            return True
        for key in path:
            state = _after(state, key)
            if state.marks:
                return True
        return False

    def value(self, value: object, path: tuple[str | int, ...]) -> str:
        """A JSON value as text, what is on the list inside of it hidden as well; an absent one is empty."""
        if value is ABSENT:
            return ""
        if self.hides(path):
            return HIDDEN
        state = self._start
        for key in path:
            state = _after(state, key)
        visible, _ = self._visible(value, state, _MOST_VALUES, _DEEPEST)
        return cut(orjson.dumps(visible).decode())

    def values(self, one: object, other: object, path: tuple[str | int, ...]) -> tuple[str, str]:
        """Two that differ; of long texts the part where they begin to."""
        if isinstance(one, str) and isinstance(other, str):
            one, other = around_first_difference(one, other, MOST_SHOWN - 2)
        return self.value(one, path), self.value(other, path)

    def text(self, text: str) -> str:
        """For request targets, header values and lines of text."""
        text = text[:_LOOKED_AT]
        if self._named is not None:
            text = self._named.sub(rf"\g<1>{HIDDEN}", text)
        return cut(_EMAIL.sub(HIDDEN, text))

    def header(self, name: str, value: str) -> str:
        return HIDDEN if self.hides_header(name) else self.text(value)

    def _visible(self, value: object, state: State, left: int, depth: int) -> tuple[Any, int]:
        """The value with what is on the list hidden, and how many more may be shown. A copy, of its first values alone."""
        if isinstance(value, str):
            return self.text(value), left - 1
        if not isinstance(value, dict | list):
            return value, left - 1
        if value and depth == 0:
            return "…", left - 1
        shown: dict[str, Any] = {}
        keyed = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in keyed:
            if left <= 0:
                shown["…"] = "…"
                break
            below = _after(state, key)
            if below.marks:
                shown[str(key)] = HIDDEN
                left -= 1
            else:
                name = self.text(key) if isinstance(key, str) else str(key)
                shown[name], left = self._visible(child, below, left, depth - 1)
        return (shown if isinstance(value, dict) else list(shown.values())), left


@lru_cache(maxsize=256)
def redactor(redacting: Redacting) -> Redactor:
    return Redactor(redacting)


def redact_text(text: str, redacting: Redacting) -> str:
    """A request target, path or query as it may be stored."""
    return redactor(redacting).text(text)


def _after(state: State, key: str | int) -> State:
    return state.member(key.lower()) if isinstance(key, str) else state.element(key)


def _in_lower_case(path: JsonPath) -> JsonPath:
    steps = tuple(replace(step, key=step.key.lower()) if isinstance(step.key, str) else step for step in path.steps)
    return JsonPath(path.text, steps)
