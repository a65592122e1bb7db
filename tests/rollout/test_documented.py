"""docs/rollouts.md says by which shares and bounds rollouts are judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from admin.rollout import counts, evidence, judging
from admin.rollout.rules import DIFFS, ERRORS, LATENCY, LIMIT, QUANTILES, RULE_OUT, SHARES, TOLERANCE
from admin.rollout.verdict import Kind
from bench.simulate import ERRORS as ASKED
from proxy.arms import MAX_KEYS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "rollouts.md").read_text("utf-8")
JUDGING = PAGE[PAGE.index("## How it judges") :]


@pytest.mark.parametrize(
    ("metric", "row"),
    [
        (ERRORS, "| errors |"),
        (LIMIT, "| `max_error_rate` of the step |"),
        (LATENCY, "| latency |"),
        (DIFFS, "| diffs |"),
    ],
)
def test_share_of_each_metric_is_in_its_row(metric: str, row: str) -> None:
    (line,) = (line for line in JUDGING.splitlines() if line.startswith(row) and "%" in line)
    assert f"| {100 * SHARES[metric]:g} %" in line


def test_every_verdict_is_explained() -> None:
    for kind in Kind:
        assert f"| `{kind.value}` |" in JUDGING


@pytest.mark.parametrize(
    "said",
    [
        ", ".join(f"p{100 * quantile:g}" for quantile in QUANTILES[:-1]) + f" and p{100 * QUANTILES[-1]:g}",
        f"mark is {100 * (TOLERANCE - 1):.0f} % higher",
        f"{evidence.MIN_BAD} of its bad results are of the last minute",
        f"`rule_out: {RULE_OUT:g}`",
        f"{100 * evidence.SURE_ENOUGH:g} % risk of being wrong",
        f"judged after {judging.WARM_UP:g} s",
        f"once per client\n  and {counts.DEDUPLICATED:g} s",
        f"{MAX_KEYS:,} failing clients in a worker's report, {counts.MOST_KEYS:,} remembered",
    ],
)
def test_bounds_are_those_of_the_code(said: str) -> None:
    assert said in JUDGING


def test_what_was_asked_stands_beside_what_was_measured() -> None:
    for share, seconds in ASKED:
        (line,) = (line for line in JUDGING.splitlines() if line.startswith(f"| {100 * share:g} % | ≤"))
        cells = [cell.strip() for cell in line.split("|")]
        assert cells[2] == f"≤ {seconds:g} s"
        assert float(cells[3].removesuffix(" s")) <= seconds
