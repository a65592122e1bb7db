"""The configuration document, as frozen models: every key, its form and its default. What spans several keys is in
check.py.

pydantic stays in these files: workers get compiled snapshots and stay small.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PrivateAttr, Tag

from routing.config_admin import Admin
from routing.config_limits import Limits, RateLimit, Timeouts
from routing.config_listen import Listen
from routing.config_notifications import Notification
from routing.config_rollout import Freeze, Rollout
from routing.config_types import (
    Cidr,
    Count,
    EndpointTemplate,
    FieldName,
    FieldPath,
    Fraction,
    HeaderName,
    HostPattern,
    JsonPathText,
    Method,
    Name,
    Number,
    Path,
    Percent,
    PositiveSeconds,
    Ratio,
    Regex,
    RetryOn,
    Size,
    Text,
    Truth,
    Weight,
    Workers,
    listed,
    once,
)
from routing.config_upstreams import Upstream
from routing.document import Document, Problem


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


REDACTED_HEADERS = ("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token")
_SECRETS = "password passwd secret token access_token refresh_token api_key authorization"
_PERSONAL = "email phone ssn iban card_number cvv first_name last_name birth_date address"
REDACTED_PATHS = tuple(f"$..{name}" for name in f"{_SECRETS} {_PERSONAL}".split())

# Which form of a value was meant. Pydantic puts these into the places of its errors; no sane key is like them.
TEXT, LIST, FORM = "\0text", "\0list", "\0form"


class State(Model):
    dir: Text = "./headgate-state"
    url: Text | None = None


def _state(value: object) -> object:
    return {"dir": value} if isinstance(value, str) else value


def _asn(value: object) -> object:
    """`AS64500`, as rules take it, is 64500."""
    digits = value.upper().removeprefix("AS") if isinstance(value, str) else ""
    return int(digits) if digits.isdigit() else value


Asn = Annotated[Count, BeforeValidator(_asn)]


class GeoRange(Model):
    continent: Text = ""
    country: Text = ""
    subdivision: Text = ""
    city: Text = ""
    asn: Asn = 0


class Geo(Model):
    database: Text | None = None
    ranges: dict[Cidr, GeoRange] = {}


class AccessLog(Model):
    path: Text = "-"
    sample: Fraction = 1.0


class Match(Model):
    hosts: Annotated[tuple[HostPattern, ...], once(listed)] = ()
    path: Path | None = None
    path_prefix: Path | None = None
    path_regex: Regex | None = None
    methods: Annotated[tuple[Method, ...] | None, once(listed)] = None


def _form(value: object) -> str | None:
    if isinstance(value, (dict, Form)):
        return FORM
    if isinstance(value, (list, tuple)):
        return LIST
    return None if value is None else TEXT


class Form(Model):
    """A value that is not simply equal to something. Keys that are given must all hold."""

    prefix: Text | None = None
    suffix: Text | None = None
    contains: Text | None = None
    regex: Regex | None = None
    present: Truth | None = None
    not_: Value | None = Field(default=None, alias="not")


Value = Annotated[
    Annotated[Text, Tag(TEXT)]
    | Annotated[
        tuple[Annotated[Annotated[Text, Tag(TEXT)] | Annotated[Form, Tag(FORM)], Discriminator(_form)], ...],
        Tag(LIST),
    ]
    | Annotated[Form, Tag(FORM)],
    Discriminator(_form),
]


class NotCidrs(Model):
    not_: Annotated[tuple[Cidr, ...], once(listed)] = Field(alias="not")


class GeoWhen(Model):
    continent: Value | None = None
    country: Value | None = None
    subdivision: Value | None = None
    city: Value | None = None
    asn: Value | None = None


class ClientCertificateWhen(Model):
    subject: Value | None = None
    san: Value | None = None


def _client_form(value: object) -> str:
    return FORM if isinstance(value, (dict, NotCidrs)) else LIST


class When(Model):
    header: dict[FieldName, Value] = {}
    cookie: dict[FieldName, Value] = {}
    query: dict[Text, Value] = {}
    method: Value | None = None
    path: Value | None = None
    client_ip: (
        Annotated[
            Annotated[tuple[Cidr, ...], once(listed), Tag(LIST)] | Annotated[NotCidrs, Tag(FORM)],
            Discriminator(_client_form),
        ]
        | None
    ) = None
    geo: GeoWhen | None = None
    client_certificate: ClientCertificateWhen | None = None


def _send_form(value: object) -> str:
    return FORM if isinstance(value, dict) else TEXT


class Rule(Model):
    when: When
    send: Annotated[Annotated[Name, Tag(TEXT)] | Annotated[dict[Text, Weight], Tag(FORM)], Discriminator(_send_form)]


class Sticky(Model):
    """Exactly one of cookie, header and client_ip."""

    cookie: FieldName | None = None
    header: FieldName | None = None
    client_ip: Truth | None = None
    max_age: PositiveSeconds | None = None


class Retry(Model):
    attempts: Count = 1
    on: Annotated[tuple[RetryOn, ...], once(listed)] = ("connect", "reset", 502, 503, 504)
    budget: Ratio = 0.2
    other_upstream: Truth = True


class ShadowHeaders(Model):
    set: dict[FieldName, Text] = {}
    remove: Annotated[tuple[HeaderName, ...], once(listed)] = ("authorization", "cookie")


class Compare(Model):
    headers: Annotated[tuple[HeaderName, ...], once(listed)] = ("content-type", "location", "cache-control")
    ignore: Annotated[tuple[FieldPath, ...], once(listed)] = ()
    unordered: Annotated[tuple[JsonPathText, ...], once(listed)] = ()
    keyed: dict[JsonPathText, Text] = {}
    number_tolerance: Annotated[Number, Field(ge=0)] = 0.0
    mask: Annotated[tuple[Regex, ...], once(listed)] = ()


class Redact(Model):
    """What is never stored. The defaults are names under which people keep secrets and personal data."""

    headers: Annotated[tuple[HeaderName, ...], once(listed)] = REDACTED_HEADERS
    paths: Annotated[tuple[JsonPathText, ...], once(listed)] = REDACTED_PATHS


class Shadow(Model):
    upstream: Name
    control: Name | None = None
    percent: Percent = 0.0
    by: Literal["request", "client"] = "request"
    methods: Annotated[tuple[Method, ...], once(listed)] = ("GET", "HEAD")
    max_body: Size = 256 * 1024
    timeout: PositiveSeconds = 10.0
    noise_sample: Ratio = 0.01
    endpoints: Annotated[tuple[EndpointTemplate, ...], once(listed)] = ()
    headers: ShadowHeaders = ShadowHeaders()
    redact: Redact = Redact()
    compare: Compare = Compare()


class Maintenance(Model):
    """Exactly one of body and file."""

    status: Annotated[int, Field(ge=400, le=599)] = 503
    retry_after: PositiveSeconds = 30.0
    content_type: Text = "text/html; charset=utf-8"
    body: Text | None = None
    file: Text | None = None


class Flag(Model):
    percent: Percent
    when: When | None = None
    expires: date | None = None
    ticket: Text | None = None


class Route(Model):
    """`stable` and `weights` as written; check.stable_of and check.weights_of say what holds."""

    match: Match = Match()
    stable: Name | None = None
    weights: dict[Text, Weight] | None = None
    rules: tuple[Rule, ...] = ()
    sticky: Sticky | None = None
    retry: Retry | None = None
    shadow: Shadow | None = None
    rate_limit: RateLimit | None = None
    maintenance: Maintenance | None = None
    flags: dict[FieldName, Flag] = {}
    rollout: Rollout | None = None
    expose_upstream: Truth = False


class Config(Model):
    """The whole document."""

    listen: Annotated[tuple[Listen, ...], once(listed)]
    workers: Workers = "auto"
    admin: Admin = Admin()
    state: Annotated[State, once(_state)] = State()
    geo: Geo = Geo()
    trusted_proxies: Annotated[tuple[Cidr, ...], once(listed)] = ()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    access_log: AccessLog = AccessLog()
    freezes: tuple[Freeze, ...] = ()
    notifications: tuple[Notification, ...] = ()
    upstreams: dict[Name, Upstream]
    routes: dict[Name, Route]

    _document: Document | None = PrivateAttr(default=None)

    def remember(self, document: Document) -> None:
        """Keeps where the values stood, for `problem`."""
        self._document = document

    def problem(self, loc: tuple[str | int, ...], message: str) -> Problem:
        """A problem with the line of its place, where the document is a text."""
        return (self._document or Document(None)).problem(loc, message)
