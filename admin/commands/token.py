"""`token`: who may call the admin API, and as what."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, Reason, StateDir, Token, connect, wants_json

_HEAD = ("name", "role", "created", "by", "expires", "last used")


class Action(StrEnum):
    create = "create"
    list = "list"
    revoke = "revoke"


class RoleName(StrEnum):
    viewer = "viewer"
    operator = "operator"
    admin = "admin"


def token(
    ctx: typer.Context,
    action: Annotated[Action, typer.Argument(metavar="create|list|revoke", show_default=False)],
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    role: Annotated[
        RoleName | None,
        typer.Option(
            help="viewer reads, operator changes traffic, admin configuration and tokens.", show_default=False
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="How long it holds, as 90d, or a date. Else it has no end.", show_default=False
        ),
    ] = None,
    reason: Reason = None,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Create, list or revoke tokens of the admin API.

    A new token is printed once, alone on standard output, and kept by nobody: the gateway has its SHA-256. A revoked one is
    refused from the next call on.
    """
    _check_usage(action, name, role, expires)
    from admin.client import segment

    about = {"reason": reason} if reason else {}
    with connect(ctx, admin, token, state) as api:
        if action is Action.list:
            answer = api.get("/v1/tokens")
        elif action is Action.create:
            wanted = {"name": name, "role": str(role)} | ({"expires": expires} if expires else {})
            answer = api.call("POST", "/v1/tokens", wanted | about)
        else:
            answer = api.call("DELETE", f"/v1/tokens/{segment(name or '')}", about or None)
    if wants_json(ctx, as_json):
        print(json.dumps(answer))
    elif action is Action.list:
        from admin.render import print_table

        print_table(_HEAD, [_row(each) for each in answer["tokens"]])
    elif action is Action.create:
        end = f"expires on {answer['expires_at']}" if answer["expires_at"] else "has no end"
        print(answer["token"])
        print(f"token {name}: {answer['role']}, {end}; it is shown this once", file=sys.stderr)
    else:
        print(f"revoked {name}: refused from the next call on")
    for warning in answer.get("warnings", []):
        print(f"headgate: {warning}", file=sys.stderr)


def _check_usage(action: Action, name: str | None, role: RoleName | None, expires: str | None) -> None:
    if (name is None) != (action is Action.list):
        raise typer.BadParameter(
            "list takes no name" if name else f"name the token to {action.value}", param_hint="NAME"
        )
    if action is Action.create and role is None:
        raise typer.BadParameter("viewer, operator or admin?", param_hint="--role")
    if action is not Action.create and (role or expires):
        raise typer.BadParameter("is for create alone", param_hint="--role" if role else "--expires")


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    expires = (each["expires_at"] or "-") + (" EXPIRED" if each["expired"] else "")
    return (each["name"], each["role"], each["created_at"], each["created_by"], expires, each["last_used"] or "-")
