"""The shapes of requests and answers. OpenAPI is generated from these, and every answer is built through them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from admin.api.rollout_shape import RolloutShape


class Body(BaseModel):
    """Of a request: a key that does not exist is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """Likewise: `?dryrun=true` must not make the change for real. Query values are texts, so not strict."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


# Requests


class NoQuery(Query):
    pass


class ChangeQuery(Query):
    dry_run: bool = Field(False, description="validate, and answer what would be, without changing anything")


class AuditQuery(Query):
    route: str | None = Field(None, description="only this route's entries")
    limit: int = Field(50, ge=1, le=1000)
    before: int | None = Field(
        None, ge=1, le=2**63 - 1, description="entries older than this id: the `next` of the page before"
    )


class VerifyQuery(Query):
    expect: str | None = Field(
        None, pattern=r"^[0-9a-fA-F]{64}$", description="a head noted before: it must have been the head of this log"
    )


REASON = Field("", max_length=1000, description="for the audit log")


class WeightsBody(Body):
    weights: dict[str, Any] = Field(
        description="relative shares by upstream; an explicit 0 closes that upstream for this route, to rules too",
        json_schema_extra={
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1_000_000_000},
            "minProperties": 1,
        },
    )
    reason: str = REASON


class CutbackBody(Body):
    mode: Literal["cut", "drain"] = Field("cut", description="drain leaves clients with a sticky cookie where they are")
    in_flight: Literal["finish", "retry", "abort"] = Field(
        "finish", description="requests already sent to what lost its traffic"
    )
    reason: str = REASON


class RestoreBody(Body):
    reason: str = REASON


class ConfigQuery(ChangeQuery):
    reason: str = Field("", max_length=1000, description="for the audit log")


class CertificateBody(Body):
    """What the client's certificate says."""

    subject: str = Field("", max_length=1024, description="the subject's common name")
    san: list[str] = Field([], max_length=1000, description="DNS names and URIs of subjectAltName")


