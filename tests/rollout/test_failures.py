"""What a failure does under `on_failure: pause` and `notify`, and gates that can't be asked."""

from __future__ import annotations

from admin.rollout.actions import Ask, Event, Move, Tell
from admin.rollout.commands import Command, command
from admin.rollout.machine import Answer
from admin.rollout.state import Phase, Status
from tests.rollout.plans import OK, WORSE, Driven, canary, plan

AT_25 = Move({"blue": 75.0, "canary": 25.0})
PROMETHEUS = {"prometheus": [{"name": "orders", "url": "http://p", "query": "q", "min": 1, "failures": 2}]}


def events(driven: Driven) -> list[Event]:
    return [action.event for action in driven.actions if isinstance(action, Tell)]


def test_a_step_that_failed_and_paused_can_be_skipped() -> None:
    """What is known of it is not held against the next one."""
    driven = Driven(canary(on_failure="pause"))
    driven.run(5)
    driven.see(WORSE)
    driven.state, _ = command(driven.state, Command.SKIP, "ann")
    assert driven.see(WORSE)[0] == AT_25
    assert driven.see(WORSE) == [Tell(Event.PAUSED)]


# What only has to be told of


def test_notify_goes_on_though_the_regression_stays() -> None:
    driven = Driven(canary(on_failure="notify"))
    driven.run(5)
    driven.see(WORSE)
    while driven.state.stage == 0 or driven.state.phase is Phase.ENTERING:
        driven.see(WORSE)
    assert events(driven).count(Event.REGRESSION) == 1
    driven.see(WORSE)
    assert events(driven).count(Event.REGRESSION) == 2  # of the next step


def test_notify_tells_of_a_gate_once_and_goes_on() -> None:
    driven = Driven(canary(on_failure="notify", analysis=PROMETHEUS))
    for _ in range(100):
        driven.see(OK, Answer("prometheus orders", False, "orders is 0, below 1"))
        if driven.state.stage:
            break
    assert driven.state.stage == 1
    assert events(driven).count(Event.REGRESSION) == 1


def test_notify_tells_of_a_smoke_test_once_and_goes_on() -> None:
    driven = Driven(canary(smoke=[{"path": "/health"}], on_failure="notify"))
    driven.run(2)
    driven.see(OK, Answer("smoke", False, "500, not 200"))
    driven.run(3)
    assert (driven.state.stage, driven.state.weight) == (1, 5.0)
    assert events(driven).count(Event.REGRESSION) == 1


def test_notify_tells_of_an_update_once_and_goes_on() -> None:
    update = {"url": "http://deploy/update"}
    driven = Driven(plan(pattern="rolling", to="blue", update=update, on_failure="notify"))
    driven.see()
    driven.see(idle=True)
    driven.see(OK, Answer("update", False, "it answers 500"))
    driven.see(healthy=True)
    assert (driven.state.status, driven.state.phase) == (Status.RUNNING, Phase.HOLDING)
    assert events(driven).count(Event.REGRESSION) == 1


def test_smoke_tests_that_cannot_be_made_hold_and_are_tried_again() -> None:
    driven = Driven(canary(smoke=[{"path": "/health"}]))
    driven.run(2)
    for _ in range(3):
        assert driven.see(OK, Answer("smoke", None, "the supervisor is gone")) == [Ask("smoke")]
    assert (driven.state.status, driven.state.reason) == (Status.RUNNING, "holding: the supervisor is gone")
