"""One endpoint of a route: its pairs counted exactly, its fields, its latencies.

Pairs whose bytes are equal are `equal`. Those looked at closer are `examined`, each under the set of fields that differed, so that
ignoring a field later re-judges all of them; pairs that nobody had time to look at are `missed` and only scale the rates. All is
bounded: what has no room of its own shares the field OTHER_FIELD, or the count `crowd` of pairs that stay mismatched for good.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from proxy.stats import EDGES
from shadow.field_state import FieldState
from shadow.verdict import Compared, Difference, Third

MOST_FIELDS = 200
MOST_SETS = 256
MOST_NOTES = 16
VERY_NOISY = 0.3
ENOUGH_THIRDS = 20
FEW_THIRDS = 8
"""Are enough where the field differed in all of them."""

OTHER_FIELD = "…other"
STATUS = "status"


class Differing(NamedTuple):
    """A field in which a pair differs, in what, and where that proves anything of a noisy one: the strange value."""

    field: FieldState
    difference: Difference
    odd: Difference | None


@dataclass(slots=True)
class Room:
    """What the endpoints of a route share: how many more fields there may be, and members of sets of fields."""

    fields: int = 1000
    members: int = 50_000


class EndpointState:
    """`equal_thirds` and `examined_thirds` are those of the pairs that had a third answer.

    A member of a set is twice the place of its field in `fields`, plus one where the shadow's value was strange and the primary's
    was not.
    """

    __slots__ = (
        "crowd",
        "equal",
        "equal_thirds",
        "examined",
        "examined_thirds",
        "fields",
        "missed",
        "notes",
        "places",
        "primary_latency",
        "room",
        "sets",
        "shadow_latency",
        "unknown",
    )

    def __init__(self, room: Room) -> None:
        self.room = room
        self.equal = 0
        self.equal_thirds = 0
        self.examined = 0
        self.examined_thirds = 0
        self.missed = 0
        self.unknown: dict[str, int] = {}
        self.notes: dict[str, int] = {}
        self.primary_latency = [0] * (len(EDGES) + 1)
        self.shadow_latency = [0] * (len(EDGES) + 1)
        self.fields: list[FieldState] = []
        self.places: dict[str, int] = {}
        self.sets: dict[frozenset[int], int] = {}
        self.crowd = 0

    # What happens

    def matched(self, primary_seconds: float, shadow_seconds: float, third: bool) -> None:
        """Most pairs come this way: it must cost a microsecond."""
        self.equal += 1
        if third:
            self.equal_thirds += 1
        self.primary_latency[bisect_left(EDGES, primary_seconds)] += 1
        self.shadow_latency[bisect_left(EDGES, shadow_seconds)] += 1

    def took(self, primary_seconds: float, shadow_seconds: float) -> None:
        """A pair that is not equal took so long."""
        self.primary_latency[bisect_left(EDGES, primary_seconds)] += 1
        self.shadow_latency[bisect_left(EDGES, shadow_seconds)] += 1

    def noted(self, notes: Iterable[str]) -> None:
        for note in notes:
            if note in self.notes or len(self.notes) < MOST_NOTES:
                self.notes[note] = self.notes.get(note, 0) + 1

    def record(self, compared: Compared, third: Third, now: float) -> list[Differing]:
        """One pair; returns the fields in which primary and shadow differ."""
        self.examined += 1
        if third is not Third.NONE:
            self.examined_thirds += 1
        shadow = self._by_field(compared.shadow, now)
        noise = {} if third is Third.NONE else self._by_field(compared.third or (), now)
        other = self._named(compared.shadow_third, (*compared.shadow, *(compared.third or ())))
        if STATUS in shadow:
            # The body of an error page is no news of its own.
            shadow, noise, other = _only_status(shadow), _only_status(noise), other & {STATUS}
        elif STATUS in noise or STATUS in other:
            # Nor is that of stable: it says nothing of any field but the status.
            self._state(STATUS, now).record((), noise.get(STATUS, ()), STATUS in other, third, now)
            noise, third = {}, Third.NONE
        members, differing = [], []
        for name in shadow.keys() | noise.keys():
            place, found = self.places[name], shadow.get(name, ())
            field = self.fields[place]
            odd = field.record(found, noise.get(name, ()), name in other, third, now)
            if found:
                members.append(2 * place + (odd is not None))
                differing.append(Differing(field, found[0], odd))
        self._count(frozenset(members), 1)
        return differing

    def _by_field(self, differences: Iterable[Difference], now: float) -> dict[str, list[Difference]]:
        by_field: dict[str, list[Difference]] = {}
        for difference in differences:
            by_field.setdefault(self._state(difference.field, now).name, []).append(difference)
        return by_field

    def _named(self, names: Iterable[str], differences: Iterable[Difference]) -> set[str]:
        """The fields of these names. One that has no room counts as OTHER_FIELD only where it is among the differences."""
        crowded = {difference.field for difference in differences} - self.places.keys()
        known = {name for name in names if name in self.places}
        return known if crowded.isdisjoint(names) else known | {OTHER_FIELD}

    def _state(self, name: str, now: float) -> FieldState:
        place = self.places.get(name)
        if place is None:
            full = len(self.fields) >= MOST_FIELDS or self.room.fields <= 0
            if full and name not in (OTHER_FIELD, STATUS):
                return self._state(OTHER_FIELD, now)
            place = self._add(FieldState(name, now))
        return self.fields[place]

    def _add(self, state: FieldState) -> int:
        self.places[state.name] = place = len(self.fields)
        self.fields.append(state)
        self.room.fields -= 1
        return place

    def _count(self, members: frozenset[int], pairs: int) -> None:
        known = self.sets.get(members)
        if known is None:
            if len(self.sets) >= MOST_SETS or len(members) > self.room.members:
                self.crowd += pairs
                return
            self.room.members -= len(members)
            known = 0
        self.sets[members] = known + pairs

    # What it comes to

    @property
    def pairs(self) -> int:
        return self.equal + self.examined + self.missed

    @property
    def thirds(self) -> int:
        return self.equal_thirds + self.examined_thirds

    def rate(self, examined: int) -> float:
        """Of all pairs, where so many of the examined ones are meant."""
        if not examined:
            return 0.0
        return examined / self.examined * (self.examined + self.missed) / self.pairs

    @property
    def asked_always(self) -> bool:
        """Whether there is a third answer to most pairs, and not only to those that differ."""
        return 2 * self.thirds >= self.pairs

    def noise(self, field: FieldState) -> float | None:
        """The share of pairs in which stable differs from itself in a field; None where stable was never asked twice.

        Of the pairs in which the field differs it is counted. For the others it follows from exchangeability where stable is not
        asked about them: as often as both others agree against the primary's answer, they would against the third."""
        rate, others = self.rate(field.differs), self.thirds - field.asked
        if not field.asked:
            return field.third_only / others if others > 0 else None
        counted = rate * field.asked_noisy / field.asked
        if self.asked_always:
            return counted + (1.0 - rate) * (field.third_only / others if others > 0 else 0.0)
        return min(1.0, counted + rate * field.stable_odd / field.asked)

    def noisy(self, field: FieldState) -> bool:
        """Whether stable differs from itself in a field so often that only the field's profile can be judged."""
        noise = self.noise(field)
        if noise is None or noise <= VERY_NOISY:
            return False
        every_time = field.asked_noisy + field.third_only == self.thirds
        return self.thirds >= (FEW_THIRDS if every_time else ENOUGH_THIRDS)

    def matches(self, ignored: frozenset[int]) -> int:
        """Pairs that differ in no field, or only in those at these places."""
        return self.equal + sum(n for members, n in self.sets.items() if all(m >> 1 in ignored for m in members))

    @property
    def compared(self) -> int:
        return self.equal + self.examined + sum(self.unknown.values())

    # Two that fall together, and restarts

    def merge(self, other: EndpointState) -> None:
        """Take in another endpoint. Its fields and members give back their room, and take what they need of it here."""
        self.room.fields += len(other.fields)
        self.room.members += sum(map(len, other.sets))
        self.equal += other.equal
        self.equal_thirds += other.equal_thirds
        self.examined += other.examined
        self.examined_thirds += other.examined_thirds
        self.missed += other.missed
        self.crowd += other.crowd
        _add_up(self.unknown, other.unknown)
        _add_up(self.notes, other.notes)
        self.primary_latency = _sum(self.primary_latency, other.primary_latency)
        self.shadow_latency = _sum(self.shadow_latency, other.shadow_latency)
        places = [self._take(field) for field in other.fields]
        for members, pairs in other.sets.items():
            self._count(frozenset(2 * places[member >> 1] + (member & 1) for member in members), pairs)

    def _take(self, field: FieldState) -> int:
        known = self._state(field.name, field.first_seen)
        known.merge(field)
        return self.places[known.name]

    def to_json(self) -> dict[str, Any]:
        return {
            "equal": [self.equal, self.equal_thirds],
            "examined": [self.examined, self.examined_thirds],
            "missed": self.missed,
            "unknown": dict(self.unknown),
            "notes": dict(self.notes),
            "primary_latency": _sparse(self.primary_latency),
            "shadow_latency": _sparse(self.shadow_latency),
            "fields": [field.to_json() for field in self.fields],
            "sets": [[sorted(members), pairs] for members, pairs in self.sets.items()],
            "crowd": self.crowd,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any], room: Room) -> EndpointState:
        state = cls(room)
        state.equal, state.equal_thirds = kept["equal"]
        state.examined, state.examined_thirds = kept["examined"]
        state.missed = kept["missed"]
        state.unknown = dict(kept["unknown"])
        state.notes = dict(kept["notes"])
        for bucket, count in kept["primary_latency"]:
            state.primary_latency[bucket] = count
        for bucket, count in kept["shadow_latency"]:
            state.shadow_latency[bucket] = count
        for field in kept["fields"]:
            state._add(FieldState.from_json(field))
        for members, pairs in kept["sets"]:
            state.sets[frozenset(members)] = pairs
            room.members -= len(members)
        state.crowd = kept["crowd"]
        return state


def _only_status(by_field: dict[str, list[Difference]]) -> dict[str, list[Difference]]:
    return {STATUS: by_field[STATUS]} if STATUS in by_field else {}


def _add_up(into: dict[str, int], counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        into[name] = into.get(name, 0) + count


def _sum(one: list[int], other: list[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _sparse(buckets: list[int]) -> list[list[int]]:
    return [[bucket, count] for bucket, count in enumerate(buckets) if count]


def endpoints_of(state: Mapping[str, Any], room: Room) -> dict[str, EndpointState]:
    """Of a route's state as it was reported."""
    return {name: EndpointState.from_json(kept, room) for name, kept in state["endpoints"].items()}
