"""What a bench finds, and the table of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class BenchError(Exception):
    """A bench can't go on; the text says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `limit` is the most it may be, None where nothing was asked; `least` the least, the same for an
    exact one."""

    what: str
    value: float
    unit: str
    limit: float | None = None
    note: str = ""
    least: float | None = None

    @property
    def ok(self) -> bool | None:
        if self.limit is None:
            return None
        return self.value <= self.limit and (self.least is None or self.value >= self.least)


@dataclass(frozen=True, slots=True)
class NotMeasured:
    what: str
    why: str
    ok: None = None


Finding = Figure | NotMeasured


def quantile(values: Iterable[float], share: float) -> float:
    """The nearest-rank quantile: a value that was measured, never one between two. NaN of none."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _shown(value: float, unit: str) -> str:
    digits = 0 if value == int(value) or abs(value) >= 1000 else 3 if abs(value) < 1 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def _row(bench: str, finding: Finding) -> tuple[str, ...]:
    if isinstance(finding, NotMeasured):
        return bench, finding.what, "", "not measured", "", finding.why
    sign = "≤" if finding.least is None else "="
    asked = "" if finding.limit is None else f"{sign} {_shown(finding.limit, finding.unit)}"
    verdict = {True: "ok", False: "MISSED", None: ""}[finding.ok]
    return bench, finding.what, asked, _shown(finding.value, finding.unit), verdict, finding.note


def table(findings: Sequence[tuple[str, Finding]]) -> str:
    """Lines of aligned columns; (bench, finding) each."""
    rows = [("bench", "figure", "asked", "measured", "", ""), *(_row(*finding) for finding in findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in (2, 3) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def to_json(bench: str, finding: Finding) -> dict[str, object]:
    if isinstance(finding, NotMeasured):
        return {"bench": bench, "figure": finding.what, "measured": None, "ok": None, "why": finding.why}
    return {
        "bench": bench,
        "figure": finding.what,
        "asked": finding.limit,
        "measured": finding.value,
        "unit": finding.unit,
        "ok": finding.ok,
        "note": finding.note,
    }
