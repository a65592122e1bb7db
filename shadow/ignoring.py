"""Which fields are to be ignored, asked of what was found: fields have their indexes left out (`$.items[*].price`)."""

from __future__ import annotations

from collections.abc import Sequence

from routing.json_path import ANY, Every, Step, json_path


class Ignoring:
    """`rules` are as `routing.json_path.field_path` takes them. A path ignores what lies beneath it as well, `body` all of the
    body; an index matches `[*]`, since which element it was is not kept."""

    def __init__(self, rules: Sequence[str]) -> None:
        self._names = frozenset(rule for rule in rules if not rule.startswith("$"))
        self._paths = tuple(json_path(rule).steps for rule in rules if rule.startswith("$"))

    def __contains__(self, field: str) -> bool:
        if field in self._names:
            return True
        if not field.startswith("$"):
            return False
        if "body" in self._names:
            return True
        if not self._paths:
            return False
        try:
            steps = json_path(field).steps
        except ValueError:  # a name that is no JSON path, such as one cut off
            return False
        return any(_covers(path, steps) for path in self._paths)


def _covers(path: tuple[Step, ...], field: tuple[Step, ...]) -> bool:
    """Whether the field lies at the path or beneath. All places in the field that the path may have reached are followed at
    once, so it costs steps times steps at most."""
    reached = {0}
    for step in path:
        starts = range(min(reached), len(field)) if step.deep else (place for place in reached if place < len(field))
        reached = {place + 1 for place in starts if _is(step.key, field[place].key)}
        if not reached:
            return False
    return True


def _is(wanted: str | int | Every, key: str | int | Every) -> bool:
    if wanted is ANY or wanted == key:
        return True
    return key is ANY and isinstance(wanted, int)
