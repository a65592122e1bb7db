"""Text for people: tables, drawn and coloured on a terminal, plain columns elsewhere (`rich` is not imported then at all);
numbers with their units and nouns.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Cell:
    """`alarm` draws the eye on a terminal."""

    text: str
    alarm: bool = False


Row = Sequence[str | Cell]


def printable(text: str) -> str:
    """What others have written, a reason or a webhook's answer: it begins no line of its own, and commands no terminal."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


def print_table(head: Sequence[str], rows: Sequence[Row]) -> None:
    rows = [[_printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(head, rows)
    else:
        print("\n".join(_plain_lines(head, rows)))


def print_line(text: str, *, alarm: bool = False) -> None:
    text = printable(text)
    if alarm and sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        Console(highlight=False).print(Text(text, style="bold red"))
    else:
        print(text)


def _printable(cell: str | Cell) -> Cell:
    return replace(cell, text=printable(cell.text)) if isinstance(cell, Cell) else Cell(printable(cell))


def _rich_table(head: Sequence[str], rows: Sequence[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
        table.add_row(*(Text(cell.text, style="bold red" if cell.alarm else "") for cell in cells))
    Console(highlight=False).print(table)


def _plain_lines(head: Sequence[str], rows: Sequence[Row]) -> list[str]:
    texts = [list(head), *([cell.text if isinstance(cell, Cell) else cell for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    return [_GAP.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in texts]


def counted(number: int, noun: str) -> str:
    """`1 worker`, `2 workers`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent(share: float) -> str:
    """Of a share of 100."""
    return f"{share:.4g} %"


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def duration(seconds: float) -> str:
    """The two largest units: "3 h 12 min"."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
