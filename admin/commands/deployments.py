"""`deployments`: what was rolled out, how it ended, and how well that goes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, StateDir, Token, connect, wants_json

_HEAD = ("began", "route", "what", "to", "outcome", "took", "by", "reason")


def deployments(
    ctx: typer.Context,
    route: Annotated[
        str | None, typer.Option("--route", metavar="ROUTE", help="Only this route's.", show_default=False)
    ] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back, as 30d; or a date, or a time.")] = "30d",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many, the newest first.")] = 20,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Rollouts, and changes of weights that gave one upstream everything, with frequency, duration, success rate and time to
    recover: from the audit log."""
    query = {"since": since, "limit": str(limit)} | ({"route": route} if route else {})
    with connect(ctx, admin, token, state) as api:
        answer = api.get("/v1/deployments", query)
    if wants_json(ctx, as_json):
        import json

        print(json.dumps(answer))
        return
    from admin.render import print_table

    if answer["deployments"]:
        print_table(_HEAD, [_row(each) for each in answer["deployments"]])
        print()
    for line in _figures(answer):
        print(line)


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    what = "manual" if each["kind"] == "manual" else f"#{each['number']} {each['pattern'] or ''}".rstrip()
    outcome = (each["outcome"] or "-").replace("_", " ")
    by, took = each["started_by"] or "-", _seconds(each["seconds"])
    return (each["started_at"], each["route"], what, ", ".join(each["to"]), outcome, took, by, each["reason"])


def _figures(answer: dict[str, Any]) -> list[str]:
    from admin.render import counted, percent

    figures = answer["figures"]
    rate = "-" if figures["success_rate"] is None else percent(100 * figures["success_rate"])
    recovery, open_ones = _seconds(figures["median_seconds_to_recover"]), figures["not_recovered"]
    lines = [
        f"since {answer['since']}{': all that is read at once' if answer['truncated'] else ''}",
        f"frequency     {figures['per_day']:g} a day: {figures['promoted']} promoted, {figures['manual']} manual",
        f"duration      median {_seconds(figures['median_seconds'])}, p90 {_seconds(figures['p90_seconds'])}",
        f"success rate  {rate}: {figures['cut_back']} cut back; {figures['aborted']} aborted",
        f"recovery      median {recovery} of {counted(figures['recovered'], 'cutback')}",
    ]
    if open_ones:
        lines[-1] += f"; {open_ones} not restored yet"
    return lines


def _seconds(value: float | None) -> str:
    from admin.render import duration

    return "-" if value is None else duration(value)
