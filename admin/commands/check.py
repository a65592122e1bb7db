"""`check`: is that configuration valid? Every problem at once, each with its path and line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from admin.commands.options import wants_json
from admin.render import counted

if TYPE_CHECKING:
    from routing.document import Problem


def check(
    ctx: typer.Context,
    config: Annotated[Path, typer.Argument(metavar="CONFIG", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Problems and warnings as JSON.", show_default=False)] = False,
) -> None:
    """Validate a configuration.

    Every problem at once, each with its path and line, and warnings. Exit code 0 or 1.
    """
    from datetime import UTC, datetime

    from routing.check import warnings
    from routing.document import ConfigError
    from routing.load import load_file
    from routing.pages import read_pages

    try:
        loaded = load_file(config, os.environ)
    except ConfigError as error:
        _report(config, error.problems, (), wants_json(ctx, as_json), "")
        raise typer.Exit(1) from None
    _, unreadable = read_pages(loaded)
    if unreadable:
        _report(config, tuple(unreadable), (), wants_json(ctx, as_json), "")
        raise typer.Exit(1)
    found = tuple(warnings(loaded, today=datetime.now(UTC).date()))
    routes, upstreams = counted(len(loaded.routes), "route"), counted(len(loaded.upstreams), "upstream")
    _report(config, (), found, wants_json(ctx, as_json), f"{config}: valid: {routes}, {upstreams}")


def _report(
    config: Path, problems: tuple[Problem, ...], warnings: tuple[Problem, ...], as_json: bool, verdict: str
) -> None:
    if as_json:
        import json

        lists = {"problems": problems, "warnings": warnings}
        rows = {
            name: [{"path": one.path, "line": one.line, "message": one.message} for one in found]
            for name, found in lists.items()
        }
        print(json.dumps({"valid": not problems, **rows}))
        return
    for problem in problems:
        print(_line(config, problem, "error"))
    for warning in warnings:
        print(_line(config, warning, "warning"))
    print(verdict or f"{config}: not valid: {counted(len(problems), 'problem')}")


def _line(config: Path, problem: Problem, kind: str) -> str:
    """`file:line: kind: path: message`, which editors and CI know how to follow."""
    place = f"{config}:{problem.line}" if problem.line else f"{config}"
    return ": ".join(part for part in (place, kind, problem.path, problem.message) if part)
