"""The shapes of requests and answers about shadows and their diffs."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue

from admin.api.models import REASON, Answer, Body, NoShadow, ReceiptAnswer, RouteShadow


def _key(text: str, kind: JsonValue) -> Any:
    """A key of the document's own: judged by routing.config, as in a file."""
    return Field(None, description=text, json_schema_extra={"type": kind})


class ShadowBody(Body):
    """What is given replaces what holds, key by key; of `headers`, `redact` and `compare` the keys within."""

    upstream: Any = _key("gets the copies; required where the route declares no shadow", "string")
    control: Any = _key("an upstream that runs what stable runs; null for none", ["string", "null"])
    percent: Any = _key("0 to 100; 0 turns the shadow off", ["number", "string"])
    by: Any = _key("request or client", "string")
    methods: Any = _key("the methods that are copied", "array")
    max_body: Any = _key("of request and answer each", ["integer", "string"])
    timeout: Any = _key("of a copy", ["number", "string"])
    noise_sample: Any = _key("the share of requests sent to stable a second time", ["number", "string"])
    endpoints: Any = _key("templates such as /orders/{id}", "array")
    headers: Any = _key("set, remove", "object")
    redact: Any = _key("headers, paths: never stored", "object")
    compare: Any = _key("headers, ignore, unordered, keyed, number_tolerance, mask", "object")
    reason: str = REASON


class ShadowAnswer(Answer):
    revision: int
    route: str
    shadow: RouteShadow | NoShadow
    receipt: ReceiptAnswer | None = Field(description="null for a dry run")
    dry_run: bool = False
    persisted: bool = True
    warnings: list[str] = Field(default_factory=list)
