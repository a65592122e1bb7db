"""Calls about rollouts that come at the same time."""

from __future__ import annotations

import asyncio

from tests.admin.conftest import Plane

PLAN = {"to": "canary", "steps": [{"weight": 5, "hold": "1h"}]}


async def test_of_two_that_begin_at_once_one_is_refused(plane: Plane) -> None:
    answers = await asyncio.gather(
        *(plane.call("POST", "/v1/routes/shop/rollout", json=PLAN) for _ in range(2)),
    )
    assert sorted(answer.status for answer in answers) == [200, 409]
    shown = await plane.call("GET", "/v1/routes/shop/rollout")
    assert shown.json["number"] == 1