class ExplainBody(Body):
    url: str = Field(
        min_length=1, max_length=8192, description="begins with http://, https:// or, with a Host header, /"
    )
    method: str = Field("GET", pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", max_length=64)
    headers: dict[str, str | list[str]] = {}
    client_ip: str = Field("", max_length=64)
    client_certificate: CertificateBody | None = None


# Parts of answers


class WorkersAcked(Answer):
    acked: int
    total: int
    replaced: int


class NodeAcked(Answer):
    node: str
    acked: bool
    ms: float


class ReceiptAnswer(Answer):
    applied: bool = Field(description="in force on every worker: acknowledged, or killed and replaced")
    persisted: bool = Field(description="on the disk; false means that a restart now would lose it")
    workers: WorkersAcked
    nodes: list[NodeAcked]
    ms: float
    in_flight: dict[str, int] = Field(description="requests still out at upstreams that lost their traffic")
    errors: list[str] = []


class CutbackState(Answer):
    mode: Literal["cut", "drain"]
    at: str
    by: str
    reason: str


class ChangedBy(Answer):
    by: str
    at: str
    reason: str


class LiveKeys(ChangedBy):
    keys: dict[str, JsonValue] = Field(description="what was set live; the rest is as declared")


class NoShadow(Answer):
    pass


class RouteShadow(Answer):
    """What is in force, under the document's own keys, and what was found since `since`."""

    upstream: str
    control: str | None
    percent: float
    by: Literal["request", "client"]
    methods: list[str]
    max_body: int
    timeout: float
    noise_sample: str
    endpoints: list[str]
    headers: dict[str, JsonValue]
    redact: dict[str, JsonValue]
    compare: dict[str, JsonValue]
    live: LiveKeys | None = Field(description="null where all is as declared")
    since: int = Field(description="the revision at which the diffs were last started afresh; 0 is never")
    compared: int
    matched: int
    mismatched: int
    unknown: int
    dropped: int = Field(description="in the sample and not compared, for whatever reason")
    findings: int = Field(description="fields that people should look at")


class RouteUpstream(Answer):
    """The last ten seconds; null is unknown: no traffic."""

    rps: float
    error_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    healthy: bool
    endpoints: list[str]


class RouteAnswer(Answer):
    route: str
    stable: str
    weights: dict[str, float] = Field(description="as set live, else as declared")
    declared: dict[str, float]
    effective: dict[str, float] = Field(description="per cent in force for traffic that no rule takes")
    live: ChangedBy | None = Field(description="who set the live weights; null where the declared ones hold")
    cutback: CutbackState | None
    sticky: dict[str, JsonValue] | None
    rules: list[JsonValue]
    shadow: RouteShadow | NoShadow
    rollout: RolloutShape | None = Field(description="under way, or the last one")
    upstreams: dict[str, RouteUpstream]
    revision: int


class RoutesAnswer(Answer):
    revision: int
    routes: list[RouteAnswer]


# Answers of changes


class WeightsAnswer(Answer):
    revision: int
    route: str
    weights: dict[str, float]
    effective: dict[str, float]
    cutback: CutbackState | None
    receipt: ReceiptAnswer | None = Field(description="null for a dry run")
    dry_run: bool = False
    persisted: bool = True
    warnings: list[str] = []


class CutbackAnswer(WeightsAnswer):
    pass


class CutbackAllAnswer(Answer):
    revision: int
    routes: list[str]
    receipt: ReceiptAnswer | None = Field(description="null for a dry run, and where there was nothing to do")
    dry_run: bool = False
    persisted: bool = True
    warnings: list[str] = []


class ConfigAnswer(Answer):
    revision: int
    routes: list[str]
    dropped: dict[str, str] = Field(description="routes whose live weights this ends, and why")
    receipt: ReceiptAnswer | None = Field(description="null for a dry run")
    dry_run: bool = False
    persisted: bool = True
    warnings: list[str] = []


class ExplainAnswer(BaseModel):
    """Where the request would go. Without a route for it, `route`, `upstream` and `reason` are null."""

    model_config = ConfigDict(extra="allow")

    route: str | None
    upstream: str | None
    reason: Literal["cutback", "rule", "sticky", "weight"] | None
    reasons: list[str] = Field(description="sentences, in the order in which it was decided")


# Answers that only tell


class WorkerAnswer(Answer):
    worker: int
    pid: int
    ready: bool
    revision: int
    started_at: str


class ShadowProcess(Answer):
    pid: int = Field(description="0 between two")
    ready: bool
    restarts: int


class ConfigStatus(Answer):
    path: str
    source: Literal["file", "api"]
    sha256: str
    revision: int
    error: str | None = Field(description="why the last reload was refused")
    needs_restart: list[str]
    warnings: list[str]


class StoreStatus(Answer):
    pending: int = Field(description="changes in force and not yet on the disk")
    failures: int
    audit_dropped: int
    kept_aside: list[str] = Field(description="damaged databases in the state folder, of before a start")


class StatusAnswer(Answer):
    version: str
    node: str
    uptime: float = Field(description="seconds since the gateway started")
    started_at: str
    revision: int
    workers: list[WorkerAnswer]
    worker_restarts: int
    crashing: dict[str, int] = Field(description="processes that die again and again: how often in a row")
    draining: bool = Field(description="the gateway has been told to stop")
    shadow: ShadowProcess | None = Field(description="null until a route has a shadow")
    config: ConfigStatus
    store: StoreStatus


class AuditAnswerEntry(Answer):
    id: int
    revision: int
    at: str
    who: str
    action: str
    route: str | None
    reason: str
    before: JsonValue
    after: JsonValue
    receipt: JsonValue
    node: str
    hash: str = Field(description="SHA-256 over the hash of the entry before it and itself")


class AuditAnswer(Answer):
    entries: list[AuditAnswerEntry]
    next: int | None = Field(description="`before` of the next page; null where this is the last")


class MisfitAnswer(Answer):
    id: int | None = Field(description="the first entry that does not fit; null where it is none of the log's")
    why: str


class VerifyAnswer(Answer):
    """How far the chain of hashes holds."""

    holds: bool
    entries: int = Field(description="so many fit, from the first on")
    head: str = Field(description="the hash of the last of them")
    misfit: MisfitAnswer | None
    expected: int | None = Field(description="the entry whose hash was expected; null where none was, or none has it")


class HealthAnswer(Answer):
    status: Literal["ok", "failing"]


class DetailedHealthAnswer(Answer):
    status: Literal["ok", "failing"]
    checks: dict[str, bool]
    workers: WorkersReady
    revision: int


class WorkersReady(Answer):
    ready: int
    total: int


class FieldProblem(Answer):
    field: str
    message: str
    path: str | None = None
    line: int | None = None


class ProblemAnswer(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | None = None


DetailedHealthAnswer.model_rebuild()
