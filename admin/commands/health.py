"""`health`: is the gateway on this machine ready? Made for Docker's HEALTHCHECK and the like."""

from __future__ import annotations

import os

import typer

from admin.commands.options import AdminUrl, JsonOutput, StateDir, globals_of, wants_json

# Shorter than the 3 s that the Dockerfile gives the whole command.
_TIMEOUT = 2.0


def health(ctx: typer.Context, admin: AdminUrl = None, state: StateDir = None, as_json: JsonOutput = False) -> None:
    """Exit with 0 when the gateway is ready to serve.

    That is, when its /health/ready answers 200. Needs no token.
    """
    from admin.client import AdminClient, find_address

    before = globals_of(ctx)
    target, _ = find_address(admin or before.admin, state or before.state, os.environ)
    # Nothing secret is sent or believed here, and a certificate seldom names the loopback address.
    with AdminClient(target, timeout=_TIMEOUT, verify=False) as api:
        status, content = api.exchange("GET", "/health/ready")
    if wants_json(ctx, as_json):
        print(content.decode(errors="replace").strip())
    elif status == 200:
        print("ready")
    else:
        print(f"not ready ({status}): {content.decode(errors='replace').strip()}")
    if status != 200:
        raise typer.Exit(1)
