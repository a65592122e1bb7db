"""Rollouts for tests of the control plane: what workers would report, and waiting for what a rollout makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from proxy.control import Arm, Stats
from tests.admin.conftest import Answer, Plane
from tests.support.wire import PATIENCE

ROLLOUT = "/v1/routes/shop/rollout"
LOOK_SECONDS = 0.02


async def begin(plane: Plane, **plan: Any) -> Answer:
    """5 % for an hour unless told otherwise."""
    plan = {"to": "canary", "steps": [{"weight": 5, "hold": "1h"}]} | plan
    answer = await plane.call("POST", ROLLOUT, json={key: value for key, value in plan.items() if value is not None})
    assert answer.status == 200, answer.text
    return answer


async def shown(plane: Plane) -> Any:
    return (await plane.call("GET", ROLLOUT)).json


async def until(plane: Plane, holds: Callable[[Any], bool], *, feed: Callable[[], None] = lambda: None) -> Any:
    """The rollout, once that holds of it; `feed` before each look."""
    async with asyncio.timeout(PATIENCE):
        while True:
            feed()
            if holds(rollout := await shown(plane)):
                return rollout
            await asyncio.sleep(LOOK_SECONDS)


async def until_state(plane: Plane, state: str, **feed: Any) -> Any:
    return await until(plane, lambda rollout: rollout["state"] == state, **feed)


def traffic(plane: Plane, *, bad: int = 0, canary: int = 50, stable: int = 950) -> Callable[[], None]:
    """A worker's report of so many requests, `bad` of them the canary's."""

    def feed() -> None:
        arms = [
            Arm("shop", "canary", canary, bad, {40: canary - bad}),
            Arm("shop", "blue", stable, 0, {40: stable}),
        ]
        plane.supervisor.send(Stats(0, [], {}, {}, arms=arms))

    return feed


async def audit(plane: Plane, *actions: str) -> list[Any]:
    """The entries with these actions, oldest first."""
    entries = (await plane.call("GET", "/v1/audit?limit=1000")).json["entries"]
    return [entry for entry in reversed(entries) if entry["action"] in actions]
