"""One route as the shadow process has it: where its copies go, how many, and what its answers have said so far."""

from __future__ import annotations

from typing import Any

from routing.shadowing import SAFE_METHODS, Shadowing
from routing.snapshot import HostPolicy, Snapshot, Upstream
from shadow.equal import Equality
from shadow.findings import RouteFindings
from shadow.replay import CopyHeads
from shadow.window import Window


class Leg:
    """An upstream that copies go to."""

    __slots__ = ("host_literal", "host_policy", "index", "name")

    def __init__(self, upstream: Upstream) -> None:
        self.index = upstream.index
        self.name = upstream.name
        self.host_policy = upstream.host_policy
        self.host_literal = upstream.host_literal

    def host(self, sent: bytes, authority: bytes) -> bytes:
        """The Host field for it; `sent` is the client's own."""
        if self.host_policy is HostPolicy.PRESERVE and sent:
            return sent
        return self.host_literal if self.host_policy is HostPolicy.LITERAL else authority


class ShadowRoute:
    """Survives changes of its settings: `adopt` takes up new ones, what was found stays unless it is to start afresh."""

    __slots__ = (
        "again",
        "control",
        "equality",
        "findings",
        "heads",
        "name",
        "shadow",
        "shadowing",
        "stable",
        "uncounted",
        "window",
    )

    def __init__(self, name: str, shadowing: Shadowing, stable: int, snapshot: Snapshot) -> None:
        self.name = name
        self.window = Window()
        self.uncounted = 0
        """Pairs in hand."""
        self.findings = RouteFindings(name, shadowing.since, shadowing.endpoints)
        self.adopt(shadowing, stable, snapshot)

    def adopt(self, shadowing: Shadowing, stable: int, snapshot: Snapshot) -> None:
        """`stable` is an index of the snapshot."""
        self.shadowing = shadowing
        self.heads = CopyHeads(shadowing)
        self.equality = Equality(shadowing.comparing.headers)
        self.shadow = self._leg(shadowing.upstream, snapshot)
        self.control = self._leg(shadowing.control, snapshot)
        self.stable = Leg(snapshot.upstreams[stable])
        self.again = frozenset() if self.control is not None or not shadowing.noise_sample else SAFE_METHODS
        """Methods that stable may be asked a second time with."""
        self.findings.declare(shadowing.endpoints)
        if shadowing.since != self.findings.since:
            self.findings.reset(shadowing.since)

    def retire(self) -> None:
        """The configuration has it no more, and so its indexes mean nothing."""
        self.again = frozenset()

    def restore(self, state: dict[str, Any]) -> None:
        if state.get("since") == self.shadowing.since:
            self.findings.restore(state)

    def _leg(self, name: str | None, snapshot: Snapshot) -> Leg | None:
        upstream = None if name is None else snapshot.upstream_named(name)
        return None if upstream is None else Leg(upstream)
