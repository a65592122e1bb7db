"""What requests are sent to, and how it is told whether that is well, as frozen models. Part of the document that config.py is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from routing import notation
from routing.config_types import (
    EndpointUrl,
    Path,
    PositiveCount,
    PositiveSeconds,
    Ratio,
    Regex,
    Text,
    Truth,
    listed,
    once,
)


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class BodyCheck(Model):
    contains: Text | None = None
    regex: Regex | None = None


class HealthCheck(Model):
    """`path` is asked for, or with `tcp` a connection is all there is to it. No `status` is any 2xx."""

    path: Path | None = None
    tcp: Truth = False
    status: Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...], once(listed)] = ()
    body: BodyCheck | None = None
    interval: PositiveSeconds = 5.0
    timeout: PositiveSeconds = 1.0
    healthy: PositiveCount = 2
    unhealthy: PositiveCount = 3


class Outlier(Model):
    consecutive_5xx: PositiveCount = 5
    ejection: PositiveSeconds = 30.0
    max_ejection: PositiveSeconds = 300.0
    max_ejected: Ratio = 0.5


class CircuitBreaker(Model):
    """Both are of the whole gateway; none is no limit. Those waiting count among `requests` too."""

    requests: PositiveCount | None = None
    waiting: PositiveCount | None = None


class UpstreamTls(Model):
    verify: Truth = True
    ca: Text | None = None
    server_name: Text | None = None


class Upstream(Model):
    endpoints: Annotated[tuple[EndpointUrl, ...], once(listed)]
    health_check: HealthCheck | None = None
    outlier: Outlier | None = None
    slow_start: PositiveSeconds | None = None
    circuit_breaker: CircuitBreaker | None = None
    no_endpoints: Annotated[Literal["fail_open", "unavailable"], once(notation.text_of)] = "fail_open"
    tls: UpstreamTls | None = None
    host: Text = "preserve"
