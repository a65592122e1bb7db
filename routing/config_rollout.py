"""How a route's traffic moves by itself, as frozen models. Part of the document that config.py is; check_rollout.py says what
spans several keys, admin/rollout/plan.py what comes of it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from routing import notation
from routing.config_types import (
    Count,
    Name,
    Number,
    Path,
    Percent,
    PositiveCount,
    PositiveSeconds,
    Ratio,
    Seconds,
    Text,
    Truth,
    listed,
    once,
)


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class Smoke(Model):
    """One request through the gateway to the new upstream. `host` is needed where the route's own hosts name none."""

    path: Path
    status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: Text | None = None
    host: Text | None = None
    timeout: PositiveSeconds = 5.0


class ShadowGate(Model):
    """So many pairs compared before the first weight."""

    percent: Percent = 10.0
    hold: Seconds = 0.0
    pairs: PositiveCount = 1000


class Step(Model):
    """`weight` is the share of each upstream in `to`."""

    weight: Percent
    hold: Seconds = 0.0
    max_error_rate: Ratio | None = None
    approval: Truth = False


class ErrorRate(Model):
    max_increase: Ratio


class Latency(Model):
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.95
    max_ratio: Annotated[float, Field(gt=0)]


class DiffRate(Model):
    max: Ratio


class PrometheusCheck(Model):
    """`failures` answers in a row outside `min` and `max` fail the rollout; no answer, or no value, holds it."""

    name: Name
    url: Text
    query: Text
    min: Number | None = None
    max: Number | None = None
    interval: PositiveSeconds = 10.0
    timeout: PositiveSeconds = 5.0
    failures: PositiveCount = 3


class Webhook(Model):
    """Asked before each step is left; any 2xx passes."""

    url: Text
    name: Name | None = None
    timeout: PositiveSeconds = 10.0
    interval: PositiveSeconds = 10.0
    failures: PositiveCount = 3


class Analysis(Model):
    """`rule_out` is the relative risk that has to be ruled out before a step is left; none: an elapsed hold is enough."""

    error_rate: ErrorRate | None = None
    latency: Latency | None = None
    diff_rate: DiffRate | None = None
    false_alarm: Ratio = 0.01
    min_requests: Count = 20
    rule_out: Annotated[float, Field(gt=1)] | None = None
    prometheus: tuple[PrometheusCheck, ...] = ()
    webhooks: tuple[Webhook, ...] = ()


class Update(Model):
    """Who puts the new version on the endpoints that were drained; without it a person approves that it is there."""

    url: Text
    timeout: PositiveSeconds = 600.0


DayName = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[DayName, ...] = get_args(DayName)
Day = Annotated[DayName, once(lambda value: str(value).lower()[:3])]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"), once(notation.text_of)]
ClockEnd = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"), once(notation.text_of)]


class Window(Model):
    """When a rollout may start and take steps. A window that ends before it begins goes over midnight."""

    days: Annotated[tuple[Day, ...], once(listed)] = DAYS
    begin: Clock = Field(default="00:00", alias="from")
    end: ClockEnd = Field(default="24:00", alias="to")
    zone: Text = "UTC"


class Freeze(Model):
    """No rollout starts or takes a step on these days, the last included. Cutbacks are always made."""

    begin: date = Field(alias="from")
    until: date
    reason: Text = ""
    zone: Text = "UTC"


class Rollout(Model):
    """`to` gets the traffic; for `rolling` and `recreate` it is the upstream whose endpoints are replaced."""

    pattern: Literal["canary", "blue_green", "ab", "rolling", "recreate"] = "canary"
    to: Annotated[tuple[Name, ...], once(listed)]
    smoke: tuple[Smoke, ...] = ()
    shadow: ShadowGate | None = None
    steps: tuple[Step, ...] = ()
    watch: Seconds = 600.0
    max_error_rate: Ratio | None = None
    approval: Truth = False
    batch: PositiveCount = 1
    update: Update | None = None
    windows: tuple[Window, ...] = ()
    analysis: Analysis = Analysis()
    on_failure: Literal["cutback", "pause", "notify"] = "cutback"
