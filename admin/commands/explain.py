"""`explain`: where a request would go, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, StateDir, Token, connect, wants_json
from admin.render import percent


def explain(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Absolute, or a path with -H Host.", show_default=False)],
    method: Annotated[str, typer.Option("-X", "--request", metavar="METHOD", help="As with curl.")] = "GET",
    header: Annotated[
        list[str] | None,
        typer.Option(
            "-H", "--header", metavar="'NAME: VALUE'", help="As with curl; may be repeated.", show_default=False
        ),
    ] = None,
    client_ip: Annotated[
        str | None, typer.Option("--client-ip", metavar="ADDRESS", help="Where it comes from.", show_default=False)
    ] = None,
    client_subject: Annotated[
        str | None,
        typer.Option("--client-subject", metavar="NAME", help="Its certificate's common name.", show_default=False),
    ] = None,
    client_san: Annotated[
        list[str] | None,
        typer.Option(
            "--client-san",
            metavar="NAME",
            help="DNS name or URI in its certificate; may be repeated.",
            show_default=False,
        ),
    ] = None,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Where a request would go, and every reason for it. Nothing is sent to any upstream."""
    body: dict[str, object] = {"method": method, "url": url, "headers": _headers(header or [])}
    if client_ip:
        body["client_ip"] = client_ip
    if client_subject or client_san:
        body["client_certificate"] = {"subject": client_subject or "", "san": client_san or []}
    with connect(ctx, admin, token, state) as api:
        answer = api.call("POST", "/v1/explain", body)
    if wants_json(ctx, as_json):
        import json

        print(json.dumps(answer))
        return
    print(_outcome(answer))
    for reason in answer["reasons"]:
        print(f"  {reason}")


def _headers(lines: list[str]) -> dict[str, str | list[str]]:
    """Raises typer.BadParameter. A name that comes twice has a list of values."""
    headers: dict[str, str | list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not name:
            raise typer.BadParameter(f"{line!r} is not NAME: VALUE, as in 'x-canary: true'", param_hint="-H")
        before = headers.get(name)
        headers[name] = value if before is None else [*([before] if isinstance(before, str) else before), value]
    return headers


def _outcome(answer: dict[str, Any]) -> str:
    if answer["route"] is None:
        return "no route takes it: the gateway would answer 404"
    if answer.get("random"):
        shares = ", ".join(f"{name} {percent(100 * share)}" for name, share in answer["shares"].items())
        return f"{answer['route']}: drawn by {answer['reason']}: {shares}"
    return f"{answer['route']}: {answer['upstream']}, by {answer['reason']}"
