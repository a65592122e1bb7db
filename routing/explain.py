"""Where a request would go, and every reason for it. The outcome is decide()'s own; this only tells how it came
about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from urllib.parse import quote, urlsplit

from routing.conditions import Condition
from routing.decide import Decision, Reason, decide, in_sample, may_go
from routing.geo import Geo
from routing.match import Match, MatchTable
from routing.rate import RateBy, RateLimit
from routing.request import NOWHERE, Request
from routing.shadowing import Shadowing
from routing.snapshot import CutbackMode, Flag, NoEndpoints, Route, Rule, Snapshot
from routing.sticky import StickyBy
from routing.weights import Draws, Split

# What a target may hold as it is; quote() encodes the rest.
_TARGET_BYTES = "/!$&'()*+,;=:@%-._~[]?<>^`{|}\\\""


def request_of(
    method: str,
    url: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
    client_ip: str,
    geo: Geo | None,
) -> Request:
    """The request that such a call would be. `url` is absolute or begins with `/`; a Host header wins over its host.

    Raises ValueError where the URL or a header is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("", "http", "https") or (not parts.netloc and not url.startswith("/")):
        raise ValueError("the URL must begin with http://, https:// or /")
    fields: dict[bytes, bytes] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        key, text = name.strip().lower().encode(), value.strip().encode()
        joint = b"; " if key == b"cookie" else b", "
        fields[key] = fields[key] + joint + text if key in fields else text
    authority = fields.setdefault(b"host", parts.netloc.rpartition("@")[2].encode()).lower()
    host = authority if authority.endswith(b"]") else authority.rpartition(b":")[0] or authority
    host = host[:-1] if host.endswith(b".") else host
    return Request(
        method.upper().encode(),
        host,
        quote(parts.path or "/", safe=_TARGET_BYTES).encode(),
        quote(parts.query, safe=_TARGET_BYTES).encode(),
        fields,
        client_ip,
        NOWHERE if geo is None else geo.locate(client_ip),
    )


def explain(snapshot: Snapshot, request: Request, draws: Draws) -> dict[str, object]:
    """Ready for JSON. `draws` is the caller's own, since an explanation must not use up a worker's turns."""
    asked: dict[str, object] = {
        "client_ip": request.client_ip,
        "place": {key: value for key, value in asdict(request.place).items() if value},
    }
    if request.certificate is not None:
        asked["client_certificate"] = {"subject": request.certificate.subject, "san": list(request.certificate.names)}
    decision = decide(snapshot, request, draws)
    if decision is None:
        return {"route": None, "upstream": None, "reason": None, "reasons": [_unmatched(snapshot, request)], **asked}
    route = decision.route
    names = tuple(upstream.name for upstream in snapshot.upstreams)
    split = _split_of(decision)
    random = split is not None and split.only < 0 and (decision.fresh or decision.bucket is None)
    upstream = split.upstreams[split.weights.index(max(split.weights))] if split and random else decision.upstream
    upstream, without = _failed_over(snapshot, decision, upstream)
    rules = [_rule(rule, route, request, names, decision.rule) for rule in route.declared_rules]
    flags = [_flag(flag, request, decision) for flag in route.flags]
    shadow = None if route.shadow is None else _shadow(route.shadow, request, decision, draws)
    return {
        "route": route.name,
        "upstream": names[upstream],
        "random": random,
        "shares": {names[decision.upstream]: 1.0} if split is None else _shares(split, names),
        "reason": decision.reason.value,
        "reasons": [
            _matched(route, request),
            *_cutback_sentences(route, names),
            *([] if route.cutback is not None else [line for rule in rules for line in _rule_sentences(rule)]),
            *_choice_sentences(decision, split, names, random),
            *without,
            *(f"flag {flag['flag']} is {'on' if flag['on'] else 'off'}: {flag['why']}" for flag in flags),
            *([] if route.rate_limit is None else [_rate_limit(route.rate_limit, request)]),
            *([] if shadow is None else [f"shadow {shadow['upstream']!r}: {shadow['why']}"]),
        ],
        "shadow": shadow,
        "rules": rules,
        "bucket": None if decision.bucket is None or decision.fresh else f"{decision.bucket:016x}",
        "flags": flags,
        **asked,
    }


