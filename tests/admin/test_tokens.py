"""When a token ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from admin.tokens import expiry_of

NOW = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", "2027-03-01T09:30:00.000Z"),
        ("1h30m", "2026-12-01T11:00:00.000Z"),
        ("2026-12-01", "2026-12-01T23:59:59.000Z"),
        ("2027-01-31", "2027-01-31T23:59:59.000Z"),
        ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00.000Z"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00.000Z"),
    ],
)
def test_an_end_is_a_time_from_now_the_end_of_a_day_or_a_moment(text: str, moment: str) -> None:
    assert expiry_of(text, NOW) == moment


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("90", "must be how long"),
        ("", "must be how long"),
        ("soon", "must be how long"),
        ("-1d", "must be how long"),
        ("0d", "must be how long"),
        ("99999999d", "must be how long"),
        ("2027-02-30", "must be how long"),
        ("2027-01-31T12:00:00", "needs its offset"),
        ("2026-11-30", "is over already"),
        ("0001-01-01T00:00:00+23:59", "must be how long"),
    ],
)
def test_what_is_no_end_or_a_past_one_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        expiry_of(text, NOW)
