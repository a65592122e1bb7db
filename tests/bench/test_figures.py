"""What a bench concludes from what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cutback import Calls
from bench.figures import Figure, Finding, NotMeasured, quantile, table


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3.0], 0.5, 3.0),
        ([1, 2, 3, 4], 0.5, 2),
        ([1, 2, 3, 4], 0.99, 4),
        (range(1, 101), 0.99, 99),
        (range(50), 1.0, 49),
    ],
)
def test_quantile_is_a_measured_value(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == expected


@pytest.mark.parametrize(
    ("figure", "ok"),
    [
        (Figure("call", 50.0, "ms", 50), True),
        (Figure("call", 50.1, "ms", 50), False),
        (Figure("call", 50.1, "ms"), None),
        (Figure("replaced", 1, "", 1, least=1), True),
        (Figure("replaced", 0, "", 1, least=1), False),
        (Figure("call", float("nan"), "ms", 50), False),
        (NotMeasured("call", "no gateway"), None),
    ],
)
def test_figure_is_judged_by_what_is_asked(figure: Finding, ok: bool | None) -> None:
    assert figure.ok is ok


def test_table_shows_what_was_missed_and_what_was_not_measured() -> None:
    lines = table(
        [("start", Figure("first answer", 2, "s", 1.5)), ("proxies", NotMeasured("side by side", "not there"))]
    )
    assert "MISSED" in lines.splitlines()[1]
    assert "not measured" in lines.splitlines()[2]


def test_arrivals_are_late_only_between_an_answer_and_the_restore_after_it() -> None:
    calls = Calls(quiet=[(10.0, 10.15), (20.0, 20.15)])
    arrivals = [9.99, 10.01, 10.16, 15.0, 20.03, 20.2]
    assert calls.late(arrivals, 0.0) == 2
    assert calls.late(arrivals, 0.02) == 1
    assert calls.latest(arrivals) == pytest.approx(0.03)


def test_hot_path_leaves_nothing_to_the_collector(tmp_path: Path) -> None:
    """Runs the real bench: exchanges through the real plane, over transports that are none."""
    kept = tmp_path / "figures.json"
    subprocess.run(
        [sys.executable, "-P", "-m", "bench", "exchange", "--json", str(kept)], check=True, stdout=subprocess.DEVNULL
    )
    figures = json.loads(kept.read_text())["figures"]
    assert {figure["figure"] for figure in figures} >= {"plain: an exchange", "plain: objects in cycles"}
    assert all(figure["ok"] is not False for figure in figures)
