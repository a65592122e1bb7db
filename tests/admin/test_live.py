"""What a change does to live state, without anything around it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.live import (
    UNCHANGED,
    LiveCutback,
    LiveWeights,
    NotCutBackError,
    RouteState,
    Stamp,
    carry_over,
    carry_shadow_over,
    check_weights,
    cut_back,
    of_overlay,
    restore,
    set_shadow,
    set_weights,
)
from routing.config import Route, Shadow
from routing.snapshot import CutbackMode, Live

UPSTREAMS = ("blue", "green", "canary")
STAMP = Stamp("ann", "2026-03-01T09:30:00.000Z", "because")
LATER = Stamp("bob", "2026-03-02T09:30:00.000Z", "again")


@pytest.mark.parametrize(
    ("weights", "field", "says"),
    [
        ({"canray": 1}, "weights.canray", "did you mean 'canary'?"),
        ({"nowhere": 1}, "weights.nowhere", "unknown upstream"),
        ({"blue": -1}, "weights.blue", "negative"),
        ({"blue": math.nan}, "weights.blue", "finite"),
        ({"blue": math.inf}, "weights.blue", "finite"),
        ({"blue": "10"}, "weights.blue", "number"),
        ({"blue": None}, "weights.blue", "number"),
        ({"blue": True}, "weights.blue", "number"),
        ({"blue": 0.0000001}, "weights.blue", "6 decimals"),
        ({"blue": 10**400}, "weights.blue", "at most"),
        ({"blue": -(10**400)}, "weights.blue", "negative"),
        ({"blue": 1e300}, "weights.blue", "at most"),
        ({"blue": 0, "canary": 0}, "weights", "zero"),
        ({}, "weights", "no upstream"),
    ],
)
def test_weights_that_cannot_be_applied_are_named(weights: dict[str, object], field: str, says: str) -> None:
    errors = check_weights(weights, UPSTREAMS)
    assert [(error.field, says in error.message) for error in errors] == [(field, True)]


def test_weights_with_several_faults_get_all_of_them() -> None:
    errors = check_weights({"blue": -1, "canray": 2, "green": "x"}, UPSTREAMS)
    assert sorted(error.field for error in errors) == ["weights.blue", "weights.canray", "weights.green"]


@given(
    st.dictionaries(
        st.sampled_from(UPSTREAMS), st.integers(0, 10**9) | st.decimals(0, 1000, places=6).map(float), min_size=1
    )
)
def test_weights_that_are_fine_are_accepted(weights: dict[str, float]) -> None:
    assert (check_weights(weights, UPSTREAMS) == []) == any(weights.values())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), json_values))
def test_whatever_is_sent_as_weights_is_judged_without_an_exception(weights: dict[str, object]) -> None:
    assert all(error.field.startswith("weights") for error in check_weights(weights, UPSTREAMS))


def test_weights_leave_a_cutback_in_force() -> None:
    state = set_weights(cut_back(UNCHANGED, CutbackMode.CUT, STAMP), {"canary": 1}, "f", LATER)
    assert state.overlay("shop") == Live((("canary", 1),), CutbackMode.CUT)


def test_cutback_again_the_same_way_keeps_who_began_it() -> None:
    first = cut_back(UNCHANGED, CutbackMode.CUT, STAMP)
    assert cut_back(first, CutbackMode.CUT, LATER) == first


def test_cutback_in_another_mode_replaces_it() -> None:
    assert cut_back(cut_back(UNCHANGED, CutbackMode.DRAIN, STAMP), CutbackMode.CUT, LATER).cutback == LiveCutback(
        CutbackMode.CUT, LATER
    )


def test_restore_brings_back_the_weights_from_before() -> None:
    weighted = set_weights(UNCHANGED, {"canary": 1}, "f", STAMP)
    assert restore(cut_back(weighted, CutbackMode.CUT, LATER)) == weighted


def test_restore_of_what_is_not_cut_back_is_refused() -> None:
    with pytest.raises(NotCutBackError):
        restore(UNCHANGED)


WEIGHTED = RouteState(LiveWeights((("canary", 5), ("blue", 95)), "f", STAMP), LiveCutback(CutbackMode.CUT, STAMP))


def test_live_state_survives_a_configuration_that_says_the_same_for_the_route() -> None:
    assert carry_over(WEIGHTED, "f", UPSTREAMS) == (WEIGHTED, "")


@pytest.mark.parametrize(
    ("declared", "upstreams", "why"), [("g", UPSTREAMS, "changed"), ("f", ("blue",), "no longer has canary")]
)
def test_weights_are_dropped_and_the_cutback_stays(declared: str, upstreams: tuple[str, ...], why: str) -> None:
    state, said = carry_over(WEIGHTED, declared, upstreams)
    assert state == RouteState(None, WEIGHTED.cutback)
    assert why in said


def test_what_the_workers_have_is_taken_over_with_the_parts_that_are_known() -> None:
    known = RouteState(WEIGHTED.weights, None)
    taken = of_overlay(known, Live(WEIGHTED.overlay("shop").weights, CutbackMode.CUT), LATER, "shop")
    assert taken == RouteState(WEIGHTED.weights, LiveCutback(CutbackMode.CUT, LATER))


def test_weights_taken_over_are_laid_over_what_is_declared_then() -> None:
    taken = of_overlay(UNCHANGED, Live((("canary", 1),)), LATER, "shop")
    state, why = carry_over(taken, "now", UPSTREAMS)
    assert (why, state.weights and state.weights.declared) == ("", "now")


@pytest.mark.parametrize(
    "state",
    [UNCHANGED, WEIGHTED, RouteState(None, WEIGHTED.cutback), RouteState(WEIGHTED.weights), RouteState(judged=True)],
)
def test_a_state_comes_back_from_json_as_it_was(state: RouteState) -> None:
    assert RouteState.from_json(json.loads(json.dumps(state.to_json()))) == state


DECLARED = Route(stable="blue", shadow=Shadow(upstream="canary", control="green", percent=10))


def test_live_keys_of_a_shadow_come_back_from_json_and_are_laid_over_what_is_declared() -> None:
    state = set_shadow(UNCHANGED, {"percent": "50%", "timeout": "2s"}, DECLARED, UPSTREAMS, STAMP, 7)
    assert RouteState.from_json(json.loads(json.dumps(state.to_json()))) == state
    shadow = state.overlay("shop").shadow
    assert shadow is not None
    assert (shadow.upstream, shadow.control, shadow.percent, shadow.timeout) == ("canary", "green", 50.0, 2.0)


def test_a_state_stored_before_there_were_shadows_or_rollouts_is_read() -> None:
    assert RouteState.from_json({"weights": None, "cutback": None}) == UNCHANGED


def test_what_the_workers_know_of_being_judged_is_taken_over() -> None:
    judged = RouteState(judged=True)
    assert of_overlay(UNCHANGED, judged.overlay("shop"), LATER, "shop") == judged
    assert of_overlay(judged, Live(), LATER, "shop") == UNCHANGED


def test_a_shadow_taken_over_from_the_workers_is_the_same_shadow() -> None:
    keys = {
        "by": "client",
        "methods": ["GET", "POST"],
        "headers": {"set": {"X-Shadow": "1"}},
        "compare": {"keyed": {"$.items": "id"}, "mask": ["[0-9]+"], "number_tolerance": 0.5},
        "endpoints": ["/orders/{id}"],
    }
    live = replace(set_shadow(UNCHANGED, keys, DECLARED, UPSTREAMS, STAMP, 7), since=9).overlay("shop")
    taken = of_overlay(UNCHANGED, live, LATER, "shop")
    assert (taken.overlay("shop"), taken.since) == (live, 9)
    assert taken.shadow is not None
    assert (taken.shadow.stamp, taken.shadow.declared) == (LATER, "")
    state, why = carry_shadow_over(taken, DECLARED, UPSTREAMS)
    assert (why, state.overlay("shop")) == ("", live)


def test_a_shadow_that_the_workers_no_longer_have_is_given_up() -> None:
    state = set_shadow(UNCHANGED, {"percent": 50}, DECLARED, UPSTREAMS, STAMP, 7)
    assert of_overlay(state, Live(), LATER, "shop") == UNCHANGED
