"""What is known of each route's diffs: the shadow process's last report, what the workers did not copy, and keeping both.

Rules of this file. Diffs begin at a revision, `since`, and are of one shadow upstream; a report from before is void, and one from
after (its publish is still under way) begins them anew. The last report is in memory, and in the store a little later: written
every WRITE_SECONDS while there is news, and at the end. A store that fails loses nothing but time, and stops nothing else. What
Prometheus reads only grows: it is made of the differences between reports, whatever begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from admin.state.diff_store import MOST_EXAMPLES, DiffsChange, DiffStore, KeptDiffs
from admin.state.store import StoreError
from proxy.control import DiffReport, DiffsKept, DiffsWanted, Stats
from proxy.tasks import spawn
from shadow.findings import VERSION
from shadow.judging import judge

WRITE_SECONDS = 2.0
_LONGEST_PAUSE = 30.0
# What comes before the store was read: the workers and the shadow process may be older than this process.
_MOST_EARLY = 1000


@dataclass(frozen=True, slots=True)
class Begun:
    """A route's shadow in force: the revision at which its diffs begin, the upstream, and what is ignored."""

    since: int
    upstream: str
    ignore: tuple[str, ...] = ()


@dataclass(slots=True)
class RouteDiffs:
    """`examples` are those that are not in the store yet, `told` the verdicts that Prometheus has been told of."""

    since: int
    upstream: str
    state: dict[str, Any] = field(default_factory=dict)
    copied: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: dict[str, int] | None = None
    _judged: tuple[dict[str, Any], tuple[str, ...], dict[str, Any]] | None = None

    def kept(self) -> KeptDiffs:
        return KeptDiffs(self.since, self.upstream, self.state, self.copied, dict(self.dropped))

    def judged(self, ignore: tuple[str, ...]) -> dict[str, Any]:
        """`shadow.judging.judge` of the last report, with the workers' drops among the rest."""
        if self._judged is None or self._judged[0] is not self.state or self._judged[1] != ignore:
            self._judged = self.state, ignore, judge(self.state, ignore)
        answer = self._judged[2]
        dropped = dict(answer["dropped"])
        for reason, count in self.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
        return {**answer, "dropped": dropped}


