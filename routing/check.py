"""What is wrong with a document whose single values are all well-formed: names that don't exist, keys that contradict
each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from fractions import Fraction
from math import isfinite

from routing import config as declared
from routing.check_admin import admin_findings, admin_warnings
from routing.check_listen import listen_findings
from routing.check_notifications import notification_problems
from routing.check_rollout import freeze_problems, rollout_problems
from routing.config import Config
from routing.config_upstreams import HealthCheck, Upstream
from routing.document import Loc, Problem, suggestion
from routing.pages import maintenance_findings
from routing.shadowing import SAFE_METHODS
from routing.snapshot import MOST_BREAKERS

Finding = tuple[Loc, str]

_HEAVIEST = 1_000_000_000
# What frames a copy, or marks it.
_OURS = {"host", "content-length", "transfer-encoding", "connection", "x-headgate-shadow"}
LEAST_MEMORY = 64 * 1024 * 1024  # a worker has 30 MiB in use before its first request
_SOON = 14  # days before a flag's end that a warning begins
_NO_EFFECT = "accepted, but has no effect in this version"


def stable_of(route: declared.Route) -> str | None:
    """The stable upstream: as written, or the only one with weight."""
    if route.stable is not None:
        return route.stable
    weighty = [name for name, weight in (route.weights or {}).items() if weight > 0]
    return weighty[0] if len(weighty) == 1 else None


def weights_of(route: declared.Route) -> dict[str, float]:
    """The declared weights, or all for stable."""
    if route.weights is not None:
        return route.weights
    stable = stable_of(route)
    return {} if stable is None else {stable: 100.0}


def weight_problems(weights: Mapping[str, float], upstreams: Collection[str]) -> list[tuple[str, str]]:
    """What is wrong with a set of weights, as (upstream, message); the upstream is empty for the set as a whole."""
    found: list[tuple[str, str]] = []
    for name, weight in weights.items():
        if name not in upstreams:
            found.append((name, f"unknown upstream {name!r}{suggestion(name, upstreams)}"))
        if not isfinite(weight):
            found.append((name, "a weight must be a finite number"))
        elif weight < 0:
            found.append((name, "a weight must not be negative"))
        elif weight > _HEAVIEST:
            found.append((name, f"a weight must be at most {_HEAVIEST}"))
        elif (Fraction(repr(float(weight))) * 1_000_000).denominator != 1:
            found.append((name, "a weight has at most 6 decimals"))
    if not any(weight != 0 for weight in weights.values()):
        found.append(("", "all weights are zero" if weights else "names no upstream"))
    return found


def shadow_problems(shadow: declared.Shadow, stable: str | None, upstreams: Collection[str]) -> Iterator[Finding]:
    """What is wrong with a shadow, by the place in it. Asked for the document and for live changes alike."""
    writes = [method for method in shadow.methods if method.encode() not in SAFE_METHODS]
    for key, name in (("upstream", shadow.upstream), ("control", shadow.control)):
        if name is None:
            continue
        if name not in upstreams:
            yield (key,), f"unknown upstream {name!r}{suggestion(name, upstreams)}"
        elif name == stable and writes:
            yield (key,), f"{name!r} is the route's stable: {' and '.join(writes)} would be done there twice"
    if shadow.control is not None and shadow.control == shadow.upstream:
        yield ("control",), "must run what stable runs, so it can't be the shadow itself"
    if not shadow.methods:
        yield ("methods",), "lists no method"
    for index, name in enumerate(shadow.headers.remove):
        if name in _OURS:
            yield ("headers", "remove", index), f"{name} is the gateway's own: a copy is nothing without it"
    for name, value in shadow.headers.set.items():
        if name.lower() in _OURS:
            yield ("headers", "set", name), "is the gateway's own to set"
        elif any(character in value for character in "\r\n\0"):
            yield ("headers", "set", name), "a field's value has no line breaks"


def problems(config: Config) -> list[Problem]:
    """Everything wrong across the document's objects."""
    return [config.problem(loc, message) for loc, message in findings(config, frozenset(config.upstreams))]


def findings(config: Config, names: Collection[str]) -> Iterator[Finding]:
    """`names` are the upstreams that may be named, which may be more than those that are well-formed."""
    yield from _listeners(config)
    if not config.upstreams:
        yield ("upstreams",), "names no upstream"
    for name, upstream in config.upstreams.items():
        yield from _upstream(("upstreams", name), upstream)
    if sum(upstream.circuit_breaker is not None for upstream in config.upstreams.values()) > MOST_BREAKERS:
        yield ("upstreams",), f"at most {MOST_BREAKERS} of them may have a circuit_breaker"
    if not config.routes:
        yield ("routes",), "names no route"
    for name, route in config.routes.items():
        yield from _route(("routes", name), route, names)
    yield from _overlaps(config)
    for key, message in freeze_problems(config.freezes):
        yield ("freezes", *key), message
    for key, message in notification_problems(config.notifications, config.routes):
        yield ("notifications", *key), message


