"""The class of a value: what can be said of one that is never twice the same. An id that is noisy in every answer is still a
UUID in each; one that becomes null, or loses its format, shows in its class.

Classes are short words, equal for values alike: `null`, `bool`, `int`, `float`, a format of text with its length where that
says more (`uuid`, `timestamp`, `hex 40`, `text 17-64`), `list 2-4`, `object 5-16`, and `absent`.
"""

from __future__ import annotations

import math
import re
from enum import Enum


class Absent(Enum):
    """Stands for a value that is not there; None is JSON's null."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT

# Of longer texts only the beginning is looked at, so a class costs the same for any value.
_LOOKED_AT = 256
# Hex digests and tokens of a fixed length are told apart by it, up to the longest in use (SHA-512).
_LONGEST_DIGEST = 128

_FORMATS = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("uuid", r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"),
        ("timestamp", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?"),
        ("date", r"\d{4}-\d\d-\d\d"),
        ("http date", r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (?:[A-Z][a-z]{2}) \d{4} \d\d:\d\d:\d\d GMT"),
        ("number", r"[+-]?\d{1,30}\.\d{1,30}(?:[eE][+-]?\d{1,3})?"),
        ("email", r"[^\s@]{1,64}@[^\s@]{1,190}\.[^\s@.]{2,24}"),
        ("url", r"[a-z][a-z0-9+.-]{1,12}://\S+"),
        ("address", r"\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?"),
        ("path", r"/\S*"),
        ("word", r"[^\W\d_][\w-]{0,31}"),
    )
)
_INTEGER = re.compile(r"[+-]?\d+")
_HEX = re.compile(r"(?=.*\d)[0-9a-fA-F]{8,}")
_TOKEN = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w.+/=~-]{12,}", re.ASCII)


def class_of(value: object) -> str:
    """Of a value as orjson reads it, or ABSENT."""
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case str():
            return _class_of_text(value)
        case list():
            return f"list {size_class(len(value))}"
        case dict():
            return f"object {size_class(len(value))}"
    return "absent"


def number_of(value: object) -> float | None:
    """Where it is a number that a range can hold."""
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return float(value)
    return None


def size_class(size: int) -> str:
    """Sizes by powers of four: values of one field spread over few classes, and ten times the length is another."""
    if size <= 1:
        return str(size)
    low, high = 2, 4
    while size > high:
        low, high = high + 1, high * 4
    return f"{low}-{high}"


def looks_like_id(name: str) -> bool:
    """Whether a member's name is an id rather than a word: objects that have such are maps."""
    if len(name) > 100 or "@" in name or name.isdigit():
        return True
    return any(character.isdigit() for character in name) and _format_of(name) in _FORMATS_OF_IDS


_FORMATS_OF_IDS = frozenset({"uuid", "timestamp", "date", "number", "address", "hex", "integer"})


def _class_of_text(value: str) -> str:
    if not value:
        return "empty"
    length = len(value)
    form = _format_of(value)
    if form in ("hex", "token") and length <= _LONGEST_DIGEST:
        return f"{form} {length}"
    if form in ("integer", "hex", "token", "text"):
        return f"{form} {size_class(length)}"
    return form


def _format_of(value: str) -> str:
    if len(value) > _LOOKED_AT:
        return "token" if _TOKEN.fullmatch(value, 0, _LOOKED_AT) else "text"
    if _INTEGER.fullmatch(value):
        return "integer"
    for name, pattern in _FORMATS:
        if pattern.fullmatch(value) and not (name == "word" and _HEX.fullmatch(value)):
            return _unless_random(name, value)
    if _HEX.fullmatch(value):
        return "hex"
    return "token" if _TOKEN.fullmatch(value) else "text"


def _unless_random(name: str, value: str) -> str:
    """Letters and digits mixed, such as `aX93kf02Lq7b`: a token, though it could be read as a word."""
    return "token" if name == "word" and _TOKEN.fullmatch(value) else name
