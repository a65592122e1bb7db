"""Deployments from entries of the audit log: a table of logs, and what is read out of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from admin.deployments import Deployment, Figures, deployments, since_of
from admin.state.store import AuditEntry

SINCE, UNTIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 11, tzinfo=UTC)
NOTHING = Figures(10.0, 0, 0, 0, 0, 0.0, None, None, None, 0, 0, None)


def at(minute: float) -> str:
    return f"2026-03-02T{int(minute // 60):02}:{int(minute % 60):02}:{int(minute * 60 % 60):02}.000Z"


def entry(
    minute: float, action: str, after: object, before: object = None, who: str = "ann", route: str | None = "shop"
) -> AuditEntry:
    return AuditEntry(
        7, at(minute), who, action, route, f"why {action}", before, after, None, "n", int(minute * 60) + 1
    )


def rollout(minute: float, event: str, number: int = 1, began: float = 0, **about: Any) -> AuditEntry:
    after = {"number": number, "to": ["canary"], "started_at": at(began), "pattern": "canary", "started_by": "ann"}
    return entry(minute, f"rollout_{event}", after | about, who=f"rollout shop#{number}")


def live(weights: dict[str, float] | None = None, cut: bool = False) -> dict[str, Any]:
    return {"weights": weights and {"weights": weights}, "cutback": {"mode": "cut"} if cut else None}


def found(*entries: AuditEntry) -> tuple[Deployment, ...]:
    return deployments(entries, SINCE, UNTIL).deployments


def figures(*entries: AuditEntry) -> Figures:
    return deployments(entries, SINCE, UNTIL).figures


def shown(*entries: AuditEntry) -> list[tuple[object, ...]]:
    return [(each.kind, each.number, each.outcome, each.seconds) for each in found(*entries)]


def test_a_log_without_deployments_has_no_figures_but_counts() -> None:
    assert figures() == NOTHING
    others = [entry(1, "config", {}, route=None), entry(2, "weights", None), entry(3, "rollout_step", {"number": 1})]
    assert deployments(others[:2], SINCE, UNTIL) == deployments([], SINCE, UNTIL)


def test_a_rollout_is_told_whole() -> None:
    assert found(rollout(0, "started"), rollout(30, "promoted")) == (
        Deployment("rollout", "shop", 1, ("canary",), "canary", at(0), at(30), 1800.0, "promoted", "ann",
                   "why rollout_promoted"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ([rollout(0, "started")], [("rollout", 1, None, None)]),
        ([rollout(0, "started"), rollout(2, "cut_back")], [("rollout", 1, "cut_back", 120.0)]),
        ([rollout(0, "started"), rollout(2, "aborted")], [("rollout", 1, "aborted", 120.0)]),
        # begun before what is read
        ([rollout(5, "promoted", number=9)], [("rollout", 9, "promoted", 300.0)]),
        # each entry twice, as the journal may write them; a second end changes nothing
        (
            [rollout(0, "started")] * 2 + [rollout(2, "promoted")] * 2 + [rollout(3, "aborted")],
            [("rollout", 1, "promoted", 120.0)],
        ),
        # the newest first; the numbers begin anew with the store
        (
            [
                rollout(0, "started"),
                rollout(1, "aborted"),
                rollout(5, "started", began=5),
                rollout(7, "promoted", began=5),
            ],
            [("rollout", 1, "promoted", 120.0), ("rollout", 1, "aborted", 60.0)],
        ),
        # the clock was put back
        ([rollout(9, "started", began=9), rollout(8, "promoted", began=9)], [("rollout", 1, "promoted", 0.0)]),
        # an entry that says less
        ([entry(1, "rollout_promoted", {"number": 4}, who="rollout shop#4")], [("rollout", 4, "promoted", 0.0)]),
    ],
)
def test_rollouts_by_their_entries(log: list[AuditEntry], expected: list[tuple[object, ...]]) -> None:
    assert shown(*log) == expected


MANUAL = [("manual", None, "promoted", None)]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ([entry(1, "weights", live({"canary": 1}), live())], MANUAL),
        ([entry(1, "weights", live({"blue": 0, "canary": 70}), live({"blue": 30, "canary": 70}))], MANUAL),
        ([entry(1, "weights", live({"blue": 30, "canary": 70}), live())], []),
        ([entry(1, "weights", live({"canary": 2}), live({"canary": 1}))], []),  # it had everything before
        ([entry(1, "weights", live({"canary": 1}, cut=True), live(cut=True))], []),  # not in force
        ([entry(1, "weights", live({"canary": 100}), live(), who="rollout shop#3")], []),
        # back from where a rollout had brought it, and once only
        (
            [
                entry(1, "weights", live({"canary": 100}), live(), who="rollout shop#3"),
                entry(2, "weights", live({"canary": 1}), live()),
                entry(3, "weights", live({"blue": 1}), live({"canary": 1})),
            ],
            MANUAL,
        ),
        # what was live is gone with the document's own weights
        (
            [
                entry(1, "weights", live({"canary": 1}), live()),
                entry(2, "live_state_dropped", live(), live({"canary": 1}), who="configuration"),
                entry(3, "weights", live({"canary": 1}), live()),
            ],
            MANUAL * 2,
        ),
    ],
)
def test_weights_by_people_that_give_one_upstream_everything_are_deployments(
    log: list[AuditEntry], expected: list[tuple[object, ...]]
) -> None:
    assert shown(*log) == expected
    assert figures(*log).manual == len(expected)


def test_a_manual_deployment_is_told_whole() -> None:
    assert found(entry(1, "weights", live({"canary": 1}), live())) == (
        Deployment("manual", "shop", None, ("canary",), None, at(1), at(1), None, "promoted", "ann", "why weights"),
    )


CUT, BACK = entry(10, "cutback", live(cut=True), live()), entry(25, "restore", live(), live(cut=True))


@pytest.mark.parametrize(
    ("log", "recovered", "not_recovered", "seconds"),
    [
        ([CUT, BACK], 1, 0, 900.0),
        ([CUT], 0, 1, None),
        ([BACK], 0, 0, None),
        ([CUT, entry(12, "cutback", live(cut=True), live(cut=True)), BACK], 1, 0, 900.0),  # from the first
        ([CUT, BACK, BACK], 1, 0, 900.0),
        ([CUT, rollout(20, "promoted")], 1, 0, 600.0),
        ([CUT, rollout(20, "aborted"), BACK], 1, 0, 900.0),
        ([CUT, BACK, entry(30, "cutback", live(cut=True)), entry(35, "restore", live())], 2, 0, 600.0),  # the median
        ([CUT, entry(20, "live_state_dropped", live())], 0, 0, None),  # the route is gone
        ([CUT, entry(20, "live_state_dropped", live(cut=True)), BACK], 1, 0, 900.0),
        ([entry(10, "taken_over", live(cut=True), who="unknown"), BACK], 1, 0, 900.0),
        ([CUT, entry(20, "restore", live(), route="api"), BACK], 1, 0, 900.0),
    ],
)
def test_recovery_is_from_a_cutback_to_its_restore_or_the_next_promoted_rollout(
    log: list[AuditEntry], recovered: int, not_recovered: int, seconds: float | None
) -> None:
    was = figures(*log)
    assert (was.recovered, was.not_recovered, was.median_seconds_to_recover) == (recovered, not_recovered, seconds)


def test_the_figures_of_a_busy_window() -> None:
    log = []
    for number in range(1, 11):  # promoted after 1, 2, … 10 minutes
        began = number * 20.0
        log += [
            rollout(began, "started", number, began),
            rollout(began + number, "promoted", number, began),
        ]
    for number, end in enumerate(["cut_back", "cut_back", "aborted"], 11):
        log += [
            rollout(number * 20.0, "started", number, number * 20.0),
            rollout(number * 20.0 + 1, end, number, number * 20.0),
        ]
    log += [entry(300, "weights", live({"blue": 1}), live({"canary": 100})), CUT, BACK]
    assert figures(*log) == Figures(10.0, 10, 2, 1, 1, 1.1, 330.0, 540.0, round(10 / 12, 4), 1, 0, 900.0)


NOW = datetime(2026, 3, 11, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12h", datetime(2026, 3, 11, tzinfo=UTC)),
        ("30d", datetime(2026, 2, 9, 12, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T12:00:00+01:00", datetime(2026, 3, 1, 11, tzinfo=UTC)),
    ],
)
def test_since_may_be_a_length_a_date_or_a_time(text: str, expected: datetime) -> None:
    assert since_of(text, NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "30", "-1d", "0d", "999999999999d", "2026-03-12", "2026-03-01T12:00:00", "2026-13-01"]
)
def test_what_is_no_time_that_is_over_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(must be|needs its offset|is not over)"):
        since_of(text, NOW)
