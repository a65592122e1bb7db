"""How long things may take and how much there may be of them, as frozen models. Part of the document that config.py is."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict

from routing.config_types import (
    Count,
    FieldName,
    Memory,
    PositiveCount,
    PositiveSeconds,
    Rate,
    Seconds,
    Size,
    Truth,
    once,
)


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class Timeouts(Model):
    connect: PositiveSeconds = 2.0
    response: PositiveSeconds = 30.0
    idle: PositiveSeconds = 60.0
    request_head: PositiveSeconds = 10.0
    request_body: PositiveSeconds = 60.0
    drain: Seconds = 30.0
    drain_delay: Seconds = 0.0


class Limits(Model):
    request_head: Size = 32 * 1024
    headers: Count = 100
    body: Size = 0
    body_rate: Size = 500
    connections: Count = 10_000
    connections_per_client: Count = 0
    requests_per_connection: Count = 1000
    per_endpoint: Count = 1024
    memory: Memory = "auto"


def _by(value: object) -> object:
    return {"client_ip": True} if value == "client_ip" else value


class RateKey(Model):
    """Exactly one of client_ip, header and cookie."""

    client_ip: Truth | None = None
    header: FieldName | None = None
    cookie: FieldName | None = None


class RateLimit(Model):
    """Without `burst` it is what comes in one second."""

    rate: Rate
    burst: PositiveCount | None = None
    by: Annotated[RateKey, once(_by)] = RateKey(client_ip=True)
