"""`audit`: who changed what, when and why; and whether the log still says all that was written."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, StateDir, Token, connect, wants_json
from admin.errors import CommandError

_HEAD = ("when", "who", "what", "route", "to", "workers", "reason")
# The whole log is read.
_PATIENCE = 600.0  # seconds


def audit(
    ctx: typer.Context,
    route: Annotated[
        str | None, typer.Option("--route", metavar="ROUTE", help="Only this route's.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many, the newest first.")] = 20,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check the whole log: changed, removed or inserted entries.", show_default=False),
    ] = False,
    expect: Annotated[
        str | None,
        typer.Option(
            "--expect", metavar="HASH", help="With --verify: a head noted before, still in the log?", show_default=False
        ),
    ] = None,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Every change: who, when, what, why; the newest first.

    With --verify: whether the chain of hashes holds, and its head, to be noted elsewhere; exit 1 names the first entry that does
    not fit.
    """
    if expect is not None and not verify:
        raise typer.BadParameter("is for --verify alone", param_hint="--expect")
    if verify:
        if route is not None:
            raise typer.BadParameter("the chain is that of all routes", param_hint="--route")
        with connect(ctx, admin, token, state, timeout=_PATIENCE) as api:
            answer = api.get("/v1/audit/verify", {"expect": expect} if expect else None)
        _tell(answer, as_json=wants_json(ctx, as_json))
        return
    query = {"limit": str(limit)} | ({"route": route} if route else {})
    with connect(ctx, admin, token, state) as api:
        answer = api.get("/v1/audit", query)
    if wants_json(ctx, as_json):
        import json

        print(json.dumps(answer))
        return
    from admin.render import print_table

    print_table(_HEAD, [_row(entry) for entry in answer["entries"]])


def _tell(answer: dict[str, Any], *, as_json: bool) -> None:
    """Raises CommandError where the chain does not hold."""
    count, misfit = answer["entries"], answer["misfit"]
    if as_json:
        import json

        print(json.dumps(answer))
        if misfit is not None:
            raise typer.Exit(1)
        return
    if misfit is not None and misfit["id"] is not None:
        raise CommandError(
            f"the audit log does not hold at entry {misfit['id']}: {misfit['why']} ({count} before it fit)"
        )
    if misfit is not None:
        raise CommandError(f"the audit log does not hold: {misfit['why']}")
    print(f"{count} {'entry' if count == 1 else 'entries'}: nothing changed, removed or inserted")
    print(f"head {answer['head']}")
    if answer["expected"] is not None:
        print(f"the expected head was that of entry {answer['expected']}")


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
