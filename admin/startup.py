"""From a configuration file and a state folder to a Gateway that can publish: everything before the API."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from admin.audit import Auditor, Intent
from admin.clock import utc_now
from admin.diffs import Diffs
from admin.document import Document, digest, from_file, from_kept
from admin.endpoints import AS_LISTED, UpstreamState
from admin.endpoints import of_overlay as of_endpoints
from admin.gateway import Gateway
from admin.laid import Laid, adoption, begun, lay
from admin.live import TAKEN_OVER_BY, UNCHANGED, RouteState, Stamp, of_overlay
from admin.logs import Logger
from admin.publisher import Publisher
from admin.state.diff_store import DiffStore, KeptDiffs
from admin.state.journal import Journal
from admin.state.opening import kept_aside, open_state
from admin.state.store import (
    DOCUMENT,
    ROLLOUT,
    ROUTE,
    UPSTREAM,
    Change,
    Loaded,
    Store,
    StoreError,
    StoreUnusableError,
)
from proxy.control import InForce, Message
from routing.compile import compile_snapshot
from routing.document import ConfigError
from routing.pages import read_pages
from routing.snapshot import AS_DECLARED, DECLARED_ENDPOINTS

# What the audit log says of a change that the workers have and the store has not.
_TAKEN_OVER = "in force on the workers, but not stored when the admin process ended"


class StartError(Exception):
    """Fatal; the message is the one line that people see."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`state` is the folder that the gateway runs with: it lets an admin process come back while the file is broken."""

    config: Path
    environ: Mapping[str, str]
    state: Path | None = None


@dataclass(slots=True)
class Started:
    """`pending` is to be kept once the workers have what it says; None where the store knows everything already."""

    gateway: Gateway
    publisher: Publisher
    store: Store
    folder: Path
    pending: Change | None
    rollouts: dict[str, Any]
    """As they were kept, by route."""


def _make_folder(folder: Path) -> None:
    """Raises StartError. The supervisor holds the folder's lock."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"the state folder {folder} cannot be used: {error.strerror}") from error


async def start(
    settings: Settings, in_force: Awaitable[InForce], send: Callable[[Message], None], diffs: Diffs, log: Logger
) -> Started:
    """Raises StartError."""
    document: Document | None = None
    refused: ConfigError | None = None
    try:
        document = await asyncio.to_thread(from_file, settings.config, settings.environ)
    except ConfigError as error:
        if settings.state is None:
            raise StartError(_one_line(error)) from error
        refused = error
    if settings.state is not None:
        folder = settings.state
    else:
        assert document is not None
        folder = Path(document.config.state.dir)
    _make_folder(folder)
    try:
        opened = await open_state(folder)
        store, diff_store, loaded = opened.store, DiffStore(opened.engine), opened.loaded
        facts = await _facts(store, loaded)
    except (StoreUnusableError, OSError) as error:
        raise StartError(f"the database in {folder} cannot be used: {error}") from error
    if opened.damage is not None:
        log.error(
            "the state database was damaged: kept aside, and begun anew from the file; live state, audit log and tokens are gone",
            error=opened.damage,
            kept_aside=kept_aside(folder)[-1],
        )
    at_workers = await in_force
    if refused is not None and not at_workers.revision:
        raise StartError(_one_line(refused))
    document = _choose(settings, loaded, document, refused, log)
    base = _base(loaded, at_workers, log)
    found = await _found(diff_store, log)
    laid = await asyncio.to_thread(
        _lay, document, base, facts, {name: kept.upstream for name, kept in found.items()}, log
    )
    for name, why in laid.dropped.items():
        log.warning("live state dropped", route=name, why=why)
    for name, why in laid.delisted.items():
        log.warning("live endpoints dropped", upstream=name, why=why)
    journal = Journal(store, loaded.revision, lambda error: log.error("a change could not be stored", error=str(error)))
    publisher = Publisher(facts["node"], send)
    gateway, pending = _gateway(laid, loaded, base, facts, publisher, journal, diffs, log)
    diffs.open(diff_store, found, begun(laid, laid.document.config.routes))
    rollouts = {name: kept.value for (scope, name), kept in loaded.states.items() if scope == ROLLOUT}
    return Started(gateway, publisher, store, folder, pending, rollouts)


async def _found(store: DiffStore, log: Logger) -> dict[str, KeptDiffs]:
    """Earlier diffs. The gateway can do without."""
    try:
        return await store.load()
    except StoreError as error:
        log.error("what was found of shadows cannot be read; it begins anew", error=str(error))
        return {}


async def _facts(store: Store, loaded: Loaded) -> Mapping[str, str]:
    """What is made once: the secret that signs sticky cookies and the node's name."""
    if {"secret", "node"} <= loaded.meta.keys():
        return loaded.meta
    return await store.remember(
        {"secret": secrets.token_hex(32), "node": f"{socket.gethostname()}-{secrets.token_hex(4)}"}
    )


def _choose(
    settings: Settings, loaded: Loaded, document: Document | None, refused: ConfigError | None, log: Logger
) -> Document:
    """The file's document, or the kept one: that of a PUT while the file is as it was then, or, at the restart of the
    admin process alone, the last good one where the file is broken now."""
    row = loaded.states.get(DOCUMENT)
    kept = None if row is None else row.value
    if document is not None and (kept is None or kept["source"] == "file" or kept["file"] != document.file):
        if kept is not None and kept["source"] == "api":
            log.warning("the configuration file has changed, so the document set through the API is dropped")
        return document
    try:
        if kept is None:
            raise StartError(_one_line(refused))
        chosen = from_kept(kept, settings.environ)
    except ConfigError as error:
        if document is None:
            raise StartError(_one_line(error)) from error
        log.error("the document set through the API cannot be used any more; the file is", error=_one_line(error))
        return document
    if refused is not None:
        log.error("the configuration file is broken; going on with the last good one", error=_one_line(refused))
    return chosen


