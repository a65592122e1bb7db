"""One rollout under way: what it sees, and doing what the machine wants done.

Rules of this file. Actions are done in order; one that fails stays first and is tried again before the next step. What was done is
kept afterwards: workers first, then the store; what is still to be done is not kept. So a process that was killed between the two
finds the route ahead of its record, and goes on from what is in force (resuming.py). What somebody else has signed is theirs: the
rollout lets go (laying.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, assert_never

from admin.audit import Auditor, Intent
from admin.clock import utc_now
from admin.diffs import Diffs
from admin.endpoints import UpstreamState, drain, enable
from admin.gateway import Gateway
from admin.live import RouteState, Stamp
from admin.logs import Logger
from admin.publisher import Receipt
from admin.refusals import RefusedError, UnknownRouteError, UnknownUpstreamError
from admin.rollout.actions import (
    Action,
    Ask,
    Copy,
    CutBack,
    Drain,
    Enable,
    Event,
    GoBack,
    Judge,
    Move,
    StopCopies,
    Tell,
)
from admin.rollout.asking import Asking
from admin.rollout.laying import Ground, RouteAction, laid, meddled
from admin.rollout.machine import Outcome, Seen, interfered, step
from admin.rollout.observing import Observing
from admin.rollout.plan import Replace, Shadowed
from admin.rollout.record import Record, key_of
from admin.rollout.resuming import resumed
from admin.rollout.schedule import closed
from admin.rollout.state import Phase, RolloutState
from admin.state.store import Change, Key
from proxy.control import InFlight
from routing.check import stable_of
from routing.config_upstreams import Upstream
from routing.document import ConfigError

KEEP_SECONDS = 5.0
"""Evidence that only grew is kept this often."""

Heard = Callable[[RolloutState, Event], None]
States = Mapping[Key, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every rollout works with. `heard` is told of each event, after it has been acted on."""

    gateway: Gateway
    diffs: Diffs
    asking: Asking
    log: Logger
    heard: Heard


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of what a person wanted. `trouble`: what is not yet done of it."""

    state: RolloutState
    receipt: Receipt | None
    trouble: str = ""


class MeddledError(Exception):
    """Somebody else has changed what is the rollout's, `what` says."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Run:
    """`receipt` is of the last change that it has published."""

    def __init__(self, record: Record, observing: Observing, around: Surroundings) -> None:
        self.state = record.state
        self.observing = observing
        self.receipt: Receipt | None = None
        self._record = record
        self._around = around
        self._in_force = record.state
        """What the route has of it."""
        self.settled = record.state
        """As people may see it: it has cut back when workers have, not when that was decided."""
        self._todo: deque[Action] = deque()
        self._kept_at = 0.0
        self._troubled = ""
        self._lock = asyncio.Lock()

    @property
    def route(self) -> str:
        return self.state.route

    @property
    def at_rest(self) -> bool:
        """Nothing more will come of it."""
        return self.state.status.ended and not self._todo

    def record(self) -> Record:
        return replace(self._record, state=self.state, evidence=self.observing.to_json())

    # Steps

    async def step(self, now: float) -> None:
        """One turn of the machine: `now` as in machine.step."""
        async with self._lock:
            if meddled := self._interference():
                self._let_others(meddled)
            if not await self._do_all() or self.state.status.ended:
                return
            before = self.state
            self._follow(step(before, self._seen(now), now))
            await self._do_all()
            if self._changed(before) or now - self._kept_at >= KEEP_SECONDS:
                self._kept_at = now
                self.keep()

    async def take(self, transition: Callable[[RolloutState], Outcome], intent: Intent | None = None) -> Taken:
        """What a person wants, between two turns; `intent` is for the audit log. Raises what `transition` raises, and then nothing
        has changed."""
        async with self._lock:
            if intent is not None and (meddled := self._interference()):
                self._let_others(meddled)
                await self._do_all()
            before, self.receipt = self.state, None
            self._follow(transition(before))
            if intent is not None:
                self._write_down(intent, _shown(before), _shown(self.state))
            trouble = "" if await self._do_all() else f"not in force yet, and tried again: {self._troubled}"
            taken = Taken(self.state, self.receipt, trouble)
            kept = self.keep()
        if kept is not None and not await self._around.gateway.journal.kept(kept):
            taken = replace(taken, trouble="not yet stored: a restart would lose it; storing is tried again")
        return taken

    def _follow(self, outcome: Outcome) -> None:
        self.state, actions = outcome
        self._todo += actions

    def _let_others(self, meddled: str) -> None:
        """What was still to be done would undo theirs."""
        self._todo.clear()
        self._follow(interfered(self.state, meddled))

    def _changed(self, before: RolloutState) -> bool:
        """Whether it is another step of the story, rather than more of the same."""
        after = self.state
        return (before.status, before.stage, before.phase) != (after.status, after.stage, after.phase)

    def keep(self) -> Change | None:
        """Not what is still to be done: after a kill it would count as done."""
        if self._todo:
            return None
        gateway = self._around.gateway
        change = Change(gateway.revision, {key_of(self.route): self.record().to_json()})
        gateway.journal.add(change)
        return change

    def _seen(self, now: float) -> Seen:
        state, around = self.state, self._around
        rollout = state.plan.declared
        stage, held = state.current, state.phase is Phase.HOLDING
        idle = healthy = False
        if isinstance(stage, Replace):
            idle = state.phase is Phase.DRAINING and around.asking.idle(state, stage, now)
            healthy = state.phase is Phase.CHECKING and around.asking.healthy(state, stage)
        judged = around.diffs.judged(state.route) if isinstance(stage, Shadowed) and held else None
        return Seen(
            self.observing.turn(now, judged),
            around.asking.answers(state.route),
            self.observing.failed,
            closed(datetime.now(UTC), rollout.windows, around.gateway.config.freezes),
            idle,
            healthy,
        )

    # What others do

    def _interference(self) -> str:
        """What somebody else has changed of what is the rollout's; empty where nothing."""
        gateway, state = self._around.gateway, self._in_force
        if state.status.ended:
            return ""
        route = gateway.config.routes.get(state.route)
        if route is None or stable_of(route) != state.plan.stable:
            return "the configuration no longer has this route with this stable"
        if gone := [name for name in state.plan.to if name not in gateway.config.upstreams]:
            return f"the configuration no longer has {', '.join(gone)}"
        return meddled(self._ground(), state)

    def _ground(self) -> Ground:
        gateway, name = self._around.gateway, self.route
        route = gateway.config.routes[gateway.known(name)]
        live, before = gateway.state(name), self._record.before
        return Ground(live, before, route, gateway.config.upstreams, gateway.next_revision)

    def take_up(self) -> None:
        """Go on after the process has died; what is to be done for it is done in the first turn."""
        if self.route in self._around.gateway.config.routes:
            self._follow(resumed(self.state, self._around.gateway.state(self.route), self._record.before))
            self._in_force = replace(self.state, phase=Phase.ENTERING)

    # Doing

    async def _do_all(self) -> bool:
        """False where something is left to do."""
        while self._todo:
            try:
                await self._do(self._todo[0])
            except MeddledError as error:
                self._let_others(error.what)
                continue
            except (UnknownRouteError, UnknownUpstreamError):
                pass  # gone from the configuration, and with it what there was to do
            except (RefusedError, ConfigError) as error:
                if str(error) != self._troubled:
                    self._around.log.error("a rollout cannot go on", route=self.route, reason=str(error))
                self._troubled = str(error)
                return False
            self._todo.popleft()
            self._troubled = ""
        self._in_force = self.settled = self.state
        return True

    async def _do(self, action: Action) -> None:
        """Raises RefusedError."""
        match action:
            case Move() | CutBack() | GoBack() | Copy() | StopCopies():
                await self._change_route(action)
            case Drain(upstream, endpoints) | Enable(upstream, endpoints):
                await self._change_endpoints(upstream, endpoints, out=isinstance(action, Drain))
            case Ask(gate):
                self._around.asking.ask(gate, self.state)
            case Judge():
                self.observing.begin(self.state)
            case Tell(event):
                await self._tell(event)
            case _:
                assert_never(action)

    async def _change_route(self, action: RouteAction) -> None:
        state = self.state
        names = {Move: "weights", GoBack: "weights", CutBack: "cutback", Copy: "shadow", StopCopies: "shadow"}
        reason = state.reason or f"step {state.stage + 1} of {len(state.plan.stages)}: {state.current.title}"
        stamp = Stamp(state.name, utc_now(), reason)

        def plan(_: Gateway) -> dict[str, RouteState]:
            ground = self._ground()
            if isinstance(action, Move | Copy) and (what := self._interference()):
                raise MeddledError(what)  # since this turn began
            return {state.route: laid(ground, action, state, stamp)}

        # A request that a broken upstream has got and not begun to answer is worth another try.
        in_flight = InFlight.RETRY if isinstance(action, CutBack) else InFlight.FINISH
        intent = Intent(state.name, names[type(action)], reason)
        self.receipt = (await self._around.gateway.change(plan, intent, in_flight)).receipt
        self._in_force = self.state

    async def _change_endpoints(self, upstream: str, endpoints: tuple[str, ...], *, out: bool) -> None:
        stamp = Stamp(self.state.name, utc_now(), self.state.current.title)

        def plan(state: UpstreamState, declared: Upstream) -> UpstreamState:
            for url in endpoints:
                state = drain(state, url, stamp) if out else enable(state, url)
            return state

        intent = Intent(self.state.name, "drain" if out else "enable", stamp.reason)
        await self._around.gateway.change_endpoints(upstream, plan, intent)

    async def _tell(self, event: Event) -> None:
        state, around = self.state, self._around
        if state.status.ended:
            self.state = state = replace(state, ended_at=utc_now())
            await self._let_go()
        about = {
            **_shown(state),
            "to": list(state.plan.to),
            "pattern": state.plan.declared.pattern,
            "started_by": state.started_by,
            "started_at": state.started_at,
            "verdict": state.verdict.sentence,
        }
        intent = Intent(state.name, f"rollout_{event.value}", state.reason or state.current.title)
        self._write_down(intent, None, about, {key_of(state.route): self.record().to_json()})
        around.log.info(intent.action, route=state.route, reason=intent.reason, state=state.status.value)
        around.heard(state, event)

    def _write_down(self, intent: Intent, before: object, after: object, states: States | None = None) -> None:
        gateway = self._around.gateway
        entry = Auditor(gateway.node).entry(intent, gateway.revision, self.route, before, after, None)
        gateway.journal.add(Change(gateway.revision, dict(states or {}), [entry]))

    async def _let_go(self) -> None:
        """Workers need not count any more."""
        gateway, name = self._around.gateway, self.route
        self._around.asking.forget(name)
        if not gateway.state(name).judged or name not in gateway.config.routes:
            return

        def plan(gateway: Gateway) -> dict[str, RouteState]:
            return {name: replace(gateway.state(gateway.known(name)), judged=False)}

        await gateway.change(plan, Intent(self.state.name, "rollout_ends", self.state.reason))


def _shown(state: RolloutState) -> dict[str, Any]:
    """Of a rollout, in an entry of the audit log."""
    return {
        "number": state.number,
        "state": state.status.value,
        "step": state.stage + 1,
        "steps": len(state.plan.stages),
        "weight": state.weight,
    }