def _failed_over(snapshot: Snapshot, decision: Decision, upstream: int) -> tuple[int, list[str]]:
    """Where workers send what that upstream was to get, and why. One that has ejected an endpoint may do so on its own."""
    chosen, stable = snapshot.upstreams[upstream], decision.route.stable
    if chosen.in_rotation():
        return upstream, []
    if upstream != stable and may_go(decision.route, stable, decision):
        name = snapshot.upstreams[stable].name
        return stable, [f"{chosen.name!r} has no endpoint in rotation, so stable {name!r} takes its requests"]
    opened = chosen.no_endpoints is NoEndpoints.FAIL_OPEN and any(
        each.url not in chosen.drained for each in chosen.endpoints
    )
    what = "those that no person has drained are used all the same" if opened else "the answer is 503"
    return upstream, [f"{chosen.name!r} has no endpoint in rotation, so {what}"]


def _split_of(decision: Decision) -> Split | None:
    """What the decision chose from; None where nothing was to choose."""
    if decision.reason is Reason.CUTBACK:
        return None
    if decision.reason is Reason.RULE:
        return next(rule.split for rule in decision.route.rules if rule.number == decision.rule)
    return decision.route.split


def _shares(split: Split, names: tuple[str, ...]) -> dict[str, float]:
    total = sum(split.weights)
    return {names[upstream]: weight / total for upstream, weight in zip(split.upstreams, split.weights, strict=True)}


def _shown(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share * 100:.6g} %" for name, share in shares.items())


def _matched(route: Route, request: Request) -> str:
    match = route.match
    kind = "path" if match.path is not None else "path_regex" if match.regex is not None else "path_prefix"
    value = match.path or (match.regex.pattern if match.regex is not None else match.prefix) or b""
    where = f"host {request.host.decode('latin-1')!r} and " if match.hosts else ""
    return f"route {route.name!r} takes {where}path {_text(request.path)} ({kind} {_text(value)})"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _unmatched(snapshot: Snapshot, request: Request) -> str:
    """The nearest miss: the method, else the path, else the host."""

    def taken(match: Match) -> bool:
        return MatchTable((match,)).find(request.method, request.host, request.path) >= 0

    method, path = _text(request.method), _text(request.path)
    for route in snapshot.routes:
        if taken(replace(route.match, methods=None)):
            return f"no route: route {route.name!r} takes this host and path, but not the method {method}"
    host = request.host.decode("latin-1")
    for route in snapshot.routes:
        if taken(replace(route.match, methods=None, path=None, regex=None, prefix=b"/")):
            return f"no route: host {host!r} is known (route {route.name!r}), but no route takes the path {path}"
    return f"no route: no route takes the host {host!r}"


def _condition(condition: Condition, request: Request) -> dict[str, object]:
    return {"condition": condition.label, "actual": condition.actual(request), "holds": condition.holds(request)}


def _rule(rule: Rule, route: Route, request: Request, names: tuple[str, ...], chosen: int) -> dict[str, object]:
    """`outcome` is what became of the rule: chosen, not held, closed (its upstreams have weight 0 live) or not
    reached.
    """
    open_rule = next((opened for opened in route.rules if opened.number == rule.number), None)
    if route.cutback is not None or -1 < chosen < rule.number:
        outcome = "not reached"
    elif rule.number == chosen:
        outcome = "chosen"
    else:
        outcome = "not held" if not rule.holds(request) else "closed"
    return {
        "rule": rule.number,
        "conditions": [_condition(condition, request) for condition in rule.conditions],
        "holds": rule.holds(request),
        "outcome": outcome,
        "send": _shares(rule.split, names),
        "closed": sorted(names[u] for u in route.closed.intersection(rule.split.upstreams)),
        "effective": {} if open_rule is None else _shares(open_rule.split, names),
    }