def _listeners(config: Config) -> Iterator[Finding]:
    if not config.listen:
        yield ("listen",), "names no address"
    seen: set[str] = set()
    for index, listener in enumerate(config.listen):
        if str(listener.address) in seen and listener.address.port:
            yield ("listen", index, "address"), f"{listener.address} is listed twice"
        seen.add(str(listener.address))
        yield from listen_findings(("listen", index), listener, config.trusted_proxies)
    yield from admin_findings(config.admin)


def _upstream(loc: Loc, upstream: Upstream) -> Iterator[Finding]:
    if not upstream.endpoints:
        yield (*loc, "endpoints"), "has no endpoint"
    for index, url in enumerate(upstream.endpoints):
        if url in upstream.endpoints[:index]:
            yield (*loc, "endpoints", index), f"{url} is listed twice"
    if upstream.health_check is not None:
        yield from _health_check((*loc, "health_check"), upstream.health_check)
    breaker = upstream.circuit_breaker
    if breaker is not None and breaker.requests is None and breaker.waiting is None:
        yield (*loc, "circuit_breaker"), "needs requests or waiting"
    if not upstream.host or not upstream.host.isascii() or any(c in upstream.host for c in " \t\r\n/?#@\\"):
        yield (*loc, "host"), f"{upstream.host!r} is neither preserve, upstream nor a host to send"


def _health_check(loc: Loc, check: HealthCheck) -> Iterator[Finding]:
    asked = [key for key in ("path", "status", "body") if getattr(check, key)]
    if check.tcp and asked:
        yield loc, f"tcp: true makes a connection and asks for nothing, so {' and '.join(asked)} can't be checked"
    elif not check.tcp and check.path is None:
        yield (*loc, "path"), "is required, unless tcp: true"
    if check.body is not None and check.body.contains is None and check.body.regex is None:
        yield (*loc, "body"), "needs contains or regex"


def _route(loc: Loc, route: declared.Route, names: Collection[str]) -> Iterator[Finding]:
    yield from _match((*loc, "match"), route.match)
    if route.stable is not None:
        yield from _named((*loc, "stable"), route.stable, names)
    elif stable_of(route) is None:
        yield (*loc, "stable"), "is required, unless one upstream has all the weight: a cutback returns to it"
    if route.weights is not None:
        yield from _weights((*loc, "weights"), route.weights, names)
    for index, rule in enumerate(route.rules):
        yield from _when((*loc, "rules", index, "when"), rule.when)
        send = (*loc, "rules", index, "send")
        if isinstance(rule.send, str):
            yield from _named(send, rule.send, names)
        else:
            yield from _weights(send, rule.send, names)
    if route.sticky is not None:
        yield from _sticky((*loc, "sticky"), route.sticky)
    if route.shadow is not None:
        for key, message in shadow_problems(route.shadow, stable_of(route), names):
            yield (*loc, "shadow", *key), message
    if route.rate_limit is not None:
        by = route.rate_limit.by
        if sum((bool(by.client_ip), by.header is not None, by.cookie is not None)) != 1:
            yield (*loc, "rate_limit", "by"), "needs exactly one of client_ip, header: NAME and cookie: NAME"
    if route.maintenance is not None:
        yield from maintenance_findings((*loc, "maintenance"), route.maintenance)
    for name, flag in route.flags.items():
        if flag.when is not None:
            yield from _when((*loc, "flags", name, "when"), flag.when)
    if route.rollout is not None:
        for key, message in rollout_problems(route.rollout, stable_of(route), route.sticky is not None, names):
            yield (*loc, "rollout", *key), message


def _named(loc: Loc, name: str, names: Collection[str]) -> Iterator[Finding]:
    if name not in names:
        yield loc, f"unknown upstream {name!r}{suggestion(name, names)}"


def _weights(loc: Loc, weights: Mapping[str, float], names: Collection[str]) -> Iterator[Finding]:
    for name, message in weight_problems(weights, names):
        yield (*loc, name) if name else loc, message


def _match(loc: Loc, match: declared.Match) -> Iterator[Finding]:
    given = [key for key in ("path", "path_prefix", "path_regex") if getattr(match, key) is not None]
    if len(given) > 1:
        yield loc, f"{' and '.join(given)} exclude each other: give one"
    for key in ("hosts", "methods"):
        if key in match.model_fields_set and getattr(match, key) == ():
            yield (*loc, key), "is an empty list, which would match nothing: leave it out to match any"


