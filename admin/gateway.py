"""The control plane's state, and the one way to change it.

Rules: one change at a time (a lock). A change is decided, published to the workers, taken over here and handed to the
journal, and only then, without the lock, is the disk waited for: a cutback is in force before anybody asks a disk. The
revision grows with each publish. What is in memory here is what the workers were last told, whatever the store has managed
to keep so far.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from admin.audit import Auditor, Intent
from admin.diffs import Diffs
from admin.document import Document
from admin.endpoints import AS_LISTED, UpstreamState
from admin.laid import Laid, adoption, begun, compile_document, lay
from admin.live import UNCHANGED, RouteState
from admin.logs import Logger
from admin.publisher import Publisher, Receipt, SupervisorGoneError
from admin.refusals import (
    StaleMatchError,
    UnadoptableError,
    UnknownRouteError,
    UnknownUpstreamError,
    UnpublishableError,
)
from admin.state.journal import Journal
from admin.state.store import ROUTE, UPSTREAM, Change
from proxy.control import InFlight, Publish
from routing.config import Config
from routing.config_upstreams import Upstream
from routing.pickling import dumps
from routing.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Outcome:
    """`receipt` is None for a dry run. `laid` is what holds now, or would hold; `changed` are the routes or upstreams it is
    about."""

    revision: int
    laid: Laid
    changed: tuple[str, ...]
    receipt: Receipt | None
    warnings: tuple[str, ...] = field(default=())


def _shadowing(snapshot: Snapshot) -> bool:
    return any(route.shadow is not None for route in snapshot.routes)


Plan = Callable[["Gateway"], dict[str, RouteState]]
EndpointPlan = Callable[[UpstreamState, Upstream], UpstreamState]


class Gateway:
    """`revisions` are those at which each route last changed; a route that is not in it has that of the document."""

    def __init__(
        self,
        *,
        node: str,
        secret: bytes,
        publisher: Publisher,
        journal: Journal,
        log: Logger,
        laid: Laid,
        revision: int,
        document_revision: int,
        revisions: dict[str, int],
        diffs: Diffs,
        upstream_revisions: dict[str, int],
    ) -> None:
        self.node = node
        self.laid = laid
        self.revision = revision
        self.document_revision = document_revision
        self.journal = journal
        self.cutbacks: dict[str, int] = {}
        self.running = laid.document.config
        """What the sockets and processes were made from."""
        self.endpoints_changed: Callable[[], None] = lambda: None
        """Called whenever there may be other endpoints, or other checks of them."""
        self.changed: Callable[[Outcome, Intent], None] = lambda outcome, intent: None
        """Called with each change that is in force, before the disk is waited for."""
        self.problems: dict[tuple[str, str], str] = {}
        """(upstream, endpoint) -> what the last check of it found wrong."""
        self._revisions = revisions
        self._upstream_revisions = upstream_revisions
        self._diffs = diffs
        self._auditor = Auditor(node)
        self._secret = secret
        self._publisher = publisher
        self._log = log
        self._lock = asyncio.Lock()

    @property
    def config(self) -> Config:
        return self.laid.document.config

    @property
    def snapshot(self) -> Snapshot:
        return self.laid.snapshot

    @property
    def next_revision(self) -> int:
        """That of the change being planned."""
        return self.revision + 1

    def state(self, route: str) -> RouteState:
        return self.laid.states.get(route, UNCHANGED)

    def route_revision(self, route: str) -> int:
        return max(self._revisions.get(route, 0), self.document_revision)

    def upstream_state(self, upstream: str) -> UpstreamState:
        return self.laid.upstreams.get(upstream, AS_LISTED)

    def upstream_revision(self, upstream: str) -> int:
        """Of its endpoints, as people have set them."""
        return max(self._upstream_revisions.get(upstream, 0), self.document_revision)

    def known(self, route: str) -> str:
        """The name, if there is a route of that name. Raises UnknownRouteError."""
        if route not in self.config.routes:
            raise UnknownRouteError(route)
        return route

    async def publish_all(self) -> Receipt:
        """Everything, as at the start. Raises SupervisorGoneError."""
        return await self._publisher.publish(self._everything(self.laid, self.revision))

    async def change(self, plan: Plan, intent: Intent, in_flight: InFlight = InFlight.FINISH) -> Outcome:
        """`plan` says, under the lock, what the states of the routes it changes shall be. It raises a RefusedError to stop it."""
        async with self._lock:
            states = plan(self)
            self.check_if_match(intent, (self.route_revision(name) for name in states))
            laid = self._with(states)
            if intent.dry_run:
                return Outcome(self.revision, laid, tuple(states), None)
            revision = self.revision + 1
            overlays = {name: state.overlay(name) for name, state in states.items()}
            receipt = await self._publish(Publish(revision, overlays, None, in_flight, _shadowing(laid.snapshot)))
            before = {name: self.state(name).to_json() for name in states}
            self.laid, self.revision = laid, revision
            self._diffs.adopt(begun(laid, states), whole=False)
            self._revisions.update(dict.fromkeys(states, revision))
            if intent.action == "cutback":
                for name in states:
                    self.cutbacks[name] = self.cutbacks.get(name, 0) + 1
            change = Change(revision)
            for name, state in states.items():
                change.states[ROUTE, name] = state.to_json()
                change.audit.append(self._auditor.entry(intent, revision, name, before[name], state.to_json(), receipt))
            self.journal.add(change)
        return await self._kept(change, intent, laid, tuple(states), receipt)

    async def change_endpoints(self, name: str, plan: EndpointPlan, intent: Intent) -> Outcome:
        """Likewise for the endpoints of one upstream. Raises UnknownUpstreamError."""
        async with self._lock:
            upstream = self.config.upstreams.get(name)
            if upstream is None:
                raise UnknownUpstreamError(name)
            before = self.upstream_state(name)
            state = plan(before, upstream)
            self.check_if_match(intent, [self.upstream_revision(name)])
            laid = self._with_endpoints({name: state})
            if intent.dry_run:
                return Outcome(self.revision, laid, (name,), None)
            revision = self.revision + 1
            receipt = await self._publish_endpoints(laid, [name], revision)
            self._upstream_revisions[name] = revision
            change = Change(revision, {(UPSTREAM, name): state.to_json()})
            was, now = ({"upstream": name, **each.to_json()} for each in (before, state))
            change.audit.append(self._auditor.entry(intent, revision, None, was, now, receipt))
            self.journal.add(change)
        self.endpoints_changed()
        return await self._kept(change, intent, laid, (name,), receipt)

    async def adopt_health(self, found: Callable[[], Mapping[str, frozenset[str]]]) -> None:
        """Tell the workers what active checks have found: the unhealthy endpoints of each upstream that is checked. Raises a
        RefusedError."""
        async with self._lock:
            states = {
                name: replace(state, unhealthy=unhealthy)
                for name, unhealthy in found().items()
                if name in self.config.upstreams and (state := self.upstream_state(name)).unhealthy != unhealthy
            }
            if states:
                revision = self.revision + 1
                await self._publish_endpoints(self._with_endpoints(states), states, revision)
                self.journal.add(Change(revision))  # nothing of it is kept but how far the revision has come

    async def _publish_endpoints(self, laid: Laid, names: Iterable[str], revision: int) -> Receipt:
        endpoints = {name: laid.upstreams[name].overlay() for name in names}
        publish = Publish(revision, {}, shadowing=_shadowing(laid.snapshot), endpoints=endpoints)
        receipt = await self._publish(publish)
        self.laid, self.revision = laid, revision
        return receipt

    async def adopt(self, document: Document, intent: Intent) -> Outcome:
        """Another document. Raises ConfigError or a RefusedError, and then everything stays."""
        compiled = await asyncio.to_thread(compile_document, document, self._secret)
        async with self._lock:
            self.check_if_match(intent, [self.document_revision])
            revision = self.revision + 1
            compared, upstreams = self._diffs.compared(), self.laid.upstreams
            laid = lay(document, compiled, self.laid.states, revision, compared, upstreams, self.snapshot)
            if intent.dry_run:
                return Outcome(self.revision, laid, tuple(laid.document.config.routes), None)
            receipt = await self._publish(self._everything(laid, revision))
            if receipt.refusals:
                await self._take_back(revision + 1)
                raise UnadoptableError(receipt.refusals)
            for name, why in laid.dropped.items():
                self._log.warning("live state dropped", route=name, why=why)
            for name, why in laid.delisted.items():
                self._log.warning("live endpoints dropped", upstream=name, why=why)
            change = adoption(laid, self.laid.states, revision, upstreams)
            before, after = self.laid.document.summary(), document.summary()
            change.audit = [
                self._auditor.entry(intent, revision, None, before, after, receipt),
                *self._auditor.dropped(laid.dropped, self.laid.states, laid.states, revision, receipt),
                *self._auditor.delisted(laid.delisted, revision, receipt),
            ]
            self.laid, self.revision, self.document_revision = laid, revision, revision
            self._diffs.adopt(begun(laid, laid.document.config.routes), whole=True)
            self._revisions = {name: at for name, at in self._revisions.items() if name in laid.states}
            self.journal.add(change)
        self.endpoints_changed()
        return await self._kept(change, intent, laid, tuple(laid.document.config.routes), receipt)

    async def _take_back(self, revision: int) -> None:
        """Workers refused a document. The others go back to what holds here, and the next to start gets what it can use."""
        receipt = await self._publish(self._everything(self.laid, revision))
        self.revision = revision
        if not receipt.applied:
            self._log.error("not every worker has gone back to the configuration before", receipt=receipt.to_json())

    def _with(self, states: Mapping[str, RouteState]) -> Laid:
        snapshot = self.snapshot.with_states({name: state.overlay(name) for name, state in states.items()})
        return replace(self.laid, snapshot=snapshot, states={**self.laid.states, **states}, dropped={}, afresh=())

    def _with_endpoints(self, states: Mapping[str, UpstreamState]) -> Laid:
        snapshot = self.snapshot.with_endpoints({name: state.overlay() for name, state in states.items()})
        upstreams = {**self.laid.upstreams, **states}
        return replace(self.laid, snapshot=snapshot, upstreams=upstreams, dropped={}, afresh=(), delisted={})

    def check_if_match(self, intent: Intent, revisions: Iterable[int]) -> None:
        """A caller that saw any revision since the last change of these, up to now, has seen what there is.

        Raises StaleMatchError."""
        if intent.if_match is None:
            return
        newest = max(revisions, default=self.document_revision)
        if not any(newest <= seen <= self.revision for seen in intent.if_match):
            raise StaleMatchError(newest)

    def _everything(self, laid: Laid, revision: int) -> Publish:
        overlays = {name: state.overlay(name) for name, state in laid.states.items()}
        endpoints = {name: state.overlay() for name, state in laid.upstreams.items() if state != AS_LISTED}
        shadowing = _shadowing(laid.snapshot)
        return Publish(revision, overlays, dumps(laid.snapshot), shadowing=shadowing, endpoints=endpoints)

    async def _publish(self, publish: Publish) -> Receipt:
        try:
            return await self._publisher.publish(publish)
        except SupervisorGoneError as error:
            raise UnpublishableError from error

    async def _kept(
        self, change: Change, intent: Intent, laid: Laid, changed: tuple[str, ...], receipt: Receipt
    ) -> Outcome:
        """Outside the lock: the next change, which may be a cutback, does not wait for this one's disk."""
        self.changed(Outcome(change.revision, laid, changed, receipt), intent)
        persisted = await self.journal.kept(change)
        receipt = replace(receipt, persisted=persisted)
        self._log.info(
            intent.action,
            who=intent.who,
            reason=intent.reason,
            revision=change.revision,
            changed=changed,
            receipt=receipt.to_json(),
        )
        warnings = (
            () if persisted else ("in force, but not yet stored: a restart would lose it; storing is tried again",)
        )
        return Outcome(change.revision, laid, changed, receipt, warnings)
