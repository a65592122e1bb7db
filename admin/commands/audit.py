"""`audit`: who changed what, when and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, StateDir, Token, connect, wants_json

_HEAD = ("when", "who", "what", "route", "to", "workers", "reason")


def audit(
    ctx: typer.Context,
    route: Annotated[
        str | None, typer.Option("--route", metavar="ROUTE", help="Only this route's.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many, the newest first.")] = 20,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Every change: who, when, what, why; the newest first."""
    query = {"limit": str(limit)} | ({"route": route} if route else {})
    with connect(ctx, admin, token, state) as api:
        answer = api.get("/v1/audit", query)
    if wants_json(ctx, as_json):
        import json

        print(json.dumps(answer))
        return
    from admin.render import print_table

    print_table(_HEAD, [_row(entry) for entry in answer["entries"]])


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    receipt = entry["receipt"]
    workers = "-"
    if receipt:
        workers = f"{receipt['workers']['acked']}/{receipt['workers']['total']}"
        workers += "" if receipt["applied"] else " NOT APPLIED"
    return (entry["at"], entry["who"], entry["action"], entry["route"] or "-", _target(entry), workers, entry["reason"])


def _target(entry: dict[str, Any]) -> str:
    """What the route was changed to, in few words."""
    after = entry["after"]
    if entry["action"] == "token_revoke":
        return str(entry["before"]["token"])
    if not isinstance(after, dict):
        return "-"
    if entry["action"] == "cutback" and after.get("cutback"):
        return str(after["cutback"]["mode"])
    if entry["action"] == "refused":
        return f"{after['call']}: {after['status']}"
    if entry["action"] == "token_create":
        return f"{after['token']}: {after['role']}"
    if entry["action"] == "weights" and after.get("weights"):
        return " ".join(f"{name}={weight:g}" for name, weight in after["weights"]["weights"].items())
    if entry["action"] == "shadow" and after.get("shadow"):
        keys = after["shadow"]["given"].items()
        return " ".join(f"{key}={value}" for key, value in keys if not isinstance(value, dict | list))
    return "-"
