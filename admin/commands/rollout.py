"""`rollout`: progressive delivery, begun, watched and told what to do."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, Reason, StateDir, Token, connect, wants_json
from admin.commands.traffic import RouteName


class Action(StrEnum):
    start = "start"
    status = "status"
    pause = "pause"
    resume = "resume"
    approve = "approve"
    promote = "promote"
    skip = "skip"
    abort = "abort"


def rollout(
    ctx: typer.Context,
    action: Annotated[
        Action,
        typer.Argument(metavar="start|status|pause|resume|approve|promote|skip|abort", show_default=False),
    ],
    route: RouteName,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Until it has ended: exit 0 promoted, 2 cut back, 1 aborted.", show_default=False),
    ] = False,
    plan: Annotated[
        str | None,
        typer.Option(
            "--plan", metavar="FILE", help="With start: another plan than the route's own (YAML).", show_default=False
        ),
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option("--upstream", metavar="NAME", help="With promote: which one of several.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be, and change nothing.", show_default=False)
    ] = False,
    reason: Reason = None,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Start a route's rollout, watch it, or tell it what to do.

    A rollout that has cut back stays so: `headgate restore ROUTE` is what arms the route again. With --watch a terminal shows
    the step, the evidence and what is waited for; elsewhere each change is a line, with --json one of JSON.
    """
    from admin.client import segment
    from admin.commands.rollout_watch import follow, show

    if plan and action is not Action.start:
        raise typer.BadParameter("goes with start", param_hint="--plan")
    if upstream and action is not Action.promote:
        raise typer.BadParameter("goes with promote", param_hint="--upstream")
    if watch and dry_run:
        raise typer.BadParameter("there is nothing to watch of a dry run", param_hint="--watch")
    path, as_json = f"/v1/routes/{segment(route)}/rollout", wants_json(ctx, as_json)
    said = {"upstream": upstream, "reason": reason}
    with connect(ctx, admin, token, state) as api:
        if action is Action.status:
            answer = api.get(path)
        else:
            where = path if action is Action.start else f"{path}/{action.value}"
            body = _plan(plan) | {key: value for key, value in said.items() if value}
            answer = api.call("POST", where + ("?dry_run=true" if dry_run else ""), body or None)
    if not watch:
        show(answer, as_json)
        return
    raise typer.Exit(follow(lambda: connect(ctx, admin, token, state), path, answer, as_json))


def _plan(path: str | None) -> dict[str, Any]:
    """Raises CommandError."""
    if path is None:
        return {}
    import os
    from pathlib import Path

    from admin.errors import CommandError
    from routing.document import ConfigError, read

    try:
        tree = read(Path(path).read_text("utf-8"), os.environ, path).tree
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
    except ConfigError as error:
        raise CommandError(f"{path}: {error}") from error
    if not isinstance(tree, dict):
        raise CommandError(f"{path}: a plan is a mapping with `to` and `steps`")
    return tree
