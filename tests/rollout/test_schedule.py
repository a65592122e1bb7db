"""When steps may be taken."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from admin.rollout.schedule import closed
from routing.config_rollout import Freeze, Window

OFFICE = Window.model_validate(
    {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00", "zone": "Europe/Berlin"}
)
NIGHT = Window.model_validate({"days": ["sat"], "from": "22:00", "to": "02:00"})
HOLIDAYS = Freeze.model_validate({"from": "2026-12-20", "until": "2027-01-03", "reason": "holidays"})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2026-11-20T08:00", ""),  # a Friday, 09:00 in Berlin
        ("2026-11-20T07:59", "the next window opens fri 09:00 Europe/Berlin"),
        ("2026-11-20T16:00", "the next window opens sat 22:00 UTC"),
        ("2026-11-21T22:00", ""),
        ("2026-11-22T01:59", ""),
        ("2026-11-22T02:00", "the next window opens mon 09:00 Europe/Berlin"),
    ],
)
def test_windows_open_and_close_in_their_own_zone(moment: str, said: str) -> None:
    assert closed(at(moment), [OFFICE, NIGHT], []) == said


@pytest.mark.parametrize("moment", ["2026-12-20T00:00", "2027-01-03T23:59"])
def test_a_freeze_wins_over_every_window(moment: str) -> None:
    assert closed(at(moment), [], [HOLIDAYS]) == "frozen until the end of 2027-01-03 (holidays)"


def test_the_day_after_a_freeze_is_open() -> None:
    assert closed(at("2027-01-04T00:00"), [], [HOLIDAYS]) == ""


def test_without_windows_and_freezes_it_is_always_open() -> None:
    assert closed(at("2026-11-20T03:00"), [], []) == ""
