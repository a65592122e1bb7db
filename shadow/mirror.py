"""The hub of the shadow process: copies go out, answers are paired, equal ones counted, the others compared elsewhere.

Rules of this file. A pair ends exactly once, in `_end`, and its credit goes back then. Everything held has a bound: pairs by the
windows, their bytes by MAX_HELD, comparisons by their own queue. What is given up is counted by its reason. Each copy is counted
once, whoever dies when: its worker counts it as lost with us unless a report has told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from proxy.capture_frames import Drop
from proxy.control import DiffReport, Publish
from proxy.dial import dial
from proxy.errors import ErrorKind
from proxy.pool import Pool
from proxy.response_head import response_table
from proxy.response_parser import ResponseParser
from proxy.rotation import Upstreams
from proxy.tasks import spawn
from routing.snapshot import Live, Snapshot, Upstream
from shadow import call as calls
from shadow.answer import Answer
from shadow.call import Budget, Call
from shadow.comparisons import Comparisons
from shadow.differs import Differs
from shadow.pair import Pair
from shadow.replay import framed, is_chunked
from shadow.route import Leg, ShadowRoute
from shadow.window import share

if TYPE_CHECKING:
    from shadow.intake import Link

# Bytes of requests and answers of all pairs together.
MAX_HELD = 64 * 1024 * 1024
SWEEP_SECONDS = 0.05
MAX_CONNECTIONS = 512
"""To each endpoint of a shadow or control."""
_DROP_OF = {
    calls.TIMEOUT: Drop.TIMEOUT.value,
    calls.CONNECT: Drop.CONNECT.value,
    calls.QUEUE_FULL: Drop.QUEUE_FULL.value,
}

Dialler = Callable[[Pool, Upstream, ResponseParser], None]


class Mirror:
    """`differs` compares what is not the same bytes; `later` calls `flush` soon, once for all that happens until then; `on_error`
    hears of what nobody foresaw."""

    def __init__(
        self,
        differs: Differs,
        later: Callable[[Callable[[], None]], object],
        on_error: Callable[[BaseException], None],
        dialler: Dialler | None = None,
    ) -> None:
        self._differs = differs
        self._comparisons = Comparisons(differs, self.call_stable)
        self._later = later
        self._flushing = False
        self._on_error = on_error
        self._dialler = self._spawn if dialler is None else dialler
        self._snapshot: Snapshot | None = None
        self._links: list[Link] = []
        self._calls: set[Call] = set()
        self._touched: set[str] = set()
        self._turn = 0
        """Moves on with time: where there is less room than there are workers, each has its turn at it."""
        self._budget = Budget(MAX_HELD)
        self._table = response_table()
        self.upstreams = Upstreams(self._start_dial)
        self.routes: dict[str, ShadowRoute] = {}
        self.alone = asyncio.Event()
        """Whether there is no worker."""
        self.alone.set()
        self.opened = False
        """Whether credits are given: not before what was found earlier is known."""

    # State

    def adopt(self, snapshot: Snapshot, live: dict[str, Live]) -> None:
        """A new configuration, with all live state."""
        self._snapshot = snapshot = snapshot.with_states(live)
        self.upstreams.adopt(snapshot.upstreams, MAX_CONNECTIONS, monotonic())
        self._take_over(snapshot)

    def apply(self, publish: Publish) -> None:
        """Changed live state."""
        assert self._snapshot is not None
        self._snapshot = self._snapshot.with_states(publish.live).with_endpoints(publish.endpoints)
        if publish.endpoints:
            self.upstreams.adopt(self._snapshot.upstreams, MAX_CONNECTIONS, monotonic())
        self._take_over(self._snapshot)

    def _take_over(self, snapshot: Snapshot) -> None:
        before, self.routes = self.routes, {}
        for route in snapshot.routes:
            if route.shadow is None:
                continue
            known = before.get(route.name)
            if known is None:
                known = ShadowRoute(route.name, route.shadow, route.stable, snapshot)
            else:
                known.adopt(route.shadow, route.stable, snapshot)
            self.routes[route.name] = known
        self._differs.adopt(
            {name: (route.shadowing.comparing, route.shadowing.redacting) for name, route in self.routes.items()}
        )
        for name in before.keys() - self.routes.keys():
            before[name].retire()
            for link in self._links:
                link.give(name, 0, False)
        self._touched.update(self.routes)
        self.flush()

    def open(self) -> None:
        """From now on copies are taken."""
        self.opened = True
        self._touched.update(self.routes)
        self.flush()

    # What was found

    def restore(self, states: dict[str, dict[str, Any]]) -> None:
        """What was found before this process began, by route; of an earlier start of the diffs it is void."""
        for name, state in states.items():
            route = self.routes.get(name)
            if route is not None:
                route.restore(state)

    def reports(self, now: float) -> list[DiffReport]:
        """What has changed since the last call; `now` is Unix time. Once it is out, `reported` is to be called."""
        for link in self._links:
            link.reporting()
        found = [route.findings.take_report(now) for route in self.routes.values()]
        return [report for report in found if report is not None]

    def reported(self) -> None:
        for link in self._links:
            self._touched.update(link.reported())
        self.flush()

    def close(self) -> None:
        """The workers are gone, and so are we: what is in hand will not be compared."""
        for route in self.routes.values():
            if route.uncounted:
                route.findings.dropped(Drop.SHADOW_DOWN.value, route.uncounted)

    def resend(self) -> None:
        """Whoever got the reports is new: the next ones tell everything."""
        for route in self.routes.values():
            route.findings.resend()

    # Links

    def joined(self, link: Link) -> None:
        self._links.append(link)
        self.alone.clear()
        self._touched.update(self.routes)
        self.flush()

    def left(self, link: Link) -> None:
        """A worker is gone, and with it the answers its captures wait for."""
        self._links.remove(link)
        if not self._links:
            self.alone.set()
        for pair in [pair for pair in link.pairs.values() if pair.primary is None]:
            self.gone(pair, Drop.NO_PRIMARY.value)
        self._touched.update(self.routes)
        self.flush()

    def flush(self) -> None:
        """Tell the workers what is through and how many more they may send."""
        self._flushing = False
        if not self._touched or not self.opened:
            return
        touched, self._touched = self._touched, set()
        now, links = monotonic(), len(self._links)
        for name in touched:
            route = self.routes.get(name)
            room = 0 if route is None else route.window.room(now)
            for position, link in enumerate(self._links):
                part = share(room, links, (position + self._turn) % links)
                link.give(name, part, route is not None and route.window.backed_off)

    # One pair

    def request(
        self, link: Link, number: int, compared: bool, name: str, host: bytes, head: bytes, body: bytes
    ) -> None:
        """A worker copied a request: it goes out at once, while the primary answers."""
        route = self.routes.get(name)
        if route is None or route.shadow is None:
            link.ended(name)
            link.counted(name)
            self._touch(name)
            if route is not None:
                route.findings.dropped(Drop.NO_ENDPOINT.value)
            return
        pair = Pair(link, number, route, compared, host, head, body)
        if not self._budget.take(pair.size):
            link.ended(name)
            link.counted(name)
            self._touch(name)
            route.findings.dropped(Drop.QUEUE_FULL.value)
            return
        route.uncounted += 1
        link.pairs[number] = pair
        now = pair.arrived = monotonic()
        pair.waiting = 1  # for ourselves: a call can end at once
        pair.shadow = self._call(pair, route.shadow, now)
        if route.control is not None:
            pair.control = self._call(pair, route.control, now)
        pair.waiting -= 1
        self._settle(pair)

    def _call(self, pair: Pair, leg: Leg, now: float) -> Call:
        pair.waiting += 1
        return self._send(pair, leg, now, lambda ended: self._ended(pair, ended))

    def _send(self, pair: Pair, leg: Leg, now: float, done: Callable[[Call], None]) -> Call:
        """The same copy to whichever upstream: what one of them is not sent, none is, or their answers could not be compared."""
        shadowing = pair.route.shadowing
        pool = self.upstreams.pick(leg.index)
        head = pair.route.heads.copy(pair.head, leg.host(pair.host, b"" if pool is None else pool.endpoint.authority))
        request = framed(head, pair.body, is_chunked(pair.head))
        deadline = now + shadowing.timeout
        call = Call(request, pair.method, shadowing.max_body, deadline, self._budget, done)
        self._start(call, pool, now)
        return call

    def _start(self, call: Call, pool: Pool | None, now: float) -> None:
        self._calls.add(call)
        if pool is None:
            call.refused(ErrorKind.NO_ENDPOINT)
        else:
            call.start(pool, now)

    def _ended(self, pair: Pair, call: Call) -> None:
        """One leg is through. A leg that is hard to reach makes the window smaller, whatever it would have said."""
        self._calls.discard(call)
        window = pair.route.window
        if call.outcome == calls.OK:
            window.succeeded()
        elif call.outcome not in (calls.TOO_LARGE, calls.QUEUE_FULL):
            window.failed(monotonic())
        pair.waiting -= 1
        self._settle(pair)

    def answered(self, pair: Pair, answer: Answer) -> None:
        """The primary's answer has come."""
        if self._budget.take(len(answer.body)):
            pair.primary = answer
            pair.size += len(answer.body)
        else:
            pair.gone = Drop.QUEUE_FULL.value
        self._settle(pair)

    def gone(self, pair: Pair, why: str) -> None:
        """The primary's answer will not come."""
        pair.gone = why
        self._settle(pair)

    def _settle(self, pair: Pair) -> None:
        if not pair.settled:
            return
        self._end(pair)
        route, shadow = pair.route, pair.shadow
        assert shadow is not None
        route.findings.outcome(shadow.outcome)
        if not pair.compared:
            self._drop(pair, Drop.NOT_STABLE.value)
        elif pair.gone:
            self._drop(pair, pair.gone)
        elif shadow.answer is None:
            self._drop(pair, _DROP_OF[shadow.outcome])
        elif shadow.outcome == calls.TOO_LARGE and not self._outgrown(pair):
            self._drop(pair, Drop.BODY_TOO_LARGE.value)
        else:
            self._comparisons.compare(pair)

    @staticmethod
    def _outgrown(pair: Pair) -> bool:
        """Whether an answer above the bound is news: where the primary's is near it, it may have been so by chance, and the
        primary's own answers above it are not compared either."""
        assert pair.primary is not None
        return 2 * len(pair.primary.body) <= pair.route.shadowing.max_body

    @staticmethod
    def _drop(pair: Pair, why: str) -> None:
        pair.route.findings.dropped(why)
        pair.counted()

    def _end(self, pair: Pair) -> None:
        del pair.link.pairs[pair.number]
        for call in (pair.shadow, pair.control):
            if call is not None:
                pair.size += call.size
        self._budget.give_back(pair.size)
        pair.link.ended(pair.route.name)
        self._touch(pair.route.name)

    def _touch(self, name: str) -> None:
        self._touched.add(name)
        if not self._flushing:
            self._flushing = True
            self._later(self.flush)

    def call_stable(self, pair: Pair, done: Callable[[Call], None]) -> None:
        """Send the copy to stable as well. Raises nothing; `done` may be called at once."""

        def ended(call: Call) -> None:
            self._calls.discard(call)
            self._budget.give_back(call.size)
            done(call)

        self._send(pair, pair.route.stable, monotonic(), ended)

    # Connections and time

    def _start_dial(self, pool: Pool, upstream: Upstream) -> None:
        assert self._snapshot is not None
        limits = self._snapshot.limits
        self._dialler(pool, upstream, ResponseParser(self._table, limits.response_head, limits.response_headers))

    def _spawn(self, pool: Pool, upstream: Upstream, response: ResponseParser) -> None:
        assert self._snapshot is not None
        timeout = self._snapshot.timeouts.connect
        spawn(dial(pool, upstream, response, timeout), f"dial {pool.endpoint.url}", self._on_error)

    def expire(self, now: float) -> None:
        """It is `now`: end calls that are past their deadline, close connections that have idled, open windows again."""
        for call in [call for call in self._calls if call.deadline <= now]:
            if not call.outcome:
                call.time_out()
        self.upstreams.expire(now)
        for pool in self.upstreams.all():
            for connection in pool.expired(now):
                connection.close()
        self._turn = int(now)
        self._touched.update(name for name, route in self.routes.items() if route.window.backed_off)
        self.flush()
