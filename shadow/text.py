"""Two texts that differ: where, and in how many lines. The cost grows with their length, whatever they hold.

difflib alone is quadratic and takes seconds for 200 KB, so it sees only what is left between the common beginning and the
common end, and only where that is little.
"""

from __future__ import annotations

from difflib import SequenceMatcher

MOST_LINES = 200
"""Of each text: what difflib aligns at most. Two times so many take it 10 ms."""
_BEFORE = 40


def common_beginning(one: str, other: str) -> int:
    """How many characters they begin with alike, found by halving: comparing slices runs in C."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def around_first_difference(one: str, other: str, most: int) -> tuple[str, str]:
    """Of two texts of which one is longer than `most`, the part where they begin to differ."""
    if max(len(one), len(other)) <= most:
        return one, other
    start = max(0, common_beginning(one, other) - _BEFORE)
    if start == 0:
        return one[:most], other[:most]
    return "…" + one[start : start + most - 1], "…" + other[start : start + most - 1]


def differing_lines(one: str, other: str) -> tuple[str, str]:
    """What stands in one text and not in the other: its first line with its number, and how many more there are; or from which
    line to which they differ, where that is too much to be aligned."""
    ours, theirs = one.splitlines(), other.splitlines()
    start, end = 0, 0
    shorter = min(len(ours), len(theirs))
    while start < shorter and ours[start] == theirs[start]:
        start += 1
    while end < shorter - start and ours[-1 - end] == theirs[-1 - end]:
        end += 1
    ours, theirs = ours[start : len(ours) - end], theirs[start : len(theirs) - end]
    if max(len(ours), len(theirs)) > MOST_LINES:
        return _range(ours, start), _range(theirs, start)
    left, right = _aligned(ours, theirs)
    if len(left) == len(right) == 1:
        mine, yours = around_first_difference(ours[left[0]], theirs[right[0]], 160)
        return f"line {start + left[0] + 1}: {mine}", f"line {start + right[0] + 1}: {yours}"
    return _shown(ours, left, start), _shown(theirs, right, start)


def _aligned(ours: list[str], theirs: list[str]) -> tuple[list[int], list[int]]:
    left: list[int] = []
    right: list[int] = []
    for tag, i, i_end, j, j_end in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if tag != "equal":
            left += range(i, i_end)
            right += range(j, j_end)
    return left, right


def _shown(lines: list[str], differing: list[int], start: int) -> str:
    if not differing:
        return "no line of its own"
    first = differing[0]
    more = f" (and {len(differing) - 1:,} more)" if len(differing) > 1 else ""
    return f"line {start + first + 1}{more}: {lines[first][:160]}"


def _range(lines: list[str], start: int) -> str:
    if not lines:
        return "no line of its own"
    return f"lines {start + 1} to {start + len(lines)}: {lines[0][:160]}"
