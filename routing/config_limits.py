"""How long things may take and how much there may be of them, as frozen models. Part of the document that config.py is."""

from __future__ import annotations

from pydantic import BaseModel

from routing.config_types import STRICT, Count, PositiveSeconds, Seconds, Size


class Model(BaseModel):
    model_config = STRICT


class Timeouts(Model):
    connect: PositiveSeconds = 2.0
    response: PositiveSeconds = 30.0
    idle: PositiveSeconds = 60.0
    request_head: PositiveSeconds = 10.0
    request_body: PositiveSeconds = 60.0
    drain: Seconds = 30.0


class Limits(Model):
    request_head: Size = 32 * 1024
    headers: Count = 100
    body: Size = 0
    connections: Count = 10_000
    per_endpoint: Count = 1024
