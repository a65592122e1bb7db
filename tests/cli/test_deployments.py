"""`deployments`: a table and the figures for people, the answer itself for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import Headgate
from tests.cli.fake_admin import FakeAdmin

BEGAN = "2026-03-02T09:30:00.000Z"


def deployment(**changed: Any) -> dict[str, Any]:
    return {
        "kind": "rollout", "route": "shop", "number": 3, "to": ["canary"], "pattern": "canary", "started_at": BEGAN,
        "ended_at": BEGAN, "seconds": 1860.0, "outcome": "promoted", "started_by": "ann", "reason": "every step has held",
        **changed,
    }  # fmt: skip


def answer(*deployments: dict[str, Any], **figures: Any) -> dict[str, Any]:
    return {
        "since": "2026-02-01T00:00:00.000Z",
        "until": "2026-03-03T00:00:00.000Z",
        "truncated": False,
        "deployments": list(deployments),
        "figures": {
            "days": 30.0, "promoted": 0, "cut_back": 0, "aborted": 0, "manual": 0, "per_day": 0.0, "median_seconds": None,
            "p90_seconds": None, "success_rate": None, "recovered": 0, "not_recovered": 0,
            "median_seconds_to_recover": None, **figures,
        },
    }  # fmt: skip


def test_deployments_are_a_table_and_five_lines(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    manual = deployment(kind="manual", number=None, pattern=None, to=["blue"], seconds=None, reason="")
    bad = deployment(number=2, outcome="cut_back", seconds=12.0, reason="canary 5xx 1.1 %")
    running = deployment(number=4, outcome=None, seconds=None, reason="")
    figures = {"promoted": 5, "cut_back": 1, "aborted": 2, "manual": 1, "per_day": 0.2, "median_seconds": 1860.0,
               "p90_seconds": 4000.0, "success_rate": 0.8333, "recovered": 1, "not_recovered": 1,
               "median_seconds_to_recover": 900.0}  # fmt: skip
    admin.answers = {"GET /v1/deployments": (200, answer(running, manual, deployment(), bad, **figures))}
    result = headgate("deployments", "--route", "shop", "--since", "30d", "--state", str(state))
    assert admin.calls[-1].path == "/v1/deployments?since=30d&limit=20&route=shop"
    assert result.out.splitlines() == [
        "began                     route  what       to      outcome   took    by   reason",
        f"{BEGAN}  shop   #4 canary  canary  -         -       ann",
        f"{BEGAN}  shop   manual     blue    promoted  -       ann",
        f"{BEGAN}  shop   #3 canary  canary  promoted  31 min  ann  every step has held",
        f"{BEGAN}  shop   #2 canary  canary  cut back  12 s    ann  canary 5xx 1.1 %",
        "",
        "since 2026-02-01T00:00:00.000Z",
        "frequency     0.2 a day: 5 promoted, 1 manual",
        "duration      median 31 min, p90 1 h 6 min",
        "success rate  83.33 %: 1 cut back; 2 aborted",
        "recovery      median 15 min of 1 cutback; 1 not restored yet",
    ]


def test_without_deployments_there_is_no_table(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"GET /v1/deployments": (200, answer() | {"truncated": True})}
    assert headgate("deployments", "--state", str(state)).out.splitlines() == [
        "since 2026-02-01T00:00:00.000Z: all that is read at once",
        "frequency     0 a day: 0 promoted, 0 manual",
        "duration      median -, p90 -",
        "success rate  -: 0 cut back; 0 aborted",
        "recovery      median - of 0 cutbacks",
    ]


def test_json_is_the_answer(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"GET /v1/deployments": (200, answer(deployment()))}
    assert json.loads(headgate("deployments", "--json", "--state", str(state)).out) == answer(deployment())
