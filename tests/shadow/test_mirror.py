"""The hub, by what workers and upstreams see: each copy is sent, paired and counted once, and nothing is held for longer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import pytest

from proxy.capture_frames import Drop
from routing.snapshot import Live
from shadow import mirror
from shadow.comparisons import A_SECOND, AT_A_TIME, AT_ONCE, Allowance
from shadow.endpoint_state import Room, endpoints_of
from shadow.verdict import Compared
from shadow.window import FIRST
from tests.proxy.fakes import End, snapshot_of
from tests.shadow.fakes import BLUE, CONTROL, HEAD, NEXT, OK, UPSTREAMS, Shadows, Worker
from tests.shadow.pairs import compared

OTHER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"


def counts(scene: Shadows) -> tuple[int, int, int]:
    """Pairs that were equal, looked at closer, unknown."""
    states = endpoints_of(scene.report(), Room()).values()
    return (
        sum(state.equal for state in states),
        sum(state.examined for state in states),
        sum(sum(state.unknown.values()) for state in states),
    )


def accounted(scene: Shadows) -> int:
    return sum(counts(scene)) + sum(scene.dropped().values())


def at_rest(scene: Shadows) -> bool:
    """No call is under way, and nothing waits for one."""
    return not any(pool.load for pool in scene.mirror.upstreams.all())


@pytest.mark.parametrize("order", [*permutations(("primary", "shadow", "control"))])
def test_pair_is_equal_in_whatever_order_the_answers_come(order: tuple[str, ...]) -> None:
    scene = Shadows(control=True)
    worker = scene.worker()
    number = worker.request()
    [shadow], [control] = scene.at(NEXT), scene.at(CONTROL)
    assert shadow.received() == control.received()
    for who in order:
        assert counts(scene) == (0, 0, 0)
        if who == "primary":
            worker.answer(number)
        else:
            (shadow if who == "shadow" else control).send(OK)
    assert counts(scene) == (1, 0, 0)
    assert worker.link.pairs == {}
    assert at_rest(scene)


def test_pair_that_differs_is_compared_elsewhere_and_holds_no_credit_meanwhile() -> None:
    scene = Shadows()
    worker = scene.worker()
    before = worker.credits()
    worker.answer(worker.request())
    scene.origins[0].send(OTHER)
    [(answers, done)] = scene.differs.jobs
    assert [answer.body for answer in answers if answer] == [b"ok", b"other"]
    assert worker.credits() == before + 1  # and one more, since it went well
    done(compared(["body"]))
    assert counts(scene) == (0, 1, 0)


def test_comparison_without_a_verdict_is_unknown() -> None:
    scene = Shadows()
    worker = scene.worker()
    worker.answer(worker.request())
    scene.origins[0].send(OTHER)
    scene.differs.jobs[0][1](Compared("bomb"))
    assert counts(scene) == (0, 0, 1)


def test_pair_is_dropped_where_no_differ_has_time() -> None:
    scene = Shadows()
    scene.differs.busy = True
    worker = scene.worker()
    worker.answer(worker.request())
    scene.origins[0].send(OTHER)
    assert scene.dropped() == {"differ_busy": 1}
    assert at_rest(scene)


def failures() -> Iterator[tuple[str, str, dict[str, int]]]:
    """What goes wrong, the outcome that is counted, and why nothing is compared; nothing is said where it is."""
    yield "refused", "connect", {"connect": 1}
    yield "hangs", "timeout", {"timeout": 1}
    yield "reset", "reset", {}
    yield "garbage", "bad_response", {}
    yield "flood", "too_large", {}


@pytest.mark.parametrize(("what", "outcome", "dropped"), list(failures()))
def test_call_that_fails_is_counted_and_leaves_nothing(what: str, outcome: str, dropped: dict[str, int]) -> None:
    scene = Shadows(max_body=10)
    if what == "refused":
        scene.refusing.add(NEXT)
    worker = scene.worker()
    worker.answer(worker.request())
    if what == "hangs":
        scene.pass_time(11)
    elif what == "reset":
        scene.origins[0].reset()
    elif what == "garbage":
        scene.origins[0].send(b"\x00\r\n\r\n")
    elif what == "flood":
        scene.origins[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890")
    assert scene.outcomes() == {outcome: 1}
    assert scene.dropped() == dropped
    assert len(scene.differs.jobs) == (not dropped)
    assert at_rest(scene)


@pytest.mark.parametrize(("primary", "news"), [(b"01234", True), (b"012345", False)])
def test_answer_above_the_bound_is_news_only_where_the_primary_is_well_below(primary: bytes, news: bool) -> None:
    scene = Shadows(max_body=10)
    worker = scene.worker()
    worker.answer(worker.request(), primary)
    scene.origins[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890")
    assert scene.dropped() == ({} if news else {"body_too_large": 1})
    assert len(scene.differs.jobs) == news
    assert at_rest(scene)


def test_failing_control_costs_credits_and_leaves_a_pair_of_two() -> None:
    scene = Shadows(control=True)
    scene.refusing.add(CONTROL)
    worker = scene.worker()
    worker.answer(worker.request())
    scene.at(NEXT)[0].send(OK)
    assert counts(scene) == (1, 0, 0)
    assert scene.outcomes() == {"ok": 1}
    assert worker.credits() < FIRST
    assert worker.backed_off


@pytest.mark.parametrize("when", ["before", "after"])
def test_copy_whose_primary_gave_no_answer_is_not_compared(when: str) -> None:
    scene = Shadows()
    worker = scene.worker()
    number = worker.request()
    if when == "before":
        worker.gone(number, Drop.BODY_TOO_LARGE)
    scene.origins[0].send(OK)
    if when == "after":
        worker.gone(number, Drop.BODY_TOO_LARGE)
    assert scene.dropped() == {"body_too_large": 1}
    assert at_rest(scene)


def test_copy_that_another_than_stable_answered_is_not_compared_nor_waited_for() -> None:
    scene = Shadows()
    scene.worker().request(compared=False)
    scene.origins[0].send(OK)
    assert scene.dropped() == {"not_stable": 1}
    assert at_rest(scene)


def test_worker_that_dies_leaves_nothing_waiting() -> None:
    scene = Shadows()
    dead, alive = scene.worker(), scene.worker()
    assert (dead.credits(), alive.credits()) == (16, 16)
    for _ in range(3):
        dead.request()
    dead.lose()
    for origin in scene.origins:
        origin.send(OK)
    assert scene.dropped() == {"no_primary": 3}
    assert alive.credits() >= FIRST
    assert at_rest(scene)


def test_credits_of_a_route_are_shared_by_its_workers() -> None:
    scene = Shadows()
    workers = [scene.worker() for _ in range(3)]
    assert sorted(worker.credits() for worker in workers) == [10, 11, 11]


def test_no_credit_is_given_before_what_was_found_is_known() -> None:
    scene = Shadows(opened=False)
    worker = scene.worker()
    assert worker.credits() == 0
    scene.mirror.open()
    assert worker.credits() == FIRST


def test_shadow_that_fails_gets_less_until_it_recovers() -> None:
    scene = Shadows()
    worker = scene.worker()
    scene.refusing.add(NEXT)
    for _ in range(5):
        worker.answer(worker.request())
    assert worker.credits() <= FIRST / 2
    assert worker.backed_off
    scene.refusing.clear()
    for _ in range(1000):
        worker.answer(worker.request())
        scene.origins[0].send(OK)
    assert worker.credits() > FIRST
    assert not worker.backed_off


def test_bytes_held_are_bounded_and_what_is_beyond_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "MAX_HELD", 2 * len(HEAD) + 10)
    scene = Shadows()
    worker = scene.worker()
    first, _, _ = (worker.request() for _ in range(3))
    assert scene.dropped() == {"queue_full": 1}
    worker.answer(first, b"x" * 11)
    assert scene.dropped() == {"queue_full": 1}  # its shadow has not answered
    scene.origins[0].send(OK)
    assert scene.dropped() == {"queue_full": 2}


def test_idle_connections_are_closed_in_time() -> None:
    scene = Shadows()
    worker = scene.worker()
    worker.answer(worker.request())
    scene.origins[0].send(OK)
    scene.pass_time(31)
    assert scene.origins[0].closed


# State


def test_route_that_loses_its_shadow_takes_its_credits_back() -> None:
    scene = Shadows()
    worker = scene.worker()
    number = worker.request()
    scene.mirror.adopt(snapshot_of(upstreams=UPSTREAMS), {"shop": Live()})
    scene.settle()
    assert worker.credits() == -1  # what is under way has used one
    worker.answer(number)
    scene.origins[0].send(OK)
    assert worker.credits() == 0
    worker.request()
    assert worker.link.pairs == {}
    assert at_rest(scene)
    assert len(scene.origins) == 1


def test_findings_start_afresh_with_another_revision_and_only_then() -> None:
    scene = Shadows()
    worker = scene.worker()
    worker.answer(worker.request())
    scene.origins[0].send(OK)
    scene.adopt(timeout="3s")
    assert counts(scene) == (1, 0, 0)
    scene.adopt({"shop": Live(since=7)})
    assert counts(scene) == (0, 0, 0)
    assert scene.report()["since"] == 7


def test_what_was_found_before_is_taken_up_if_it_began_where_we_do() -> None:
    before = Shadows()
    worker = before.worker()
    worker.answer(worker.request())
    before.origins[0].send(OK)
    for since, expected in ((0, 1), (5, 0)):
        scene = Shadows(opened=False)
        scene.mirror.restore({"shop": {**before.report(), "since": since}, "gone": {}})
        assert counts(scene)[0] == expected


def test_what_is_in_hand_at_the_end_is_counted() -> None:
    scene = Shadows()
    worker = scene.worker()
    worker.answer(worker.request())
    scene.origins[0].send(OTHER)  # waits for a differ
    worker.request()  # for its shadow and its primary
    worker.lose()
    scene.mirror.close()
    assert scene.dropped() == {"shadow_down": 2}
    assert accounted(scene) == 2


# Stable asked again


def ask(scene: Shadows, worker: Worker, shadow: bytes, head: bytes = HEAD) -> End | None:
    """A pair is there; the end at stable, if it was asked."""
    before = len(scene.at(BLUE))
    worker.answer(worker.request(head))
    scene.at(NEXT)[-1].send(shadow)
    ends = scene.at(BLUE)
    return ends[-1] if len(ends) > before or (ends and ends[-1].transport.out) else None


def test_pair_that_differs_has_stable_asked_again() -> None:
    scene = Shadows(noise_sample="1%")
    worker = scene.worker()
    assert ask(scene, worker, OTHER) is None
    scene.differs.jobs[0][1](compared(["$.a"]))
    scene.settle()
    [stable] = scene.at(BLUE)
    assert b"X-Headgate-Shadow: 1\r\n" in stable.received()
    stable.send(OK)
    answers, done = scene.differs.jobs[1]
    assert [answer.body for answer in answers if answer] == [b"ok", b"other", b"ok"]
    done(compared(["$.a"], []))
    assert counts(scene) == (0, 1, 0)
    assert at_rest(scene)


@pytest.mark.parametrize("answer", [OK, OTHER])
def test_sampled_pair_has_stable_asked_again_whatever_it_showed(answer: bytes) -> None:
    scene = Shadows(noise_sample="100%")
    stable = ask(scene, scene.worker(), OK)
    assert stable is not None
    stable.send(answer)
    if answer == OK:
        assert counts(scene) == (1, 0, 0)
    else:
        scene.differs.jobs[0][1](compared([], ["$.a"]))
        assert counts(scene) == (0, 1, 0)
    assert at_rest(scene)


@pytest.mark.parametrize("why", ["refused", "hangs"])
def test_stable_that_does_not_answer_again_leaves_a_pair_of_two(why: str) -> None:
    scene = Shadows(noise_sample="100%")
    if why == "refused":
        scene.refusing.add(BLUE)
    ask(scene, scene.worker(), OK)
    if why == "hangs":
        scene.pass_time(11)
    assert counts(scene) == (1, 0, 0)
    assert at_rest(scene)


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH"])
def test_writes_are_never_sent_to_stable_again(method: bytes) -> None:
    scene = Shadows(noise_sample="100%", methods=["POST", "PUT", "DELETE", "PATCH"])
    worker = scene.worker()
    head = HEAD.replace(b"GET", method)
    assert ask(scene, worker, OK, head) is None
    assert ask(scene, worker, OTHER, head) is None
    scene.differs.jobs[0][1](compared(["$.a"]))
    scene.settle()
    assert scene.at(BLUE) == []
    assert counts(scene) == (1, 1, 0)


def test_second_questions_are_bounded_and_pairs_beyond_are_counted_all_the_same() -> None:
    scene = Shadows(noise_sample="100%")
    worker = scene.worker()
    for _ in range(AT_A_TIME + 5):
        ask(scene, worker, OK)
    assert len(scene.at(BLUE)) == AT_A_TIME
    assert counts(scene) == (5, 0, 0)
    for stable in scene.at(BLUE):
        stable.send(OK)
    assert counts(scene) == (AT_A_TIME + 5, 0, 0)


def test_allowance_is_so_many_a_second() -> None:
    allowance = Allowance()

    def taken(now: float) -> int:
        count = 0
        while allowance.begin(now):
            allowance.end()
            count += 1
        return count

    assert taken(1000.0) == AT_ONCE
    assert taken(1000.0) == 0
    assert taken(1001.0) == A_SECOND
    assert taken(2000.0) == AT_ONCE
