"""Rollouts on a whole gateway of two workers, under load: promoted, cut back, ended by people, and taken up after a kill."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from routing.config_rollout import DAYS
from tests.support.gateway import START_PATIENCE, Gateway
from tests.support.load import Load
from tests.support.rollouts import RETRY, Turning, begin, kill_admin, shown, tell, until, until_state, until_step
from tests.support.stage import Stage

CANARY: dict[str, Any] = {"to": "canary", "steps": [{"weight": 25, "hold": "1h"}, {"weight": 100, "hold": "1h"}]}
CLIENTS: list[Mapping[str, str]] = [{"X-User": str(number)} for number in range(8)]
UPGRADE_PATIENCE = 2 * START_PATIENCE


class Shop:
    """A gateway of two workers, `blue` and `canary` behind it."""

    def __init__(self, stage: Stage, **route: Any) -> None:
        self.blue, self.canary = Turning("blue"), Turning("canary")
        self.upstreams = {"blue": stage.origin(self.blue).url, "canary": stage.origin(self.canary).url}
        self.gateway = stage.running(self.upstreams, {"retry": RETRY, **route}, workers=2)

    def load(self) -> Load:
        return Load(self.gateway, CLIENTS)


def served(gateway: Gateway, requests: int = 40) -> Counter[str]:
    return Counter(gateway.get()[1]["X-Served-By"] for _ in range(requests))


# Ends


@pytest.mark.timeout(300)
def test_a_sound_canary_is_promoted(stage: Stage) -> None:
    shop = Shop(stage)
    with shop.load() as load:
        begin(shop.gateway, to="canary", steps=[{"weight": weight, "hold": 0.5} for weight in (5, 25, 100)])
        ended = until_state(shop.gateway, "promoted")
    assert (ended["reason"], ended["weight"], ended["failed"]) == ("every step has held", 100, 0)
    assert set(load.statuses) == {200}
    assert served(shop.gateway) == {"canary": 40}


@pytest.mark.timeout(300)
def test_a_canary_that_turns_bad_is_cut_back_and_no_client_sees_an_error(stage: Stage) -> None:
    shop = Shop(stage)
    with shop.load() as load:
        begin(shop.gateway, **CANARY)
        until(shop.gateway, lambda each: each["verdict"] == "ok", "evidence")
        shop.canary.bad = True
        ended = until_state(shop.gateway, "cut_back")
        after = shop.canary.answered
        load.wait(200)
    assert set(load.statuses) == {200}
    assert load.broken == 0
    assert shop.canary.answered == after
    assert shop.canary.failed >= 3
    assert ended["failed"] <= shop.canary.failed
    assert (ended["verdict"], ended["weight"]) == ("regression", 0)
    assert "sure at 99 %; cut back" in ended["reason"]
    route = shop.gateway.route()
    assert (route["cutback"]["by"], route["effective"]) == ("rollout shop#1", {"blue": 100.0})
    shop.canary.bad = False
    shop.gateway.restore()
    assert served(shop.gateway) == {"blue": 40}  # the weights from before it


@pytest.mark.timeout(300)
def test_blue_green_switches_at_once_and_back_by_itself(stage: Stage) -> None:
    shop = Shop(stage)
    with shop.load() as load:
        begin(shop.gateway, pattern="blue_green", to="canary", smoke=[{"path": "/ready"}], watch="1h")
        until(shop.gateway, lambda each: each["weight"] == 100 and each["verdict"] == "ok", "the switch")
        shop.canary.bad = True
        ended = until_state(shop.gateway, "cut_back")
        load.wait(100)
    assert set(load.statuses) == {200}
    assert "above the step's 5 %" in ended["reason"]
    assert served(shop.gateway) == {"blue": 40}


@pytest.mark.timeout(300)
def test_several_canaries_are_judged_apart_and_the_bad_one_cuts_back(stage: Stage) -> None:
    shop = Shop(stage)
    bad = Turning("next")
    shop.upstreams["next"] = stage.origin(bad).url
    gateway = stage.running(shop.upstreams, {"retry": RETRY}, workers=2)
    with Load(gateway, CLIENTS):
        begin(gateway, to=["canary", "next"], steps=[{"weight": 25, "hold": "1h"}])
        until(gateway, lambda each: each["verdict"] == "ok", "evidence")
        assert set(shown(gateway)["evidence"]) == {"canary", "next"}
        bad.bad = True
        assert until_state(gateway, "cut_back")["reason"].startswith("next: canary errors")


@pytest.mark.timeout(300)
def test_ab_keeps_clients_in_their_cohort_and_shows_each_result_with_its_interval(stage: Stage) -> None:
    shop = Shop(stage, sticky={"header": "X-User"})
    users: list[Mapping[str, str]] = [{"X-User": str(number)} for number in range(40)]
    with Load(shop.gateway, users) as load:
        begin(shop.gateway, pattern="ab", to="canary", steps=[{"weight": 50, "hold": 0.5}])
        waiting = until_state(shop.gateway, "awaiting_approval")
        cohorts = {user: {shop.gateway.get(X_User=str(user))[1]["X-Served-By"] for _ in range(3)} for user in range(40)}
        load.wait(40)
    assert {len(cohort) for cohort in cohorts.values()} == {1}
    assert {name for cohort in cohorts.values() for name in cohort} == {"blue", "canary"}
    for arm in ("canary", "stable"):
        result = waiting["evidence"][arm]
        assert result["requests"] > 0
        assert result["low"] <= result["rate"] <= result["high"]
    assert waiting["reason"] == "all steps have held: promote canary, or abort"
    assert tell(shop.gateway, "promote")["state"] == "promoted"
    assert served(shop.gateway) == {"canary": 40}


# People and the configuration


@pytest.mark.timeout(300)
def test_a_person_who_moves_the_traffic_ends_it_and_keeps_what_they_set(stage: Stage) -> None:
    shop = Shop(stage)
    begin(shop.gateway, **CANARY)
    until_step(shop.gateway, 1)
    shop.gateway.weights(blue=1)
    ended = until_state(shop.gateway, "aborted")
    assert ended["reason"] == "admin has set the weights"
    assert shop.gateway.route()["weights"] == {"blue": 1}
    begin(shop.gateway, **CANARY)
    until_step(shop.gateway, 1)
    shop.gateway.cutback(reason="odd")
    assert until_state(shop.gateway, "aborted")["reason"] == "cut back by admin: odd"
    assert shop.gateway.route()["cutback"]["by"] == "admin"


@pytest.mark.timeout(300)
def test_a_reload_goes_on_and_one_without_the_upstream_ends_it(stage: Stage) -> None:
    shop = Shop(stage)
    settings = json.loads(shop.gateway.config.read_text())
    begin(shop.gateway, **CANARY)
    until_step(shop.gateway, 1)
    settings["timeouts"] = {"connect": 3}
    _reloaded(shop.gateway, settings)
    assert (shown(shop.gateway)["state"], served(shop.gateway)["canary"] > 0) == ("running", True)
    del settings["upstreams"]["canary"]
    _reloaded(shop.gateway, settings)
    assert until_state(shop.gateway, "aborted")["reason"] == "the configuration no longer has canary"
    assert served(shop.gateway) == {"blue": 40}


def _reloaded(gateway: Gateway, settings: dict[str, Any]) -> None:
    before = gateway.status()["revision"]
    gateway.config.write_text(json.dumps(settings))
    gateway.signal(signal.SIGHUP)
    gateway.until(lambda: gateway.status()["revision"] > before, "the reload")


# Death


# In three days, wherever the test runs.
CLOSED = {"days": [DAYS[(datetime.now(UTC).weekday() + 3) % 7]]}


def holding(rollout: Any) -> bool:
    return bool(rollout["phase"] == "holding")


PHASES: dict[str, tuple[dict[str, Any], Callable[[Any], bool]]] = {
    "holding": (CANARY, holding),
    "a later step": (
        {**CANARY, "steps": [{"weight": 5, "hold": 0.2}, *CANARY["steps"]]},
        lambda each: each["step"] == 2 and holding(each),
    ),
    "an approval": (
        {**CANARY, "steps": [{"weight": 25, "approval": True}]},
        lambda each: each["state"] == "awaiting_approval",
    ),
    "a closed window": ({**CANARY, "windows": [CLOSED]}, lambda each: each["reason"].startswith("waiting")),
    "shadow": ({**CANARY, "shadow": {"percent": 50, "pairs": 10**9}}, holding),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("plan", "there"), PHASES.values(), ids=PHASES)
def test_a_killed_control_plane_goes_on_where_it_was(
    stage: Stage, plan: dict[str, Any], there: Callable[[Any], bool]
) -> None:
    shop = Shop(stage)
    with shop.load() as load:
        begin(shop.gateway, **plan)
        before = until(shop.gateway, there, "the phase")
        kill_admin(shop.gateway)
        after = until(shop.gateway, there, "the phase again")
        load.wait(50)
    for key in ("number", "state", "step", "weight", "phase", "started_at", "pattern", "to"):
        assert after[key] == before[key], key
    assert set(load.statuses) == {200}
    assert tell(shop.gateway, "abort")["state"] == "aborted"
    route = shop.gateway.route()
    assert (route["live"], served(shop.gateway)) == (None, {"blue": 40})


@pytest.mark.timeout(300)
def test_the_evidence_outlives_a_kill_and_a_bad_canary_is_still_cut_back(stage: Stage) -> None:
    shop = Shop(stage)
    with shop.load() as load:
        begin(shop.gateway, **CANARY)
        mark = "evidence that was kept"
        until(shop.gateway, lambda each: each["held"] > 6, mark)  # it is kept every 5 s
        before = shown(shop.gateway)["evidence"]["canary"]["requests"]
        kill_admin(shop.gateway)
        after = until(shop.gateway, lambda each: bool(each["evidence"]), "evidence again")
        assert after["evidence"]["canary"]["requests"] > 0.2 * before
        shop.canary.bad = True
        until_state(shop.gateway, "cut_back")
    assert set(load.statuses) == {200}


@pytest.mark.timeout(300)
def test_a_whole_gateway_that_is_killed_goes_on_after_its_start(stage: Stage) -> None:
    shop = Shop(stage)
    begin(shop.gateway, **CANARY)
    until_step(shop.gateway, 1)
    shop.gateway.kill()
    shop.gateway.start()
    assert shown(shop.gateway)["state"] == "running"
    assert 8 <= served(shop.gateway)["canary"] <= 12  # a quarter, within one of each worker's


@pytest.mark.timeout(480)
def test_a_hot_restart_goes_on(stage: Stage) -> None:
    shop = Shop(stage)
    with shop.load() as load:
        begin(shop.gateway, **CANARY)
        until_step(shop.gateway, 1)
        mark = shop.gateway.mark
        shop.gateway.signal(signal.SIGUSR2)
        shop.gateway.logged("serving", after=mark, patience=UPGRADE_PATIENCE)
        until(shop.gateway, lambda each: each["state"] == "running", "it runs")
        load.wait(50)
        shop.canary.bad = True
        until_state(shop.gateway, "cut_back")
    assert set(load.statuses) == {200}


# Schedule


def test_a_closed_window_holds_the_first_step_and_moves_nobody(stage: Stage) -> None:
    shop = Shop(stage)
    begin(shop.gateway, **{**CANARY, "windows": [CLOSED]})
    waiting = until(shop.gateway, lambda each: each["reason"].startswith("waiting"), "the window")
    assert "the next window opens" in waiting["reason"]
    assert served(shop.gateway) == {"blue": 40}
