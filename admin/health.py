"""Active checks: whether each endpoint of an upstream with a `health_check` serves, found out by asking it.

Rules of this file. An endpoint is healthy or not; so many checks in a row that say the other, `healthy` or `unhealthy`, turn it.
One that has not been checked before is turned by its first check: nothing is known that could outweigh it. At the start of the
gateway endpoints count as healthy until then, since nobody else could take the traffic; one that is added later does not
(admin/endpoints.py). An admin process that comes back goes on from what the workers have: as long as there is none, they keep it.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from admin.gateway import Gateway
from admin.logs import Logger
from admin.probe import Target, probe
from admin.refusals import RefusedError
from proxy.tasks import spawn
from routing.config_upstreams import HealthCheck

# Of the interval, more or less: checks of many endpoints, and of many gateways, are not to fall into step.
JITTER = 0.1
# Connections at a time; the process has 1,024 descriptors on most systems, and its API needs some.
MOST_AT_ONCE = 256

_random = random.Random()  # noqa: S311 - spreading checks over time


@dataclass(frozen=True, slots=True)
class Health:
    """`against` counts the checks in a row that said the other; `checked` is false before the first one."""

    healthy: bool
    against: int = 0
    checked: bool = True


def observe(health: Health, passed: bool, check: HealthCheck) -> Health:
    """The health after one more check."""
    if passed is health.healthy:
        return Health(passed)
    against = health.against + 1
    if not health.checked or against >= (check.healthy if passed else check.unhealthy):
        return Health(passed)
    return Health(health.healthy, against)


class HealthChecks:
    """`fresh` says that the gateway has just started: nothing was ever checked."""

    def __init__(self, gateway: Gateway, log: Logger, *, fresh: bool) -> None:
        self._gateway = gateway
        self._log = log
        self._taking_over = not fresh
        self._running: dict[Target, asyncio.Task[None]] = {}
        self._health: dict[tuple[str, str], Health] = {}
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._telling: asyncio.Task[None] | None = None
        self._news = False
        gateway.endpoints_changed = self.adopt

    def adopt(self) -> None:
        """Check what there is to check now, and nothing else."""
        wanted = {}
        for upstream in self._gateway.snapshot.upstreams:
            check = self._gateway.config.upstreams[upstream.name].health_check
            if check is not None:
                wanted.update({Target.of(upstream, endpoint, check): upstream for endpoint in upstream.endpoints})
        for target in self._running.keys() - wanted.keys():
            self._running.pop(target).cancel()
        keys = {_key(target) for target in wanted}
        self._health = {key: health for key, health in self._health.items() if key in keys}
        for gone in self._gateway.problems.keys() - keys:
            del self._gateway.problems[gone]
        for target, upstream in wanted.items():
            healthy = target.endpoint.url not in upstream.unhealthy
            self._health.setdefault(_key(target), Health(healthy, checked=self._taking_over))
        for target in wanted.keys() - self._running.keys():
            self._running[target] = spawn(self._check(target), f"check {target.endpoint.url}", self._failed)
        self._taking_over = False

    def stop(self) -> None:
        for task in (*self._running.values(), *filter(None, [self._telling])):
            task.cancel()

    def unhealthy(self) -> dict[str, frozenset[str]]:
        """The unhealthy endpoints of each upstream that is checked."""
        found: dict[str, set[str]] = {}
        for (upstream, url), health in self._health.items():
            urls = found.setdefault(upstream, set())
            if not health.healthy:
                urls.add(url)
        return {upstream: frozenset(urls) for upstream, urls in found.items()}

    async def _check(self, target: Target) -> None:
        interval = target.check.interval
        while True:
            async with self._room:
                problem = await probe(target)
            self._observed(target, problem)
            await asyncio.sleep(interval * _random.uniform(1 - JITTER, 1 + JITTER))

    def _observed(self, target: Target, problem: str | None) -> None:
        key, problems = _key(target), self._gateway.problems
        if problem is None:
            problems.pop(key, None)
        else:
            problems[key] = problem
        before = self._health[key]
        self._health[key] = now = observe(before, problem is None, target.check)
        if now.healthy is before.healthy:
            return
        about = {"upstream": target.upstream, "endpoint": target.endpoint.url}
        if problem is None:
            self._log.info("endpoint healthy", **about)
        else:
            self._log.warning("endpoint unhealthy", **about, problem=problem)
        self._news = True
        if self._telling is None:
            self._telling = spawn(self._tell(), "tell health", self._failed)

    async def _tell(self) -> None:
        """What has been found meanwhile goes out together."""
        try:
            while self._news:
                self._news = False
                await self._gateway.adopt_health(self.unhealthy)
        except RefusedError as error:
            self._log.error("what checks have found did not reach the workers", error=error.detail)
        finally:
            self._telling = None

    def _failed(self, error: BaseException) -> None:
        self._log.error("a health check ended", error=repr(error))


def _key(target: Target) -> tuple[str, str]:
    return target.upstream, target.endpoint.url
