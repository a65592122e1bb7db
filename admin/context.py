"""What the API's handlers work with: one object, made when the API starts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from admin.auth import Tokens
from admin.diffs import Diffs
from admin.gateway import Gateway
from admin.logs import Logger
from admin.notify.news import News
from admin.rates import Rates
from admin.refused_calls import RefusedCalls
from admin.rollout.loop import Rollouts
from admin.startup import Settings
from admin.state.store import Store
from admin.throttle import Throttle
from routing.geo import Geo, GeoSource

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from admin.oidc import Provider


def gateway_version() -> str:
    try:
        return version("headgate")
    except PackageNotFoundError:  # a checkout that was not installed
        return "0+unknown"


@dataclass(slots=True)
class Context:
    """`reload_error` and `needs_restart` are what the last reload left behind."""

    gateway: Gateway
    store: Store
    tokens: Tokens
    rates: Rates
    diffs: Diffs
    rollouts: Rollouts
    news: News
    settings: Settings
    log: Logger
    started_at: float
    """Unix time."""
    version: str = field(default_factory=gateway_version)
    kept_aside: list[str] = field(default_factory=list)
    """Damaged databases that lay in the state folder when the control plane started."""
    reload_error: str | None = None
    needs_restart: list[str] = field(default_factory=list)
    provider: Provider | None = None
    """Where `admin.oidc` is configured."""
    throttle: Throttle = field(default_factory=Throttle)
    refused: RefusedCalls = field(default_factory=RefusedCalls)
    writing: set[asyncio.Task[None]] = field(default_factory=set)
    """What is on its way to the store beside the journal: waited for before the store is closed."""
    verifying: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One walk along the audit log at a time: a long one takes a good part of the loop's time."""
    _geo: tuple[GeoSource, Geo] | None = None

    _registry: CollectorRegistry | None = None

    def registry(self) -> CollectorRegistry:
        """prometheus_client is imported at the first scrape: a twentieth of a second that no start waits for."""
        if self._registry is None:
            from admin.metrics import registry_of

            self._registry = registry_of(self)
        return self._registry

    def geo(self) -> Geo:
        """Looks addresses up as the workers do; made when it is first needed, and anew for another source."""
        source = self.gateway.snapshot.geo
        if self._geo is None or self._geo[0] != source:
            self._geo = source, Geo(source)
        geo = self._geo[1]
        geo.refresh()
        return geo
