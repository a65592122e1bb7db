"""The questions of rollouts, put and answered beside the turns: gates, probes of endpoints that were updated, and who is idle.

A question outlives no stage: its answer is void when the rollout has gone on (`machine.Seen`), and its task is cancelled when the
rollout ends. One question of a name is under way at a time, since the machine asks again only after the answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from admin.gateway import Gateway
from admin.probe import Target, probe
from admin.rates import Rates
from admin.rollout.gates import SMOKE, UPDATE, prometheus_of, webhooks_of
from admin.rollout.machine import Answer
from admin.rollout.plan import Replace, Smoke
from admin.rollout.prometheus import query
from admin.rollout.smoke import smoke
from admin.rollout.state import RolloutState
from admin.rollout.webhooks import call, update
from proxy.tasks import spawn
from routing.config_upstreams import HealthCheck

# A gauge of what is under way is as old as the last report; after a drain the next one counts.
SETTLED_SECONDS = 1.0
# Where the upstream has no check of its own: that it takes connections.
_CONNECTS = HealthCheck(tcp=True)

Question = Callable[[], Awaitable[Answer]]


class Asking:
    """`on_error` hears of what should not happen."""

    def __init__(self, gateway: Gateway, rates: Rates, on_error: Callable[[BaseException], None]) -> None:
        self._gateway = gateway
        self._rates = rates
        self._on_error = on_error
        self._session: ClientSession | None = None
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._answers: dict[str, deque[Answer]] = {}
        self._drained_at: dict[tuple[str, int], float] = {}
        self._well: dict[tuple[str, int], bool] = {}

    # Gates

    def ask(self, gate: str, state: RolloutState) -> None:
        question = self._question(gate, state)
        key = (state.route, gate)
        if (under_way := self._tasks.pop(key, None)) is not None:
            under_way.cancel()
        self._tasks[key] = spawn(
            self._put(state.route, gate, question), f"rollout {state.route}: {gate}", self._on_error
        )

    def _question(self, gate: str, state: RolloutState) -> Question:
        analysis, session = state.plan.declared.analysis, self._open()
        if gate == SMOKE:
            stage = state.current
            assert isinstance(stage, Smoke)
            return lambda: smoke(self._gateway, self._rates, session, state, stage)
        if gate == UPDATE:
            hook, replace = state.plan.declared.update, state.current
            assert hook is not None
            assert isinstance(replace, Replace)
            return lambda: update(session, hook, state, replace)
        if (check := prometheus_of(analysis).get(gate)) is not None:
            return lambda: query(session, gate, check)
        return lambda: call(session, gate, webhooks_of(analysis)[gate], state)

    async def _put(self, route: str, gate: str, question: Question) -> None:
        try:
            answer = await question()
        except Exception as error:
            # Whatever it was: a question without an answer would be asked no more.
            self._on_error(error)
            answer = Answer(gate, None, f"{gate}: {error!r}")
        self._answers.setdefault(route, deque()).append(answer)

    def answers(self, route: str) -> tuple[Answer, ...]:
        """Those that have come since the last call."""
        found = self._answers.pop(route, None)
        return () if found is None else tuple(found)

    # Endpoints

    def idle(self, state: RolloutState, stage: Replace, now: float) -> bool:
        """Whether nothing is under way at its endpoints any more, or what is has had the time that a drain gives."""
        since = self._drained_at.setdefault((state.route, state.stage), now)
        if now - since >= self._gateway.config.timeouts.drain:
            return True
        busy = self._rates.in_flight_at(stage.upstream)
        return now - since >= SETTLED_SECONDS and not any(busy.get(url, 0) for url in stage.endpoints)

    def healthy(self, state: RolloutState, stage: Replace) -> bool:
        """Whether each of its endpoints has passed a check since it was updated; asks until they have."""
        key = (state.route, state.stage)
        if self._well.get(key):
            return True
        if key not in self._well:
            self._well[key] = False
            self._tasks[state.route, "check"] = spawn(
                self._check(key, stage), f"rollout {state.route}: check", self._on_error
            )
        return False

    async def _check(self, key: tuple[str, int], stage: Replace) -> None:
        while (upstream := self._gateway.snapshot.upstream_named(stage.upstream)) is not None:
            check = self._gateway.config.upstreams[stage.upstream].health_check or _CONNECTS
            here = [Target.of(upstream, each, check) for each in upstream.endpoints if each.url in stage.endpoints]
            problems = await asyncio.gather(*map(probe, here))
            if not any(problems):
                self._well[key] = True
                return
            await asyncio.sleep(check.interval)

    # Life

    def forget(self, route: str) -> None:
        """The route's rollout has ended."""
        for key in [key for key in self._tasks if key[0] == route]:
            self._tasks.pop(key).cancel()
        self._answers.pop(route, None)
        self._drained_at = {key: at for key, at in self._drained_at.items() if key[0] != route}
        self._well = {key: well for key, well in self._well.items() if key[0] != route}

    def _open(self) -> ClientSession:
        """Made when it is first needed."""
        if self._session is None:
            # A connection each: one that was kept may be closed by the other side as it is used, which would count as a failure.
            self._session = ClientSession(
                headers={"User-Agent": "headgate-rollout", "Accept-Encoding": "identity"},
                connector=TCPConnector(force_close=True),
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        if self._session is not None:
            await self._session.close()
