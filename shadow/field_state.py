"""One field of one endpoint: how often it differs, and the two things that can be proven about it.

Rules. With a CONTROL, or stable asked again at random (SAMPLED), let X be "differs between primary and shadow" and Y "between
primary and third". X without Y: the shadow was odd; Y without X: stable was. Where stable was asked again because of a difference
(TRIGGERED), primary and shadow differ already, and the third answer says which of the two is odd: it agrees with just one. Three
different values are noise and no evidence. Both rules treat the exchangeable answers alike, which is all that `Evidence` asks.

A field that is very noisy is judged by its profile instead. X is then "the shadow's value is strange", Y "the primary's own is",
both by the profile as it was before this pair; a pair where both have the same value says nothing, so no third answer is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shadow.evidence import Evidence, together
from shadow.examples import Kept
from shadow.learned_profile import LearnedProfile
from shadow.verdict import Difference, Third

MOST_STRANGE = 8
"""Ways of being strange that are told apart; an ever new one tells nobody anything."""

Found = Sequence[Difference]
"""The differences of one field in one pair: several where it stands in several places."""


class FieldState:
    """`differs` counts pairs in which the field differs, `kinds` how. Of those pairs `asked` had a third answer, in `asked_noisy`
    of which it differed from the primary's too, and in `stable_odd` of these agreed with the shadow's; `third_only` counts pairs in
    which only the third answer differed.

    `shadow_strange` and `primary_strange` count strange values, `strange` the shadow's by what is strange. `odd_examples` and the
    times beside them are of pairs in which only the shadow's value was.
    """

    __slots__ = (
        "asked",
        "asked_noisy",
        "differs",
        "examples",
        "first_seen",
        "kinds",
        "last_seen",
        "name",
        "odd_examples",
        "odd_first_seen",
        "odd_last_seen",
        "primary_strange",
        "profile",
        "profile_evidence",
        "raw_evidence",
        "shadow_strange",
        "stable_odd",
        "strange",
        "third_only",
        "turns",
    )

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.first_seen = self.last_seen = now
        self.differs = 0
        self.kinds: dict[str, int] = {}
        self.asked = 0
        self.asked_noisy = 0
        self.stable_odd = 0
        self.third_only = 0
        self.raw_evidence = Evidence()
        self.profile = LearnedProfile()
        self.profile_evidence = Evidence()
        self.shadow_strange = 0
        self.primary_strange = 0
        self.strange: dict[str, int] = {}
        self.examples = Kept()
        self.odd_examples = Kept()
        self.odd_first_seen = self.odd_last_seen = 0.0
        self.turns = 0

    def record(self, shadow: Found, noise: Found, shadow_third: bool, third: Third, now: float) -> Difference | None:
        """One pair in which it differs: `shadow` from the shadow's value, `noise` from the third's; `shadow_third` says whether
        those two differ. Returns a difference in which the shadow's value is strange where none of the primary's is."""
        if shadow:
            self.differs += 1
            kind = shadow[0].kind
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            self.first_seen = self.first_seen if self.differs > 1 else now
            self.last_seen = now
        if third is not Third.NONE:
            self._weigh(bool(shadow), bool(noise), shadow_third, third)
        odd = self._judge_values(shadow) if shadow else None
        for difference in shadow or noise:
            self.profile.learn(difference.primary_class, difference.primary_number)
        for difference in noise:
            self.profile.learn(difference.other_class, difference.other_number)
        if odd is not None:
            self.odd_first_seen = self.odd_first_seen or now
            self.odd_last_seen = now
        return odd

    def _weigh(self, x: bool, y: bool, shadow_third: bool, third: Third) -> None:
        if x:
            self.asked += 1
            self.asked_noisy += y
            self.stable_odd += y and not shadow_third
        else:
            self.third_only += y
        if third is Third.TRIGGERED:
            # Near-equality (a tolerance) is not transitive: a third that agrees with both, or neither, is no evidence.
            if not x or y == shadow_third:
                return
        elif x == y:
            return
        if y:
            self.raw_evidence.stable_was_odd()
        else:
            self.raw_evidence.shadow_was_odd()

    def _judge_values(self, differences: Found) -> Difference | None:
        """By the profile as it was before this pair."""
        strange = self.profile.strange
        ours = any(strange(found.primary_class, found.primary_number) for found in differences)
        theirs, odd = "", differences[0]
        for found in differences:
            if what := strange(found.other_class, found.other_number):
                theirs, odd = what, found
                break
        self.primary_strange += ours
        if theirs:
            self.shadow_strange += 1
            if theirs in self.strange or len(self.strange) < MOST_STRANGE:
                self.strange[theirs] = self.strange.get(theirs, 0) + 1
        if ours == bool(theirs):
            return None
        if ours:
            self.profile_evidence.stable_was_odd()
            return None
        self.profile_evidence.shadow_was_odd()
        return odd

    def merge(self, other: FieldState) -> None:
        """The same field of an endpoint that has fallen together with this one."""
        self.differs += other.differs
        for kind, count in other.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + count
        self.asked += other.asked
        self.asked_noisy += other.asked_noisy
        self.stable_odd += other.stable_odd
        self.third_only += other.third_only
        self.raw_evidence = together((self.raw_evidence, other.raw_evidence))
        self.profile_evidence = together((self.profile_evidence, other.profile_evidence))
        self.profile.add(other.profile)
        self.shadow_strange += other.shadow_strange
        self.primary_strange += other.primary_strange
        for what, count in other.strange.items():
            if what in self.strange or len(self.strange) < MOST_STRANGE:
                self.strange[what] = self.strange.get(what, 0) + count
        self.first_seen = min(self.first_seen, other.first_seen)
        self.last_seen = max(self.last_seen, other.last_seen)
        self.examples.merge(other.examples)
        self.odd_first_seen = min(filter(None, (self.odd_first_seen, other.odd_first_seen)), default=0.0)
        self.odd_last_seen = max(self.odd_last_seen, other.odd_last_seen)
        self.odd_examples.merge(other.odd_examples)

    def to_json(self) -> dict[str, Any]:
        return {
            "field": self.name,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "differs": self.differs,
            "kinds": dict(self.kinds),
            "asked": [self.asked, self.asked_noisy, self.stable_odd, self.third_only],
            "raw": self.raw_evidence.to_json(),
            "profile": self.profile.to_json(),
            "profile_evidence": self.profile_evidence.to_json(),
            "strange": [self.shadow_strange, self.primary_strange, dict(self.strange)],
            "examples": self.examples.to_json(),
            "odd": [self.odd_first_seen, self.odd_last_seen, self.odd_examples.to_json()],
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> FieldState:
        state = cls(kept["field"], kept["first_seen"])
        state.last_seen = kept["last_seen"]
        state.differs = kept["differs"]
        state.kinds = dict(kept["kinds"])
        state.asked, state.asked_noisy, state.stable_odd, state.third_only = kept["asked"]
        state.raw_evidence = Evidence.from_json(kept["raw"])
        state.profile = LearnedProfile.from_json(kept["profile"])
        state.profile_evidence = Evidence.from_json(kept["profile_evidence"])
        state.shadow_strange, state.primary_strange, strange = kept["strange"]
        state.strange = dict(strange)
        state.examples = Kept.from_json(kept["examples"])
        state.odd_first_seen, state.odd_last_seen, odd_examples = kept["odd"]
        state.odd_examples = Kept.from_json(odd_examples)
        return state
