"""What `make chaos` counts as in flight on what was struck, and what it plays."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import rotation
from tests.chaos.faults import FAULTS, LAST, Excuse, Who
from tests.chaos.load import Failure


@pytest.mark.parametrize(
    ("failure", "excused"),
    [
        (Failure(0.5, 1.0, 3.0, "broken"), True),
        (Failure(0.5, 2.5, 3.0, "broken"), False),
        (Failure(0.0, 0.0, 0.9, "broken"), False),
        (Failure(0.5, 1.0, 3.0, "wrong body"), False),
        (Failure(0.5, 1.0, 3.0, "503"), False),
    ],
)
def test_excuse_covers_what_was_in_flight_and_nothing_else(failure: Failure, excused: bool) -> None:
    assert Excuse(1.0, 2.0).covers(failure) is excused


@pytest.mark.parametrize(
    ("who", "connected", "excused"),
    [
        (Who.CONNECTIONS, 0.9, True),
        (Who.CONNECTIONS, 1.9, True),
        (Who.CONNECTIONS, 2.1, False),
        (Who.NEWCOMERS, 0.9, False),
        (Who.NEWCOMERS, 1.9, True),
        (Who.NEWCOMERS, 2.1, False),
    ],
)
def test_excuse_of_connections_goes_by_when_they_began(who: Who, connected: float, excused: bool) -> None:
    assert Excuse(1.0, 2.0, who=who).covers(Failure(connected, 2.2, 3.0, "broken")) is excused


@pytest.mark.parametrize("slots", [0, 24, 100])
def test_rotation_has_each_fault(slots: int) -> None:
    played = [*rotation(slots), *FAULTS[-LAST:]]
    assert set(played) == set(FAULTS)
    assert len(played) == max(slots, len(FAULTS))
