"""The evidence of one rollout, all of it together: ticks in, a verdict out. No clock, no I/O; kept as JSON from tick to tick.

Rules of this file. Of `false_alarm`, the chance that a sound canary is taken for a bad one, each metric has a share. Canary against
stable is judged over the whole rollout, so its evidence goes on from stage to stage; what concerns a stage (its `max_error_rate`,
what is to be ruled out before it is left) begins anew with it. An alarm stays until the next stage begins, and then everything
begins anew: somebody has decided to go on.

    UNKNOWN      too few requests or pairs in this stage, or none of the canary's in the last minute
    REGRESSION   a metric is sure
    WATCHING     not everything is ruled out that the plan asks for
    OK           the rest: the stage may be left when its time is over

Where stable has no traffic there is nothing to compare with: only `max_error_rate` judges then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any

from admin.rollout.bands import RatioBand
from admin.rollout.counts import LastMinute, Tick
from admin.rollout.evidence import (
    BETTER_RATIOS,
    SURE_ENOUGH,
    AbsoluteRisk,
    Dispersion,
    LatencyRisk,
    RelativeRisk,
    numbers,
)
from admin.rollout.rules import DIFFS, ERRORS, LATENCY, LIMIT, METRICS, RULE_OUT, Rules
from admin.rollout.verdict import Kind, Verdict
from admin.rollout.wording import verdict_of
from proxy.stats import EDGE_RATIO

WARM_UP = 30.0
"""Seconds: a cold canary is slower; and stable's minute has to begin somewhere."""

QUIET = 60.0

_MOST_TICKS = 600
"""In QUIET seconds, of 0.1 s."""


@dataclass(slots=True)
class Totals:
    """Both arms: requests, bad ones as the evidence counts them, and as people do; `pairs` compared, `differing` of them."""

    n_c: int = 0
    k_c: int = 0
    n_s: int = 0
    k_s: int = 0
    failed_c: int = 0
    failed_s: int = 0
    pairs: int = 0
    differing: int = 0
    shadow_odd: int = 0
    stable_odd: int = 0
    unlisted: int = 0

    def add(self, tick: Tick) -> None:
        self.n_c += tick.canary.requests
        self.k_c += tick.canary.bad
        self.n_s += tick.stable.requests
        self.k_s += bad_of_stable(tick)
        self.failed_c += max(tick.canary.failed, tick.canary.bad)
        self.failed_s += max(tick.stable.failed, tick.stable.bad)
        self.unlisted += tick.canary.unlisted + tick.stable.unlisted
        if tick.pairs is not None:
            self.pairs += tick.pairs.compared
            self.differing += tick.pairs.differing
            self.shadow_odd += tick.pairs.shadow_odd
            self.stable_odd += tick.pairs.stable_odd


TOTALS = tuple(Totals.__dataclass_fields__)


def bad_of_stable(tick: Tick) -> int:
    """What is unlisted counts: see admin/rollout/counts.py."""
    return min(tick.stable.bad + tick.stable.unlisted, tick.stable.requests)


