"""Rollouts through the API: begun, shown, told what to do, and every refusal with nothing changed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from admin.auth import digest_of
from admin.state.store import Token
from tests.admin.conftest import Plane, Start, edit
from tests.admin.rollouts import ROLLOUT, audit, begin, shown, traffic, until, until_state
from tests.support.wire import PATIENCE

PLAN = {"to": "canary", "steps": [{"weight": 5, "hold": "1h"}, {"weight": 100}]}
OWN_PLAN = "    sticky: {cookie: hg_bucket, max_age: 30d}\n    rollout: {to: canary, steps: [{weight: 7, hold: 1h}]}\n"
NOW = datetime.now(UTC)


def weights(plane: Plane) -> Any:
    live = plane.context.gateway.state("shop").weights
    return None if live is None else dict(live.weights)


# Begun


async def test_an_empty_body_begins_the_routes_own_plan(config: Path, start: Start) -> None:
    edit(config, "    sticky: {cookie: hg_bucket, max_age: 30d}\n", OWN_PLAN)
    plane = await start()
    answer = await plane.call("POST", ROLLOUT)
    assert (answer.status, answer.json["state"], answer.json["number"]) == (200, "running", 1)
    assert answer.json["receipt"]["applied"]
    assert answer.headers["ETag"] == f'"{answer.json["revision"]}"'
    rollout = await until(plane, lambda rollout: rollout["weight"] == 7)
    assert (rollout["to"], rollout["stable"], rollout["pattern"]) == (["canary"], "blue", "canary")
    assert weights(plane) == {"blue": 93, "canary": 7}


async def test_a_plan_that_is_brought_wins_over_the_routes_own(config: Path, start: Start) -> None:
    edit(config, "    sticky: {cookie: hg_bucket, max_age: 30d}\n", OWN_PLAN)
    plane = await start()
    await begin(plane, to="green", steps=[{"weight": 1, "hold": "1h"}])
    await until(plane, lambda rollout: rollout["weight"] == 1)
    assert weights(plane) == {"blue": 99, "green": 1}


async def test_the_shape_of_a_rollout(plane: Plane) -> None:
    assert (await plane.call("GET", ROLLOUT)).status == 404
    assert (await plane.call("GET", "/v1/routes/shop")).json["rollout"] is None
    await begin(plane)
    rollout = await until(plane, lambda each: each["evidence"] != {}, feed=traffic(plane))
    assert {"state", "step", "steps", "weight", "verdict", "evidence", "reason", "started_at", "ended_at"} <= set(
        rollout
    )
    assert (rollout["state"], rollout["step"], rollout["steps"], rollout["weight"]) == ("running", 1, 1, 5)
    assert (rollout["started_by"], rollout["ended_at"]) == ("admin", None)
    assert rollout["evidence"]["canary"]["requests"] % 50 == 0
    of_route = (await plane.call("GET", "/v1/routes/shop")).json["rollout"]
    assert of_route["number"] == 1
    assert of_route["state"] == "running"
    assert (await plane.call("GET", "/v1/routes/api")).json["rollout"] is None
    assert (await plane.call("GET", "/v1/routes/api/rollout")).status == 404


async def test_a_dry_run_says_what_would_begin_and_begins_nothing(plane: Plane) -> None:
    answer = await plane.call("POST", ROLLOUT + "?dry_run=true", json=PLAN)
    assert (answer.status, answer.json["dry_run"], answer.json["steps"], answer.json["receipt"]) == (200, True, 2, None)
    assert (await plane.call("GET", ROLLOUT)).status == 404
    assert await audit(plane, "rollout", "rollout_started") == []
    assert not plane.context.gateway.state("shop").judged


@pytest.mark.parametrize("call", ["", "/pause"])
async def test_a_stale_if_match_changes_nothing(plane: Plane, call: str) -> None:
    stale = plane.context.gateway.revision
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"blue": 1}})
    if call:
        await begin(plane)
    before = plane.context.gateway.route_revision("shop")
    answer = await plane.call("POST", ROLLOUT + call, json=None if call else PLAN, headers={"If-Match": f'"{stale}"'})
    assert answer.status == 412
    assert answer.headers["ETag"].strip('"').isdigit()
    if call:
        assert (await shown(plane))["state"] == "running"
    else:
        assert plane.context.gateway.route_revision("shop") == before


# Refused


async def unchanged(plane: Plane) -> tuple[Any, ...]:
    gateway = plane.context.gateway
    return gateway.revision, gateway.state("shop").to_json(), (await plane.call("GET", ROLLOUT)).status


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({"steps": [{"weight": 25}, {"weight": 5}]}, "steps[1].weight"),
        ({"to": "blue"}, "to"),
        ({"to": "blu"}, "to"),
        ({"to": []}, "to"),
        ({"to": ["canary", "green"], "steps": [{"weight": 51}]}, "steps[0].weight"),
        ({"steps": []}, "steps"),
        ({"steps": [{"weight": 101}]}, "steps[0].weight"),
        ({"steps": [{"weight": 5, "holdd": 1}]}, "steps[0].holdd"),
        ({"pattern": "canry"}, "pattern"),
        ({"analysis": {"prometheus": [{"name": "p", "url": "ftp://x", "query": "q", "min": 1}]}}, "analysis.prometheus[0].url"),
        ({"windows": [{"zone": "Mars/Base"}]}, "windows[0].zone"),
        ({"on_failure": "explode"}, "on_failure"),
        ({"unknown": 1}, "unknown"),
    ],
)  # fmt: skip
async def test_a_bad_plan_is_refused_with_its_field(plane: Plane, plan: dict[str, Any], field: str) -> None:
    before = await unchanged(plane)
    answer = await plane.call("POST", ROLLOUT, json=PLAN | plan)
    assert answer.status == 422
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    (entry,) = await audit(plane, "refused")
    assert (entry["who"], entry["route"], entry["after"]["status"]) == ("admin", "shop", 422)
    assert await unchanged(plane) == before


async def test_a_shadow_that_cannot_be_is_refused_before_anything_begins(config: Path, start: Start) -> None:
    edit(config, "    sticky: {cookie", "    shadow: {upstream: green, control: canary}\n    sticky: {cookie")
    plane = await start()
    answer = await plane.call("POST", ROLLOUT, json=PLAN | {"shadow": {"percent": 5}})
    assert answer.status == 422, answer.text
    assert [error["field"] for error in answer.json["errors"]] == ["shadow.control"]
    assert (await plane.call("GET", ROLLOUT)).status == 404


async def test_without_a_plan_there_is_nothing_to_begin(plane: Plane) -> None:
    answer = await plane.call("POST", ROLLOUT)
    assert (answer.status, answer.json["detail"]) == (422, ": route 'shop' declares no rollout: bring a plan")


async def test_a_busy_route_takes_no_second_rollout(plane: Plane) -> None:
    await begin(plane)
    before = await until(plane, lambda rollout: rollout["phase"] == "holding")
    answer = await plane.call("POST", ROLLOUT, json=PLAN)
    assert (answer.status, answer.json["detail"]) == (
        409,
        "route 'shop' has a rollout under way: rollout shop#1, running",
    )
    assert (await shown(plane))["number"] == before["number"]
    assert [entry["after"]["status"] for entry in await audit(plane, "refused")] == [409]


async def test_another_route_takes_one_at_the_same_time(plane: Plane) -> None:
    await begin(plane)
    answer = await plane.call("POST", "/v1/routes/rest/rollout", json=PLAN)
    assert answer.status == 200
    await until(plane, lambda rollout: rollout["weight"] == 5)


@pytest.mark.parametrize("what", ["pause", "resume", "approve", "promote", "skip", "abort"])
async def test_a_command_without_a_rollout_is_refused(plane: Plane, what: str) -> None:
    before = await unchanged(plane)
    answer = await plane.call("POST", f"{ROLLOUT}/{what}")
    assert (answer.status, answer.json["detail"]) == (409, "route 'shop' has no rollout under way")
    assert [entry["after"]["status"] for entry in await audit(plane, "refused")] == [409]
    assert await unchanged(plane) == before


async def test_an_approval_of_a_step_that_asks_for_none_is_refused(plane: Plane) -> None:
    await begin(plane)
    await until(plane, lambda rollout: rollout["phase"] == "holding")
    answer = await plane.call("POST", f"{ROLLOUT}/approve")
    assert (answer.status, answer.json["detail"]) == (409, "the rollout of route 'shop' asks for no approval")
    assert (await shown(plane))["state"] == "running"
    (entry,) = await audit(plane, "refused")
    assert entry["after"] == {"call": f"POST {ROLLOUT}/approve", "status": 409}


async def test_a_route_that_was_cut_back_begins_none_until_it_is_restored(plane: Plane) -> None:
    await begin(plane)
    ended = await until_state(plane, "cut_back", feed=traffic(plane, bad=25))
    assert "client requests had failed" in ended["reason"]
    assert (ended["weight"], ended["verdict"]) == (0, "regression")
    assert ended["ended_at"]
    route = (await plane.call("GET", "/v1/routes/shop")).json
    assert (route["effective"], route["cutback"]["by"]) == (
        {"blue": 100.0, "canary": 0.0},
        "rollout shop#1",
    )
    assert route["rollout"]["state"] == "cut_back"
    answer = await plane.call("POST", ROLLOUT, json=PLAN)
    assert answer.status == 409
    assert answer.json["detail"].startswith("route 'shop' is cut back by rollout shop#1: canary errors 50 %")
    assert answer.json["detail"].endswith("Restore it to begin a rollout")
    assert (await plane.call("DELETE", "/v1/routes/shop/cutback")).status == 200
    assert (await begin(plane)).json["number"] == 2


async def test_a_frozen_gateway_begins_none(config: Path, start: Start) -> None:
    today, tomorrow = (f"{NOW + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1))
    edit(config, "routes:\n", f"freezes: [{{from: {today}, until: {tomorrow}, reason: holidays}}]\nroutes:\n")
    plane = await start()
    answer = await plane.call("POST", ROLLOUT, json=PLAN)
    assert (answer.status, answer.json["detail"]) == (
        409,
        f"no rollout may begin: frozen until the end of {tomorrow} (holidays)",
    )


@pytest.mark.parametrize("call", ["", "/pause", "/approve", "/promote", "/skip", "/abort", "/resume"])
async def test_a_viewer_starts_and_tells_nothing(plane: Plane, call: str) -> None:
    plane.context.tokens.put(Token("ann", digest_of("hers"), "viewer", "t"))
    if call:
        await begin(plane)
    answer = await plane.bare(
        "POST", ROLLOUT + call, json=None if call else PLAN, headers={"Authorization": "Bearer hers"}
    )
    assert answer.status == 403
    assert [(entry["who"], entry["after"]["status"]) for entry in await audit(plane, "refused")] == [("ann", 403)]
    assert (await plane.bare("GET", ROLLOUT, headers={"Authorization": "Bearer hers"})).status == (200 if call else 404)
    if call:
        assert (await shown(plane))["state"] == "running"


async def test_an_operator_may(plane: Plane) -> None:
    plane.context.tokens.put(Token("op", digest_of("theirs"), "operator", "t"))
    answer = await plane.bare("POST", ROLLOUT, json=PLAN, headers={"Authorization": "Bearer theirs"})
    assert (answer.status, answer.json["started_by"]) == (200, "op")


async def test_an_expired_or_revoked_token_starts_nothing(plane: Plane) -> None:
    plane.context.tokens.put(Token("old", digest_of("expired"), "operator", "t", expires_at="2020-01-01T00:00:00.000Z"))
    made = await plane.call("POST", "/v1/tokens", json={"name": "gone", "role": "operator"})
    assert (await plane.call("DELETE", "/v1/tokens/gone")).status == 200
    for secret in ("expired", made.json["token"]):
        answer = await plane.bare("POST", ROLLOUT, json=PLAN, headers={"Authorization": f"Bearer {secret}"})
        assert answer.status == 401
    assert (await plane.call("GET", ROLLOUT)).status == 404


# Told


async def test_who_told_it_what_and_why_is_in_the_audit_log(plane: Plane) -> None:
    await begin(plane, reason="release 7")
    await until(plane, lambda rollout: rollout["phase"] == "holding")
    paused = await plane.call("POST", f"{ROLLOUT}/pause", json={"reason": "lunch"})
    assert (paused.json["state"], paused.json["reason"]) == ("paused", "paused by admin: lunch")
    assert (await plane.call("POST", f"{ROLLOUT}/resume")).json["state"] == "running"
    aborted = await plane.call("POST", f"{ROLLOUT}/abort", json={"reason": "wrong build"})
    assert (aborted.json["state"], aborted.json["reason"]) == ("aborted", "aborted by admin: wrong build")
    assert aborted.json["receipt"]["applied"]
    assert aborted.json["ended_at"]
    assert weights(plane) is None
    entries = await audit(plane, "rollout", "rollout_pause", "rollout_resume", "rollout_abort")
    assert [(entry["who"], entry["action"], entry["reason"]) for entry in entries] == [
        ("admin", "rollout", "release 7"),
        ("admin", "rollout_pause", "lunch"),
        ("admin", "rollout_resume", ""),
        ("admin", "rollout_abort", "wrong build"),
    ]
    told = await audit(plane, "rollout_paused", "rollout_aborted")
    assert {entry["who"] for entry in told} == {"rollout shop#1"}


async def test_a_dry_run_of_a_command_says_what_would_be(plane: Plane) -> None:
    await begin(plane)
    answer = await plane.call("POST", f"{ROLLOUT}/abort?dry_run=true")
    assert (answer.json["state"], answer.json["dry_run"]) == ("aborted", True)
    assert (await shown(plane))["state"] == "running"
    assert await audit(plane, "rollout_abort") == []


async def test_a_step_with_approval_waits_for_a_person_who_skips_or_approves(plane: Plane) -> None:
    await begin(plane, steps=[{"weight": 5, "approval": True}, {"weight": 50, "hold": "1h"}])
    waiting = await until_state(plane, "awaiting_approval", feed=traffic(plane))
    assert waiting["reason"] == "weight 5 % has held: waiting for a person"
    assert (await plane.call("POST", f"{ROLLOUT}/approve")).json["step"] == 2
    await until(plane, lambda rollout: rollout["weight"] == 50)
    assert weights(plane) == {"blue": 50, "canary": 50}
    (entry,) = await audit(plane, "rollout_approve")
    assert (entry["before"]["state"], entry["after"]["step"]) == ("awaiting_approval", 2)


async def test_of_several_targets_one_has_to_be_named_to_be_promoted(plane: Plane) -> None:
    await begin(plane, to=["canary", "green"], steps=[{"weight": 10, "hold": "1h"}])
    await until(plane, lambda rollout: rollout["weight"] == 10)
    assert weights(plane) == {"blue": 80, "canary": 10, "green": 10}
    unnamed = await plane.call("POST", f"{ROLLOUT}/promote")
    assert (unnamed.status, unnamed.json["detail"]) == (409, "say which upstream is promoted: canary or green")
    stranger = await plane.call("POST", f"{ROLLOUT}/promote", json={"upstream": "blue"})
    assert (stranger.status, stranger.json["detail"]) == (409, "'blue' is not in this rollout: canary, green")
    answer = await plane.call("POST", f"{ROLLOUT}/promote", json={"upstream": "green", "reason": "better"})
    assert (answer.json["state"], answer.json["reason"]) == ("promoted", "promoted by admin: better")
    assert weights(plane) == {"green": 100}


@pytest.mark.parametrize("what", ["pause", "resume", "approve", "promote", "skip", "abort"])
async def test_a_rollout_that_has_ended_takes_no_command(plane: Plane, what: str) -> None:
    await begin(plane)
    await plane.call("POST", f"{ROLLOUT}/promote")
    answer = await plane.call("POST", f"{ROLLOUT}/{what}")
    assert (answer.status, answer.json["detail"]) == (
        409,
        "route 'shop' has no rollout under way; its last one has ended: promoted",
    )


async def test_the_next_rollout_may_begin_at_once(plane: Plane) -> None:
    """Not only when the turn after the end of the last one has come."""
    for number in (1, 2, 3):
        assert (await begin(plane)).json["number"] == number
        assert (await plane.call("POST", f"{ROLLOUT}/abort")).json["state"] == "aborted"
    await begin(plane)
    rollout = await until(plane, lambda rollout: rollout["phase"] == "holding")
    assert (rollout["number"], rollout["state"]) == (4, "running")


async def test_workers_count_while_a_rollout_is_under_way_and_no_longer(plane: Plane) -> None:
    def judged() -> bool:
        return plane.supervisor.snapshot().route_named("shop").judged  # type: ignore[union-attr]

    await begin(plane)
    assert judged()
    await plane.call("POST", f"{ROLLOUT}/promote")
    assert not judged()
    assert not plane.context.gateway.state("shop").judged


async def test_metrics_tell_of_steps_states_verdicts_and_ends(plane: Plane) -> None:
    async def metrics() -> set[str]:
        text = (await plane.call("GET", "/metrics")).text
        return {line for line in text.splitlines() if line.startswith("headgate_rollout") and not line.endswith(" 0.0")}

    assert await metrics() == set()
    await begin(plane)
    await until(plane, lambda rollout: rollout["verdict"] == "ok", feed=traffic(plane))
    assert await metrics() == {
        'headgate_rollout_step{route="shop"} 1.0',
        'headgate_rollout_state{route="shop",state="running"} 1.0',
        'headgate_rollout_verdict{route="shop",verdict="ok"} 1.0',
    }
    await until_state(plane, "cut_back", feed=traffic(plane, bad=25))
    ended = {
        'headgate_rollout_state{route="shop",state="cut_back"} 1.0',
        'headgate_rollout_verdict{route="shop",verdict="regression"} 1.0',
        'headgate_rollouts_total{outcome="cut_back",route="shop"} 1.0',
    }
    async with asyncio.timeout(PATIENCE):
        while True:
            if await metrics() == ended:
                break
            await asyncio.sleep(0.02)
