"""`version`: which Headgate this is."""

from __future__ import annotations

import typer

from admin.commands.options import JsonOutput, wants_json


def version(ctx: typer.Context, as_json: JsonOutput = False) -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    number = installed("headgate")
    print(f'{{"version": "{number}"}}' if wants_json(ctx, as_json) else f"headgate {number}")
