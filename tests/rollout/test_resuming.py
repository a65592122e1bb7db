"""Where a rollout goes on after a kill between what the workers have and what the store has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from admin.live import TAKEN_OVER_BY, LiveCutback, LiveWeights, RouteState, Stamp
from admin.rollout.actions import Action, Copy, CutBack, Event, Judge, Move, Tell
from admin.rollout.resuming import resumed
from admin.rollout.state import Phase, RolloutState, Status
from routing.snapshot import CutbackMode
from tests.rollout.plans import WORSE, Driven, canary

OWN = "rollout shop#1"
BEFORE = RouteState(LiveWeights((("blue", 1.0),), "f", Stamp("ann", "t", "")))


def live(by: str, **weights: float) -> RouteState:
    return replace(BEFORE, weights=LiveWeights(tuple(weights.items()), "", Stamp(by, "t", "")), judged=True)


def at(seconds: int, **plan: object) -> RolloutState:
    driven = Driven(canary(**plan))
    driven.run(seconds)
    return driven.state


@pytest.mark.parametrize("by", [OWN, TAKEN_OVER_BY])
def test_a_weight_ahead_of_the_record_is_the_next_step(by: str) -> None:
    state, actions = resumed(at(50), live(by, blue=75.0, canary=25.0), BEFORE)
    assert (state.status, state.stage, state.phase, state.weight, state.held) == (
        Status.RUNNING, 1, Phase.HOLDING, 25.0, 0.0,
    )  # fmt: skip
    assert actions == (Move({"blue": 75.0, "canary": 25.0}), Judge())


@pytest.mark.parametrize("by", [OWN, TAKEN_OVER_BY])
def test_the_first_weight_ahead_of_the_record_has_moved_somebody(by: str) -> None:
    state, _ = resumed(at(0), live(by, blue=95.0, canary=5.0), BEFORE)
    assert (state.stage, state.phase, state.moved) == (0, Phase.HOLDING, True)


def test_a_weight_that_is_in_the_record_goes_on_where_it_was() -> None:
    state, _ = resumed(kept := at(50), live(OWN, blue=95.0, canary=5.0), BEFORE)
    assert state == kept


def test_an_approval_ahead_of_the_record_asks_nobody_again() -> None:
    state, _ = resumed(replace(at(50), status=Status.AWAITING_APPROVAL), live(OWN, blue=75.0, canary=25.0), BEFORE)
    assert (state.status, state.stage) == (Status.RUNNING, 1)


@pytest.mark.parametrize("by", [OWN, TAKEN_OVER_BY])
def test_a_cutback_ahead_of_the_record_has_cut_back(by: str) -> None:
    cut = replace(BEFORE, cutback=LiveCutback(CutbackMode.CUT, Stamp(by, "t", "50 % errors")), judged=False)
    state, actions = resumed(replace(at(50), verdict=WORSE), cut, BEFORE)
    assert (state.status, actions) == (Status.CUT_BACK, (CutBack(), Tell(Event.CUT_BACK)))
    assert state.reason == ("50 % errors" if by == OWN else WORSE.sentence)


@pytest.mark.parametrize("by", ["ann", TAKEN_OVER_BY])
def test_a_persons_cutback_leaves_the_rollout_to_let_go(by: str) -> None:
    """A person's is laid over a route that is judged still, even where its signature was lost."""
    cut = replace(live(OWN, blue=95.0, canary=5.0), cutback=LiveCutback(CutbackMode.CUT, Stamp(by, "t", "")))
    assert resumed(kept := at(50), cut, BEFORE) == (kept, ())


@pytest.mark.parametrize("weights", [BEFORE.weights, LiveWeights((("blue", 1.0),), "", Stamp(TAKEN_OVER_BY, "u", ""))])
def test_weights_from_before_are_an_abort_ahead_of_the_record(weights: LiveWeights) -> None:
    state, actions = resumed(at(50), replace(BEFORE, weights=weights), BEFORE)
    assert (state.status, actions) == (Status.ABORTED, (Tell(Event.ABORTED),))


def test_all_traffic_at_the_canary_before_its_last_step_is_a_promotion_ahead_of_the_record() -> None:
    state, actions = resumed(at(10), live(TAKEN_OVER_BY, canary=100.0), BEFORE)
    assert (state.status, actions) == (Status.PROMOTED, (Move({"canary": 100.0}), Tell(Event.PROMOTED)))


def test_weights_of_a_person_are_left_for_the_rollout_to_let_go() -> None:
    assert resumed(kept := at(50), live("bob", blue=90.0, canary=10.0), BEFORE) == (kept, ())


def test_copies_that_had_been_stopped_already_are_made_again_for_a_stage_that_holds() -> None:
    expected: tuple[Action, ...] = (Copy("canary", 10.0),)
    assert resumed(kept := at(3, shadow={"hold": 60}), BEFORE, BEFORE) == (kept, expected)


def test_what_has_ended_stays() -> None:
    assert resumed(kept := at(500), live("bob", blue=1.0), BEFORE) == (kept, ())
