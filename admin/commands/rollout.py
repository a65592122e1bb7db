"""`rollout`: progressive delivery, begun, watched and told what to do."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, Reason, StateDir, Token, connect, wants_json
from admin.commands.traffic import RouteName

if TYPE_CHECKING:
    from admin.client import AdminClient

LOOK_SECONDS = 0.5
# A gateway that is away for longer is no longer waited for: a pipeline has to hear of it.
PATIENCE = 60.0
_ENDED = {"promoted": 0, "cut_back": 2, "aborted": 1}
_WIDTH = 20


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

    if plan and action is not Action.start:
        raise typer.BadParameter("goes with start", param_hint="--plan")
    if upstream and action is not Action.promote:
        raise typer.BadParameter("goes with promote", param_hint="--upstream")
    if watch and dry_run:
        raise typer.BadParameter("there is nothing to watch of a dry run", param_hint="--watch")
    path, as_json = f"/v1/routes/{segment(route)}/rollout", wants_json(ctx, as_json)
    with connect(ctx, admin, token, state) as api:
        if action is Action.status:
            answer = api.get(path)
        else:
            where = path if action is Action.start else f"{path}/{action.value}"
            body = {
                **_plan(plan),
                **({"upstream": upstream} if upstream else {}),
                **({"reason": reason} if reason else {}),
            }
            answer = api.call("POST", where + ("?dry_run=true" if dry_run else ""), body or None)
        if watch:
            answer = _watch(api, path, answer, as_json)
        else:
            _show(answer, as_json)
    if watch:
        raise typer.Exit(_ENDED[answer["state"]])


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


# Watching


def _watch(api: AdminClient, path: str, answer: dict[str, Any], as_json: bool) -> dict[str, Any]:
    """The last answer: that of a rollout which has ended. Another rollout that begins meanwhile is not followed."""
    number, said = answer["number"], ""
    live = sys.stdout.isatty() and not as_json
    while True:
        line = _line(answer)
        if live:
            _redraw(answer)
        elif line != said:
            _print(answer, line, as_json)
            said = line
        if answer["state"] in _ENDED or answer["number"] != number:
            if live:
                print()
            return answer
        time.sleep(LOOK_SECONDS)
        answer = _ask(api, path)


def _ask(api: AdminClient, path: str) -> dict[str, Any]:
    """The rollout, from a gateway that may be away for a while. Raises CommandError."""
    from admin.errors import CommandError

    until = time.monotonic() + PATIENCE
    while True:
        try:
            return dict(api.get(path))
        except CommandError:
            if time.monotonic() >= until:
                raise
            time.sleep(LOOK_SECONDS)


def _print(answer: dict[str, Any], line: str, as_json: bool) -> None:
    if as_json:
        import json

        line = json.dumps(answer)
    print(line, flush=True)


def _redraw(answer: dict[str, Any]) -> None:
    """In place: the lines before are written over."""
    lines = [_line(answer), *_details(answer)]
    print("\x1b[J" + "\n".join(lines) + f"\x1b[{len(lines) - 1}F", end="", flush=True)


# Showing


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print(answer, "", as_json)
        return
    if answer["dry_run"]:
        print("would begin as:")
    print("\n".join([_line(answer), *_details(answer)]))


def _line(answer: dict[str, Any]) -> str:
    """What has changed when this has: one line of a log."""
    step = f"step {answer['step']}/{answer['steps']} {answer['stages'][answer['step'] - 1]['title']}"
    state = answer["state"].replace("_", " ")
    why = f": {answer['reason']}" if answer["reason"] else ""
    if answer["state"] in _ENDED:
        return f"{answer['route']}  {state}{why}"
    return f"{answer['route']}  {step}  {state}, {answer['verdict']}{why}"


def _details(answer: dict[str, Any]) -> list[str]:
    lines = []
    stage = answer["stages"][answer["step"] - 1]
    if answer["state"] not in _ENDED and stage["hold"]:
        part = min(1.0, answer["held"] / stage["hold"])
        bar = "█" * round(part * _WIDTH) + "░" * (_WIDTH - round(part * _WIDTH))
        lines.append(f"  held      {bar} {answer['held']:.0f} of {stage['hold']:.0f} s")
    for name, arm in _arms(answer["evidence"]):
        rate = "-" if arm["rate"] is None else f"{100 * arm['rate']:.2f} %"
        low, high = (f"{100 * arm[end]:.2f}" for end in ("low", "high"))
        lines.append(f"  {name:9} {arm['requests']:>9,} requests  errors {rate} ({low} to {high} %)")
    for metric, found in _metrics(answer["evidence"]):
        lines.append(f"  {metric:14} evidence {_figure(found['value'])} of {_figure(found['needed'])}")
    lines += [f"  {name}: {gate['message'] or 'not answered yet'}" for name, gate in answer["gates"].items()]
    if answer["sentence"]:
        lines.append(f"  {answer['sentence']}")
    return lines


def _arms(evidence: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, evidence[name]) for name in ("stable", "canary") if "rate" in evidence.get(name, {})]


def _metrics(evidence: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(evidence.get("evidence", {}).items())


def _figure(value: float | None) -> str:
    return "∞" if value is None else f"{value:.3g}"
