"""All rollouts of the gateway: begun by people, followed turn after turn, taken up again after a restart.

One rollout a route. Each has a task of its own, so that a slow change of one route keeps no other from its cutback.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from admin.audit import Intent
from admin.clock import utc_now
from admin.diffs import Diffs
from admin.endpoints import in_force
from admin.gateway import Gateway, Outcome
from admin.live import FieldError, RouteState, Stamp, set_shadow
from admin.logs import Logger
from admin.rates import Rates
from admin.refusals import BusyError, InvalidFieldsError, OutOfTurnError
from admin.rollout import machine
from admin.rollout.asking import Asking
from admin.rollout.commands import Command, command
from admin.rollout.observing import Observing
from admin.rollout.plan import Plan, plan_of
from admin.rollout.record import Record
from admin.rollout.run import Heard, Run, Surroundings, Taken
from admin.rollout.schedule import closed
from admin.rollout.state import RolloutState
from proxy.control import Arm
from proxy.tasks import spawn
from routing.check import stable_of
from routing.config_rollout import Rollout
from routing.document import ConfigError

TURN = 0.25
"""Seconds: as often as workers report."""


@dataclass(frozen=True, slots=True)
class Begun:
    """`state` is what the rollout begins as, or for a dry run would."""

    outcome: Outcome
    state: RolloutState


@dataclass(slots=True)
class Rollouts:
    """`now` is a clock in seconds that does not jump. `ended` has the last rollout of each route that has none under way."""

    around: Surroundings
    now: Callable[[], float]
    running: dict[str, Run] = field(default_factory=dict)
    ended: dict[str, Record] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(route, how) -> rollouts that have ended."""
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _beginning: set[str] = field(default_factory=set)
    """Routes whose change is made and not yet on the disk: another call may not begin one meanwhile."""

    # Asked

    def of(self, route: str) -> RolloutState | None:
        """The rollout under way, or the last one."""
        if (run := self.running.get(route)) is not None:
            return run.settled
        record = self.ended.get(route)
        return None if record is None else record.state

    # Begun and told

    async def begin(self, route: str, brought: Rollout | None, intent: Intent) -> Begun:
        """Raises RefusedError."""
        begun: list[tuple[Plan, RouteState]] = []

        def plan(gateway: Gateway) -> dict[str, RouteState]:
            begun[:] = [(self._plan(gateway, route, brought), gateway.state(route))]
            if not intent.dry_run:
                self._beginning.add(route)
            return {route: replace(gateway.state(route), judged=True)}

        try:
            outcome = await self.around.gateway.change(plan, replace(intent, action="rollout"))
            return await self._begun(route, *begun[0], outcome, intent)
        finally:
            if begun and not intent.dry_run:
                self._beginning.discard(route)

    async def _begun(self, route: str, of_it: Plan, before: RouteState, outcome: Outcome, intent: Intent) -> Begun:
        last = self.of(route)
        number = 1 if last is None else last.number + 1
        state, actions = machine.begin(of_it, route, number, intent.who, utc_now())
        if outcome.receipt is not None:
            endpoints = self._endpoints(of_it.to[0])
            record = Record(state, endpoints, replace(before, judged=False), {})
            run = Run(record, Observing(of_it, sticky=self._sticky(route)), self.around)
            taken = await run.take(lambda _: (state, actions))
            self._follow(run)
            if taken.trouble and not outcome.warnings:
                outcome = replace(outcome, warnings=(taken.trouble,))
        return Begun(outcome, state)

    async def tell(self, route: str, what: Command, intent: Intent, upstream: str = "") -> Taken:
        """Raises RefusedError."""
        gateway, run = self.around.gateway, self._under_way(route)
        by = f"{intent.who}: {intent.reason}" if intent.reason else intent.who

        def told(state: RolloutState) -> machine.Outcome:
            gateway.check_if_match(intent, [gateway.route_revision(route)])
            return command(state, what, by, upstream)

        return Taken(told(run.state)[0], None) if intent.dry_run else await run.take(told, intent)

    def _under_way(self, route: str) -> Run:
        """Raises OutOfTurnError."""
        run = self.running.get(route)
        if run is None or run.at_rest:
            last = self.of(route)
            ended = "" if last is None else f"; its last one has ended: {last.status.value}"
            raise OutOfTurnError(f"route {route!r} has no rollout under way{ended}")
        return run

    def _plan(self, gateway: Gateway, name: str, brought: Rollout | None) -> Plan:
        """What is to begin. Raises RefusedError."""
        route = gateway.config.routes[gateway.known(name)]
        declared = route.rollout if brought is None else brought
        if declared is None:
            raise InvalidFieldsError([FieldError("", f"route {name!r} declares no rollout: bring a plan")])
        run = self.running.get(name)
        if run is not None and not run.at_rest:
            raise BusyError(f"route {name!r} has a rollout under way: {run.state.name}, {run.state.status.value}")
        if name in self._beginning:
            raise BusyError(f"route {name!r} has a rollout that begins at this moment")
        if (cutback := gateway.state(name).cutback) is not None:
            why = f": {cutback.stamp.reason}" if cutback.stamp.reason else ""
            raise BusyError(f"route {name!r} is cut back by {cutback.stamp.by}{why}. Restore it to begin a rollout")
        if frozen := closed(datetime.now(UTC), (), gateway.config.freezes):
            raise BusyError(f"no rollout may begin: {frozen}")
        stable = stable_of(route)
        assert stable is not None
        plan = plan_of(declared, stable, self._endpoints(declared.to[0]))
        _check_shadow(gateway, name, plan)
        return plan

    def _endpoints(self, upstream: str) -> tuple[str, ...]:
        gateway = self.around.gateway
        return in_force(gateway.upstream_state(upstream), gateway.config.upstreams[upstream])

    def _sticky(self, route: str) -> bool:
        declared = self.around.gateway.config.routes.get(route)
        return declared is not None and declared.sticky is not None

    # Life

    def counted(self, arms: list[Arm]) -> None:
        """What a worker says of judged routes."""
        for arm in arms:
            if (run := self.running.get(arm.route)) is not None:
                run.observing.add(arm, self.now())

    def take_up(self, kept: Mapping[str, Any]) -> None:
        """Go on with what the store has, by route."""
        for route, value in kept.items():
            try:
                record = Record.from_json(route, value)
                if record.state.status.ended:
                    self.ended[route] = record
                    continue
                observing = Observing(record.state.plan, sticky=self._sticky(route))
                observing.restore(record.evidence)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                self.around.log.error(
                    "a rollout that was kept cannot be read; it is dropped", route=route, error=repr(error)
                )
                continue
            run = Run(record, observing, self.around)
            run.take_up()
            self.around.log.info(
                "a rollout goes on", route=route, state=run.state.status.value, step=run.state.stage + 1
            )
            self._follow(run)
        self._let_go()

    def _let_go(self) -> None:
        """Routes that were judged for a rollout which was killed as it began, or whose record cannot be read."""
        gateway = self.around.gateway
        left = [name for name, state in gateway.laid.states.items() if state.judged and name not in self.running]
        if not left:
            return

        def plan(gateway: Gateway) -> dict[str, RouteState]:
            return {name: replace(gateway.state(gateway.known(name)), judged=False) for name in left}

        spawn(
            gateway.change(plan, Intent("rollout", "rollout_ends", "no rollout is under way")), "let go", self._failed
        )

    def _follow(self, run: Run) -> None:
        self.running[run.route] = run
        self._tasks[run.route] = spawn(self._turns(run), f"rollout {run.route}", self._failed)

    async def _turns(self, run: Run) -> None:
        said = ""
        while not run.at_rest:
            try:
                await run.step(self.now())
            except Exception as error:
                # Whatever it was: without turns nobody would cut this route back.
                if repr(error) != said:
                    self.around.log.exception("a turn of a rollout failed; it is tried again", route=run.route)
                said = repr(error)
            await asyncio.sleep(TURN)
        self.ended[run.route] = run.record()
        self.outcomes[run.route, run.state.status.value] += 1
        if self.running.get(run.route) is run:  # else the next one has begun already
            del self.running[run.route], self._tasks[run.route]

    def _failed(self, error: BaseException) -> None:
        self.around.log.error("a rollout stands still", error=repr(error))

    async def stop(self) -> None:
        """What is under way goes on at the next start."""
        for task in self._tasks.values():
            task.cancel()
        for run in self.running.values():
            run.keep()
        await self.around.asking.close()


def _check_shadow(gateway: Gateway, name: str, plan: Plan) -> None:
    """That the shadow which the plan begins with can be set. Raises InvalidFieldsError."""
    gate = plan.declared.shadow
    if gate is None:
        return
    given, stamp = {"upstream": plan.to[0], "percent": gate.percent}, Stamp("", "", "")
    route, upstreams = gateway.config.routes[name], gateway.config.upstreams
    try:
        set_shadow(gateway.state(name), given, route, upstreams, stamp, gateway.next_revision)
    except ConfigError as error:
        raise InvalidFieldsError(FieldError(f"shadow.{each.path}", each.message) for each in error.problems) from error


def begin_rollouts(gateway: Gateway, rates: Rates, diffs: Diffs, log: Logger, heard: Heard) -> Rollouts:
    """None under way yet."""
    asking = Asking(gateway, rates, lambda error: log.error("a question of a rollout failed", error=repr(error)))
    around = Surroundings(gateway, diffs, asking, log, heard)
    return Rollouts(around, asyncio.get_running_loop().time)
