"""Many JSONPaths followed at once while walking down a document: a deterministic automaton, made as far as it is walked.

A state is where each path has got to. Names and indexes that no path mentions all lead to the same state, so there are few
states, and a step is a look-up however many paths there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from routing.json_path import ANY, JsonPath, Step


class State:
    """`marks` are those of the paths that end here; `live` is false where none can end any deeper."""

    __slots__ = ("_after", "_automaton", "_element", "_member", "_positions", "live", "marks")

    def __init__(self, automaton: Automaton, positions: frozenset[tuple[int, int]]) -> None:
        steps = automaton.steps
        self.marks = frozenset(automaton.marks[path] for path, at in positions if at == len(steps[path]))
        self.live = any(at < len(steps[path]) for path, at in positions)
        self._automaton = automaton
        self._positions = positions
        self._after: dict[str | int, State] = {}
        self._member: State | None = None
        self._element: State | None = None

    def member(self, name: str) -> State:
        """Where the member of that name stands."""
        if name in self._automaton.names:
            return self._mentioned(name)
        if self._member is None:
            self._member = self._step(None)
        return self._member

    def element(self, index: int) -> State:
        if index in self._automaton.indexes:
            return self._mentioned(index)
        if self._element is None:
            self._element = self._step(None)
        return self._element

    def _mentioned(self, key: str | int) -> State:
        after = self._after.get(key)
        if after is None:
            after = self._after[key] = self._step(key)
        return after

    def _step(self, key: str | int | None) -> State:
        """None is any name or index that no path mentions."""
        after = set()
        for path, at in self._positions:
            steps = self._automaton.steps[path]
            if at < len(steps):
                step = steps[at]
                if step.key is ANY or step.key == key:
                    after.add((path, at + 1))
                if step.deep:
                    after.add((path, at))
        return self._automaton.state(frozenset(after))


class Automaton:
    """`paths` are pairs of a path and the mark that its end gets."""

    def __init__(self, paths: Iterable[tuple[JsonPath, str]]) -> None:
        listed = list(paths)
        self.steps: list[tuple[Step, ...]] = [path.steps for path, _ in listed]
        self.marks = [mark for _, mark in listed]
        keys = {step.key for steps in self.steps for step in steps}
        self.names = frozenset(key for key in keys if isinstance(key, str))
        self.indexes = frozenset(key for key in keys if isinstance(key, int))
        self._states: dict[frozenset[tuple[int, int]], State] = {}
        self.start = self.state(frozenset((path, 0) for path in range(len(listed))))

    def state(self, positions: frozenset[tuple[int, int]]) -> State:
        state = self._states.get(positions)
        if state is None:
            state = self._states[positions] = State(self, positions)
        return state
