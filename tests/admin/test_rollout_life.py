"""A rollout's life in the control plane: people in its way, a configuration that changes, and restarts at the worst moment."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from admin.audit import Intent
from admin.gateway import Gateway
from admin.live import RouteState
from proxy.control import InForce
from routing.snapshot import CutbackMode, Live
from tests.admin.conftest import Plane, Start, edit
from tests.admin.rollouts import ROLLOUT, audit, begin, shown, traffic, until, until_state
from tests.support.fake_supervisor import FakeSupervisor
from tests.support.wire import PATIENCE

STEPS = [{"weight": 5, "hold": "1h"}, {"weight": 25, "hold": "1h"}]
HOLDING = "holding"


def judged(plane: Plane) -> bool:
    return bool(plane.context.gateway.state("shop").judged)


async def under_way(plane: Plane, **plan: Any) -> None:
    await begin(plane, **({"steps": STEPS} | plan))
    await until(plane, lambda rollout: rollout["phase"] == HOLDING)


# Others


async def test_weights_that_a_person_sets_while_smoke_tests_are_under_way_stay(plane: Plane) -> None:
    await begin(plane, smoke=[{"path": "/"}])  # the fake supervisor has no listener: the tests wait
    await until(plane, lambda rollout: "listens" in rollout["reason"])
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"blue": 1, "green": 1}})
    assert (await until_state(plane, "aborted"))["reason"] == "admin has set the weights"
    assert (await plane.call("GET", "/v1/routes/shop")).json["weights"] == {"blue": 1, "green": 1}
    assert not judged(plane)


async def test_a_command_after_a_person_has_set_weights_takes_nothing_back(plane: Plane) -> None:
    """However soon it comes: the rollout may not have had a turn since."""
    await under_way(plane)
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"blue": 1, "green": 1}})
    assert (await plane.call("POST", f"{ROLLOUT}/abort")).status == 409
    assert (await shown(plane))["reason"] == "admin has set the weights"
    assert (await plane.call("GET", "/v1/routes/shop")).json["weights"] == {"blue": 1, "green": 1}


async def test_an_upstream_that_is_gone_in_the_middle_of_a_roll_ends_it(plane: Plane) -> None:
    await under_way_draining(plane)
    document = (await plane.call("GET", "/v1/config")).json
    del document["upstreams"]["canary"]
    document["routes"]["shop"] = {"match": {"hosts": ["shop.example.com"]}, "stable": "blue", "weights": {"blue": 1}}
    answer = await plane.call("PUT", "/v1/config", json=document)
    assert answer.status == 200, answer.text
    assert (await until_state(plane, "aborted"))["reason"] == "the configuration no longer has canary"


async def under_way_draining(plane: Plane) -> None:
    await begin(plane, pattern="rolling", steps=None, watch="1h")
    await until(plane, lambda rollout: rollout["phase"] != "entering")


async def test_an_abort_enables_what_was_drained(plane: Plane) -> None:
    await under_way_draining(plane)
    assert plane.context.gateway.upstream_state("canary").drained
    assert (await plane.call("POST", f"{ROLLOUT}/abort")).json["state"] == "aborted"
    assert not plane.context.gateway.upstream_state("canary").drained


async def test_a_person_who_cuts_back_in_the_middle_of_a_roll_finds_every_endpoint_in_rotation(plane: Plane) -> None:
    await under_way_draining(plane)
    await plane.call("POST", "/v1/routes/shop/cutback", json={"reason": "odd"})
    assert (await until_state(plane, "aborted"))["reason"] == "cut back by admin: odd"
    assert not plane.context.gateway.upstream_state("canary").drained


async def test_a_person_who_sets_weights_while_copies_are_compared_ends_the_copies(plane: Plane) -> None:
    await begin(plane, shadow={"percent": 20})
    await until(plane, lambda rollout: rollout["phase"] == HOLDING)
    assert plane.context.gateway.snapshot.route_named("shop").shadow.percent == 20
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"blue": 1}})
    await until_state(plane, "aborted")
    assert plane.context.gateway.snapshot.route_named("shop").shadow is None
    assert (await plane.call("GET", "/v1/routes/shop")).json["weights"] == {"blue": 1}


async def test_a_turn_that_fails_does_not_end_the_turns(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    await under_way(plane)
    run = plane.context.rollouts.running["shop"]
    turn, failures = run.observing.turn, 0

    def failing(*arguments: Any) -> Any:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise RuntimeError("what nobody thought of")
        return turn(*arguments)

    monkeypatch.setattr(run.observing, "turn", failing)
    await until_state(plane, "cut_back", feed=traffic(plane, bad=25))
    assert failures >= 3


# Restarts


async def again(plane: Plane, start: Start, live: Live | None = None) -> Plane:
    """The next control plane; with `live`, the workers have that and the store has not."""
    async with asyncio.timeout(PATIENCE):
        revision = plane.context.gateway.revision
        plane.supervisor.close()
        supervisor = FakeSupervisor()
        if live is not None:
            supervisor.in_force = InForce(revision + 1, {"shop": live})
        return await start(supervisor)


def live(**weights: float) -> Live:
    return Live(weights=tuple(weights.items()), judged=True)


async def test_a_step_that_only_the_workers_know_of_goes_on(plane: Plane, start: Start) -> None:
    await under_way(plane)
    second = await again(plane, start, live(blue=75.0, canary=25.0))
    rollout = await until(second, lambda each: each["step"] == 2)
    assert (rollout["state"], rollout["phase"], rollout["weight"]) == ("running", HOLDING, 25)
    await until(second, lambda _: second.context.gateway.state("shop").weights.stamp.by == "rollout shop#1")
    ended = await until_state(second, "cut_back", feed=traffic(second, bad=25))
    assert ended["number"] == 1


async def test_a_cutback_that_only_the_workers_know_of_has_ended_it(plane: Plane, start: Start) -> None:
    await under_way(plane)
    second = await again(plane, start, Live(cutback=CutbackMode.CUT))
    ended = await until_state(second, "cut_back")
    assert ended["reason"] == "a regression, whose numbers were lost when the admin process ended"
    assert ended["ended_at"]
    route = (await second.call("GET", "/v1/routes/shop")).json
    assert (route["cutback"]["by"], route["live"]) == ("rollout shop#1", None)
    while not (entries := await audit(second, "rollout_cut_back")):  # it is on its way to the disk
        pass
    assert [entry["who"] for entry in entries] == ["rollout shop#1"]
    assert (await second.call("POST", ROLLOUT, json={"to": "canary", "steps": STEPS})).status == 409


async def test_a_cutback_that_was_stored_and_not_told_is_told(plane: Plane, start: Start) -> None:
    await under_way(plane)
    run = plane.context.rollouts.running["shop"]
    record = run.record().to_json()
    await until_state(plane, "cut_back", feed=traffic(plane, bad=25))
    await kept(plane, record)
    second = await again(plane, start)
    ended = await until_state(second, "cut_back")
    assert ended["reason"].startswith("canary errors 50 %")
    assert (bool(ended["ended_at"]), judged(second)) == (True, False)


async def kept(plane: Plane, record: Any) -> None:
    """An older record of the rollout than there is."""
    from admin.state.store import Change

    gateway: Gateway = plane.context.gateway
    plane.context.rollouts.running.clear()
    assert await gateway.journal.keep(Change(gateway.revision, {("rollout", "shop"): record}))


async def test_a_route_that_was_left_judged_by_a_rollout_that_never_began_is_judged_no_more(
    plane: Plane, start: Start
) -> None:
    def plan(gateway: Gateway) -> dict[str, RouteState]:
        return {"shop": replace(gateway.state("shop"), judged=True)}

    await plane.context.gateway.change(plan, Intent("admin", "rollout"))
    second = await again(plane, start)
    async with asyncio.timeout(PATIENCE):
        while True:
            if not judged(second):
                break
            await asyncio.sleep(0.01)
    assert not second.supervisor.snapshot().route_named("shop").judged  # type: ignore[union-attr]


async def test_what_is_not_done_is_not_kept_as_done(plane: Plane, start: Start) -> None:
    """A cutback that could not be published, and then the end: the next control plane must not take it for made."""
    await under_way(plane)
    plane.context.gateway._publisher.lost()  # as when the supervisor has died
    run = plane.context.rollouts.running["shop"]
    feed = traffic(plane, bad=25)
    async with asyncio.timeout(PATIENCE):
        while True:
            feed()
            if run.state.status.ended:
                break
            await asyncio.sleep(0.02)
    assert (await shown(plane))["state"] == "running"
    second = await again(plane, start)
    assert (await shown(second))["state"] in ("running", "cut_back")
    await until_state(second, "cut_back", feed=traffic(second, bad=25))
    assert (await second.call("GET", "/v1/routes/shop")).json["cutback"]["by"] == "rollout shop#1"


async def test_an_ended_rollout_is_shown_after_a_restart_and_the_next_has_the_next_number(
    plane: Plane, start: Start
) -> None:
    await under_way(plane)
    await plane.call("POST", f"{ROLLOUT}/promote")
    second = await again(plane, start)
    assert ((await shown(second))["state"], second.context.rollouts.running) == ("promoted", {})
    assert (await begin(second)).json["number"] == 2


async def test_a_record_that_cannot_be_read_is_said_and_stops_no_start(
    plane: Plane, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    await under_way(plane)
    await kept(plane, {"version": 99})
    second = await again(plane, start)
    assert (await second.call("GET", ROLLOUT)).status == 404
    assert "a rollout that was kept cannot be read; it is dropped" in capfd.readouterr().err


async def test_a_file_that_changed_the_routes_weights_while_nothing_ran_ends_it(
    plane: Plane, start: Start, config: Path
) -> None:
    await under_way(plane)
    edit(config, "weights: {blue: 95, canary: 5}", "weights: {blue: 90, canary: 10}")
    second = await again(plane, start)
    ended = await until_state(second, "aborted")
    assert ended["reason"] == "the weights from before it, or the configuration's own, are in force again"
    assert (await second.call("GET", "/v1/routes/shop")).json["weights"] == {"blue": 90, "canary": 10}
