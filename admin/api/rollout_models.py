"""The shapes of requests and answers about rollouts."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue

from admin.api.models import REASON, Body, ReceiptAnswer
from admin.api.rollout_shape import RolloutShape


def _key(text: str, kind: JsonValue) -> Any:
    """A key of the document's own: judged by routing.config_rollout, as in a file."""
    return Field(None, description=text, json_schema_extra={"type": kind})


class RolloutBody(Body):
    """Another plan than the route's own; none of its keys given means the route's own."""

    pattern: Any = _key("canary, blue_green, ab, rolling or recreate", "string")
    to: Any = _key("the upstream that gets the traffic, or a list", ["string", "array"])
    smoke: Any = _key("requests before the first weight", "array")
    shadow: Any = _key("percent, pairs, hold: compared before the first weight", "object")
    steps: Any = _key("weight, hold, max_error_rate, approval", "array")
    watch: Any = _key("how long is judged after a switch or a batch", ["number", "string"])
    max_error_rate: Any = _key("where stable has no traffic to compare with", ["number", "string"])
    approval: Any = _key("a person switches", "boolean")
    batch: Any = _key("endpoints at a time", "integer")
    update: Any = _key("url, timeout: called with drained endpoints", "object")
    windows: Any = _key("days, from, to, zone", "array")
    analysis: Any = _key("what it is judged by", "object")
    on_failure: Any = _key("cutback, pause or notify", "string")
    reason: str = REASON


class CommandBody(Body):
    reason: str = REASON


class PromoteBody(CommandBody):
    upstream: str = Field("", description="which one, where several are tried")


class RolloutAnswer(RolloutShape):
    route: str
    revision: int
    receipt: ReceiptAnswer | None = Field(None, description="of the change that the call made, if it published one")
    dry_run: bool = False
    warnings: list[str] = Field(default_factory=list)
