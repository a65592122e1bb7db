"""What becomes of a pair whose answers are there: equal, compared in a differ process, stable asked a second time, counted.

Where a route has no control, two answers that differ don't tell which one is odd. So stable gets the request once more: for a
small sample whatever the answers were, and for pairs that differ in a field of which it is not known yet. This is load on what
serves, so it is bounded on its own, and only methods that change nothing are sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic, time

from proxy.capture_frames import Drop
from shadow.answer import Answer
from shadow.call import Call
from shadow.differs import Differs
from shadow.findings import PairFacts, Third
from shadow.pair import Pair
from shadow.verdict import Compared

CallStable = Callable[[Pair, Callable[[Call], None]], None]

# Second questions to stable: at a time, a second, and saved up.
AT_A_TIME = 16
A_SECOND = 50.0
AT_ONCE = 100.0


class Allowance:
    """A token bucket with a bound on how many are out at a time. Times are monotonic seconds."""

    __slots__ = ("_last", "_out", "_tokens")

    def __init__(self) -> None:
        self._tokens = AT_ONCE
        self._last = 0.0
        self._out = 0

    def begin(self, now: float) -> bool:
        self._tokens = min(AT_ONCE, self._tokens + (now - self._last) * A_SECOND)
        self._last = now
        if self._tokens < 1.0 or self._out >= AT_A_TIME:
            return False
        self._tokens -= 1.0
        self._out += 1
        return True

    def end(self) -> None:
        self._out -= 1


class Comparisons:
    def __init__(self, differs: Differs, call_stable: CallStable) -> None:
        self._differs = differs
        self._call_stable = call_stable
        self._allowance = Allowance()
        self._random = random.Random()  # noqa: S311 - a sample

    def compare(self, pair: Pair) -> None:
        """Both answers are there, and the control's if there is one and it gave any."""
        primary, shadow = _answers(pair)
        pair.third = third = None if pair.control is None else pair.control.answer
        same = pair.route.equality.same
        if not same(primary, shadow) or (third is not None and not same(primary, third)):
            self._look_closer(pair, Third.NONE if third is None else Third.CONTROL)
        elif third is None and self._sampled(pair):
            self._ask_again(pair, Third.SAMPLED, None)
        else:
            self._matched(pair)

    def _matched(self, pair: Pair) -> None:
        primary, shadow = _answers(pair)
        route = pair.route
        endpoint = route.findings.endpoint(pair.method, pair.path)
        route.findings.matched(endpoint, primary.seconds, shadow.seconds, pair.third is not None)
        pair.counted()

    def _sampled(self, pair: Pair) -> bool:
        route = pair.route
        return pair.method in route.again and self._random.random() < route.shadowing.noise_sample

    def _look_closer(self, pair: Pair, kind: Third) -> None:
        """In a differ process."""
        route = pair.route
        answers = (*_answers(pair), pair.third)
        if not self._differs.submit(route.name, answers, lambda compared: self._compared(pair, kind, compared)):
            route.findings.differ_dropped(route.findings.endpoint(pair.method, pair.path))
            route.findings.dropped(Drop.DIFFER_BUSY.value)
            pair.counted()

    def _compared(self, pair: Pair, kind: Third, compared: Compared) -> None:
        route = pair.route
        endpoint = route.findings.endpoint(pair.method, pair.path)
        if compared.reason:
            route.findings.unknown(endpoint, compared.reason)
            pair.counted()
        elif (
            kind is Third.NONE and pair.method in route.again and route.findings.wants_third(endpoint, compared.shadow)
        ):
            self._ask_again(pair, Third.TRIGGERED, compared)
        else:
            self._count(pair, kind, compared)

    def _ask_again(self, pair: Pair, kind: Third, known: Compared | None) -> None:
        """Ask stable; `known` is what comparing two answers has said, None where they were equal."""
        if not self._allowance.begin(monotonic()):
            self._go_on_without(pair, known)
            return

        def ended(call: Call) -> None:
            self._allowance.end()
            pair.third = call.answer
            primary, _ = _answers(pair)
            if call.answer is None:
                self._go_on_without(pair, known)
            elif known is None and pair.route.equality.same(primary, call.answer):
                self._matched(pair)
            else:
                self._look_closer(pair, kind)

        self._call_stable(pair, ended)

    def _go_on_without(self, pair: Pair, known: Compared | None) -> None:
        pair.third = None
        if known is None:
            self._matched(pair)
        else:
            self._count(pair, Third.NONE, known)

    def _count(self, pair: Pair, kind: Third, compared: Compared) -> None:
        route = pair.route
        route.findings.compared(route.findings.endpoint(pair.method, pair.path), compared, kind, _facts(pair), time())
        pair.counted()


def _answers(pair: Pair) -> tuple[Answer, Answer]:
    assert pair.primary is not None
    assert pair.shadow is not None
    assert pair.shadow.answer is not None
    return pair.primary, pair.shadow.answer


def _facts(pair: Pair) -> PairFacts:
    primary, shadow = _answers(pair)
    return PairFacts(pair.method, pair.target, pair.head, primary, shadow, pair.route.shadowing.redacting)
