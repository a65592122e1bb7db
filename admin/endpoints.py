"""What a change does to an upstream's live endpoints. Pure: no store, no clock, no network.

    listed     set by `PUT …/endpoints`, the whole list; dropped when the file's own endpoints of the upstream change
    drained    by `POST …/endpoints/drain`, until `…/enable`; no reload ends it while the endpoint is still there
    unhealthy  what active checks have found. Not stored: an admin process that starts takes it over from the workers

An endpoint that is added while the gateway runs is unhealthy until its first check has passed, if it is checked: nobody has
seen it serve.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from admin.document import digest
from admin.live import FieldError, Stamp, stamp_from_json, stamp_to_json
from routing.config_upstreams import Upstream
from routing.notation import endpoint
from routing.snapshot import Endpoints


@dataclass(frozen=True, slots=True)
class LiveList:
    """`declared` is the fingerprint of the declared list that this one was laid over."""

    endpoints: tuple[str, ...]
    declared: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """One upstream's live endpoints; `drained` by URL."""

    listed: LiveList | None = None
    drained: Mapping[str, Stamp] = field(default_factory=dict)
    unhealthy: frozenset[str] = frozenset()

    def overlay(self) -> Endpoints:
        """What a worker needs of it."""
        listed = None if self.listed is None else tuple(map(endpoint, self.listed.endpoints))
        return Endpoints(listed, frozenset(self.drained), self.unhealthy)

    def to_json(self) -> dict[str, Any]:
        """What is kept of it."""
        listed = self.listed
        return {
            "listed": None
            if listed is None
            else {
                "endpoints": list(listed.endpoints),
                "declared": listed.declared,
                **stamp_to_json(listed.stamp),
            },
            "drained": {url: stamp_to_json(stamp) for url, stamp in self.drained.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> UpstreamState:
        """Raises KeyError, ValueError or TypeError for what `to_json` never wrote."""
        listed = value["listed"]
        return cls(
            None
            if listed is None
            else LiveList(tuple(listed["endpoints"]), listed["declared"], stamp_from_json(listed)),
            {url: stamp_from_json(stamp) for url, stamp in value["drained"].items()},
        )


AS_LISTED = UpstreamState()


def fingerprint(upstream: Upstream) -> str:
    """Of what live endpoints are laid over."""
    return digest(json.dumps(upstream.endpoints))[:16]


def in_force(state: UpstreamState, upstream: Upstream) -> tuple[str, ...]:
    """The URLs of its endpoints, in rotation or not."""
    return upstream.endpoints if state.listed is None else state.listed.endpoints


def read_endpoints(given: Sequence[str]) -> tuple[tuple[str, ...], list[FieldError]]:
    """A list of endpoints as URLs in their usual form, and all that is wrong with it."""
    urls: list[str] = []
    errors: list[FieldError] = []
    for index, text in enumerate(given):
        try:
            url = endpoint(text).url
        except ValueError as error:
            errors.append(FieldError(f"endpoints.{index}", str(error)))
            continue
        if url in urls:
            errors.append(FieldError(f"endpoints.{index}", f"{url} is listed twice"))
        urls.append(url)
    if not given:
        errors.append(FieldError("endpoints", "has no endpoint"))
    return tuple(urls), errors


def put(state: UpstreamState, urls: tuple[str, ...], upstream: Upstream, stamp: Stamp) -> UpstreamState:
    """`urls` have passed `read_endpoints`. The declared list itself is no live one."""
    new = frozenset(urls) - frozenset(in_force(state, upstream))
    listed = None if urls == upstream.endpoints else LiveList(urls, fingerprint(upstream), stamp)
    unhealthy = state.unhealthy | new if upstream.health_check is not None else state.unhealthy
    return _only(replace(state, listed=listed, unhealthy=unhealthy), urls)


def drain(state: UpstreamState, url: str, stamp: Stamp) -> UpstreamState:
    """Draining what is drained keeps who began it, when and why."""
    return replace(state, drained={url: stamp, **state.drained})


def enable(state: UpstreamState, url: str) -> UpstreamState:
    """Back into rotation, unless it is unhealthy."""
    return replace(state, drained={each: stamp for each, stamp in state.drained.items() if each != url})


def carry_over(state: UpstreamState, upstream: Upstream, known: frozenset[str] | None) -> tuple[UpstreamState, str]:
    """The state under another configuration, and why its list was dropped (empty where it was not). `known` are the endpoints
    that were in force before, None where there was nothing before."""
    why = ""
    declared = fingerprint(upstream)
    listed = state.listed
    if listed is not None:
        if listed.declared not in ("", declared):  # "": taken over from the workers, who know no fingerprint
            state, why = replace(state, listed=None), "the configuration's own endpoints of this upstream changed"
        else:
            state = replace(state, listed=replace(listed, declared=declared))
    urls = in_force(state, upstream)
    if upstream.health_check is None:
        state = replace(state, unhealthy=frozenset())
    elif known is not None:
        state = replace(state, unhealthy=state.unhealthy | (frozenset(urls) - known))
    return _only(state, urls), why


def of_overlay(state: UpstreamState, live: Endpoints, stamp: Stamp) -> UpstreamState:
    """The state that has that overlay; `stamp` goes on the parts that differ from `state`."""
    present = state.overlay()
    listed = state.listed
    if live.listed != present.listed:
        listed = None if live.listed is None else LiveList(tuple(each.url for each in live.listed), "", stamp)
    drained = {url: state.drained.get(url, stamp) for url in sorted(live.drained)}
    return UpstreamState(listed, drained, live.unhealthy)


def _only(state: UpstreamState, urls: tuple[str, ...]) -> UpstreamState:
    """Without what is known of endpoints that are gone."""
    drained = {url: stamp for url, stamp in state.drained.items() if url in urls}
    return replace(state, drained=drained, unhealthy=state.unhealthy & frozenset(urls))
