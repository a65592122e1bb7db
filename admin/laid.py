"""A document compiled, with live state laid over it: what holds, and what another document leaves of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from admin.diffs import Begun
from admin.document import Document, fingerprint
from admin.endpoints import AS_LISTED, UpstreamState
from admin.endpoints import carry_over as carry_endpoints_over
from admin.live import UNCHANGED, RouteState, carry_over, carry_shadow_over, shadow_in_force
from admin.state.store import DOCUMENT, ROUTE, UPSTREAM, Change
from routing.compile import compile_snapshot
from routing.document import ConfigError
from routing.pages import read_pages
from routing.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Laid:
    """A document compiled, with live state over it. `dropped` says for which routes live weights or shadow were dropped, and why;
    `afresh` are those whose diffs begin anew, since they have another shadow. `upstreams` is the live state of upstreams,
    `delisted` says for which a live list of endpoints was dropped, and why."""

    document: Document
    snapshot: Snapshot
    states: dict[str, RouteState]
    dropped: dict[str, str]
    afresh: tuple[str, ...] = ()
    upstreams: dict[str, UpstreamState] = field(default_factory=dict)
    delisted: dict[str, str] = field(default_factory=dict)


def compile_document(document: Document, secret: bytes) -> Snapshot:
    """Raises ConfigError. Takes long for a large document: not for the loop, and not while a cutback would have to wait."""
    pages, wrong = read_pages(document.config)
    if wrong:
        raise ConfigError(wrong)
    return compile_snapshot(document.config, revision=0, secret=secret, pages=pages)


def lay(
    document: Document,
    compiled: Snapshot,
    states: Mapping[str, RouteState],
    revision: int,
    compared: Mapping[str, str],
    upstreams: Mapping[str, UpstreamState],
    before: Snapshot | None = None,
) -> Laid:
    """The live state over a compiled document. `compared` are the shadow upstreams whose diffs are kept, by route; `before` is
    what was in force until now."""
    config = document.config
    kept: dict[str, RouteState] = {}
    dropped: dict[str, str] = {}
    for name, state in states.items():
        route = config.routes.get(name)
        if route is None:
            if state != UNCHANGED:
                dropped[name] = "the configuration no longer has this route"
            continue
        state, why = carry_over(state, fingerprint(route), config.upstreams)
        kept[name], why_shadow = carry_shadow_over(state, route, config.upstreams)
        if why or why_shadow:
            dropped[name] = "; ".join(filter(None, (why, why_shadow)))
    afresh = []
    for name, upstream in compared.items():
        route, state = config.routes.get(name), kept.get(name, UNCHANGED)
        shadow = None if route is None else shadow_in_force(state, route)
        if shadow is not None and shadow.upstream != upstream:
            kept[name] = replace(state, since=revision)
            afresh.append(name)
    snapshot = replace(compiled, revision=revision)
    snapshot = snapshot.with_states({name: state.overlay(name) for name, state in kept.items() if state != UNCHANGED})
    endpoints: dict[str, UpstreamState] = {}
    delisted: dict[str, str] = {}
    for name, section in config.upstreams.items():
        known = None if before is None else frozenset(each.url for each in before.endpoints_of(name))
        endpoints[name], why = carry_endpoints_over(upstreams.get(name, AS_LISTED), section, known)
        if why:
            delisted[name] = why
    snapshot = snapshot.with_endpoints(
        {name: state.overlay() for name, state in endpoints.items() if state != AS_LISTED}
    )
    return Laid(document, snapshot, kept, dropped, tuple(afresh), endpoints, delisted)


def begun(laid: Laid, names: Iterable[str]) -> dict[str, Begun | None]:
    """Where the diffs of these routes begin, and of what shadow they are."""
    found: dict[str, Begun | None] = {}
    for name in names:
        state = laid.states.get(name, UNCHANGED)
        shadow = shadow_in_force(state, laid.document.config.routes[name])
        found[name] = None if shadow is None else Begun(state.since, shadow.upstream, shadow.compare.ignore)
    return found


def adoption(
    laid: Laid, before: Mapping[str, RouteState], revision: int, upstreams: Mapping[str, UpstreamState]
) -> Change:
    """What the store is to keep of a document that replaces the one there was, with `before` and `upstreams` over it."""
    change = Change(revision, {DOCUMENT: laid.document.to_json()})
    for name in (*laid.dropped, *laid.afresh):
        state = laid.states.get(name)
        change.states[ROUTE, name] = state.to_json() if state else None
    for name in before.keys() - laid.states.keys():
        change.states[ROUTE, name] = None
    for name, old in upstreams.items():
        kept = laid.upstreams.get(name)
        if kept is None or kept.to_json() != old.to_json():
            change.states[UPSTREAM, name] = None if kept is None else kept.to_json()
    return change