def _rule_sentences(rule: dict[str, object]) -> list[str]:
    outcome, name = rule["outcome"], f"rules[{rule['rule']}]"
    if outcome == "not reached":
        return []
    conditions = rule["conditions"]
    assert isinstance(conditions, list)
    lines = [
        f"{name}: {c['condition']} is {c['actual']}: {'holds' if c['holds'] else 'does not hold'}" for c in conditions
    ]
    closed, send = rule["closed"], rule["send"]
    assert isinstance(closed, list)
    assert isinstance(send, dict)
    if outcome == "closed":
        lines.append(f"{name} is passed over: the weight of {' and '.join(closed)} was set to 0 live")
    elif outcome == "chosen":
        less = f", less {' and '.join(closed)}, whose weight was set to 0 live" if closed else ""
        lines.append(f"{name} holds and sends to {', '.join(send)}{less}")
    return lines


def _cutback_sentences(route: Route, names: tuple[str, ...]) -> list[str]:
    stable = names[route.stable]
    if route.cutback is CutbackMode.CUT:
        return [
            f"a cutback is in force: everything goes to stable {stable!r}, whatever rules, stickiness and weights say"
        ]
    if route.cutback is CutbackMode.DRAIN:
        return [f"a draining cutback is in force: clients with a sticky cookie stay, others go to stable {stable!r}"]
    return []


def _choice_sentences(decision: Decision, split: Split | None, names: tuple[str, ...], random: bool) -> list[str]:
    """How the upstream was chosen from those that were left."""
    if split is None:
        return []
    shares = _shares(split, names)
    if split.only >= 0:
        return [f"{names[split.only]!r} is the only upstream with weight"] if decision.reason is Reason.WEIGHT else []
    sticky = decision.route.sticky
    lines = [f"shares: {_shown(shares)}"]
    if sticky is None:
        return [*lines, "not sticky: each request is drawn anew by weight; the likeliest upstream is given"]
    mark = {
        StickyBy.COOKIE: f"cookie {_text(sticky.name)}",
        StickyBy.HEADER: f"header {_text(sticky.name)}",
        StickyBy.CLIENT_IP: "client address",
    }[sticky.by]
    if random:
        unsigned = " (or not with our signature)" if sticky.by is StickyBy.COOKIE else ""
        lines.append(f"sticky by {mark}, which this request has not{unsigned}: drawn by weight")
    else:
        lines.append(f"sticky by {mark}: bucket {decision.bucket:016x} is in the share of {names[decision.upstream]!r}")
    return lines


def _rate_limit(limit: RateLimit, request: Request) -> str:
    who = "client address"
    if limit.by is not RateBy.CLIENT_IP:
        who = f"{limit.by.value} {_text(limit.name)}"
        if limit.key(request)[:1] == b"a":
            who += ", which this request has not: by client address"
    return f"rate limit: {limit.quota} in {limit.window} s, {limit.burst} at once, by {who}; more get 429"


def _flag(flag: Flag, request: Request, decision: Decision) -> dict[str, object]:
    """Whether decide() set the flag, and what kept it off if not."""
    on = flag.name in decision.flags.split(b", ")
    failed = [condition for condition in flag.conditions if not condition.holds(request)]
    if on:
        why = f"the client is in its slice of {flag.percent:g} %"
    elif failed:
        why = f"{failed[0].label} is {failed[0].actual(request)}"
    else:
        why = f"the client is not in its slice of {flag.percent:g} %"
    if decision.fresh and not failed:
        why += " (a new client: its bucket is random)"
    return {"flag": _text(flag.name), "on": on, "why": why, "percent": flag.percent}


def _shadow(shadow: Shadowing, request: Request, decision: Decision, draws: Draws) -> dict[str, object]:
    """Whether the request would be copied: `copied` is None where each is drawn for itself."""
    copied: bool | None = False
    if request.method not in shadow.methods:
        why = f"{_text(request.method)} is not among its methods"
    elif not 0 < shadow.percent < 100:
        copied = shadow.percent > 0
        why = f"{'every' if copied else 'no'} request is copied"
    elif not shadow.by_client:
        copied, why = None, f"each request is drawn: {shadow.percent:g} % are copied"
    else:
        copied = in_sample(shadow, decision, request, draws)
        why = f"the client is {'' if copied else 'not '}among the {shadow.percent:g} % whose requests are copied"
    return {"upstream": shadow.upstream, "control": shadow.control, "copied": copied, "why": why}