class Judging:
    """`begin` a stage, then `observe` each tick; `kind` is the verdict in a word."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.tolerance = round(log(rules.max_ratio) / log(EDGE_RATIO))
        self.dispersion = Dispersion()
        self._running = 0.0
        self._anew()
        self.begin()

    def _anew(self) -> None:
        rules = self.rules
        self.errors = RelativeRisk(increase=rules.max_increase or 0.0)
        self.latency = LatencyRisk(rules.quantiles)
        self.band = RatioBand()
        self.whole = Totals()
        self.alarms: list[str] = []
        self._canary_first = -1.0
        self._seconds = 0.0
        self._forget_minute()

    def _forget_minute(self) -> None:
        self.minutes = {"canary": LastMinute(), "stable": LastMinute()}
        self._edges: dict[float, int] = {}
        self._edges_of = -1
        self._recent: deque[tuple[float, Tick]] = deque(maxlen=_MOST_TICKS)

    def begin(self, max_error_rate: float | None = None, pairs: int = 0) -> None:
        """A stage begins. `pairs`: it only has copies, so many of which are to be compared."""
        if self.alarms:
            self._anew()
        self.limit = max_error_rate
        self.asked_pairs = pairs
        self.guard = None if max_error_rate is None else AbsoluteRisk(max_error_rate)
        self.better = RelativeRisk(BETTER_RATIOS, self.rules.rule_out or RULE_OUT)
        max_diffs = self.rules.max_diff_rate
        self.diffs = RelativeRisk() if max_diffs is None else AbsoluteRisk(max_diffs)
        self.stage = Totals()
        self.seconds = 0.0
        self._canary_last = self._stable_last = -1.0

    # Ticks

    def observe(self, tick: Tick, now: float) -> None:
        """`now` is any clock that does not jump."""
        canary, stable = tick.canary, tick.stable
        self._running += tick.seconds
        self._seconds += tick.seconds
        self.seconds += tick.seconds
        if canary.requests:
            self._canary_last = self.seconds
            if self._canary_first < 0.0:
                self._canary_first = self._seconds
        if stable.requests:
            self._stable_last = self.seconds
        self.stage.add(tick)
        self.whole.add(tick)
        self._recent.append((now, tick))
        while self._recent[0][0] <= now - QUIET:
            self._recent.popleft()
        self._observe_errors(tick)
        self._observe_latency(tick, now)
        self._observe_pairs(tick)
        self._look()

    def _observe_errors(self, tick: Tick) -> None:
        n_c, k_c, n_s, k_s = tick.canary.requests, tick.canary.bad, tick.stable.requests, bad_of_stable(tick)
        clusters = self.dispersion.value if self.rules.sticky else 1.0
        self.errors.observe(n_c, k_c, n_s, k_s, tick.seconds, clusters)
        self.band.observe(n_c, k_c, n_s, k_s, clusters)
        if not tick.canary.unlisted and not tick.stable.unlisted:
            self.better.observe(n_c, k_c, n_s, k_s, tick.seconds, clusters)
        if self.guard is not None:
            self.guard.observe(n_c, k_c, tick.seconds, clusters)
        self.dispersion.observe(k_s, tick.seconds)

    def _observe_latency(self, tick: Tick, now: float) -> None:
        canary, stable = self.minutes["canary"], self.minutes["stable"]
        if not (tick.canary.buckets or tick.stable.buckets or canary.known or stable.known):
            return
        if int(now) != self._edges_of:
            self._edges_of = int(now)
            edges = {quantile: stable.edge(quantile) for quantile in self.rules.quantiles}
            self._edges = {quantile: edge for quantile, edge in edges.items() if edge is not None}
        warm = self._canary_first >= 0.0 and self._seconds - self._canary_first >= WARM_UP
        if warm and self._running >= WARM_UP and self._edges:
            self.latency.observe(tick.canary.buckets, tick.stable.buckets, self._edges, self.tolerance, tick.seconds)
        canary.add(tick.canary.buckets, now)
        stable.add(tick.stable.buckets, now)

    def _observe_pairs(self, tick: Tick) -> None:
        pairs = tick.pairs
        if pairs is None:
            return
        if isinstance(self.diffs, AbsoluteRisk):
            self.diffs.observe(pairs.compared, min(pairs.differing, pairs.compared), tick.seconds)
        else:
            odd = pairs.shadow_odd + pairs.stable_odd
            self.diffs.observe(odd, pairs.shadow_odd, odd, pairs.stable_odd, tick.seconds)

    def _look(self) -> None:
        enough = self.whole.n_c >= self.rules.min_requests
        for name, alpha in self.rules.alphas.items():
            if name in self.alarms or not (enough or name == DIFFS):
                continue
            process = self.process(name)
            if process is not None and process.alarm(alpha, self.rules.planned):
                self.alarms.append(name)

    # What it says

    def process(self, name: str) -> RelativeRisk | AbsoluteRisk | LatencyRisk | None:
        """The evidence of a metric; None where this stage has none."""
        return {ERRORS: self.errors, LIMIT: self.guard, LATENCY: self.latency, DIFFS: self.diffs}[name]

    @property
    def kind(self) -> Kind:
        if self.alarms:
            return Kind.REGRESSION
        if self.asked_pairs:
            return Kind.OK if self.stage.pairs >= self.asked_pairs else Kind.UNKNOWN
        if not self.canary_seen or self.stage.n_c < max(self.rules.min_requests, 1):
            return Kind.UNKNOWN
        if self.rules.rule_out is not None and self.stable_seen and not self.ruled_out:
            return Kind.WATCHING
        return Kind.OK

    @property
    def verdict(self) -> Verdict:
        """With the numbers it is made from and a sentence about them."""
        return verdict_of(self)

    @property
    def canary_seen(self) -> bool:
        """Within the last minute of this stage."""
        return self._canary_last >= 0.0 and self.seconds - self._canary_last < QUIET

    @property
    def stable_seen(self) -> bool:
        return self._stable_last >= 0.0 and self.seconds - self._stable_last < QUIET

    @property
    def ruled_out(self) -> bool:
        """That the canary is `rule_out` times as bad as stable."""
        return self.better.log_value >= log(1.0 / SURE_ENOUGH)

    def last_minute(self) -> Totals:
        totals = Totals()
        for _, tick in self._recent:
            totals.add(tick)
        return totals

    # Kept

    def to_json(self) -> dict[str, Any]:
        """Without the last minute: after a restart latency is judged again from the time that stable's is known."""
        return {
            "errors": self.errors.to_json(),
            "better": self.better.to_json(),
            "guard": None if self.guard is None else self.guard.to_json(),
            "latency": self.latency.to_json(),
            "diffs": self.diffs.to_json(),
            "band": self.band.to_json(),
            "dispersion": self.dispersion.to_json(),
            "stage": [getattr(self.stage, name) for name in TOTALS],
            "whole": [getattr(self.whole, name) for name in TOTALS],
            "times": [self.seconds, self._seconds, self._canary_first, self._canary_last, self._stable_last],
            "alarms": list(self.alarms),
            "limit": self.limit,
            "pairs": self.asked_pairs,
        }

    @classmethod
    def from_json(cls, rules: Rules, kept: Mapping[str, Any]) -> Judging:
        """Raises ValueError for what `to_json` never gave under these rules."""
        judging = cls(rules)
        try:
            limit = None if kept["limit"] is None else numbers({"limit": [kept["limit"]]}, "limit")[0]
            judging.begin(limit, int(numbers({"pairs": [kept["pairs"]]}, "pairs")[0]))
            judging.errors.restore(kept["errors"])
            judging.better.restore(kept["better"])
            judging.latency.restore(kept["latency"])
            judging.diffs.restore(kept["diffs"])
            judging.band.restore(kept["band"])
            judging.dispersion.restore(kept["dispersion"])
            if judging.guard is not None:
                judging.guard.restore(kept["guard"])
            elif kept["guard"] is not None:
                raise ValueError("kept evidence: a guard without a limit")
            judging.stage, judging.whole = (
                Totals(*(int(count) for count in numbers(kept, name, len(TOTALS)))) for name in ("stage", "whole")
            )
            times = numbers(kept, "times", 5)
            judging.seconds, judging._seconds, judging._canary_first = times[:3]
            judging._canary_last, judging._stable_last = times[3:]
            judging.alarms = list(kept["alarms"])
            if not set(judging.alarms) <= set(METRICS):
                raise ValueError(f"kept evidence: alarms of {judging.alarms}")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"kept evidence: {error!r}") from error
        return judging
