"""Options that commands share. Each may stand before the command's name or after it; after it wins."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from admin.client import AdminClient

AdminUrl = Annotated[
    str | None,
    typer.Option("--admin", metavar="URL", help="The admin API's address. [env: HEADGATE_ADMIN]", show_default=False),
]
Token = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", help="The bearer token. [env: HEADGATE_TOKEN]", show_default=False),
]
StateDir = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="The gateway's state folder, where address and token are found. [env: HEADGATE_STATE; ./headgate-state]",
        show_default=False,
    ),
]
JsonOutput = Annotated[bool, typer.Option("--json", help="The admin API's JSON instead of text.", show_default=False)]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Kept in the audit log.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Globals:
    """What stood before the command's name."""

    admin: str | None
    token: str | None
    state: str | None
    as_json: bool


def globals_of(ctx: typer.Context) -> Globals:
    return ctx.obj if isinstance(ctx.obj, Globals) else Globals(None, None, None, False)


def wants_json(ctx: typer.Context, as_json: bool) -> bool:
    return as_json or globals_of(ctx).as_json


def connect(
    ctx: typer.Context, admin: str | None, token: str | None, state: str | None, *, timeout: float | None = None
) -> AdminClient:
    """A client of the gateway that options, environment or state folder point at; `timeout` is for calls that take longer than
    others. Raises CommandError."""
    from admin.client import TIMEOUT, AdminClient, find_target

    before = globals_of(ctx)
    target = find_target(admin or before.admin, token or before.token, state or before.state, os.environ)
    return AdminClient(target, timeout=timeout or TIMEOUT)
