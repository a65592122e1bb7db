"""Calls that only tell: status, routes, upstreams, audit, health."""

from __future__ import annotations

import time
from dataclasses import asdict

from admin.api.call import Call, Reply
from admin.api.models import (
    AuditAnswer,
    AuditAnswerEntry,
    AuditQuery,
    ConfigStatus,
    DetailedHealthAnswer,
    HealthAnswer,
    MisfitAnswer,
    NoQuery,
    RoutesAnswer,
    ShadowProcess,
    StatusAnswer,
    StoreStatus,
    VerifyAnswer,
    VerifyQuery,
    WorkerAnswer,
    WorkersReady,
)
from admin.api.views import route_answer
from admin.audit import verify
from admin.clock import iso_of, today
from admin.context import Context
from admin.document import digest
from routing.check import warnings


async def get_status(call: Call) -> Reply:
    call.parameters(NoQuery)
    context = call.context
    gateway, journal = context.gateway, context.gateway.journal
    document = gateway.laid.document
    answer = StatusAnswer(
        version=context.version,
        node=gateway.node,
        uptime=round(time.time() - context.started_at, 3),
        started_at=iso_of(context.started_at),
        revision=gateway.revision,
        workers=[
            WorkerAnswer(
                worker=worker.number,
                pid=worker.pid,
                ready=worker.ready,
                revision=worker.revision,
                started_at=iso_of(worker.started_at),
            )
            for worker in context.rates.workers.workers
        ],
        worker_restarts=context.rates.workers.restarts,
        crashing=context.rates.workers.crashing,
        draining=context.rates.workers.draining,
        shadow=None if (shadow := context.rates.workers.shadow) is None else ShadowProcess(**asdict(shadow)),
        config=ConfigStatus(
            path=str(context.settings.config),
            source="api" if document.source == "api" else "file",
            sha256=digest(document.text),
            revision=gateway.document_revision,
            error=context.reload_error,
            needs_restart=context.needs_restart,
            warnings=[str(warning) for warning in warnings(gateway.config, today())],
        ),
        store=StoreStatus(
            pending=journal.pending,
            failures=journal.failures,
            audit_dropped=journal.dropped,
            kept_aside=context.kept_aside,
        ),
    )
    return Reply(answer, revision=gateway.revision)


async def get_routes(call: Call) -> Reply:
    call.parameters(NoQuery)
    gateway, rates, ejected = call.context.gateway, call.context.rates.window(), call.context.rates.ejected()
    routes = [route_answer(call.context, name, rates, ejected) for name in gateway.config.routes]
    return Reply(RoutesAnswer(revision=gateway.revision, routes=routes), revision=gateway.revision)


async def get_route(call: Call) -> Reply:
    call.parameters(NoQuery)
    name, rates = call.context.gateway.known(call.route), call.context.rates
    answer = route_answer(call.context, name, rates.window(), rates.ejected())
    return Reply(answer, revision=answer.revision)


async def get_audit(call: Call) -> Reply:
    query = call.parameters(AuditQuery)
    entries = await call.context.store.entries(route=query.route, before=query.before, limit=query.limit + 1)
    page = entries[: query.limit]
    answer = AuditAnswer(
        entries=[AuditAnswerEntry.model_validate(asdict(entry)) for entry in page],
        next=page[-1].id if len(entries) > len(page) else None,
    )
    return Reply(answer)


async def get_verify(call: Call) -> Reply:
    query, context = call.parameters(VerifyQuery), call.context
    async with context.verifying:
        found = await verify(context.store, None if query.expect is None else query.expect.lower())
    misfit = found.misfit
    answer = VerifyAnswer(
        holds=misfit is None,
        entries=found.head.entries,
        head=found.head.hash,
        misfit=None if misfit is None else MisfitAnswer(id=misfit.id, why=misfit.why),
        expected=found.expected,
    )
    return Reply(answer)


def _checks(context: Context) -> dict[str, bool]:
    workers = context.rates.workers.workers
    checks = {
        "workers": any(worker.ready for worker in workers),
        "all_workers": bool(workers) and all(worker.ready for worker in workers),
        "configuration": context.reload_error is None,
        "store": context.gateway.journal.pending == 0,
    }
    if any(route.shadow is not None for route in context.gateway.snapshot.routes):
        shadow = context.rates.workers.shadow
        checks["shadow"] = shadow is not None and shadow.ready
    return checks


def _ready(context: Context) -> bool:
    return _checks(context)["workers"] and not context.rates.workers.draining


async def get_health(call: Call) -> Reply:
    return _health(_ready(call.context))


async def get_live(call: Call) -> Reply:
    """Answering is living."""
    return _health(True)


async def get_ready(call: Call) -> Reply:
    """Ready when a worker serves: the last good state is served on, whatever else is broken. Not while the gateway drains."""
    return _health(_ready(call.context))


def _health(well: bool) -> Reply:
    return Reply(HealthAnswer(status="ok" if well else "failing"), status=200 if well else 503)


async def get_detailed_health(call: Call) -> Reply:
    call.parameters(NoQuery)
    checks, workers = _checks(call.context), call.context.rates.workers.workers
    checks["serving_on"] = not call.context.rates.workers.draining
    well = all(checks.values())
    answer = DetailedHealthAnswer(
        status="ok" if well else "failing",
        checks=checks,
        workers=WorkersReady(ready=sum(worker.ready for worker in workers), total=len(workers)),
        revision=call.context.gateway.revision,
    )
    return Reply(answer, status=200 if well else 503)
