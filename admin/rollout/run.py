"""One rollout under way: what it sees, and doing what the machine wants done.

Rules of this file. Actions are done in order; one that fails stays first and is tried again before the next step. What was done is
kept afterwards: workers first, then the store. So a process that was killed between the two finds the route ahead of its record,
signed by the rollout itself, and `take_up` goes on from what is in force. What somebody else has signed is theirs: the rollout
lets go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import assert_never

from admin.audit import Auditor, Intent
from admin.clock import utc_now
from admin.diffs import Diffs
from admin.document import fingerprint
from admin.endpoints import UpstreamState, drain, enable
from admin.gateway import Gateway
from admin.live import RouteState, Stamp, cut_back, set_shadow, set_weights
from admin.logs import Logger
from admin.refusals import RefusedError
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
from admin.rollout.machine import Outcome, Seen, interfered, step
from admin.rollout.observing import Observing
from admin.rollout.plan import Replace, Shadowed, Traffic
from admin.rollout.record import Record, key_of
from admin.rollout.schedule import closed
from admin.rollout.state import Phase, RolloutState, Status
from admin.state.store import Change
from proxy.control import InFlight
from routing.check import stable_of
from routing.config_upstreams import Upstream
from routing.snapshot import CutbackMode

KEEP_SECONDS = 5.0
"""Evidence that only grew is kept this often."""

Heard = Callable[[RolloutState, Event], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every rollout works with. `heard` is told of each event, after it has been acted on."""

    gateway: Gateway
    diffs: Diffs
    asking: Asking
    log: Logger
    heard: Heard


