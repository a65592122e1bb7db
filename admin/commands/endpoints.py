"""`endpoints`: which addresses of an upstream are in rotation."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from admin.commands.options import AdminUrl, JsonOutput, Reason, StateDir, Token, connect, wants_json
from admin.commands.traffic import finish


class Action(StrEnum):
    drain = "drain"
    enable = "enable"
    add = "add"
    remove = "remove"


_DONE = {Action.drain: "drained", Action.enable: "enabled", Action.add: "added to", Action.remove: "removed from"}


def endpoints(
    ctx: typer.Context,
    action: Annotated[Action, typer.Argument(metavar="drain|enable|add|remove", show_default=False)],
    upstream: Annotated[str, typer.Argument(metavar="UPSTREAM", show_default=False)],
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", show_default=False)],
    reason: Reason = None,
    admin: AdminUrl = None,
    token: Token = None,
    state: StateDir = None,
    as_json: JsonOutput = False,
) -> None:
    """Drain, enable, add or remove an endpoint of an upstream.

    Once this has answered with exit code 0, nothing new is sent to an endpoint that was drained or removed; what is under way
    there is finished. An endpoint that is added to an upstream with a health check gets traffic once it has passed one.
    """
    from admin.client import segment

    path = f"/v1/upstreams/{segment(upstream)}/endpoints"
    about = {"reason": reason} if reason else {}
    with connect(ctx, admin, token, state) as api:
        if action in (Action.drain, Action.enable):
            answer = api.call("POST", f"{path}/{action.value}", {"endpoint": endpoint, **about})
        else:
            before = _upstream(api.get("/v1/upstreams"), upstream)
            urls = _changed([each["endpoint"] for each in before["endpoints"]], action, endpoint)
            answer = api.call("PUT", path, {"endpoints": urls, **about}, if_match=before["revision"])
    where = f" {upstream}" if action in (Action.add, Action.remove) else f" in {upstream}"
    finish(answer, f"{endpoint} {_DONE[action]}{where}", wants_json(ctx, as_json))


def _upstream(answer: dict[str, Any], name: str) -> dict[str, Any]:
    from admin.errors import CommandError

    for upstream in answer["upstreams"]:
        if upstream["upstream"] == name:
            return dict(upstream)
    raise CommandError(f"there is no upstream {name!r}")


def _changed(urls: list[str], action: Action, endpoint: str) -> list[str]:
    from admin.errors import CommandError

    bare = endpoint.rstrip("/")
    if action is Action.add:
        if bare in urls:
            raise CommandError(f"{endpoint} is an endpoint of it already")
        return [*urls, endpoint]
    if bare not in urls:
        raise CommandError(f"{endpoint} is no endpoint of it; these are: {', '.join(urls)}")
    return [url for url in urls if url != bare]
