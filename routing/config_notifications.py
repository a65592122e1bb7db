"""Who is told of what, as frozen models. Part of the document that config.py is; check_notifications.py says what spans several
keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from routing.config_types import Name, PositiveSeconds, Text, listed, once

ROLLOUT_EVENTS = (
    "rollout.started",
    "rollout.step",
    "rollout.awaiting_approval",
    "rollout.paused",
    "rollout.resumed",
    "rollout.regression",
    "rollout.promoted",
    "rollout.cut_back",
    "rollout.aborted",
)
EVENTS = (*ROLLOUT_EVENTS, "weights", "cutback", "restore", "shadow", "endpoints", "config")
MUST_HEAR = (
    "rollout.awaiting_approval",
    "rollout.paused",
    "rollout.regression",
    "rollout.promoted",
    "rollout.cut_back",
    "rollout.aborted",
    "cutback",
    "restore",
)


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class Notification(Model):
    """One receiver. `url` and `secret` are nothing for a log."""

    url: Annotated[Text, Field(repr=False)]
    kind: Literal["generic", "slack", "teams"] = "generic"
    events: Annotated[tuple[Text, ...], once(listed)] = MUST_HEAR
    routes: Annotated[tuple[Name, ...] | None, once(listed)] = None
    secret: Annotated[Text | None, Field(repr=False)] = None
    template: Text | None = None
    timeout: PositiveSeconds = 10.0
