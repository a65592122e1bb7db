"""The rollout as a state machine, driven second by second."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.refusals import OutOfTurnError
from admin.rollout.actions import (
    Ask,
    Copy,
    CutBack,
    Drain,
    Enable,
    Event,
    GoBack,
    Judge,
    Move,
    StopCopies,
    Tell,
)
from admin.rollout.commands import Command, command
from admin.rollout.machine import Answer, interfered
from admin.rollout.state import Phase, RolloutState, Status
from admin.rollout.verdict import Verdict
from tests.rollout.plans import ENDPOINTS, OK, UNKNOWN, WATCHING, WORSE, Driven, canary, plan

AT_5 = Move({"blue": 95.0, "canary": 5.0})
AT_25 = Move({"blue": 75.0, "canary": 25.0})
AT_100 = Move({"canary": 100.0})


def moves(driven: Driven) -> list[Move]:
    return [action for action in driven.actions if isinstance(action, Move)]


def events(driven: Driven) -> list[Event]:
    return [action.event for action in driven.actions if isinstance(action, Tell)]


# Steps


def test_a_canary_that_does_well_goes_through_its_steps_and_is_promoted() -> None:
    driven = Driven(canary())
    assert driven.see() == [AT_5, Judge(), Tell(Event.STEP)]
    driven.run(400)
    assert driven.state.status is Status.PROMOTED
    assert moves(driven) == [AT_5, AT_25, AT_100, AT_100]
    assert events(driven) == [Event.STARTED, Event.STEP, Event.STEP, Event.STEP, Event.PROMOTED]


def test_a_step_is_not_left_before_its_hold_is_over() -> None:
    driven = Driven(canary())
    driven.see()
    driven.run(59)
    assert driven.state.stage == 0
    driven.run(2)
    assert driven.state.stage == 1


@pytest.mark.parametrize("verdict", [UNKNOWN, WATCHING])
def test_a_verdict_that_is_not_ok_holds_for_ever(verdict: Verdict) -> None:
    driven = Driven(canary())
    driven.see()
    driven.run(5000, verdict)
    assert (driven.state.stage, driven.state.status) == (0, Status.RUNNING)
    assert driven.state.reason == f"holding: {verdict.sentence}"
    driven.see()
    assert (driven.state.stage, driven.state.phase, driven.state.reason) == (1, Phase.ENTERING, "")


def test_time_that_nobody_watched_is_not_held() -> None:
    driven = Driven(canary())
    driven.see()
    driven.now += 3600
    driven.run(30)
    assert driven.state.stage == 0


# Failure


def test_a_regression_cuts_back_and_says_why() -> None:
    driven = Driven(canary())
    driven.run(70)
    assert driven.see(WORSE, failed=12) == [CutBack(), Tell(Event.CUT_BACK)]
    why = f"{WORSE.sentence}; cut back 8 s after the step began; 12 client requests had failed there"
    assert (driven.state.status, driven.state.reason) == (Status.CUT_BACK, why)
    assert driven.run(100) == []


def test_a_regression_while_the_next_step_waits_for_its_window_cuts_back() -> None:
    driven = Driven(canary())
    driven.run(61)
    driven.see(closed="the next window opens mon 09:00 UTC")
    driven.see(closed="the next window opens mon 09:00 UTC")
    assert driven.state.phase is Phase.ENTERING
    assert driven.see(WORSE, closed="the next window opens mon 09:00 UTC")[0] == CutBack()


def test_a_regression_while_a_person_is_asked_cuts_back() -> None:
    driven = Driven(plan(steps=[{"weight": 5, "approval": True}]))
    driven.run(3)
    assert driven.state.status is Status.AWAITING_APPROVAL
    assert driven.see(WORSE)[0] == CutBack()


def test_a_regression_while_a_person_has_paused_cuts_back() -> None:
    driven = Driven(canary())
    driven.run(5)
    driven.state, _ = command(driven.state, Command.PAUSE, "ann")
    assert driven.see(WORSE)[0] == CutBack()


def test_pause_on_failure_leaves_the_weights_and_waits_for_a_person() -> None:
    driven = Driven(canary(on_failure="pause"))
    driven.run(5)
    assert driven.see(WORSE) == [Tell(Event.PAUSED)]
    assert driven.run(100, WORSE) == []
    driven.state, actions = command(driven.state, Command.RESUME, "ann")
    assert (driven.state.status, actions) == (Status.RUNNING, (Judge(), Tell(Event.RESUMED)))
    assert driven.see(WORSE) == [Tell(Event.PAUSED)]


def test_notify_on_failure_tells_once_and_goes_on() -> None:
    driven = Driven(canary(on_failure="notify"))
    driven.run(5)
    assert driven.see(WORSE) == [Tell(Event.REGRESSION)]
    assert driven.run(20, WORSE) == []
    assert driven.state.status is Status.RUNNING


# Gates


def test_smoke_tests_come_before_the_first_weight() -> None:
    driven = Driven(canary(smoke=[{"path": "/health"}]))
    driven.see()
    assert driven.see() == [Ask("smoke")]
    assert driven.run(10) == []
    driven.see(OK, Answer("smoke", True))
    assert driven.see()[0] == AT_5


def test_a_failed_smoke_test_moves_nothing() -> None:
    driven = Driven(canary(smoke=[{"path": "/health"}]))
    driven.run(2)
    assert driven.see(OK, Answer("smoke", False, "GET /health: 500")) == [GoBack(), Tell(Event.CUT_BACK)]
    assert driven.state.reason == "smoke test: GET /health: 500"
    assert moves(driven) == []


PROMETHEUS = {"prometheus": [{"name": "orders", "url": "http://p", "query": "q", "min": 1, "failures": 2}]}


def test_a_query_is_asked_each_interval_and_fails_after_so_many_failures() -> None:
    driven = Driven(canary(analysis=PROMETHEUS))
    driven.see()
    asked = driven.run(25)
    assert asked == [Ask("prometheus orders")]  # until it answers
    driven.see(OK, Answer("prometheus orders", False, "orders is 0, below 1"))
    driven.run(10)
    assert driven.see(OK, Answer("prometheus orders", False, "orders is 0, below 1"))[0] == CutBack()
    assert driven.state.reason.startswith("orders is 0, below 1; cut back 3")


def test_a_query_without_an_answer_holds_and_fails_nothing() -> None:
    driven = Driven(canary(analysis=PROMETHEUS))
    for _ in range(500):
        driven.see(OK, Answer("prometheus orders", None, "orders: no answer"))
    assert (driven.state.stage, driven.state.reason) == (0, "holding: orders: no answer")


def test_webhooks_are_asked_when_the_hold_is_over_and_each_step_anew() -> None:
    driven = Driven(canary(analysis={"webhooks": [{"url": "http://h", "name": "load"}]}))
    driven.see()
    assert driven.run(59) == []
    assert driven.run(1) == [Ask("webhook load")]
    driven.see(OK, Answer("webhook load", True))
    assert driven.state.stage == 1
    driven.see()
    assert driven.run(60) == [Ask("webhook load")]


def test_an_answer_that_nobody_asked_for_counts_nothing() -> None:
    driven = Driven(canary(smoke=[{"path": "/health"}]))
    driven.see(OK, Answer("smoke", True))
    driven.see()
    assert driven.state.stage == 0


# Patterns


def test_shadow_first_compares_before_any_weight() -> None:
    driven = Driven(canary(shadow={"percent": 20, "hold": 30}))
    assert driven.see() == [Copy("canary", 20.0), Judge(), Tell(Event.STEP)]
    driven.run(40, UNKNOWN)
    assert driven.state.stage == 0
    assert driven.see() == [StopCopies()]
    assert driven.see()[0] == AT_5


def test_a_shadow_that_differs_goes_back_without_a_cutback() -> None:
    driven = Driven(canary(shadow={"percent": 20}))
    driven.see()
    assert driven.see(WORSE) == [StopCopies(), GoBack(), Tell(Event.CUT_BACK)]


def test_blue_green_switches_at_once_and_back_by_itself() -> None:
    driven = Driven(plan(pattern="blue_green", watch=60))
    assert driven.see()[0] == AT_100
    driven.run(30)
    assert driven.see(WORSE)[0] == CutBack()


def test_blue_green_waits_for_the_person_who_switches() -> None:
    driven = Driven(plan(pattern="blue_green", approval=True))
    driven.run(3)
    assert (driven.state.status, moves(driven)) == (Status.AWAITING_APPROVAL, [])
    driven.state, _ = command(driven.state, Command.APPROVE, "ann")
    assert driven.see()[0] == AT_100


def test_ab_ends_with_a_person_who_chooses() -> None:
    driven = Driven(plan(pattern="ab", steps=[{"weight": 50, "hold": 60}]))
    driven.run(100)
    assert driven.state.status is Status.AWAITING_APPROVAL
    with pytest.raises(OutOfTurnError, match="promote an upstream, or abort"):
        command(driven.state, Command.APPROVE, "ann")
    ended, actions = command(driven.state, Command.PROMOTE, "ann")
    assert (ended.status, actions[0]) == (Status.PROMOTED, AT_100)


def test_several_canaries_share_the_steps_and_one_is_chosen() -> None:
    driven = Driven(plan(to=["canary", "next"], steps=[{"weight": 10, "hold": 10}]))
    assert driven.see()[0] == Move({"blue": 80.0, "canary": 10.0, "next": 10.0})
    driven.run(20)
    with pytest.raises(OutOfTurnError, match="canary or next"):
        command(driven.state, Command.PROMOTE, "ann")
    _, actions = command(driven.state, Command.PROMOTE, "ann", "next")
    assert actions[0] == Move({"next": 100.0})


def test_rolling_replaces_one_endpoint_after_the_other() -> None:
    driven = Driven(plan(stable="canary", pattern="rolling", watch=10, update={"url": "http://deploy"}))
    for endpoint in ENDPOINTS:
        assert driven.see()[0] == Drain("canary", (endpoint,))
        assert driven.run(5) == []
        assert driven.see(idle=True) == [Ask("update")]
        assert driven.run(5) == []
        assert driven.see(OK, Answer("update", True), idle=True) == []
        assert driven.see(healthy=True) == [Enable("canary", (endpoint,)), Judge()]
        driven.run(10)
    assert driven.state.status is Status.PROMOTED
    assert moves(driven) == []


def test_a_failed_update_pauses_since_there_is_nothing_to_cut_back_to() -> None:
    driven = Driven(plan(stable="canary", pattern="rolling", update={"url": "http://deploy"}))
    driven.run(1)
    driven.see(idle=True)
    assert driven.see(OK, Answer("update", False, "500"), idle=True) == [Tell(Event.PAUSED)]
    ended, actions = command(driven.state, Command.ABORT, "ann")
    assert (ended.status, actions[0]) == (Status.ABORTED, Enable("canary", ENDPOINTS[:1]))


def test_recreate_without_a_hook_waits_for_a_person_with_everything_drained() -> None:
    driven = Driven(plan(stable="canary", pattern="recreate", watch=0))
    assert driven.see()[0] == Drain("canary", ENDPOINTS)
    driven.see(idle=True)
    assert driven.state.status is Status.AWAITING_APPROVAL
    driven.state, _ = command(driven.state, Command.APPROVE, "ann")
    assert driven.see(idle=True, healthy=True)[0] == Enable("canary", ENDPOINTS)
    driven.see()
    assert driven.state.status is Status.PROMOTED


# People


def test_abort_goes_back_to_the_weights_from_before() -> None:
    driven = Driven(canary())
    driven.run(70)
    ended, actions = command(driven.state, Command.ABORT, "ann")
    assert (ended.status, ended.reason, actions) == (
        Status.ABORTED,
        "aborted by ann",
        (GoBack(), Tell(Event.ABORTED)),
    )


def test_skip_leaves_the_step_at_once() -> None:
    driven = Driven(canary())
    driven.see()
    driven.state, _ = command(driven.state, Command.SKIP, "ann")
    assert driven.see()[0] == AT_25


@pytest.mark.parametrize("what", [Command.RESUME, Command.APPROVE])
def test_a_command_out_of_turn_is_refused(what: Command) -> None:
    driven = Driven(canary())
    driven.see()
    with pytest.raises(OutOfTurnError):
        command(driven.state, what, "ann")


@pytest.mark.parametrize("what", list(Command))
def test_a_rollout_that_has_ended_takes_no_command(what: Command) -> None:
    driven = Driven(canary())
    driven.run(500)
    with pytest.raises(OutOfTurnError, match="has ended: promoted"):
        command(driven.state, what, "ann")


def test_somebody_else_who_changes_the_weights_ends_it() -> None:
    driven = Driven(canary())
    driven.run(5)
    ended, actions = interfered(driven.state, "bob has set the weights")
    assert (ended.status, actions) == (Status.ABORTED, (Tell(Event.ABORTED),))


# Whatever comes

seen = st.one_of(
    st.sampled_from([OK, OK, OK, UNKNOWN, WATCHING, WORSE]).map(lambda verdict: ("see", verdict)),
    st.sampled_from(list(Command)).map(lambda what: ("command", what)),
    st.just(("kept", None)),
)
plans = st.sampled_from(
    [
        canary(),
        canary(on_failure="pause"),
        canary(smoke=[{"path": "/"}], shadow={"percent": 5}),
        plan(pattern="blue_green", watch=3, approval=True),
        plan(to=["canary", "next"], steps=[{"weight": 10}]),
        plan(stable="canary", pattern="rolling", watch=2, batch=2),
    ]
)


@given(of=plans, story=st.lists(seen, max_size=60))
def test_any_story_moves_weights_up_or_back_and_ends_once(of: object, story: list[tuple[str, object]]) -> None:
    driven = Driven(of)  # type: ignore[arg-type]
    weight = 0.0
    for kind, what in story:
        before = driven.state
        if kind == "see":
            assert isinstance(what, Verdict)
            driven.see(what, Answer("smoke", True), idle=True, healthy=True)
        elif kind == "command":
            try:
                driven.state, actions = command(driven.state, what, "ann", "canary")  # type: ignore[arg-type]
            except OutOfTurnError:
                assert driven.state is before
            else:
                driven.actions += actions
        else:
            driven.kept()
        if before.status.ended:
            assert (driven.state.status, driven.state.reason) == (before.status, before.reason)
        elif not driven.state.status.ended:
            assert driven.state.weight >= weight
        weight = driven.state.weight
    ends = [event for event in events(driven) if event in (Event.PROMOTED, Event.CUT_BACK, Event.ABORTED)]
    assert len(ends) == driven.state.status.ended


@given(of=plans, seconds=st.integers(0, 200))
def test_a_state_that_was_kept_is_the_same_but_for_the_clock(of: object, seconds: int) -> None:
    driven = Driven(of)  # type: ignore[arg-type]
    driven.run(seconds)
    again = RolloutState.from_json("shop", driven.state.plan, json.loads(json.dumps(driven.state.to_json())))
    gates = {name: replace(gate, asked=False, due=0.0) for name, gate in driven.state.gates.items()}
    assert again == replace(driven.state, at=0.0, gates=gates)
