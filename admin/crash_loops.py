"""Children that die again and again: how long to wait before the next start, and what is told of it."""

from __future__ import annotations

# A child that lived shorter than this is started again with growing delay.
SHORT_LIFE_SECONDS = 5.0
MAX_DELAY = 5.0


class CrashLoops:
    def __init__(self) -> None:
        self._deaths: dict[str, int] = {}

    def died(self, name: str, age: float) -> float:
        """The seconds to wait. The first time it is none: one fault costs no more than the start of a process."""
        if age > SHORT_LIFE_SECONDS:
            self._deaths.pop(name, None)
        deaths = self._deaths[name] = self._deaths.get(name, 0) + 1
        return 0.0 if deaths == 1 else min(MAX_DELAY, 0.1 * 2 ** min(deaths - 2, 16))

    def lived(self, name: str, age: float) -> bool:
        """It is there still. True where that ends a crash loop."""
        return age > SHORT_LIFE_SECONDS and self._deaths.pop(name, 0) > 1

    def crashing(self) -> dict[str, int]:
        """Those that died early more than once, with how often in a row."""
        return {name: deaths for name, deaths in self._deaths.items() if deaths > 1}
