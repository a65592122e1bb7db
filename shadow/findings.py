"""What the pairs of one route have said so far: by endpoint and field. No clock and no randomness inside.

The shadow process tells it of every pair and sends its reports to the admin process, which judges them (shadow/judging.py) with
the rules that are in force when somebody asks. Everything kept is bounded, and what could not be kept is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.control import DiffReport
from shadow.endpoint_state import STATUS, EndpointState, Room, endpoints_of
from shadow.evidence import needed
from shadow.examples import PairFacts, example
from shadow.field_state import FieldState
from shadow.templates import OTHER_ENDPOINT, Templates
from shadow.verdict import Compared, Difference, Third

__all__ = ("PairFacts", "RouteFindings", "Third")

VERSION = 1
MOST_EXAMPLES = 64
"""Examples between two reports; those that come first are taken."""

# Of the pairs that differ only in such fields, one in so many has stable asked again.
_FOUND_EVERY = 20
_NOISY_EVERY = 100
_EXPLAINED_EVERY = 4
_AMPLE = 10.0
"""So many times the evidence that is needed: a few fields more don't put it in doubt again."""

_EXPLAINED = 20
"""Noisy answers of stable after which a field that shows no excess counts as explained."""


class RouteFindings:
    """`since` is the revision at which these findings began."""

    def __init__(self, route: str, since: int, declared: Sequence[str] = ()) -> None:
        self.route = route
        self.since = since
        self._templates = Templates(declared)
        self._begin()

    def _begin(self) -> None:
        self._room = Room()
        self._endpoints: dict[str, EndpointState] = {}
        self._dropped: dict[str, int] = {}
        self._outcomes: dict[str, int] = {}
        self._examples: list[dict[str, Any]] = []
        self._made = 0
        self._changed = True

    # What happens

    def endpoint(self, method: bytes, path: bytes) -> str:
        """What a request counts under. `path` is without the query."""
        name = self._templates.endpoint(method, path)
        if self._templates.moved:
            for before, after in self._templates.take_moved():
                self._move(before, after)
        return name

    def _move(self, before: str, after: str) -> None:
        """An endpoint has turned out to be one of many that are the same."""
        state = self._endpoints.pop(before, None)
        if state is not None:
            known = self._endpoints.get(after)
            if known is None:
                self._endpoints[after] = state
            else:
                known.merge(state)

    def matched(self, endpoint: str, primary_seconds: float, shadow_seconds: float, third: bool) -> None:
        """Both answers are the same bytes, and so is the third where there was one."""
        state = self._endpoints.get(endpoint)
        if state is None:
            state = self._state(endpoint)
        state.matched(primary_seconds, shadow_seconds, third)
        self._changed = True

    def compared(self, endpoint: str, compared: Compared, third: Third, pair: PairFacts, now: float) -> None:
        """Not all answers were the same bytes, and this is how they differ. `now` is Unix time."""
        state = self._state(endpoint)
        state.took(pair.primary.seconds, pair.shadow.seconds)
        state.noted(compared.notes)
        name = ""
        for field, difference, odd in state.record(compared, third, now):
            for kept, shown in ((field.examples, difference), (field.odd_examples, odd)):
                if shown is not None and kept.wanted(now):
                    name = name or self._example(endpoint, compared, third, pair, now)
                    if name:
                        kept.add(name, shown, pair, now)

    def _example(self, endpoint: str, compared: Compared, third: Third, pair: PairFacts, now: float) -> str:
        """Its id, empty where there are too many."""
        if len(self._examples) >= MOST_EXAMPLES:
            return ""
        self._made += 1
        name = f"{int(now * 1000):x}-{self._made:x}"
        self._examples.append(example(name, endpoint, compared, third, pair, now))
        return name

    def unknown(self, endpoint: str, reason: str) -> None:
        """Nothing can be said of a pair, because of `reason`: one of a closed set."""
        counts = self._state(endpoint).unknown
        counts[reason] = counts.get(reason, 0) + 1

    def differ_dropped(self, endpoint: str) -> None:
        """Answers that are not the same bytes were not compared for want of time. Only rates are scaled by these."""
        self._state(endpoint).missed += 1

    def dropped(self, reason: str, by: int = 1) -> None:
        """Pairs of which nothing became; `reason` is one of a closed set."""
        self._dropped[reason] = self._dropped.get(reason, 0) + by
        self._changed = True

    def outcome(self, name: str, by: int = 1) -> None:
        """Of calls to the shadow; one of a closed set."""
        self._outcomes[name] = self._outcomes.get(name, 0) + by
        self._changed = True

    def _state(self, endpoint: str) -> EndpointState:
        self._changed = True
        state = self._endpoints.get(endpoint)
        if state is None:
            if len(self._endpoints) > self._templates.most:  # names of requests that were under way at a move
                endpoint = OTHER_ENDPOINT
            state = self._endpoints.setdefault(endpoint, EndpointState(self._room))
        return state

    # Which of two answers is odd

    def wants_third(self, endpoint: str, differences: Sequence[Difference]) -> bool:
        """Whether stable should be asked again about a pair that differs so. What is said depends on earlier pairs alone."""
        state = self._state(endpoint)
        names = {difference.field for difference in differences}
        if STATUS in names:
            names = {STATUS}
        wanted = False
        for name in names:
            place = state.places.get(name)
            if place is None:
                wanted = True
            else:
                field = state.fields[place]
                field.turns += 1
                wanted = field.turns % self._every(state, field) == 0 or wanted
        return wanted

    def _every(self, state: EndpointState, field: FieldState) -> int:
        if state.noisy(field):
            return _NOISY_EVERY
        value = field.raw_evidence.value
        if value >= _AMPLE * needed(self._hypotheses):
            return _FOUND_EVERY
        return _EXPLAINED_EVERY if value < 1.0 and field.asked_noisy + field.third_only >= _EXPLAINED else 1

    @property
    def _hypotheses(self) -> int:
        return sum(len(state.fields) for state in self._endpoints.values())

    # What is told and kept

    def take_report(self, now: float) -> DiffReport | None:
        """What is known, whole, if anything has changed since the last report. `now` is Unix time."""
        if not self._changed:
            return None
        self._changed = False
        examples, self._examples = tuple(self._examples), []
        return DiffReport(self.route, self.since, self._to_json(now), examples)

    def resend(self) -> None:
        """The next report is due whether anything changes or not."""
        self._changed = True

    def declare(self, declared: Sequence[str]) -> None:
        """Other templates were declared: requests count under them from now on."""
        self._templates.declare(declared)

    def reset(self, since: int) -> None:
        """Start afresh. What was learned of the paths stays."""
        self.since = since
        self._begin()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a report's state. One of another version is void: it is started afresh."""
        if state.get("version") != VERSION:
            return
        self._begin()
        self.since = state["since"]
        self._endpoints = endpoints_of(state, self._room)
        self._dropped = dict(state["dropped"])
        self._outcomes = dict(state["outcomes"])
        self._made = state["made"]
        self._templates.restore(state["templates"])

    def _to_json(self, now: float) -> dict[str, Any]:
        return {
            "version": VERSION,
            "since": self.since,
            "at": now,
            "endpoints": {name: state.to_json() for name, state in self._endpoints.items()},
            "dropped": dict(self._dropped),
            "outcomes": dict(self._outcomes),
            "made": self._made,
            "templates": self._templates.to_json(),
        }
