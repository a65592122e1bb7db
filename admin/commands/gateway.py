"""`run`: the gateway itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(config: Annotated[Path, typer.Argument(metavar="CONFIG", show_default=False)]) -> None:
    """Run the gateway in the foreground. SIGTERM drains and stops it, SIGHUP reads CONFIG again."""
    from admin.launch import run_gateway

    raise typer.Exit(run_gateway(config))
