"""The segments of a path as words: an id is `{id}`, anything else in one spelling, ASCII and without braces."""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

ID = "{id}"
REST = "{…}"
"""Stands for what lies deeper than MOST_SEGMENTS."""

MOST_SEGMENTS = 12
_LONGEST_WORD = 64
_PLAIN = re.compile(rb"[A-Za-z0-9._~-]*")
_SAFE = "!$&'()*+,=:@"

_ID = re.compile(
    r"""
      [+-]?\d[\d.,:_-]*                                     # 17, 1.5, 52.5,13.4, 2026-03-01, 10.0.0.1
    | \d{4}-\d\d-\d\dT[\dA-Z:.+-]*                          # a time
    | [0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}  # a UUID
    | (?=.*\d)(?:[\w-]+[.-])?[0-9a-fA-F]{8,}                # a hash, app-3f9a01c2
    | [A-Za-z]{1,12}[-_:]\d{3,}                             # order-1234
    | [A-Za-z]{1,12}_(?=.*\d)[A-Za-z0-9]{6,}                # cus_9s6XKzk2
    | (?=.*\d)(?=.*[A-Za-z])[\w=~-]{16,}                    # anything long and mixed
    | [^@]+@[^@]+                                           # an address
    """,
    re.VERBOSE | re.ASCII,
)
_EXTENSION = re.compile(r"(.+)(\.[A-Za-z][A-Za-z0-9]{0,4})")


def segments_of(path: bytes) -> tuple[str, ...]:
    """Of a path that begins with a slash. Safe for any bytes, at a cost that grows with the length."""
    segments = path[1:].split(b"/", MOST_SEGMENTS)
    words = tuple(map(_word, segments[:MOST_SEGMENTS]))
    return words if len(segments) <= MOST_SEGMENTS else (*words, REST)


def _word(segment: bytes) -> str:
    segment = segment.partition(b";")[0]  # parameters such as ;jsessionid=…
    if len(segment) > 3 * _LONGEST_WORD:
        return ID
    plain = _PLAIN.fullmatch(segment)
    word = segment.decode("ascii") if plain else quote_from_bytes(unquote_to_bytes(segment), _SAFE)
    if len(word) > _LONGEST_WORD or _ID.fullmatch(word):
        return ID
    extension = _EXTENSION.fullmatch(word)
    if extension is not None and _ID.fullmatch(extension[1]):
        return ID + extension[2]
    return word