@dataclass(frozen=True, slots=True)
class Base:
    """Live state to go on from: the store's, or where the workers are ahead of it, theirs. `taken_over` are the routes
    that differ. What checks have found of endpoints is always the workers'."""

    revision: int
    states: dict[str, RouteState]
    upstreams: dict[str, UpstreamState]
    taken_over: tuple[str, ...] = ()


def _base(loaded: Loaded, at_workers: InForce, log: Logger) -> Base:
    """What an admin process told the workers and died before storing stands, since it was in force. Raises StartError."""
    states: dict[str, RouteState] = {}
    upstreams: dict[str, UpstreamState] = {}
    for (scope, name), kept in loaded.states.items():
        try:
            if scope == ROUTE:
                states[name] = RouteState.from_json(kept.value)
            elif scope == UPSTREAM:
                upstreams[name] = UpstreamState.from_json(kept.value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StartError(f"the stored state of {scope} {name} cannot be read: {error!r}") from error
    for name, endpoints in at_workers.endpoints.items():
        upstreams[name] = replace(upstreams.get(name, AS_LISTED), unhealthy=endpoints.unhealthy)
    if at_workers.revision <= loaded.revision:
        return Base(loaded.revision, states, upstreams)
    log.warning(
        "the workers are ahead of the store; going on from them", stored=loaded.revision, published=at_workers.revision
    )
    stamp = Stamp(TAKEN_OVER_BY, utc_now(), _TAKEN_OVER)
    taken: list[str] = []
    for name in states.keys() | at_workers.live.keys():
        state = states.get(name, UNCHANGED)
        if state.overlay(name) != (live := at_workers.live.get(name, AS_DECLARED)):
            states[name] = of_overlay(state, live, stamp, name)
            taken.append(name)
    for name in upstreams.keys() | at_workers.endpoints.keys():
        live_endpoints = at_workers.endpoints.get(name, DECLARED_ENDPOINTS)
        upstreams[name] = of_endpoints(upstreams.get(name, AS_LISTED), live_endpoints, stamp)
    return Base(at_workers.revision, states, upstreams, tuple(taken))


def _lay(document: Document, base: Base, facts: Mapping[str, str], compared: Mapping[str, str], log: Logger) -> Laid:
    """A maintenance page that has gone since the gateway started is no reason for it to have no admin process."""
    pages, wrong = read_pages(document.config)
    for problem in wrong:
        log.error("a maintenance page is left out", reason=str(problem))
    try:
        compiled = compile_snapshot(document.config, revision=0, secret=bytes.fromhex(facts["secret"]), pages=pages)
    except ConfigError as error:
        raise StartError(_one_line(error)) from error
    return lay(document, compiled, base.states, base.revision + 1, compared, base.upstreams)


def _gateway(
    laid: Laid,
    loaded: Loaded,
    base: Base,
    facts: Mapping[str, str],
    publisher: Publisher,
    journal: Journal,
    diffs: Diffs,
    log: Logger,
) -> tuple[Gateway, Change | None]:
    """The revision grows at once where what is published now is not what the workers and the store have."""
    row = loaded.states.get(DOCUMENT)
    changed = row is None or row.value != laid.document.to_json()
    ahead = base.revision > loaded.revision
    revision = base.revision + (1 if changed or laid.dropped or laid.delisted or laid.afresh or ahead else 0)
    upstream_revisions = {name: kept.revision for (scope, name), kept in loaded.states.items() if scope == UPSTREAM}
    revisions = {name: kept.revision for (scope, name), kept in loaded.states.items() if scope == ROUTE}
    gateway = Gateway(
        node=facts["node"],
        secret=bytes.fromhex(facts["secret"]),
        publisher=publisher,
        journal=journal,
        log=log,
        laid=laid,
        revision=revision,
        document_revision=revision if changed or row is None else row.revision,
        revisions=revisions | dict.fromkeys((*laid.dropped, *laid.afresh, *base.taken_over), revision),
        diffs=diffs,
        upstream_revisions=upstream_revisions,
    )
    if revision == loaded.revision:
        return gateway, None
    pending = adoption(laid, base.states, revision, base.upstreams)
    if ahead:
        pending.states.update({(UPSTREAM, name): state.to_json() for name, state in laid.upstreams.items()})
    auditor = Auditor(facts["node"])
    if changed:
        was = None if row is None else {"source": row.value["source"], "sha256": digest(row.value["text"])}
        now = laid.document.summary()
        pending.audit.append(
            auditor.entry(Intent("file", "config", "read at the start"), revision, None, was, now, None)
        )
    for name in base.taken_over:
        state = laid.states.get(name, UNCHANGED).to_json()
        pending.states.setdefault((ROUTE, name), state)
        intent = Intent(TAKEN_OVER_BY, "taken_over", _TAKEN_OVER)
        pending.audit.append(auditor.entry(intent, revision, name, None, state, None))
    pending.audit += auditor.dropped(laid.dropped, base.states, laid.states, revision, None)
    pending.audit += auditor.delisted(laid.delisted, revision, None)
    return gateway, pending


def _one_line(error: ConfigError | None) -> str:
    if error is None:
        return "no configuration"
    where = f"{error.source}: " if error.source else ""
    return where + "; ".join(str(problem) for problem in error.problems)
