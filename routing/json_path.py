"""The subset of JSONPath (RFC 9535) that names fields of an answer: `$`, `.name`, `['name']`, `[3]`, `[*]`, `.*`, and each of
them after `..` for any depth. And `header:name`, `status`, `body`, which are no JSON but can be ignored as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_PLAIN = re.compile(r"[A-Za-z_\u0080-\U0010ffff][\w\u0080-\U0010ffff-]*")
_QUOTED = re.compile(r"""'((?:[^'\\]|\\['"\\/])*)'|"((?:[^"\\]|\\['"\\/])*)\"""")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Every(Enum):
    """A step to every member of an object and every element of a list."""

    ANY = "*"


ANY = Every.ANY


@dataclass(frozen=True, slots=True)
class Step:
    """One step down: to a member by name, to an element by index, or to any. `deep` (`..`) takes it at any depth."""

    key: str | int | Every
    deep: bool = False


@dataclass(frozen=True, slots=True)
class JsonPath:
    text: str
    steps: tuple[Step, ...]


def json_path(text: str) -> JsonPath:
    """Raises ValueError, which says at which character."""
    if not text.startswith("$"):
        raise ValueError(f"{text!r} is no JSONPath: it must begin with $")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        deep = text.startswith("..", at)
        if deep:
            at += 2
        if text.startswith("[", at):
            key, at = _bracket(text, at)
        else:
            if not deep:
                if text[at] != ".":
                    raise _wrong(text, at)
                at += 1
            key, at = _name(text, at)
        steps.append(Step(key, deep))
    return JsonPath(text, tuple(steps))


def member(name: str) -> str:
    """The step to a member by its name, as it is written: `.name`, or `['a name']` where that needs quotes."""
    if _PLAIN.fullmatch(name):
        return f".{name}"
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"


def field_path(text: str) -> str:
    """Checks what may be ignored: a JSONPath, `header:name` (returned in lower case), `status` or `body`. Raises ValueError."""
    if text.startswith("header:"):
        name = text.removeprefix("header:").strip()
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{text!r} names no header field, as header:date does")
        return f"header:{name.lower()}"
    if text in ("status", "body"):
        return text
    if not text.startswith("$"):
        raise ValueError(f"{text!r} is neither a JSONPath such as $.items[*].id nor header:name, status or body")
    return json_path(text).text


def _name(text: str, at: int) -> tuple[str | Every, int]:
    if text.startswith("*", at):
        return ANY, at + 1
    match = _PLAIN.match(text, at)
    if match is None:
        raise _wrong(text, at)
    return match[0], match.end()


def _bracket(text: str, at: int) -> tuple[str | int | Every, int]:
    key: str | int | Every
    if text.startswith("*", at + 1):
        key, end = ANY, at + 2
    elif (quoted := _QUOTED.match(text, at + 1)) is not None:
        inside = quoted[1] if quoted[1] is not None else quoted[2]
        key, end = re.sub(r"\\(.)", r"\1", inside), quoted.end()
    elif (index := _INDEX.match(text, at + 1)) is not None:
        key, end = int(index[0]), index.end()
    else:
        raise _wrong(text, at + 1)
    if not text.startswith("]", end):
        raise _wrong(text, end)
    return key, end + 1


def _wrong(text: str, at: int) -> ValueError:
    what = repr(text[at]) if at < len(text) else "its end"
    return ValueError(f"{text!r} is no JSONPath of the kind taken here: {what} at character {at + 1} is not expected")
