"""What a rollout lays over a route, and what it leaves to people."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from admin.document import fingerprint
from admin.live import LiveWeights, RouteState, Stamp, cut_back, restore, set_shadow, set_weights
from admin.rollout.actions import Copy, CutBack, GoBack, Move, StopCopies
from admin.rollout.laying import Ground, RouteAction, laid, meddled
from admin.rollout.machine import leave
from admin.rollout.state import RolloutState
from routing.config import Config
from routing.snapshot import CutbackMode
from tests.rollout.plans import Driven, canary

OWN = Stamp("rollout shop#1", "t", "")
ANN = Stamp("ann", "t", "")


def config(**route: Any) -> Config:
    upstreams = {
        name: {"endpoints": [f"http://127.0.0.1:{port}"]} for port, name in enumerate(("blue", "canary", "next"), 1)
    }
    routes = {"shop": {"stable": "blue", "weights": {"blue": 1}, **route}}
    return Config.model_validate({"listen": [{"address": "127.0.0.1:0"}], "upstreams": upstreams, "routes": routes})


class Route:
    """A route with a rollout over it; each change is a revision."""

    def __init__(self, seconds: int = 10, *, declared: dict[str, Any] | None = None, **plan: Any) -> None:
        self.config = config(**(declared or {}))
        self.before = self.live = RouteState()
        self.state: RolloutState
        driven = Driven(canary(**plan))
        driven.run(seconds)
        self.state = driven.state
        self.revision = 1

    @property
    def ground(self) -> Ground:
        return Ground(self.live, self.before, self.config.routes["shop"], self.config.upstreams, self.revision)

    def do(self, action: RouteAction) -> RouteState:
        self.live = laid(self.ground, action, self.state, OWN)
        self.revision += 1
        return self.live

    def shadow(self, stamp: Stamp = ANN, **given: Any) -> RouteState:
        route, upstreams = self.config.routes["shop"], self.config.upstreams
        self.live = set_shadow(self.live, given, route, upstreams, stamp, self.revision)
        return self.live

    @property
    def meddled(self) -> str:
        return meddled(self.ground, self.state)


AT_5 = Move({"blue": 95.0, "canary": 5.0})


def test_its_own_weights_are_nobody_elses() -> None:
    route = Route()
    assert route.do(AT_5).judged
    assert route.meddled == ""


@pytest.mark.parametrize("moved", [True, False])
def test_weights_that_a_person_sets_end_it_before_its_first_step_too(moved: bool) -> None:
    route = Route(10, smoke=[] if moved else [{"path": "/"}])
    if moved:
        route.do(AT_5)
    assert route.meddled == ""
    route.live = set_weights(route.live, {"blue": 1.0}, fingerprint(route.config.routes["shop"]), ANN)
    assert route.meddled == "ann has set the weights"


def test_a_persons_cutback_ends_it() -> None:
    route = Route()
    route.do(AT_5)
    route.live = cut_back(route.live, CutbackMode.DRAIN, replace(ANN, reason="odd"))
    assert route.meddled == "cut back by ann: odd"


@pytest.mark.parametrize("action", [CutBack(), GoBack()])
def test_weights_that_somebody_set_meanwhile_are_not_taken_back(action: RouteAction) -> None:
    route = Route()
    route.do(AT_5)
    route.live = set_weights(route.live, {"blue": 9.0, "canary": 1.0}, "f", ANN)
    weights = route.do(action).weights
    assert weights is not None
    assert weights.stamp == ANN


@pytest.mark.parametrize("action", [CutBack(), GoBack()])
def test_weights_from_before_come_back_only_where_the_configuration_is_still_that(action: RouteAction) -> None:
    route = Route()
    declared = fingerprint(route.config.routes["shop"])
    route.before = RouteState(LiveWeights((("blue", 3.0), ("next", 1.0)), declared, ANN))
    route.do(AT_5)
    assert route.do(action).weights == route.before.weights
    route = Route(declared={"weights": {"blue": 2, "next": 1}})  # another than the weights before were laid over
    route.before = RouteState(LiveWeights((("blue", 3.0), ("next", 1.0)), declared, ANN))
    route.do(AT_5)
    route.do(action)
    route.live = restore(route.live) if route.live.cutback else route.live
    assert route.live.weights is None


# Copies


def test_copies_end_as_the_shadow_was_before() -> None:
    route = Route(5, shadow={"percent": 20, "hold": 60}, declared={"shadow": {"upstream": "next", "percent": 1}})
    copied = route.do(Copy("canary", 20.0))
    assert (route.meddled, copied.since) == ("", 1)
    route.state, (ended,) = leave(route.state)
    assert isinstance(ended, StopCopies)
    after = route.do(ended)
    assert (after.shadow, after.since) == (None, 2)


def test_a_field_that_a_person_ignores_meanwhile_ends_nothing_and_stays_where_there_is_a_shadow() -> None:
    route = Route(5, shadow={"percent": 20, "hold": 60}, declared={"shadow": {"upstream": "next", "percent": 1}})
    route.do(Copy("canary", 20.0))
    route.shadow(compare={"ignore": ["$.id"]})
    assert route.meddled == ""
    after = route.do(StopCopies()).shadow
    assert after is not None
    assert (after.shadow.upstream, after.shadow.percent, after.shadow.compare.ignore) == ("next", 1.0, ("$.id",))


def test_no_shadow_is_left_where_there_was_none() -> None:
    route = Route(5, shadow={"percent": 20, "hold": 60})
    route.do(Copy("canary", 20.0))
    route.shadow(compare={"ignore": ["$.id"]})
    assert route.do(StopCopies()).shadow is None


@pytest.mark.parametrize("given", [{"percent": 0}, {"upstream": "next"}])
def test_another_shadow_is_a_persons_and_stays(given: dict[str, Any]) -> None:
    route = Route(5, shadow={"percent": 20, "hold": 60})
    route.do(Copy("canary", 20.0))
    theirs = route.shadow(**given).shadow
    assert route.meddled == "ann has changed the shadow that was to be compared"
    assert route.do(StopCopies()).shadow == theirs


def test_a_shadow_that_is_ended_meanwhile_stays_ended() -> None:
    route = Route(5, shadow={"percent": 20, "hold": 60})
    route.do(Copy("canary", 20.0))
    route.live = replace(route.live, shadow=None)
    assert route.meddled == "somebody has ended the shadow that was to be compared"
    assert route.do(StopCopies()).shadow is None
