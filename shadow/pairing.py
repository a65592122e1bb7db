"""Which element of one list belongs to which of another.

Equal ones first, wherever they stand. The rest by a name that tells them apart (an id), found by itself; then by the members
they share; then, for a few, by deepdiff's distance, which looks deeper; then as they stand. What has no partner is missing or
extra. All of it gives the same pairs if the two lists are exchanged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from deepdiff import DeepDiff

from shadow.rules import canonical

MOST_ALIKE = 50
"""Elements on each side that are paired by shared members: 2,500 sums, 5 ms. More are paired as they stand."""
MOST_DISTANT = 12
"""Elements on each side that deepdiff gets: 12 small objects take it 35 ms, 24 would take 430."""
MOST_DISTANT_BYTES = 4096
_SCALE = 1_000_000


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs of indexes that are to be compared further, and the indexes without a partner. `moved`: the elements known to be
    the same stand in another order."""

    pairs: list[tuple[int, int]]
    only_one: list[int]
    only_other: list[int]
    moved: bool = False


def same(one: object, other: object) -> bool:
    """Equal and of equal types throughout; `==` alone takes 1, 1.0 and True for one."""
    kind = type(one)
    if kind is not type(other) or one != other:
        return False
    return canonical(one) == canonical(other) if kind is dict or kind is list else True


def by_key(one: list[Any], other: list[Any], key: str) -> Pairing:
    """Pairs by that member's value; elements without it pair as they stand."""
    names = [
        [canonical(element[key]) if isinstance(element, dict) and key in element else b"" for element in side]
        for side in (one, other)
    ]
    pairs, rest, others = _matched(range(len(one)), range(len(other)), names[0], names[1])
    return Pairing(sorted(pairs), rest, others)


def by_content(one: list[Any], other: list[Any], unordered: bool) -> Pairing:
    """Equal elements are left out of `pairs`: there is nothing more to compare."""
    rest, others, anchors = _unlike(one, other)
    if len(rest) == len(others) == 1:
        return Pairing([(rest[0], others[0])], [], [])
    names = {index: canonical(one[index]) for index in rest}, {index: canonical(other[index]) for index in others}
    equal, rest, others = _matched(rest, others, *names)
    moved = False
    if not unordered and not _in_order(equal, *names):
        anchors += equal
        moved = _crossed(anchors)
    as_they_stand = len(rest) == len(others) and not (moved or unordered or equal)
    pairs: list[tuple[int, int]] = []
    if len(rest) > 1 or len(others) > 1:
        # Elements that may be right as they stand are only paired otherwise by a key that finds all of them a partner.
        share = 1.0 if as_they_stand else 0.5
        key = _telling_key([one[index] for index in rest], [other[index] for index in others], share)
        if key is not None:
            ids = {i: canonical(one[i][key]) for i in rest}, {j: canonical(other[j][key]) for j in others}
            pairs, rest, others = _matched(rest, others, *ids)
            moved = moved or (not unordered and _crossed(anchors + pairs))
            return Pairing(sorted(pairs), rest, others, moved)
        if not as_they_stand:
            pairs, rest, others = _by_likeness(one, other, rest, others)
    left = min(len(rest), len(others))
    pairs += zip(rest[:left], others[:left], strict=True)
    return Pairing(sorted(pairs), rest[left:], others[left:], moved)


