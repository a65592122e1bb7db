"""A publish is answered only when nobody is left who might act by the old state."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from admin.broadcast import Broadcast
from proxy.control import Ack, Message, Nack, Publish, Published
from routing.snapshot import CutbackMode, Live

CUT = Live(cutback=CutbackMode.CUT)
WEIGHTED = Live(weights=(("blue", 1.0),))


class Ends:
    """Both ends of a broadcast: what went to the workers, what came back to admin."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Message]] = []
        self.answers: list[Published] = []
        self.broadcast = Broadcast(lambda worker, message: self.sent.append((worker, message)), self.answers.append)


def started(workers: int) -> Ends:
    """A broadcast whose workers all hold revision 1."""
    ends = Ends()
    ends.broadcast.publish(Publish(1, {}, b"snapshot"), set(range(workers)), 0.0)
    for worker in range(workers):
        ends.broadcast.answered(worker, Ack(1, {}), 0.0)
    ends.sent.clear()
    ends.answers.clear()
    return ends


def test_publish_before_any_worker_is_up_is_answered_at_once() -> None:
    ends = Ends()
    ends.broadcast.publish(Publish(1, {}, b"snapshot"), set(), 0.0)
    assert ends.answers == [Published(1, 0, 0, 0, 0.0, {}, ())]


def test_worker_that_joins_gets_snapshot_and_all_live_state() -> None:
    ends = started(1)
    ends.broadcast.publish(Publish(2, {"shop": CUT}), {0}, 0.0)
    ends.broadcast.publish(Publish(3, {"news": WEIGHTED}), {0}, 0.0)
    ends.broadcast.joined(1)
    assert ends.sent[-1] == (1, Publish(3, {"shop": CUT, "news": WEIGHTED}, b"snapshot"))


def test_live_state_without_snapshot_is_refused() -> None:
    ends = Ends()
    assert ends.broadcast.publish(Publish(1, {"shop": CUT}), {0}, 0.0) is None
    assert ends.sent == []


def test_round_is_answered_when_the_last_worker_has_acknowledged() -> None:
    ends = started(2)
    ends.broadcast.publish(Publish(2, {"shop": CUT}), {0, 1}, 10.0)
    ends.broadcast.answered(0, Ack(2, {"canary": 2}), 10.1)
    assert ends.answers == []
    ends.broadcast.answered(1, Ack(2, {"canary": 1, "green": 4}), 10.5)
    assert ends.answers == [Published(2, 2, 2, 0, 0.5, {"canary": 3, "green": 4}, ())]


def test_worker_that_refuses_is_named() -> None:
    ends = started(1)
    ends.broadcast.publish(Publish(2, {}, b"bad"), {0}, 0.0)
    ends.broadcast.answered(0, Nack(2, "ValueError: no"), 0.0)
    assert ends.answers == [Published(2, 0, 1, 0, 0.0, {}, ("worker 0: ValueError: no",))]
    assert ends.broadcast.holders == {0: 1}


def test_worker_that_refuses_live_state_is_to_be_ended_and_counts_as_replaced() -> None:
    """A new configuration may be refused; a cutback may not: the worker would go on by the old state."""
    ends = started(2)
    ends.broadcast.publish(Publish(2, {"shop": CUT}), {0, 1}, 0.0)
    assert not ends.broadcast.answered(0, Nack(2, "MemoryError: "), 0.0)
    assert ends.broadcast.answered(1, Ack(2, {}), 0.1)
    assert ends.answers == []
    ends.broadcast.left(0, 0.2)
    assert ends.answers == [Published(2, 1, 2, 1, 0.2, {}, ())]


def test_silent_worker_is_late_until_it_has_left() -> None:
    ends = started(2)
    round_ = ends.broadcast.publish(Publish(2, {"shop": CUT}), {0, 1}, 0.0)
    assert round_ is not None
    ends.broadcast.answered(0, Ack(2, {}), 0.1)
    assert ends.broadcast.late(round_) == [1]
    ends.broadcast.left(1, 1.0)
    assert ends.broadcast.late(round_) == []
    assert ends.answers == [Published(2, 1, 2, 1, 1.0, {}, ())]


def test_late_acknowledgement_of_a_round_answered_changes_nothing() -> None:
    ends = started(1)
    ends.broadcast.publish(Publish(2, {"shop": CUT}), {0}, 0.0)
    ends.broadcast.answered(0, Ack(2, {}), 0.1)
    ends.broadcast.answered(0, Ack(2, {"canary": 9}), 0.2)
    assert len(ends.answers) == 1


@given(seed=st.integers(0, 10_000), workers=st.integers(0, 5), rounds=st.integers(1, 4))
def test_every_round_is_answered_exactly_once_whatever_the_order(seed: int, workers: int, rounds: int) -> None:
    """Workers acknowledge, leave and join in any order; nobody is forgotten, and no worker is counted twice."""
    rng = random.Random(seed)
    ends = started(workers)
    up = set(range(workers))
    owed: list[tuple[int, int]] = []
    for revision in range(2, rounds + 2):
        ends.broadcast.publish(Publish(revision, {"shop": CUT}), set(up), 0.0)
        owed += [(worker, revision) for worker in up]
    while owed:
        worker, revision = owed.pop(rng.randrange(len(owed)))
        if rng.random() < 0.3:
            ends.broadcast.left(worker, 1.0)
            up.discard(worker)
            owed = [debt for debt in owed if debt[0] != worker]
        else:
            ends.broadcast.answered(worker, Ack(revision, {}), 1.0)
    assert sorted(answer.revision for answer in ends.answers) == list(range(2, rounds + 2))
    assert all(answer.acked + answer.replaced == answer.total == workers for answer in ends.answers)
