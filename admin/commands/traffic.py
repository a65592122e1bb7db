"""`weights`, `cutback`, `restore`: the commands that move traffic. They answer in one plain line, on a terminal too."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, Reason, StateDir, Token, connect, wants_json
from admin.render import counted, percent
from admin.shares import parse_weights, with_shares

RouteName = Annotated[str, typer.Argument(metavar="ROUTE", show_default=False)]
RouteOrNone = Annotated[str | None, typer.Argument(metavar="ROUTE", show_default=False)]
AllRoutes = Annotated[bool, typer.Option("--all", help="Every route.", show_default=False)]


class Mode(StrEnum):
    cut = "cut"
    drain = "drain"


class InFlight(StrEnum):
    finish = "finish"
    retry = "retry"
    abort = "abort"


def weights(
    ctx: typer.Context,
    route: RouteName,
    shares: Annotated[list[str], typer.Argument(metavar="UPSTREAM=WEIGHT...", show_default=False)],
    reason: Reason = None,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Set the weights of a route.

    With the route's stable upstream among the names, the weights are relative and are set as they stand. Without it
    they are percent: upstreams not named keep the percent they have, and stable gets what is left of 100. So
    `headgate weights shop canary=10` takes canary's traffic from stable alone. More than 100 in all is refused.
    A weight of 0 closes the upstream: rules send nothing there either.
    """
    from admin.client import segment

    wanted = parse_weights(shares)
    path = f"/v1/routes/{segment(route)}"
    with connect(ctx, admin, token, state) as api:
        before = api.get(path)
        if before["stable"] in wanted:
            body, revision = wanted, None
        else:
            body, revision = with_shares(wanted, before), before["revision"]
        answer = api.call("PUT", f"{path}/weights", _body(weights=body, reason=reason), if_match=revision)
    line = f"{route}: {_shares(answer['weights'])}"
    if answer["cutback"]:
        line += f", in force after `headgate restore {route}`: it is cut back to {before['stable']}"
    finish(answer, line, wants_json(ctx, as_json))


def cutback(
    ctx: typer.Context,
    route: RouteOrNone = None,
    all_routes: AllRoutes = False,
    mode: Annotated[
        Mode, typer.Option(help="cut: everyone at once. drain: sticky clients stay, no new ones.")
    ] = Mode.cut,
    in_flight: Annotated[
        InFlight,
        typer.Option(help="Requests already sent: let them finish, retry the idempotent ones on stable, or abort."),
    ] = InFlight.finish,
    reason: Reason = None,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Send all of a route's traffic to stable, at once.

    Whatever rules, stickiness and weights say. Once this has answered with exit code 0, not one more request is sent to
    the upstreams that lost their traffic.
    """
    path = _cutback_path(route, all_routes)
    body = _body(mode=mode.value, in_flight=in_flight.value, reason=reason)
    with connect(ctx, admin, token, state) as api:
        answer = api.call("POST", path, body)
    if route:
        stable = max(answer["effective"], key=lambda name: answer["effective"][name])
        line = f"cut back {route} to {stable}"
    else:
        line = f"cut back {', '.join(answer['routes'])}, each to its stable upstream"
    finish(answer, line, wants_json(ctx, as_json))


def restore(
    ctx: typer.Context,
    route: RouteOrNone = None,
    all_routes: AllRoutes = False,
    reason: Reason = None,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """End a cutback: weights and rules as before it."""
    path = _cutback_path(route, all_routes)
    with connect(ctx, admin, token, state) as api:
        answer = api.call("DELETE", path, _body(reason=reason) or None)
    finish(answer, f"restored {route or ', '.join(answer['routes'])}", wants_json(ctx, as_json))


def _cutback_path(route: str | None, all_routes: bool) -> str:
    from admin.client import segment

    if all_routes == bool(route):
        raise typer.BadParameter("name one route, or give --all", param_hint="ROUTE")
    return "/v1/cutback" if route is None else f"/v1/routes/{segment(route)}/cutback"


def _body(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _shares(weights: dict[str, float]) -> str:
    total = sum(weights.values()) or 1
    return ", ".join(f"{name} {percent(weight / total * 100)}" for name, weight in weights.items())


def finish(answer: dict[str, Any], line: str, as_json: bool) -> None:
    """Print the outcome; exit code 1 where the change is not in force everywhere."""
    receipt = answer["receipt"]
    if as_json:
        import json

        print(json.dumps(answer))
    elif receipt["applied"]:
        print(f"{line}: {describe(receipt)}")
    else:
        print(f"headgate: NOT in force everywhere: {line}: {describe(receipt)}", file=sys.stderr)
    if not receipt["applied"]:
        raise typer.Exit(1)


def describe(receipt: dict[str, Any]) -> str:
    """A receipt in words: "4 of 4 workers in 2.8 ms; 3 requests still in flight at canary"."""
    workers = receipt["workers"]
    nodes = receipt.get("nodes") or []
    where = f" on {len(nodes)} nodes" if len(nodes) > 1 else ""
    text = f"{workers['acked']} of {workers['total']} workers{where} in {receipt['ms']:.1f} ms"
    if workers.get("replaced"):
        text += f"; {counted(workers['replaced'], 'worker')} replaced"
    if not receipt.get("persisted", True):
        text += "; not stored, so a restart forgets it"
    for upstream, number in (receipt.get("in_flight") or {}).items():
        if number:
            text += f"; {counted(number, 'request')} still in flight at {upstream}"
    for error in receipt.get("errors") or []:
        text += f"; {error}"
    return text