def _when(loc: Loc, when: declared.When) -> Iterator[Finding]:
    found = False
    for kind in ("header", "cookie", "query"):
        for name, value in getattr(when, kind).items():
            found = True
            yield from _value((*loc, kind, name), value)
    for kind in ("method", "path"):
        value = getattr(when, kind)
        if value is not None:
            found = True
            yield from _value((*loc, kind), value)
    if when.client_ip is not None:
        found = True
        networks = when.client_ip.not_ if isinstance(when.client_ip, declared.NotCidrs) else when.client_ip
        if not networks:
            yield (*loc, "client_ip"), "lists no network"
    if when.geo is not None:
        places = [(key, value) for key, value in when.geo if value is not None]
        found = found or bool(places)
        for key, value in places:
            yield from _value((*loc, "geo", key), value)
    if when.client_certificate is not None:
        proved = [(key, value) for key, value in when.client_certificate if value is not None]
        found = found or bool(proved)
        for key, value in proved:
            yield from _value((*loc, "client_certificate", key), value)
    if not found:
        yield loc, "has no condition, so it would hold for every request"


def _value(loc: Loc, value: declared.Value) -> Iterator[Finding]:
    if isinstance(value, tuple):
        if not value:
            yield loc, "lists no value"
        for index, item in enumerate(value):
            yield from _value((*loc, index), item)
    elif isinstance(value, declared.Form):
        if all(part is None for _, part in value):
            yield loc, "needs one of prefix, suffix, contains, regex, present or not"
        if value.not_ is not None:
            yield from _value((*loc, "not"), value.not_)


def _sticky(loc: Loc, sticky: declared.Sticky) -> Iterator[Finding]:
    given = [key for key in ("cookie", "header") if getattr(sticky, key) is not None]
    given += ["client_ip"] if sticky.client_ip else []
    if len(given) != 1:
        yield loc, "needs exactly one of cookie, header and client_ip: true"
    elif sticky.max_age is not None and given != ["cookie"]:
        yield (*loc, "max_age"), "is the life of a cookie, and there is none here"


def _overlaps(config: Config) -> Iterator[Finding]:
    """Routes that can never get a request, since an earlier one takes exactly the same."""
    taken: dict[tuple[object, ...], str] = {}
    for name, route in config.routes.items():
        match = route.match
        methods = None if match.methods is None else frozenset(match.methods)
        prefix = match.path_prefix if match.path or match.path_regex else match.path_prefix or "/"
        for host in sorted({"*"} if not match.hosts or "*" in match.hosts else set(match.hosts)):
            key = (host, match.path, prefix, match.path_regex, methods)
            if key in taken:
                where = "" if host == "*" else f" for {host}"
                yield ("routes", name, "match"), f"takes exactly the same requests as route {taken[key]!r}{where}"
                break
            taken[key] = name


def warnings(config: Config, today: date) -> list[Problem]:
    """What will run, but not as its author may believe."""
    found = [config.problem(loc, _NO_EFFECT) for loc in _without_effect(config)]
    found += [config.problem(loc, why) for loc, why in admin_warnings(config.admin)]
    memory, workers = config.limits.memory, 1 if config.workers == "auto" else config.workers
    if memory != "auto" and 0 < memory < LEAST_MEMORY * workers:
        why = f"is so little that a worker may refuse everything: each wants {LEAST_MEMORY >> 20} MiB and more"
        found.append(config.problem(("limits", "memory"), why))
    if not any(listener.tls is not None and listener.tls.client_ca is not None for listener in config.listen):
        why = "no listener has tls.client_ca, so nobody shows one"
        found += [config.problem(loc, why) for loc in _certificates(config)]
    for name, upstream in config.upstreams.items():
        if upstream.tls is not None and not any(url.startswith("https:") for url in upstream.endpoints):
            found.append(
                config.problem(("upstreams", name, "tls"), "has no effect: no endpoint here begins with https://")
            )
        breaker = upstream.circuit_breaker
        if breaker is not None and breaker.requests is not None and (breaker.waiting or 0) >= breaker.requests:
            why = "has no effect: those waiting count among requests, which are no more"
            found.append(config.problem(("upstreams", name, "circuit_breaker", "waiting"), why))
    for name, route in config.routes.items():
        for flag_name, flag in route.flags.items():
            if flag.expires is None or (days := (flag.expires - today).days) > _SOON:
                continue
            ticket = f" ({flag.ticket})" if flag.ticket else ""
            place = ("routes", name, "flags", flag_name, "expires")
            found.append(config.problem(place, f"the flag{ticket} {_expiry(days)}"))
    return found


def _certificates(config: Config) -> Iterator[Loc]:
    """Where the client's certificate is asked for."""
    for name, route in config.routes.items():
        for index, rule in enumerate(route.rules):
            if rule.when.client_certificate is not None:
                yield "routes", name, "rules", index, "when", "client_certificate"
        for flag_name, flag in route.flags.items():
            if flag.when is not None and flag.when.client_certificate is not None:
                yield "routes", name, "flags", flag_name, "when", "client_certificate"


def _expiry(days: int) -> str:
    if days == 0:
        return "expires today"
    span = f"{abs(days)} day{'' if abs(days) == 1 else 's'}"
    return f"expires in {span}" if days > 0 else f"expired {span} ago"


def _without_effect(config: Config) -> Iterator[Loc]:
    """The sections that are checked and not acted on yet. A version that acts on one takes its line out."""
    if config.state.url is not None:
        yield "state", "url"
