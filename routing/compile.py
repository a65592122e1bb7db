"""Document -> snapshot: names become indexes, values become tests, hosts and paths one table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import ceil
from urllib.parse import quote

from xxhash import xxh3_64_intdigest

from routing import config as declared
from routing import config_upstreams
from routing.addresses import Networks
from routing.check import problems, stable_of, weights_of
from routing.conditions import (
    AllOf,
    AnyOf,
    ClientCertificateCondition,
    ClientIpCondition,
    Condition,
    Contains,
    CookieCondition,
    Exact,
    GeoCondition,
    HeaderCondition,
    MethodCondition,
    Not,
    PathCondition,
    Prefix,
    Present,
    QueryCondition,
    Regex,
    Suffix,
    Test,
)
from routing.config import Config
from routing.config_limits import Limits as LimitsSection
from routing.config_limits import RateLimit as RateLimitSection
from routing.document import ConfigError
from routing.geo import GeoSource
from routing.maintenance import Maintenance
from routing.match import Match, MatchTable
from routing.notation import endpoint
from routing.rate import RateBy, RateLimit
from routing.request import Place
from routing.shadowing import Comparing, Redacting, Shadowing
from routing.snapshot import (
    AUTO,
    AccessLog,
    CircuitBreaker,
    Flag,
    HostPolicy,
    Limits,
    NoEndpoints,
    Outlier,
    RetryOn,
    RetryPolicy,
    Route,
    Rule,
    Snapshot,
    Timeouts,
    Upstream,
    UpstreamTls,
)
from routing.sticky import Sticky, StickyBy
from routing.weights import Split, salt, whole_shares

_THIRTY_DAYS = 30 * 86400.0
_PATH_BYTES = "/!$&'()*+,;=:@%-._~[]\"<>^`{|}\\"


def compile_snapshot(
    config: Config, *, revision: int, secret: bytes, pages: Mapping[str, bytes] | None = None
) -> Snapshot:
    """Raises ConfigError where `problems(config)` finds any. `secret` (16 to 64 bytes) signs sticky cookies. `pages` are what
    `read_pages` has found; a route whose page is not among them has none."""
    assert 16 <= len(secret) <= 64
    if found := problems(config):
        raise ConfigError(found)
    index_of = {name: index for index, name in enumerate(config.upstreams)}
    routes = tuple(
        _route(index, name, route, index_of, secret, (pages or {}).get(name))
        for index, (name, route) in enumerate(config.routes.items())
    )
    looked_at = [condition for route in routes for rule in route.rules for condition in rule.conditions]
    looked_at += [condition for route in routes for flag in route.flags for condition in flag.conditions]
    wanted = {condition.name for condition in looked_at if isinstance(condition, HeaderCondition)}
    wanted |= {route.sticky.name for route in routes if route.sticky and route.sticky.by is StickyBy.HEADER}
    wanted |= {route.rate_limit.field for route in routes if route.rate_limit and route.rate_limit.field}
    if any(isinstance(condition, CookieCondition) for condition in looked_at) or any(
        route.sticky and route.sticky.by is StickyBy.COOKIE for route in routes
    ):
        wanted.add(b"cookie")
    return Snapshot(
        revision=revision,
        upstreams=tuple(_upstream(index, name, u) for index, (name, u) in enumerate(config.upstreams.items())),
        routes=routes,
        table=MatchTable(tuple(route.match for route in routes)),
        wanted=frozenset(wanted),
        uses_geo=any(isinstance(condition, GeoCondition) for condition in looked_at),
        trusted=Networks(config.trusted_proxies),
        limits=_limits(config.limits),
        timeouts=Timeouts(**config.timeouts.model_dump(exclude={"drain_delay"})),
        geo=_geo(config.geo),
        access_log=AccessLog(config.access_log.path, config.access_log.sample),
    )


def _limits(limits: LimitsSection) -> Limits:
    return Limits(**{**limits.model_dump(), "memory": AUTO if limits.memory == "auto" else limits.memory})


def _geo(geo: declared.Geo) -> GeoSource:
    return GeoSource(
        geo.database,
        tuple(
            (
                network,
                Place(place.continent.upper(), place.country.upper(), place.subdivision.upper(), place.city, place.asn),
            )
            for network, place in geo.ranges.items()
        ),
    )


def _upstream(index: int, name: str, upstream: config_upstreams.Upstream) -> Upstream:
    policies = {"preserve": HostPolicy.PRESERVE, "upstream": HostPolicy.UPSTREAM}
    policy = policies.get(upstream.host, HostPolicy.LITERAL)
    endpoints = tuple(map(endpoint, upstream.endpoints))
    tls, breaker = upstream.tls or config_upstreams.UpstreamTls(), upstream.circuit_breaker
    return Upstream(
        index=index,
        name=name,
        endpoints=endpoints,
        host_policy=policy,
        host_literal=upstream.host.encode() if policy is HostPolicy.LITERAL else b"",
        tls=UpstreamTls(tls.verify, tls.ca, tls.server_name) if upstream.tls or any(e.tls for e in endpoints) else None,
        no_endpoints=NoEndpoints(upstream.no_endpoints),
        outlier=None if upstream.outlier is None else Outlier(**dict(upstream.outlier)),
        slow_start=upstream.slow_start or 0.0,
        circuit_breaker=None if breaker is None else CircuitBreaker(breaker.requests or 0, breaker.waiting or 0),
        declared=endpoints,
    )


def _route(
    index: int, name: str, route: declared.Route, index_of: Mapping[str, int], secret: bytes, page: bytes | None
) -> Route:
    stable = stable_of(route)
    assert stable is not None

    def split(weights: Mapping[str, float]) -> Split:
        shares = {upstream: share for upstream, share in whole_shares(dict(weights)).items() if share}
        return Split(
            tuple(index_of[upstream] for upstream in shares),
            tuple(shares.values()),
            tuple(salt(name, upstream) for upstream in shares),
        )

    declared_split = split(weights_of(route))
    rules = tuple(
        Rule(number, conditions(rule.when), split({rule.send: 1.0} if isinstance(rule.send, str) else rule.send))
        for number, rule in enumerate(route.rules)
    )
    shadow = None if route.shadow is None else shadowing(name, route.shadow)
    return Route(
        index=index,
        name=name,
        match=_match(route.match),
        stable=index_of[stable],
        declared_split=declared_split,
        declared_rules=rules,
        split=declared_split,
        rules=rules,
        sticky=None if route.sticky is None else _sticky(route.sticky, secret),
        retry=None if route.retry is None else _retry(route.retry),
        rate_limit=None if route.rate_limit is None else _rate_limit(name, route.rate_limit),
        maintenance=None if route.maintenance is None else _maintenance(route.maintenance, page),
        flags=tuple(
            Flag(
                flag_name.encode(),
                xxh3_64_intdigest(flag_name.encode()),
                flag.percent,
                () if flag.when is None else conditions(flag.when),
            )
            for flag_name, flag in route.flags.items()
        ),
        expose_upstream=route.expose_upstream,
        stable_split=split({stable: 1.0}),
        declared_shadow=shadow,
        shadow=shadow,
    )


def _match(match: declared.Match) -> Match:
    hosts = () if "*" in match.hosts else tuple(dict.fromkeys(host.encode() for host in match.hosts))
    methods = None if match.methods is None else frozenset(method.encode() for method in match.methods)
    if match.path is not None:
        return Match(hosts, methods, path=_path_bytes(match.path))
    if match.path_regex is not None:
        return Match(hosts, methods, regex=re.compile(match.path_regex.encode()))
    return Match(hosts, methods, prefix=_path_bytes(match.path_prefix or "/"))


def _path_bytes(path: str) -> bytes:
    """As it stands on the wire: what is not ASCII is percent-encoded."""
    return quote(path, safe=_PATH_BYTES).encode()


def _sticky(sticky: declared.Sticky, secret: bytes) -> Sticky:
    max_age = int(_THIRTY_DAYS if sticky.max_age is None else sticky.max_age)
    if sticky.cookie is not None:
        return Sticky(StickyBy.COOKIE, sticky.cookie.encode(), max_age, secret)
    if sticky.header is not None:
        return Sticky(StickyBy.HEADER, sticky.header.lower().encode(), max_age, secret)
    return Sticky(StickyBy.CLIENT_IP, b"", max_age, secret)


def _maintenance(maintenance: declared.Maintenance, page: bytes | None) -> Maintenance | None:
    body = page if maintenance.body is None else maintenance.body.encode()
    if body is None:
        return None
    return Maintenance(maintenance.status, ceil(maintenance.retry_after), maintenance.content_type.encode(), body)


def _rate_limit(route: str, limit: RateLimitSection) -> RateLimit:
    by, name = RateBy.CLIENT_IP, ""
    if limit.by.header is not None:
        by, name = RateBy.HEADER, limit.by.header.lower()
    elif limit.by.cookie is not None:
        by, name = RateBy.COOKIE, limit.by.cookie
    return RateLimit(
        by=by,
        name=name.encode(),
        quota=limit.rate.count,
        window=limit.rate.seconds,
        burst=limit.burst or max(1, limit.rate.count // limit.rate.seconds),
        salt=xxh3_64_intdigest(f"{route} rate".encode()).to_bytes(8, "big"),
    )


def _retry(retry: declared.Retry) -> RetryPolicy:
    return RetryPolicy(
        attempts=retry.attempts,
        on=frozenset(RetryOn(kind) for kind in retry.on if isinstance(kind, str)),
        statuses=frozenset(status for status in retry.on if isinstance(status, int)),
        budget=retry.budget,
        other_upstream=retry.other_upstream,
    )


def shadowing(route: str, shadow: declared.Shadow) -> Shadowing:
    compare = shadow.compare
    return Shadowing(
        upstream=shadow.upstream,
        control=shadow.control,
        percent=shadow.percent,
        by_client=shadow.by == "client",
        methods=frozenset(method.encode() for method in shadow.methods),
        max_body=shadow.max_body,
        timeout=shadow.timeout,
        set_headers=tuple((name.encode(), value.encode()) for name, value in shadow.headers.set.items()),
        remove_headers=frozenset(name.encode() for name in shadow.headers.remove),
        noise_sample=shadow.noise_sample,
        endpoints=shadow.endpoints,
        redacting=Redacting(shadow.redact.headers, shadow.redact.paths),
        comparing=Comparing(
            headers=compare.headers,
            ignore=compare.ignore,
            unordered=compare.unordered,
            keyed=tuple(compare.keyed.items()),
            number_tolerance=compare.number_tolerance,
            mask=compare.mask,
        ),
        salt=xxh3_64_intdigest(f"{route} shadow".encode()),
    )


def _same(text: str) -> str:
    return text


def _asn(text: str) -> str:
    return text.upper().removeprefix("AS")


def conditions(when: declared.When) -> tuple[Condition, ...]:
    """The cheap ones first: all must hold, so the order changes only the cost."""
    found: list[Condition] = []
    if when.method is not None:
        found.append(MethodCondition(value_test(when.method, str.upper)))
    for name, value in when.header.items():
        found.append(HeaderCondition(name.lower().encode(), value_test(value)))
    if when.path is not None:
        found.append(PathCondition(value_test(when.path)))
    if when.geo is not None:
        for attribute, value in when.geo:
            if value is not None:
                fold = {"city": _same, "asn": _asn}.get(attribute, str.upper)
                found.append(GeoCondition(attribute, value_test(value, fold)))
    for name, value in when.cookie.items():
        found.append(CookieCondition(name.encode(), value_test(value)))
    for name, value in when.query.items():
        found.append(QueryCondition(name.encode(), value_test(value)))
    if when.client_certificate is not None:
        for attribute, value in when.client_certificate:
            if value is not None:
                found.append(ClientCertificateCondition(attribute, value_test(value)))
    if when.client_ip is not None:
        negated = isinstance(when.client_ip, declared.NotCidrs)
        cidrs = when.client_ip.not_ if isinstance(when.client_ip, declared.NotCidrs) else when.client_ip
        found.append(ClientIpCondition(Networks(cidrs), negated))
    return tuple(found)


def value_test(value: declared.Value, fold: Callable[[str], str] = _same) -> Test:
    """`fold` brings a text to the form in which requests have it."""
    if isinstance(value, str):
        return Exact(frozenset({fold(value).encode()}))
    if isinstance(value, tuple):
        exact = frozenset(fold(item).encode() for item in value if isinstance(item, str))
        forms: list[Test] = [value_test(item, fold) for item in value if not isinstance(item, str)]
        if not forms:
            return Exact(exact)
        return AnyOf((Exact(exact), *forms) if exact else tuple(forms))
    tests: list[Test] = []
    if value.prefix is not None:
        tests.append(Prefix(fold(value.prefix).encode()))
    if value.suffix is not None:
        tests.append(Suffix(fold(value.suffix).encode()))
    if value.contains is not None:
        tests.append(Contains(fold(value.contains).encode()))
    if value.regex is not None:
        tests.append(Regex(re.compile(value.regex.encode())))
    if value.present is not None:
        tests.append(Present(value.present))
    if value.not_ is not None:
        tests.append(Not(value_test(value.not_, fold)))
    return tests[0] if len(tests) == 1 else AllOf(tuple(tests))
