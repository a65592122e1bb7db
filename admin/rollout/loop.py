"""All rollouts of the gateway: begun by people, followed turn after turn, taken up again after a restart.

One rollout a route. Each has a task of its own, so that a slow change of one route keeps no other from its cutback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from admin.audit import Intent
from admin.clock import utc_now
from admin.diffs import Diffs
from admin.endpoints import in_force
from admin.gateway import Gateway, Outcome
from admin.live import FieldError, RouteState
from admin.logs import Logger
from admin.rates import Rates
from admin.refusals import BusyError, InvalidFieldsError, OutOfTurnError
from admin.rollout import machine
from admin.rollout.asking import Asking
from admin.rollout.commands import Command, command
from admin.rollout.observing import Observing
from admin.rollout.plan import Plan, plan_of
from admin.rollout.record import Record
from admin.rollout.run import Run, Surroundings
from admin.rollout.schedule import closed
from admin.rollout.state import RolloutState
from proxy.control import Arm
from proxy.tasks import spawn
from routing.check import stable_of
from routing.config_rollout import Rollout

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
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _beginning: set[str] = field(default_factory=set)
    """Routes whose change is made and not yet on the disk: another call may not begin one meanwhile."""

    # Asked

    def of(self, route: str) -> Record | None:
        """The rollout under way, or the last one."""
        run = self.running.get(route)
        return self.ended.get(route) if run is None else run.record()

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
        number = 1 if last is None else last.state.number + 1
        state, actions = machine.begin(of_it, route, number, intent.who, utc_now())
        if outcome.receipt is not None:
            endpoints = self._endpoints(of_it.to[0])
            record = Record(state, endpoints, replace(before, judged=False), {})
            run = Run(record, Observing(of_it, sticky=self._sticky(route)), self.around)
            await run.take(lambda _: (state, actions))
            self._follow(run)
        return Begun(outcome, state)

    async def tell(self, route: str, what: Command, intent: Intent, upstream: str = "") -> RolloutState:
        """Raises RefusedError."""
        run = self._under_way(route)
        if intent.dry_run:
            return command(run.state, what, intent.who, upstream)[0]
        await run.take(lambda state: command(state, what, intent.who, upstream))
        return run.state

    def _under_way(self, route: str) -> Run:
        """Raises OutOfTurnError."""
        run = self.running.get(route)
        if run is None or run.state.status.ended:
            raise OutOfTurnError(f"route {route!r} has no rollout under way")
        return run

    def _plan(self, gateway: Gateway, name: str, brought: Rollout | None) -> Plan:
        """What is to begin. Raises RefusedError."""
        route = gateway.config.routes[gateway.known(name)]
        declared = route.rollout if brought is None else brought
        if declared is None:
            raise InvalidFieldsError([FieldError("", f"route {name!r} declares no rollout: bring a plan")])
        run = self.running.get(name)
        if run is not None:
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
        return plan_of(declared, stable, self._endpoints(declared.to[0]))

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

    def _follow(self, run: Run) -> None:
        self.running[run.route] = run
        self._tasks[run.route] = spawn(self._turns(run), f"rollout {run.route}", self._failed)

    async def _turns(self, run: Run) -> None:
        while not run.at_rest:
            await run.step(self.now())
            await asyncio.sleep(TURN)
        self.ended[run.route] = run.record()
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


def begin_rollouts(gateway: Gateway, rates: Rates, diffs: Diffs, log: Logger) -> Rollouts:
    """None under way yet."""
    asking = Asking(gateway, rates, lambda error: log.error("a question of a rollout failed", error=repr(error)))
    around = Surroundings(gateway, diffs, asking, log, lambda state, event: None)
    return Rollouts(around, asyncio.get_running_loop().time)
