"""`audit --verify`: the exit code says whether the log holds, the output which entry does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Headgate
from tests.cli.fake_admin import FakeAdmin

HEAD = "ab" * 32


def verified(entries: int, misfit: dict[str, Any] | None = None, expected: int | None = None) -> dict[str, Any]:
    return {"holds": misfit is None, "entries": entries, "head": HEAD, "misfit": misfit, "expected": expected}


def test_a_log_that_holds_exits_zero_with_count_and_head(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"GET /v1/audit/verify": (200, verified(1234))}
    result = headgate("audit", "--verify", "--state", str(state))
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == ["1234 entries: nothing changed, removed or inserted", f"head {HEAD}"]
    assert admin.calls[-1].path == "/v1/audit/verify"


def test_an_expected_head_that_was_is_named(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"GET /v1/audit/verify": (200, verified(1, expected=1))}
    result = headgate("audit", "--verify", "--expect", HEAD, "--state", str(state))
    assert result.out.splitlines()[::2] == [
        "1 entry: nothing changed, removed or inserted",
        "the expected head was that of entry 1",
    ]
    assert admin.calls[-1].path == f"/v1/audit/verify?expect={HEAD}"


@pytest.mark.parametrize(
    ("misfit", "said"),
    [
        ({"id": 13, "why": "1 before it is missing"}, "at entry 13: 1 before it is missing (11 before it fit)"),
        ({"id": None, "why": "no entry has left the expected hash behind"}, ": no entry has left the expected hash"),
    ],
)
def test_a_log_that_does_not_hold_exits_one_naming_the_entry(
    headgate: Headgate, admin: FakeAdmin, state: Path, misfit: dict[str, Any], said: str
) -> None:
    admin.answers = {"GET /v1/audit/verify": (200, verified(11, misfit))}
    result = headgate("audit", "--verify", "--state", str(state))
    assert (result.code, result.out) == (1, "")
    assert f"the audit log does not hold{'' if said[0] == ':' else ' '}{said}" in result.err
    machine = headgate("audit", "--verify", "--json", "--state", str(state))
    assert (machine.code, json.loads(machine.out)["misfit"], machine.err) == (1, misfit, "")


@pytest.mark.parametrize("arguments", [("--expect", HEAD), ("--verify", "--route", "shop")])
def test_what_does_not_go_together_is_a_usage_error(
    headgate: Headgate, state: Path, arguments: tuple[str, ...]
) -> None:
    assert headgate("audit", *arguments, "--state", str(state)).code == 2
