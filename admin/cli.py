"""`headgate`: the command line. A command's module is imported when that command is asked for, and no other.

`headgate cutback` has to answer fast on a slow machine, so what costs start-up time (rich, aiohttp, pydantic,
SQLAlchemy) is imported by the functions that use it; tests/cli/test_imports.py keeps it so.
"""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from admin.commands.options import AdminUrl, Globals, JsonOutput, StateDir, Token
from admin.commands.quick import QuickCommand, quick
from admin.errors import CommandError

# Name of the command -> the module of admin.commands that holds a function of that name. The order is that of --help.
COMMANDS = {
    "run": "gateway",
    "check": "check",
    "demo": "demo",
    "status": "status",
    "weights": "traffic",
    "cutback": "traffic",
    "restore": "traffic",
    "endpoints": "endpoints",
    "shadow": "shadows",
    "diffs": "shadows",
    "rollout": "rollout",
    "explain": "explain",
    "token": "token",
    "audit": "audit",
    "deployments": "deployments",
    "health": "health",
    "upgrade": "upgrade",
    "version": "version",
}


class LazyGroup(TyperGroup):
    """Loads a command when it is looked up."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        function = getattr(import_module(f"admin.commands.{COMMANDS[cmd_name]}"), cmd_name)
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name, cls=QuickCommand)(function)
        return typer.main.get_command(app)

    def get_params(self, ctx: Any) -> list[Any]:
        return quick(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no command {args[0]!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=LazyGroup, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        from admin.commands.version import print_version

        print_version(as_json=False)
        raise typer.Exit


@app.callback()
def headgate(
    ctx: typer.Context,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """A traffic-shifting HTTP reverse proxy: weights, rules, instant cutback.

    Exit codes: 0 done, 1 refused or failed, 2 usage (rollout --watch: 2 cut back).
    """
    ctx.obj = Globals(admin, token, state, as_json)


def main() -> None:
    try:
        typer.main.get_command(app)(prog_name="headgate")
    except CommandError as error:
        print(f"headgate: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
