"""`demo`: sample services, a gateway in front of them, and a trickle of traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admin.commands.options import globals_of, wants_json


def demo(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The gateway's port; 0 takes a free one.")] = 8080,
    admin_port: Annotated[int, typer.Option(min=0, max=65535, help="The admin API's; 0 takes a free one.")] = 9901,
    no_traffic: Annotated[bool, typer.Option("--no-traffic", help="Send no traffic of its own.")] = False,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="Keep the state there; else it is removed.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say where everything is in one line of JSON.", show_default=False)
    ] = False,
) -> None:
    """Sample services, a gateway before them, some traffic.

    Prints addresses and lines to try. Ctrl-C stops it all.
    """
    from admin.demo.run import Options
    from admin.demo.run import demo as run_demo

    if state is None and (before := globals_of(ctx).state):
        state = Path(before)
    raise typer.Exit(run_demo(Options(port, admin_port, not no_traffic, state, wants_json(ctx, as_json))))
