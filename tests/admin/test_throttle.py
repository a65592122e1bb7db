"""Who has to wait after tokens that are not known, and for how long."""

from __future__ import annotations

import pytest

from admin import throttle as throttle_module
from admin.allowance import Allowance
from admin.throttle import FAILURES, WINDOW, Throttle, Verdict, network_of


def test_ten_failures_are_answered_and_the_next_has_to_wait_until_the_first_is_a_minute_old() -> None:
    throttle = Throttle()
    assert [throttle.failed("10.0.0.1", now) for now in range(FAILURES)] == [Verdict()] * FAILURES
    assert throttle.failed("10.0.0.1", 20.0) == Verdict(WINDOW - 20.0, begins=True)
    assert throttle.failed("10.0.0.1", 30.0) == Verdict(WINDOW - 30.0)
    assert throttle.failed("10.0.0.2", 30.0) == Verdict()
    assert throttle.failed("10.0.0.1", WINDOW) == Verdict()
    assert throttle.failed("10.0.0.1", WINDOW) == Verdict(1.0)
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
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_one_caller_is_an_ipv4_address_or_a_64_of_ipv6(address: str, network: str) -> None:
    assert network_of(address) == network


def test_an_allowance_is_a_burst_and_then_one_each_so_many_seconds() -> None:
    allowance = Allowance(3, 10.0)
    taken = []
    for now in (0.0, 0.0, 0.0, 0.0, 9.0, 10.0, 10.0, 100.0, 100.0, 100.0, 100.0):
        taken.append(allowance.left(now))
        if taken[-1]:
            allowance.take(now)
    assert taken == [True, True, True, False, False, True, False, True, True, True, False]
