"""The window of copies: opens while the shadow answers, halves when it fails, rests when it fails alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shadow.window import FIRST, FIRST_PAUSE, HOLD_SECONDS, LONGEST_PAUSE, MOST, Window, share

LATER = 2 * HOLD_SECONDS


def test_window_doubles_with_each_round_of_answers_up_to_the_most() -> None:
    window = Window()
    sizes = []
    for _ in range(5):
        for _ in range(window.room(0.0)):
            window.succeeded()
        sizes.append(window.room(0.0))
    assert sizes == [64, 128, 256, 512, 512]
    assert MOST == 512


def test_failures_that_come_together_halve_it_once() -> None:
    window = Window()
    for _ in range(100):
        window.failed(10.0)
    assert window.room(10.0) == FIRST / 2
    window.failed(10.0 + LATER)
    assert window.room(11.0) == FIRST / 4


def test_after_a_failure_it_grows_by_one_a_round_from_half_on() -> None:
    window = Window()
    window.failed(0.0)
    for _ in range(16):
        window.succeeded()
    assert window.room(0.0) == 16  # just below 17
    window.succeeded()
    assert window.room(0.0) == 17


def test_shadow_that_fails_alone_is_left_alone_for_pauses_that_double() -> None:
    window, now = Window(), 0.0
    while window.room(now) > 1:
        window.failed(now)
        now += LATER
    pauses = []
    for _ in range(7):
        window.failed(now)
        closed = now
        while window.room(now) == 0:
            now += 0.05
        pauses.append(round(now - closed, 2))
    assert FIRST_PAUSE <= pauses[0] < pauses[1] < pauses[2] < pauses[3]
    assert LONGEST_PAUSE <= pauses[-1] < LONGEST_PAUSE + 0.0625
    assert window.backed_off


def test_recovers_by_itself() -> None:
    window, now = Window(), 0.0
    for _ in range(20):
        window.failed(now)
        now += LATER
    now += LONGEST_PAUSE
    assert window.room(now) == 1
    for _ in range(150_000):
        window.succeeded()
    assert window.room(now) == MOST
    assert not window.backed_off


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=300))
def test_room_stays_within_its_bounds(events: list[tuple[bool, float]]) -> None:
    window, now = Window(), 0.0
    for good, pause in events:
        now += pause
        if good:
            window.succeeded()
        else:
            window.failed(now)
        assert 0 <= window.room(now) <= MOST
        assert 1 <= window.room(now + LONGEST_PAUSE + 0.1) <= MOST


@given(st.integers(0, 300), st.integers(1, 16))
def test_shares_add_up_to_the_room(room: int, links: int) -> None:
    shares = [share(room, links, position) for position in range(links)]
    assert sum(shares) == room
    assert max(shares) - min(shares) <= 1
