"""The shapes of requests and answers about endpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from admin.api.models import REASON, Answer, Body, ChangedBy, ReceiptAnswer


class EndpointsBody(Body):
    endpoints: list[str] = Field(
        min_length=1, max_length=1000, description="the whole list; what is not in it is removed"
    )
    reason: str = REASON


class EndpointBody(Body):
    endpoint: str = Field(min_length=1, max_length=1024)
    reason: str = REASON


class EndpointAnswer(Answer):
    endpoint: str
    state: Literal["in", "unhealthy", "ejected", "draining", "drained"] = Field(
        description="in rotation; out of it by checks, by every worker, by a person with requests still out, by a person"
    )
    healthy: bool = Field(description="false where checks or every worker have taken it out")
    in_flight: int
    ejected_by: int = Field(description="workers that have ejected it for failing requests")
    problem: str | None = Field(description="what the last check found wrong")
    drained: ChangedBy | None


class CircuitLimit(Answer):
    now: int = Field(description="over all workers, by their last reports")
    limit: int | None


class CircuitBreakerAnswer(Answer):
    requests: CircuitLimit = Field(description="under way, those in line for a connection among them")
    waiting: CircuitLimit = Field(description="in line for a connection")


class UpstreamAnswer(Answer):
    upstream: str
    healthy: bool = Field(description="whether any endpoint is in rotation")
    in_flight: int
    rps: float
    error_rate: float | None
    endpoints: list[EndpointAnswer]
    circuit_breaker: CircuitBreakerAnswer | None = Field(description="null where it has none")
    declared: list[str]
    live: ChangedBy | None = Field(description="who set the list; null where the declared one holds")
    revision: int = Field(description="at which people last changed its endpoints, for If-Match")


class UpstreamsAnswer(Answer):
    revision: int
    upstreams: list[UpstreamAnswer]


class EndpointsAnswer(Answer):
    revision: int
    upstream: str
    endpoints: list[EndpointAnswer]
    declared: list[str]
    receipt: ReceiptAnswer | None = Field(description="null for a dry run")
    dry_run: bool = False
    persisted: bool = True
    warnings: list[str] = Field(default_factory=list)
