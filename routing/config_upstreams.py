"""What requests are sent to, and how it is told whether that is well, as frozen models. Part of the document that config.py is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from routing import notation
from routing.config_types import (
    EndpointUrl,
    Path,
    PositiveCount,
    PositiveSeconds,
    Ratio,
    Text,
    Truth,
    listed,
    once,
)


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class HealthCheck(Model):
    path: Path
    interval: PositiveSeconds = 5.0
    timeout: PositiveSeconds = 1.0
    healthy: PositiveCount = 2
    unhealthy: PositiveCount = 3


class Outlier(Model):
    consecutive_5xx: PositiveCount = 5
    ejection: PositiveSeconds = 30.0
    max_ejected: Ratio = 0.5


class UpstreamTls(Model):
    verify: Truth = True
    ca: Text | None = None
    server_name: Text | None = None


class Upstream(Model):
    endpoints: Annotated[tuple[EndpointUrl, ...], once(listed)]
    health_check: HealthCheck | None = None
    outlier: Outlier | None = None
    no_endpoints: Annotated[Literal["fail_open", "unavailable"], once(notation.text_of)] = "fail_open"
    tls: UpstreamTls | None = None
    host: Text = "preserve"