class Diffs:
    """`send` takes a message to the shadow process; `on_error` hears of each failed attempt to write."""

    def __init__(self, send: Callable[[DiffsKept], None], on_error: Callable[[BaseException], None]) -> None:
        self._send = send
        self._on_error = on_error
        self._store: DiffStore | None = None
        self._early: deque[Stats | DiffReport | DiffsWanted] = deque(maxlen=_MOST_EARLY)
        self._routes: dict[str, RouteDiffs] = {}
        self._begun: dict[str, Begun | None] = {}
        # to be written
        self._changed: set[str] = set()
        self._afresh: set[str] = set()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        # for Prometheus
        self.copied: dict[str, int] = {}
        self.dropped: dict[tuple[str, str], int] = {}
        self.outcomes: dict[tuple[str, str], int] = {}
        self._verdicts: dict[tuple[str, str], int] = {}
        self.failures = 0

    # Life

    def open(self, store: DiffStore, kept: Mapping[str, KeptDiffs], begun: Mapping[str, Begun | None]) -> None:
        """`kept` is what the store had. It is void for a route whose diffs begin elsewhere, be it at a revision that was never
        stored, and so is what another version of Headgate found."""
        self._store = store
        for name, old in kept.items():
            state = old.state if old.state.get("version") == VERSION else {}
            self._routes[name] = RouteDiffs(old.since, old.upstream, state, old.copied, dict(old.dropped))
            of_route = begun.get(name)
            if of_route is not None and of_route.since != old.since:
                self._begin(name, of_route.since, of_route.upstream)
        self.adopt(begun, whole=True)
        early, self._early = self._early, deque()
        for message in early:
            self.received(message)
        self._writer = spawn(self._write(), "diffs writer", self._on_error)

    async def close(self, patience: float) -> None:
        """A last chance for what is not written."""
        if self._writer is None:
            return
        self._writer.cancel()
        await asyncio.wait([self._writer], timeout=patience)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.flush()

    # What comes in

    def received(self, message: Stats | DiffReport | DiffsWanted) -> None:
        if self._store is None:
            self._early.append(message)
            return
        match message:
            case Stats():
                self._count(message)
            case DiffReport():
                self._report(message)
            case DiffsWanted():
                states = {name: diffs.state for name, diffs in self._routes.items() if diffs.state}
                self._send(DiffsKept(states))

    def adopt(self, begun: Mapping[str, Begun | None], *, whole: bool) -> None:
        """Another state is in force; `whole` means that there are no other routes than these."""
        if whole:
            for name in self._routes.keys() - begun.keys():
                del self._routes[name]
                self._touch(name)
            self._begun = {name: of_route for name, of_route in self._begun.items() if name in begun}
        for name, of_route in begun.items():
            known, before = self._routes.get(name), self._begun.get(name)
            if known is not None and of_route is not None:
                if before is not None and before.ignore != of_route.ignore:
                    self._tell(name)  # by the rules that held when they were counted
                    known.told = verdicts(known.judged(of_route.ignore))
                if of_route.since >= known.since:
                    self._begin(name, of_route.since, of_route.upstream)
            self._begun[name] = of_route

    def _count(self, stats: Stats) -> None:
        for route, count in stats.copied.items():
            self.copied[route] = self.copied.get(route, 0) + count
            if (diffs := self._of(route)) is not None:
                diffs.copied += count
                self._touch(route)
        for (route, reason), count in stats.not_copied.items():
            self.dropped[route, reason] = self.dropped.get((route, reason), 0) + count
            if (diffs := self._of(route)) is not None:
                diffs.dropped[reason] = diffs.dropped.get(reason, 0) + count
                self._touch(route)

    def _report(self, report: DiffReport) -> None:
        diffs, begun = self._of(report.route), self._begun.get(report.route)
        if diffs is None or begun is None or report.since < diffs.since:
            return
        if report.since > diffs.since:
            diffs = self._begin(report.route, report.since, begun.upstream)
        self._add_up(self.outcomes, report.route, diffs.state.get("outcomes", {}), report.state["outcomes"])
        self._add_up(self.dropped, report.route, diffs.state.get("dropped", {}), report.state["dropped"])
        if diffs.told is None:  # what was found before this process began is no news to Prometheus
            diffs.told = verdicts(diffs.judged(begun.ignore))
        diffs.state = report.state
        for example in report.examples:
            diffs.examples[example["id"]] = example
        _bound(diffs.examples)
        self._touch(report.route)

    def _of(self, route: str) -> RouteDiffs | None:
        """What is known of it; made where it has a shadow."""
        diffs, begun = self._routes.get(route), self._begun.get(route)
        if diffs is None and begun is not None:
            diffs = self._routes[route] = RouteDiffs(begun.since, begun.upstream)
        return diffs

    def _begin(self, route: str, since: int, upstream: str) -> RouteDiffs:
        known = self._routes.get(route)
        if known is None or known.since != since:
            self._tell(route)
            known = self._routes[route] = RouteDiffs(since, upstream)
            self._afresh.add(route)
            self._touch(route)
        elif known.upstream != upstream:  # a report told of the revision, not of the name
            known.upstream = upstream
            self._touch(route)
        return known

    def _add_up(
        self, totals: dict[tuple[str, str], int], route: str, before: Mapping[str, int], after: Mapping[str, int]
    ) -> None:
        for label, count in after.items():
            more = max(0, count - before.get(label, 0))
            totals[route, label] = totals.get((route, label), 0) + more

    def _tell(self, route: str) -> None:
        known, begun = self._routes.get(route), self._begun.get(route)
        if known is not None and begun is not None and known.told is not None:
            now = verdicts(known.judged(begun.ignore))
            self._add_up(self._verdicts, route, known.told, now)
            known.told = now

    # What is asked

    def verdicts(self) -> dict[tuple[str, str], int]:
        """Pairs since this process began, by route and verdict."""
        for route in self._routes:
            self._tell(route)
        return self._verdicts

    def compared(self) -> dict[str, str]:
        """The shadow upstreams whose diffs are kept, by route."""
        return {name: diffs.upstream for name, diffs in self._routes.items()}

    def judged(self, route: str) -> dict[str, Any]:
        """What is known, by what is ignored now."""
        diffs, begun = self._routes.get(route), self._begun.get(route)
        return judge({}) if diffs is None or begun is None else diffs.judged(begun.ignore)

    async def example(self, route: str, name: str) -> dict[str, Any] | None:
        """Raises StoreError."""
        known = self._routes.get(route)
        if known is not None and name in known.examples:
            return known.examples[name]
        if self._store is None or known is None or route in self._afresh:
            return None
        return await self._store.example(route, name)

    # Keeping

    def _touch(self, route: str) -> None:
        self._changed.add(route)
        self._wake.set()

    async def _write(self) -> None:
        pause = WRITE_SECONDS
        while True:
            await self._wake.wait()
            await asyncio.sleep(pause)
            pause = WRITE_SECONDS if await self.flush() else min(2 * pause, _LONGEST_PAUSE)

    async def flush(self) -> bool:
        """Write what has changed. False where that failed: then it is still to be written."""
        assert self._store is not None
        names, self._changed = self._changed, set()
        afresh, self._afresh = self._afresh, set()
        self._wake.clear()
        if not names:
            return True
        change = DiffsChange(afresh=afresh)
        taken = {name: self._routes.get(name) for name in names}
        for name, diffs in taken.items():
            change.routes[name] = None if diffs is None else diffs.kept()
            if diffs is not None and diffs.examples:
                change.examples[name] = list(diffs.examples.values())
        try:
            await self._store.write(change, time.time())
        except (StoreError, asyncio.CancelledError) as error:
            self._changed |= names
            self._afresh |= afresh
            self._wake.set()
            if isinstance(error, asyncio.CancelledError):
                raise
            self.failures += 1
            self._on_error(error)
            return False
        for name, examples in change.examples.items():
            self._written(taken[name], examples)
        return True

    def _written(self, diffs: RouteDiffs | None, examples: Iterable[dict[str, Any]]) -> None:
        if diffs is not None:
            for example in examples:
                diffs.examples.pop(example["id"], None)


def verdicts(judged: Mapping[str, Any]) -> dict[str, int]:
    return {name: judged[name] for name in ("matched", "mismatched", "unknown")}


def _bound(examples: dict[str, dict[str, Any]]) -> None:
    for name in list(examples)[: max(0, len(examples) - MOST_EXAMPLES)]:
        del examples[name]
