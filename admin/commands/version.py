"""`version`: which Headgate this is."""

from __future__ import annotations

import typer

from admin.commands.options import JsonOutput, wants_json


def version(ctx: typer.Context, as_json: JsonOutput = False) -> None:
    """Print the version."""
    print_version(as_json=wants_json(ctx, as_json))


def print_version(*, as_json: bool) -> None:
    from importlib.metadata import version as installed

    number = installed("headgate")
    print(f'{{"version": "{number}"}}' if as_json else f"headgate {number}")
