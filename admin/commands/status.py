"""`status`: the gateway at a glance."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, StateDir, Token, connect, wants_json

_CLEAR = "\x1b[H\x1b[2J"
_HEAD = ("route", "upstream", "weight", "now", "req/s", "errors", "p95", "healthy")


def status(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat until Ctrl-C.", show_default=False)] = False,
    interval: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Between two looks with --watch.")] = 2.0,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Routes, weights, cutbacks, rates and workers at a glance.

    "weight" is as set or declared, "now" what is in force; rates, errors and latencies are of the last ten seconds.
    --json prints {"status": …, "routes": […]}: what /v1/status and /v1/routes answer.
    """
    as_json = wants_json(ctx, as_json)
    if not watch:
        _show(*_ask(ctx, admin, token, state), as_json)
        return
    try:
        while True:
            _look(ctx, admin, token, state, as_json)
            time.sleep(interval)
    except KeyboardInterrupt:
        return


def _look(ctx: typer.Context, admin: str | None, token: str | None, state: str | None, as_json: bool) -> None:
    """One look of --watch. A gateway that is away for a moment is shown as that, and looked for again."""
    import sys

    from admin.errors import CommandError

    try:
        answers = _ask(ctx, admin, token, state)
    except CommandError as error:
        print(f"headgate: {error}", file=sys.stderr, flush=True)
        return
    if sys.stdout.isatty() and not as_json:
        print(_CLEAR, end="")
    _show(*answers, as_json)
    sys.stdout.flush()


def _ask(
    ctx: typer.Context, admin: str | None, token: str | None, state: str | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    with connect(ctx, admin, token, state) as api:
        return api.get("/v1/status"), api.get("/v1/routes")["routes"]


def _show(status: dict[str, Any], routes: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps({"status": status, "routes": routes}))
        return
    from admin.render import duration, print_line, print_table

    workers = status["workers"]
    ready = sum(worker["ready"] for worker in workers)
    line = f"headgate {status['version']} on {status['node']}, up {duration(status['uptime'])}, "
    line += f"{ready} of {len(workers)} workers ready, revision {status['revision']}"
    print_line(line, alarm=ready < len(workers))
    for text in _worries(status):
        print_line(text, alarm=True)
    print()
    print_table(_HEAD, [row for route in routes for row in _rows(route)])
    for route in routes:
        for text, alarm in _notes(route):
            print_line(text, alarm=alarm)


def _worries(status: dict[str, Any]) -> list[str]:
    """What an operator should know before trusting the rest."""
    config, store = status["config"], status["store"]
    worries = []
    if config["error"]:
        worries.append(f"the last reload was refused: {config['error']}")
    if config["needs_restart"]:
        worries.append(f"in the configuration, but only after a restart: {', '.join(config['needs_restart'])}")
    if store["pending"]:
        worries.append(f"{store['pending']} changes are in force but not yet stored")
    if status["shadow"] and not status["shadow"]["ready"]:
        worries.append("the shadow process is away, so nothing is compared")
    return worries


def _rows(route: dict[str, Any]) -> list[tuple[Any, ...]]:
    from admin.render import Cell, milliseconds, percent

    total = sum(route["weights"].values()) or 1
    rows = []
    for number, (name, seen) in enumerate(route["upstreams"].items()):
        weight = 100 * route["weights"].get(name, 0) / total
        errors = seen["error_rate"]
        rows.append(
            (
                route["route"] if number == 0 else "",
                f"{name} (stable)" if name == route["stable"] else name,
                percent(weight),
                percent(route["effective"].get(name, 0)),
                f"{seen['rps']:.1f}",
                Cell("-" if errors is None else f"{100 * errors:.2f} %", alarm=bool(errors and errors >= 0.01)),
                milliseconds(seen["p95_ms"]),
                Cell("yes" if seen["healthy"] else "NO", alarm=not seen["healthy"]),
            )
        )
    return rows


def _notes(route: dict[str, Any]) -> list[tuple[str, bool]]:
    """Who changed what; True where the line should draw the eye."""
    notes = []
    if route["cutback"]:
        notes.append((f"{route['route']}: {_said('cut back', route['cutback'], route['cutback']['mode'])}", True))
    if route["live"]:
        notes.append((f"{route['route']}: {_said('weights set', route['live'])}", False))
    if (rollout := route["rollout"]) and not rollout["ended_at"]:
        notes.append((f"{route['route']}: {_rollout(rollout)}", rollout["state"] == "paused"))
    if shadow := route["shadow"]:
        notes.append((f"{route['route']}: {_shadow(shadow)}", shadow["findings"] > 0))
    return notes


def _rollout(rollout: dict[str, Any]) -> str:
    title = rollout["plan"][rollout["step"] - 1]["title"]
    line = f"rollout {rollout['state'].replace('_', ' ')}, step {rollout['step']} of {rollout['steps']} ({title}), "
    line += f"verdict {rollout['verdict']}"
    said = rollout["reason"] or rollout["sentence"]
    return line + (f": {said}" if said else "")


def _shadow(shadow: dict[str, Any]) -> str:
    from admin.render import counted, percent

    line = (
        f"{percent(shadow['percent'])} copied to {shadow['upstream']}, {counted(shadow['compared'], 'pair')} compared, "
    )
    line += f"{shadow['mismatched']} mismatched, {counted(shadow['findings'], 'finding')}"
    return line + (f", {shadow['dropped']} dropped" if shadow["dropped"] else "")


def _said(what: str, stamp: dict[str, Any], mode: str = "") -> str:
    because = f": {stamp['reason']}" if stamp["reason"] else ""
    return f"{what}{f' ({mode})' if mode else ''} by {stamp['by']} at {stamp['at']}{because}"