def _unlike(one: list[Any], other: list[Any]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Indexes of what is not simply in its place, and pairs of what is. Only lists of one length have places."""
    if len(one) != len(other):
        return list(range(len(one))), list(range(len(other))), []
    alike = [same(mine, yours) for mine, yours in zip(one, other, strict=True)]
    rest = [index for index, is_same in enumerate(alike) if not is_same]
    return rest, list(rest), [(index, index) for index, is_same in enumerate(alike) if is_same]


def _matched(
    rest: Iterable[int], others: Iterable[int], names: Any, other_names: Any
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pairs of equal names, the first with the first and so on; and what is left on either side."""
    waiting: dict[bytes, list[int]] = defaultdict(list)
    for j in others:
        waiting[other_names[j]].append(j)
    for indexes in waiting.values():
        indexes.reverse()
    pairs, left = [], []
    for i in rest:
        indexes = waiting.get(names[i], [])
        if indexes:
            pairs.append((i, indexes.pop()))
        else:
            left.append(i)
    return pairs, left, sorted(j for indexes in waiting.values() for j in indexes)


def _crossed(pairs: list[tuple[int, int]]) -> bool:
    last = -1
    for _, j in sorted(pairs):
        if j < last:
            return True
        last = j
    return False


def _in_order(equal: list[tuple[int, int]], names: dict[int, bytes], other_names: dict[int, bytes]) -> bool:
    """Whether what both have can be read off one side in the order of the other, only with more put in between. Where there are
    repeats, the pairs alone can't tell."""
    mine = [names[i] for i, _ in equal]
    yours = [other_names[j] for j in sorted(j for _, j in equal)]
    return _within(mine, other_names.values()) or _within(yours, names.values())


def _within(few: list[bytes], many: Iterable[bytes]) -> bool:
    following = iter(many)
    return all(name in following for name in few)


def _telling_key(rest: Sequence[Any], others: Sequence[Any], share: float) -> str | None:
    """A member that all elements have, with a string or whole number that is unique on either side, and by which at least that
    share of the fewer ones has a partner. The one with most partners, `id` before others."""
    if not rest or not others or not all(isinstance(element, dict) for side in (rest, others) for element in side):
        return None
    best: tuple[int, bool, str] | None = None
    for name in sorted(rest[0].keys() & others[0].keys()):
        values = _unique(rest, name), _unique(others, name)
        if values[0] is None or values[1] is None:
            continue
        shared = len(values[0] & values[1])
        if shared >= share * min(len(rest), len(others)):
            rank = (shared, name.lower() in ("id", "_id", "uuid", "key"), name)
            best = rank if best is None else max(best, rank, key=lambda found: found[:2])
    return best[2] if best is not None and best[0] > 0 else None


def _unique(elements: Sequence[Any], name: str) -> set[object] | None:
    values: set[object] = set()
    for element in elements:
        value = element.get(name)
        if type(value) is not str and type(value) is not int:
            return None
        values.add(value)
    return values if len(values) == len(elements) else None


def _by_likeness(
    one: list[Any], other: list[Any], rest: list[int], others: list[int]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    if max(len(rest), len(others)) > MOST_ALIKE:
        return [], rest, others
    members = {i: _members(one[i]) for i in rest}, {j: _members(other[j]) for j in others}
    pairs = _greedy(_shared_members(*members), rest, others)
    taken, others_taken = {i for i, _ in pairs}, {j for _, j in pairs}
    rest, others = [i for i in rest if i not in taken], [j for j in others if j not in others_taken]
    if rest and others and len(rest) + len(others) > 2 and max(len(rest), len(others)) <= MOST_DISTANT:
        distant = _by_distance([one[i] for i in rest], [other[j] for j in others])
        further = [(rest[i], others[j]) for i, j in distant]
        pairs += further
        taken, others_taken = {i for i, _ in further}, {j for _, j in further}
        rest, others = [i for i in rest if i not in taken], [j for j in others if j not in others_taken]
    return pairs, rest, others


def _members(element: object) -> frozenset[tuple[str, bytes]]:
    if isinstance(element, dict):
        return frozenset((name, canonical(value)) for name, value in element.items())
    if isinstance(element, list):
        return frozenset(("", canonical(value)) for value in element)
    return frozenset()


def _shared_members(
    members: dict[int, frozenset[tuple[str, bytes]]], other_members: dict[int, frozenset[tuple[str, bytes]]]
) -> list[tuple[int, int, int]]:
    """(weight, index, index) of elements that share a member. One that many have weighs little."""
    counts = Counter(member for shared in members.values() for member in shared)
    other_counts = Counter(member for shared in other_members.values() for member in shared)
    weighed = []
    for i, mine in members.items():
        for j, yours in other_members.items():
            shared = mine & yours
            if shared:
                weighed.append((sum(_SCALE // (counts[each] * other_counts[each]) for each in shared), i, j))
    return weighed


def _greedy(weighed: list[tuple[int, int, int]], rest: list[int], others: list[int]) -> list[tuple[int, int]]:
    """The best first; among equals those that stand near each other, and first."""
    place, other_place = {i: at for at, i in enumerate(rest)}, {j: at for at, j in enumerate(others)}

    def rank(entry: tuple[int, int, int]) -> tuple[int, int, int]:
        weight, i, j = entry
        return -weight, abs(place[i] - other_place[j]), place[i] + other_place[j]

    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(weighed, key=rank):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return list(pairs.items())


def _by_distance(one: list[Any], other: list[Any]) -> list[tuple[int, int]]:
    """Pairs by deepdiff, for objects and lists that are alike only deeper down."""
    if not all(isinstance(element, dict | list) for side in (one, other) for element in side):
        return []
    names = canonical(one), canonical(other)
    if len(names[0]) + len(names[1]) > MOST_DISTANT_BYTES:
        return []
    # Its pairs depend on which list comes first; so that is always the same one.
    turned = names[1] < names[0]
    first, second = (other, one) if turned else (one, other)
    # Both cutoffs at 1: by default elements that differ in most of their leaves are not paired at all.
    found = DeepDiff(
        first,
        second,
        ignore_order=True,
        report_repetition=True,
        cutoff_distance_for_pairs=1.0,
        cutoff_intersection_for_pairs=1.0,
        view="tree",
    )
    pairs: dict[int, int] = {}
    for levels in found.values():
        for level in levels:
            path = level.path(output_format="list")
            other_path = level.path(use_t2=True, output_format="list")
            if len(path) > 1 and len(other_path) > 1 and other_path[0] not in pairs.values():
                pairs.setdefault(path[0], other_path[0])
    return [(j, i) if turned else (i, j) for i, j in pairs.items()]
