"""Traffic made up by ticks, and one rollout driven with it: counts, judging and machine are those that gateways run.

A tick's failures are drawn from binomials, so an hour at 1000 requests/s takes a second. On a sticky route failures are episodes:
a client fails and tries again, a geometric number of times, each with its key; workers report keys as they do.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import exp, lgamma, log, log1p
from statistics import NormalDist

from admin.rollout.actions import CutBack
from admin.rollout.counts import ArmCounts, Counts, Tick
from admin.rollout.judging import Judging
from admin.rollout.machine import Seen, begin, step
from admin.rollout.plan import plan_of
from admin.rollout.rules import rules_of
from admin.rollout.verdict import Verdict
from proxy.control import Arm
from proxy.stats import EDGES
from routing.config_rollout import Rollout

RPS = 1000
WEIGHT = 5.0
HOUR = 3600.0
WORKERS = 2
CHECK_SECONDS, CHECK_FAILURES, CHECK_SHARE = 60.0, 5, 0.01
"""Flagger's rule: so many checks of a minute in which more than that share failed."""

_MEDIAN_SECONDS, _SIGMA = 0.04, 0.6
"""Latencies are lognormal."""

_BETWEEN_TRIES = 1.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Shares of failures. From `changes_at` on the canary's is `canary`, before that stable's, and its latencies are `slower`
    times stable's; from `out_at` for `out_for` seconds both fail by `outage`. `tries` is how often a sticky client fails in a row,
    0 where requests are drawn one by one; `timed` rollouts have latencies."""

    canary: float = 0.001
    stable: float = 0.001
    changes_at: float = 0.0
    outage: float = 0.0
    out_at: float = 600.0
    out_for: float = 60.0
    tries: float = 0.0
    timed: bool = False
    slower: float = 1.0
    seconds: float = HOUR
    tick: float = 0.25


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one rollout: seconds from the change until it was cut back, None where it never was; the same of Flagger's
    rule; how many requests the canary had failed until then; why."""

    seconds: float | None
    flagger: float | None
    failed: int
    why: str


def run(scene: Scene, seed: int, flagger: bool = False) -> Ended:
    """One rollout, a step of 5 % held for an hour. With `flagger` the traffic goes on until that rule has decided too."""
    plan = plan_of(Rollout.model_validate({"to": "canary", "steps": [{"weight": WEIGHT, "hold": HOUR}]}), "stable", ())
    judging = Judging(rules_of(plan, sticky=scene.tries > 0.0))
    state, _ = begin(plan, "shop", 1, "simulation", "")
    state, _ = step(state, Seen(), 1.0)  # enters the step
    quiet = round(10.0 / scene.tick)  # without news the machine is stepped less often, for time's sake
    checks = Checks()
    failed, cut_back, why = 0, None, ""
    for number, tick in enumerate(_ticks(scene, random.Random(seed)), 1):
        now = number * scene.tick
        checks.observe(tick.canary, now)
        if cut_back is None:
            failed += tick.canary.failed
            judging.observe(tick, now)
            if judging.alarms or number % quiet == 0:
                verdict = judging.verdict if judging.alarms else Verdict(judging.kind)
                state, actions = step(state, Seen(verdict, failed=failed), 1.0 + now)
                if any(isinstance(action, CutBack) for action in actions):
                    cut_back, why = now - scene.changes_at, verdict.sentence
        if cut_back is not None and (not flagger or checks.failed_at is not None):
            break
    at = checks.failed_at
    return Ended(cut_back, None if at is None else at - scene.changes_at, failed, why)


class Checks:
    """Flagger's rule on the canary alone. `failed_at` is when it had enough."""

    def __init__(self) -> None:
        self._requests = self._failed = self._failures = 0
        self._next = CHECK_SECONDS
        self.failed_at: float | None = None

    def observe(self, canary: Counts, now: float) -> None:
        self._requests += canary.requests
        self._failed += canary.failed
        if now >= self._next:
            self._failures += self._failed > CHECK_SHARE * self._requests
            if self._failures == CHECK_FAILURES and self.failed_at is None:
                self.failed_at = now
            self._requests = self._failed = 0
            self._next += CHECK_SECONDS


# Traffic


def _ticks(scene: Scene, draw: random.Random) -> Iterator[Tick]:
    arms = {"canary": ArmCounts(), "stable": ArmCounts()}
    shares = {"canary": WEIGHT / 100.0, "stable": 1.0 - WEIGHT / 100.0}
    sent = dict.fromkeys(arms, 0.0)
    clients = {name: Clients(draw) for name in arms}
    for number in range(round(scene.seconds / scene.tick)):
        now = number * scene.tick
        for name, counts in arms.items():
            before, sent[name] = int(sent[name]), sent[name] + RPS * scene.tick * shares[name]
            requests = int(sent[name] + 1e-9) - before
            changed = name == "canary" and now >= scene.changes_at
            risk = scene.canary if changed else scene.stable
            if scene.outage and scene.out_at <= now < scene.out_at + scene.out_for:
                risk = scene.outage
            if scene.tries:
                for report in clients[name].reports(requests, risk, scene.tries, now, scene.tick):
                    counts.add(report, now)
            else:
                failed = binomial(requests, risk, draw)
                slower = scene.slower if changed else 1.0
                buckets = latencies(requests - failed, slower, draw) if scene.timed else {}
                counts.add(Arm("shop", name, requests, failed, buckets), now)
        yield Tick(arms["canary"].take(), arms["stable"].take(), scene.tick)


class Clients:
    """One arm's clients that fail again and again, about once a second each, over any worker."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._due: dict[int, list[int]] = {}

    def reports(self, requests: int, risk: float, tries: float, now: float, tick: float) -> Iterator[Arm]:
        """The workers', for a tick; failures are a share of `risk` of the requests on average."""
        draw, place = self._draw, round(now / tick)
        failing = self._due.pop(place, [])
        for _ in range(binomial(requests, risk / tries, draw)):
            key = draw.getrandbits(64)
            failing.append(key)
            later = float(place)
            while draw.random() > 1.0 / tries:
                later += draw.expovariate(tick / _BETWEEN_TRIES)
                self._due.setdefault(max(place + 1, int(later)), []).append(key)
        del failing[requests:]
        rest = requests
        for worker in range(WORKERS):
            mine = failing[worker::WORKERS]
            count = rest if worker == WORKERS - 1 else max(requests // WORKERS, len(mine))
            rest -= count
            yield Arm("shop", "", count, len(mine), {}, tuple(dict.fromkeys(mine)))


def binomial(n: int, p: float, draw: random.Random) -> int:
    """How many of n, each with chance p."""
    return bisect_left(_distribution(n, p), draw.random())


@lru_cache(maxsize=4096)
def _distribution(n: int, p: float) -> list[float]:
    """Cumulative, from 0 to n."""
    if p <= 0.0 or p >= 1.0:
        return [float(p <= 0.0)] * n + [1.0]
    whole = lgamma(n + 1)
    chances = (exp(whole - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p)) for k in range(n + 1))
    return [*list(accumulate(chances))[:-1], 1.0]


def latencies(requests: int, slower: float, draw: random.Random) -> dict[int, int]:
    """Their buckets."""
    return dict(Counter(draw.choices(range(len(EDGES) + 1), cum_weights=_buckets(slower), k=requests)))


@lru_cache
def _buckets(slower: float) -> list[float]:
    """The share of requests up to each bucket, in the last one all."""
    spread = NormalDist(log(slower * _MEDIAN_SECONDS), _SIGMA)
    return [*(spread.cdf(log(edge)) for edge in EDGES), 1.0]