class Run:
    def __init__(self, record: Record, observing: Observing, around: Surroundings) -> None:
        self.state = record.state
        self.observing = observing
        self._record = record
        self._around = around
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
            if not await self._do_all():
                return
            before = self.state
            meddled = self._interference()
            self._follow(interfered(before, meddled) if meddled else step(before, self._seen(now), now))
            await self._do_all()
            if self._changed(before) or now - self._kept_at >= KEEP_SECONDS:
                self._kept_at = now
                self.keep()

    async def take(self, transition: Callable[[RolloutState], Outcome]) -> None:
        """What a person wants, between two turns. Raises what `transition` raises, and then nothing has changed."""
        async with self._lock:
            self._follow(transition(self.state))
            await self._do_all()
            self.keep()

    def _follow(self, outcome: Outcome) -> None:
        self.state, actions = outcome
        self._todo += actions

    def _changed(self, before: RolloutState) -> bool:
        """Whether it is another step of the story, rather than more of the same."""
        after = self.state
        return (before.status, before.stage, before.phase) != (after.status, after.stage, after.phase)

    def keep(self) -> None:
        gateway = self._around.gateway
        gateway.journal.add(Change(gateway.revision, {key_of(self.route): self.record().to_json()}))

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
        gateway, state = self._around.gateway, self.state
        if state.status.ended:
            return ""
        route = gateway.config.routes.get(state.route)
        if route is None or stable_of(route) != state.plan.stable:
            return "the configuration no longer has this route with this stable"
        if gone := [name for name in state.plan.to if name not in gateway.config.upstreams]:
            return f"the configuration no longer has {', '.join(gone)}"
        live = gateway.state(state.route)
        if live.cutback is not None:
            why = f": {live.cutback.stamp.reason}" if live.cutback.stamp.reason else ""
            return f"cut back by {live.cutback.stamp.by}{why}"
        if state.moved and not state.plan.replaces:
            if live.weights is None:
                return "the configuration's own weights for this route changed"
            if live.weights.stamp.by != state.name:
                return f"{live.weights.stamp.by} has set the weights"
        return ""

    def take_up(self) -> None:
        """Go on after the process has died: the route may be a step ahead of what was kept of it."""
        live, state = self._around.gateway.state(self.route), self.state
        if state.status.ended:
            return
        if live.cutback is not None and live.cutback.stamp.by == state.name:
            self.state = replace(state, status=Status.CUT_BACK, reason=live.cutback.stamp.reason, weight=0.0)
            return
        if live.weights is None or live.weights.stamp.by != state.name:
            return
        in_force = dict(live.weights.weights)
        for number in (state.stage, state.stage + 1):
            stage = state.plan.stages[number] if number < len(state.plan.stages) else None
            if isinstance(stage, Traffic) and state.plan.weights(stage.weight) == in_force:
                if number > state.stage or state.phase is Phase.ENTERING:
                    self.state = replace(
                        state, stage=number, phase=Phase.HOLDING, weight=stage.weight, moved=True, held=0.0, gates={}
                    )
                    self.observing.begin(self.state)
                return

    # Doing

    async def _do_all(self) -> bool:
        """False where something is left to do."""
        while self._todo:
            try:
                await self._do(self._todo[0])
            except RefusedError as error:
                if error.detail != self._troubled:
                    self._around.log.error("a rollout cannot go on", route=self.route, reason=error.detail)
                self._troubled = error.detail
                return False
            self._todo.popleft()
            self._troubled = ""
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

    async def _change_route(self, action: Move | CutBack | GoBack | Copy | StopCopies) -> None:
        state = self.state
        names = {Move: "weights", GoBack: "weights", CutBack: "cutback", Copy: "shadow", StopCopies: "shadow"}
        reason = state.reason or f"step {state.stage + 1} of {len(state.plan.stages)}: {state.current.title}"
        stamp = Stamp(state.name, utc_now(), reason)

        def plan(gateway: Gateway) -> dict[str, RouteState]:
            return {state.route: self._laid(gateway, action, stamp)}

        # A request that a broken upstream has got and not begun to answer is worth another try.
        in_flight = InFlight.RETRY if isinstance(action, CutBack) else InFlight.FINISH
        await self._around.gateway.change(plan, Intent(state.name, names[type(action)], reason), in_flight)

    def _laid(self, gateway: Gateway, action: Move | CutBack | GoBack | Copy | StopCopies, stamp: Stamp) -> RouteState:
        name, before = self.route, self._record.before
        live, route = gateway.state(gateway.known(name)), gateway.config.routes[name]
        match action:
            case Move(weights):
                return replace(set_weights(live, weights, fingerprint(route), stamp), judged=True)
            case CutBack():
                return cut_back(replace(live, weights=before.weights, judged=False), CutbackMode.CUT, stamp)
            case GoBack():
                return replace(live, weights=before.weights)
            case Copy(upstream, percent):
                given = {"upstream": upstream, "percent": percent}
                return set_shadow(live, given, route, gateway.config.upstreams, stamp, gateway.next_revision)
            case StopCopies():
                return replace(live, shadow=before.shadow)
            case _:
                assert_never(action)

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
        gateway = around.gateway
        about = {
            "number": state.number,
            "state": state.status.value,
            "step": state.stage + 1,
            "steps": len(state.plan.stages),
            "weight": state.weight,
            "to": list(state.plan.to),
            "started_at": state.started_at,
            "verdict": state.verdict.sentence,
        }
        intent = Intent(state.name, f"rollout_{event.value}", state.reason or state.current.title)
        entry = Auditor(gateway.node).entry(intent, gateway.revision, state.route, None, about, None)
        states = {key_of(state.route): self.record().to_json()}
        gateway.journal.add(Change(gateway.revision, states, [entry]))
        around.log.info(intent.action, route=state.route, reason=intent.reason, state=state.status.value)
        around.heard(state, event)

    async def _let_go(self) -> None:
        """Workers need not count any more."""
        gateway, name = self._around.gateway, self.route
        self._around.asking.forget(name)
        if not gateway.state(name).judged or name not in gateway.config.routes:
            return

        def plan(gateway: Gateway) -> dict[str, RouteState]:
            return {name: replace(gateway.state(gateway.known(name)), judged=False)}

        await gateway.change(plan, Intent(self.state.name, "rollout_ends", self.state.reason))
