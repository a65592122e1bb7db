"""`shadow`, `diffs`: how much is copied to a shadow, and what it answers differently."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, Reason, StateDir, Token, connect, wants_json
from admin.commands.traffic import RouteName, finish
from admin.render import counted, percent

_HEAD = ("endpoint", "field", "kind", "count", "rate", "noise", "excess", "primary", "shadow", "example")
_WIDEST = 32
_GATE = "--fail-over"


def shadow(
    ctx: typer.Context,
    route: RouteName,
    share: Annotated[
        float | None,
        typer.Option("--percent", min=0, max=100, metavar="N", help="Of the requests.", show_default=False),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Copy nothing.", show_default=False)] = False,
    as_declared: Annotated[
        bool, typer.Option("--as-declared", help="As the configuration says.", show_default=False)
    ] = False,
    upstream: Annotated[
        str | None,
        typer.Option("--upstream", metavar="NAME", help="Another shadow, with --percent.", show_default=False),
    ] = None,
    reason: Reason = None,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Set how much of a route's traffic is copied to its shadow.

    It stays so over restarts, until the shadow in the configuration file itself changes. A route that declares no shadow
    gets one with --upstream.
    """
    from admin.client import segment

    if (share is not None) + off + as_declared != 1:
        raise typer.BadParameter("give one of --percent N, --off and --as-declared", param_hint="--percent")
    if upstream and share is None:
        raise typer.BadParameter("goes with --percent", param_hint="--upstream")
    path, about = f"/v1/routes/{segment(route)}/shadow", {"reason": reason} if reason else {}
    with connect(ctx, admin, token, state) as api:
        if as_declared:
            answer = api.call("DELETE", path, about or None)
        else:
            chosen = {"upstream": upstream} if upstream else {}
            answer = api.call("PUT", path, {"percent": 0 if off else share, **chosen, **about})
    now = answer["shadow"]
    line = f"{route}: {percent(now['percent'])} copied to {now['upstream']}" if now else f"{route}: no shadow"
    finish(answer, line, wants_json(ctx, as_json))


def diffs(
    ctx: typer.Context,
    route: RouteName,
    fail_over: Annotated[
        str | None,
        typer.Option(
            _GATE, metavar="PERCENT", help="Exit 1 if a finding's excess is above, as in 1%.", show_default=False
        ),
    ] = None,
    min_compared: Annotated[
        int, typer.Option(min=1, metavar="N", help=f"With {_GATE}: exit 1 if fewer pairs were compared.")
    ] = 1,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="TEMPLATE", help="Only this one's.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many fields, the worst first.")] = 20,
    ignore: Annotated[
        str | None,
        typer.Option("--ignore", metavar="FIELD", help="Ignore a field, as in $.timestamp.", show_default=False),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Start afresh.", show_default=False)] = False,
    example: Annotated[
        str | None, typer.Option("--example", metavar="ID", help="Print one diff whole.", show_default=False)
    ] = None,
    reason: Reason = None,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Which fields the shadow answers differently: the worst first, with noise told apart, and examples.

    "excess" is what noise does not explain of the rate. With --fail-over the exit code is a gate for CI: 1 where the
    excess of a finding is above, and where too little was compared to say.
    """
    from admin.client import segment

    most = None if fail_over is None else _share(fail_over)
    path = f"/v1/routes/{segment(route)}/diffs"
    if ignore or clear:
        with connect(ctx, admin, token, state) as api:
            about = {"reason": reason} if reason else {}
            if ignore:
                answer = api.call("POST", f"{path}/ignore", {"field": ignore, **about})
            if clear:
                answer = api.call("DELETE", path, about or None)
        done = [f"{ignore} is ignored"] * bool(ignore) + ["diffs start afresh"] * clear
        finish(answer, f"{route}: {', '.join(done)}", wants_json(ctx, as_json))
        return
    query = {"limit": str(limit)} | ({"endpoint": endpoint} if endpoint else {})
    with connect(ctx, admin, token, state) as api:
        answer = api.get(f"{path}/{segment(example)}") if example else api.get(path, query)
    if example or wants_json(ctx, as_json):
        import json

        print(json.dumps(answer, indent=2 if example else None, ensure_ascii=False))
    else:
        _show(answer)
    if most is not None and not example:
        _gate(answer, most, min_compared)


def _share(text: str) -> float:
    """`1%` or `1` as 0.01. Raises typer.BadParameter."""
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise typer.BadParameter(f"{text!r} is no percentage from 0% to 100%, as 1% is", param_hint=_GATE)
    return share


def _gate(answer: dict[str, Any], most: float, min_compared: int) -> None:
    compared = answer["compared"]
    if compared < min_compared:
        least = "" if min_compared == 1 else f", and {min_compared} are asked for"
        seen = f"only {counted(compared, 'pair')} compared" if compared else "nothing has been compared"
        print(f"headgate: no verdict: {seen} since the diffs began{least}", file=sys.stderr)
        raise typer.Exit(1)
    worst = max(answer["findings"], key=lambda finding: finding["excess"], default=None)
    if worst is not None and worst["excess"] > most:
        print(
            f"headgate: {worst['endpoint']} {worst['field']} differs in {percent(100 * worst['excess'])} of its answers "
            f"beyond noise, which is above {percent(100 * most)}",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _show(answer: dict[str, Any]) -> None:
    from admin.render import print_line, print_table

    dropped = answer["dropped"]
    line = f"{answer['route']}: {counted(answer['compared'], 'pair')} compared with {answer['upstream']}: "
    line += f"{answer['matched']} matched, {answer['mismatched']} mismatched, {answer['unknown']} unknown"
    print_line(line)
    if any(dropped.values()):
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(dropped.items()) if count)
        print_line(f"dropped, so not compared: {reasons}")
    findings = answer["findings"]
    print_line(f"{counted(len(findings), 'finding')}" + (":" if findings else ""), alarm=bool(findings))
    if findings:
        print_table(_HEAD, [_row(finding) for finding in findings])
        for finding in findings:
            print_line(f"{finding['endpoint']} {finding['field']}: {finding['why']}")
    for name, what in (("watching", "not yet proven either way"), ("noise", "explained away as noise")):
        if answer[name]:
            fields = ", ".join(f"{each['endpoint']} {each['field']}" for each in answer[name])
            print_line(f"{what}: {fields}")


def _row(finding: dict[str, Any]) -> tuple[str, ...]:
    examples = finding["examples"]
    shown = examples[0] if examples else {"id": "-", "primary": "", "shadow": ""}
    return (
        finding["endpoint"],
        finding["field"],
        finding["kind"],
        str(finding["count"]),
        *(percent(100 * finding[key]) for key in ("rate", "noise", "excess")),
        _cut(shown["primary"]),
        _cut(shown["shadow"]),
        shown["id"],
    )


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
