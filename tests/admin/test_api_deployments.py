"""Deployments over the API, from what a real control plane writes into its log."""

from __future__ import annotations

from typing import Any

import pytest

from admin.api import deployments as deployments_module
from admin.audit import Auditor, Intent
from admin.clock import utc_now
from admin.state.store import Change
from tests.admin.conftest import Plane


async def rolled_out(plane: Plane, event: str, number: int, **about: Any) -> None:
    gateway = plane.context.gateway
    after = {"number": number, "to": ["canary"], "pattern": "canary", "started_by": "ann", "started_at": utc_now()}
    intent = Intent(f"rollout shop#{number}", f"rollout_{event}", "every step has held")
    entry = Auditor(gateway.node).entry(intent, gateway.revision, "shop", None, after | about, None)
    await gateway.journal.keep(Change(gateway.revision, audit=[entry]))


async def test_what_people_did_is_in_it_with_the_figures(plane: Plane) -> None:
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"canary": 1}, "reason": "SHOP-1"})
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"blue": 9, "canary": 1}})
    await plane.call("POST", "/v1/cutback")
    await plane.call("DELETE", "/v1/routes/shop/cutback")
    answer = await plane.call("GET", "/v1/deployments?since=1h")
    [manual] = answer.json["deployments"]
    assert (manual["kind"], manual["route"], manual["to"], manual["started_by"], manual["reason"]) == (
        "manual", "shop", ["canary"], "admin", "SHOP-1",
    )  # fmt: skip
    figures = answer.json["figures"]
    assert (figures["manual"], figures["recovered"], figures["not_recovered"]) == (1, 1, 2)
    assert (figures["per_day"], figures["success_rate"], answer.json["truncated"]) == (24.0, None, False)
    of_api = (await plane.call("GET", "/v1/deployments?route=api")).json
    assert (of_api["deployments"], of_api["figures"]["not_recovered"]) == ([], 1)


async def test_a_rollout_that_runs_is_in_it_with_who_began_it(plane: Plane) -> None:
    steps = {"pattern": "canary", "to": "canary", "steps": [{"weight": "1%", "hold": "1h"}], "reason": "SHOP-2"}
    begun = await plane.call("POST", "/v1/routes/shop/rollout", json=steps)
    assert begun.status == 200
    aborted = await plane.call("POST", "/v1/routes/shop/rollout/abort")
    assert aborted.status == 200
    answer = (await plane.call("GET", "/v1/deployments")).json
    [rollout] = answer["deployments"]
    assert rollout["seconds"] >= 0
    told = ("kind", "route", "number", "to", "pattern", "outcome", "started_by", "reason")
    assert [rollout[key] for key in told] == [
        "rollout", "shop", 1, ["canary"], "canary", "aborted", "admin", "aborted by admin",
    ]  # fmt: skip
    assert (answer["figures"]["aborted"], answer["figures"]["success_rate"]) == (1, None)


async def test_the_limit_is_of_the_list_and_not_of_the_figures(plane: Plane) -> None:
    for number in (1, 2, 3):
        await rolled_out(plane, "promoted", number)
    await rolled_out(plane, "cut_back", 4)
    answer = (await plane.call("GET", "/v1/deployments?limit=2")).json
    assert [each["number"] for each in answer["deployments"]] == [4, 3]
    assert (answer["figures"]["promoted"], answer["figures"]["success_rate"]) == (3, 0.75)


async def test_what_is_read_at_once_is_bounded_and_says_so(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployments_module, "MOST_READ", 3)
    monkeypatch.setattr(deployments_module, "_BATCH", 2)
    for number in (1, 2, 3):
        await rolled_out(plane, "promoted", number)
    assert not (await plane.call("GET", "/v1/deployments")).json["truncated"]
    await rolled_out(plane, "promoted", 4)
    answer = (await plane.call("GET", "/v1/deployments")).json
    assert ([each["number"] for each in answer["deployments"]], answer["truncated"]) == ([4, 3, 2], True)
    began = [
        entry for entry in (await plane.call("GET", "/v1/audit")).json["entries"] if entry["after"].get("number") == 2
    ]
    assert answer["since"] == began[0]["at"]


@pytest.mark.parametrize("query", ["since=soon", "since=2999-01-01", "since=2026-03-01T00:00:00", "limit=0"])
async def test_bad_parameters_are_named(plane: Plane, query: str) -> None:
    refused = await plane.call("GET", f"/v1/deployments?{query}")
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, query.partition("=")[0])
