"""The first rung of the comparison: whether two answers are the same bytes where it matters. Most are, and cost no more."""

from __future__ import annotations

from shadow.answer import Answer

# Spellings of field names met before -> whether they are compared. Bounded: a flood of invented names starts it afresh.
_REMEMBERED = 1024


class Equality:
    """For one route; `headers` are the lower-case names compared."""

    __slots__ = ("_headers", "_spellings")

    def __init__(self, headers: tuple[str, ...]) -> None:
        self._headers = frozenset([name.encode() for name in headers])
        self._spellings: dict[bytes, bool] = {}

    def same(self, one: Answer, other: Answer) -> bool:
        """True is certain; False leaves it to a closer look."""
        if one.status != other.status or one.failure or other.failure or one.body != other.body:
            return False
        return one.lines == other.lines or self._chosen(one.lines) == self._chosen(other.lines)

    def _chosen(self, lines: list[bytes]) -> list[bytes]:
        spellings = self._spellings
        chosen = []
        for line in lines:
            name = line[: line.find(b":")]
            compared = spellings.get(name)
            if compared is None:
                if len(spellings) >= _REMEMBERED:
                    spellings.clear()
                compared = spellings[name] = name.lower() in self._headers
            if compared:
                chosen.append(line)
        chosen.sort()
        return chosen
