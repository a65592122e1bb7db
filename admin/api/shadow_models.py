"""The shapes of requests and answers about shadows and their diffs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from admin.api.models import REASON, Answer, Body, NoShadow, Query, ReceiptAnswer, RouteShadow


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


class IgnoreBody(Body):
    field: str = Field(max_length=1024, description="$.timestamp, $..request_id, header:date, status or body")
    ignored: bool = Field(True, description="false to compare it again")
    reason: str = REASON


class DiffsQuery(Query):
    limit: int = Field(100, ge=1, le=1000, description="of each list")
    endpoint: str | None = Field(None, description="only this endpoint's, such as /orders/{id}")


class DiffExample(BaseModel):
    """One pair, as far as this field goes; `id` brings the whole."""

    model_config = ConfigDict(extra="allow")

    id: str
    primary: str
    shadow: str


class DiffField(BaseModel):
    """One field of one endpoint."""

    model_config = ConfigDict(extra="allow")

    endpoint: str
    field: str = Field(description="$.items[*].price, status, header:location, body")
    kind: str
    count: int = Field(description="pairs in which it was seen to differ")
    rate: float = Field(description="their share of the endpoint's pairs")
    noise: float = Field(description="how often stable differs from itself there, as far as it was asked twice")
    excess: float = Field(description="what the noise does not explain of the rate")
    evidence: float = Field(description="the e-value: `needed` or more is a finding")
    needed: float
    why: str = Field(description="a sentence")
    first_seen: str
    last_seen: str
    examples: list[DiffExample]


class DiffsAnswer(BaseModel):
    """What was found since `since`, worst first."""

    model_config = ConfigDict(extra="allow")

    route: str
    upstream: str
    since: int
    compared: int
    matched: int
    mismatched: int
    unknown: int
    dropped: dict[str, int] = Field(description="in the sample and not compared, by reason")
    findings: list[DiffField] = Field(description="what people should look at")
    noise: list[DiffField] = Field(description="what was explained away")
    watching: list[DiffField] = Field(description="what differs and is not yet proven either way")
    diff_rate: float = Field(description="share of the pairs that show one of the findings")
    unknown_reasons: dict[str, int]
    outcomes: dict[str, int] = Field(description="of the calls to the shadow")
    endpoints: list[dict[str, JsonValue]]
    latency: list[dict[str, JsonValue]]
    notes: list[dict[str, JsonValue]]


class DiffAnswer(BaseModel):
    """One pair whole, as far as it may be stored."""

    model_config = ConfigDict(extra="allow")

    id: str
    at: str
    endpoint: str
    method: str
    path: str
    request_id: str
    primary: dict[str, JsonValue]
    shadow: dict[str, JsonValue]
    differences: list[dict[str, JsonValue]]
    noise: list[dict[str, JsonValue]]
