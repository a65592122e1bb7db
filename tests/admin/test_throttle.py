"""Who has to wait after tokens that are not known, and for how long."""

from __future__ import annotations

import pytest

from admin import throttle as throttle_module
from admin.allowance import Allowance
from admin.throttle import FAILURES, WINDOW, Throttle, Wait


def test_ten_failures_are_answered_and_the_next_has_to_wait_until_the_first_is_a_minute_old() -> None:
    throttle = Throttle()
    assert [throttle.failed("10.0.0.1", now) for now in range(FAILURES)] == [Wait()] * FAILURES
    assert throttle.failed("10.0.0.1", 20.0) == Wait(WINDOW - 20.0, begins=True)
    assert throttle.failed("10.0.0.1", 30.0) == Wait(WINDOW - 30.0)
    assert throttle.failed("10.0.0.2", 30.0) == Wait()
    assert throttle.failed("10.0.0.1", WINDOW) == Wait()
    assert throttle.failed("10.0.0.1", WINDOW) == Wait(1.0)
    assert throttle.failures == FAILURES + 5


def test_a_flood_is_one_episode_and_ends_with_a_minute_of_silence() -> None:
    throttle = Throttle()
    begun = [now for now in range(600) if throttle.failed("10.0.0.1", float(now)).begins]
    assert begun == [FAILURES]
    later = 599.0 + WINDOW
    assert [throttle.failed("10.0.0.1", later).begins for _ in range(FAILURES + 2)] == [False] * FAILURES + [
        True,
        False,
    ]


def test_addresses_are_bounded_and_those_forgotten_too_early_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "ADDRESSES", 2)
    throttle = Throttle()
    throttle.failed("10.0.0.1", 0.0)
    throttle.failed("10.0.0.2", 50.0)
    throttle.failed("10.0.0.3", 70.0)  # the first has been silent for more than a minute
    assert throttle.forgotten == 0
    throttle.failed("10.0.0.4", 71.0)
    assert throttle.forgotten == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "10.0.0.1", False),
    ],
)
def test_one_caller_is_an_ipv4_address_or_a_64_of_ipv6(one: str, other: str, same: bool) -> None:
    throttle = Throttle()
    for _ in range(FAILURES):
        throttle.failed(one, 0.0)
    assert (throttle.failed(other, 1.0).seconds > 0) is same


def test_an_allowance_is_a_burst_and_then_one_each_so_many_seconds() -> None:
    allowance = Allowance(3, 10.0)
    taken = []
    for now in (0.0, 0.0, 0.0, 0.0, 9.0, 10.0, 10.0, 100.0, 100.0, 100.0, 100.0):
        taken.append(allowance.left(now))
        if taken[-1]:
            allowance.take(now)
    assert taken == [True, True, True, False, False, True, False, True, True, True, False]
