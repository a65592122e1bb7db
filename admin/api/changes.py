"""Weights, cutback and restore: the calls that move traffic."""

from __future__ import annotations

from admin.api.call import Call, Reply
from admin.api.models import (
    ChangeQuery,
    CutbackAllAnswer,
    CutbackAnswer,
    CutbackBody,
    RestoreBody,
    WeightsAnswer,
    WeightsBody,
)
from admin.api.views import cutback_of, effective_in, receipt_of, weights_in
from admin.clock import utc_now
from admin.document import fingerprint
from admin.gateway import Gateway, Outcome
from admin.live import FieldError, NotCutBackError, RouteState, Stamp, check_weights, cut_back, restore, set_weights
from admin.refusals import InvalidFieldsError, NothingToRestoreError
from proxy.control import InFlight
from routing.snapshot import CutbackMode
from routing.sticky import StickyBy

_NO_DRAIN = (
    "drain needs a sticky cookie to tell the clients that were here from new ones; this route is sticky by {by}, which "
    "new clients bring as well. Use mode cut"
)


async def put_weights(call: Call) -> Reply:
    name, query = call.context.gateway.known(call.route), call.parameters(ChangeQuery)
    body = await call.body(WeightsBody)

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        route = gateway.config.routes[gateway.known(name)]
        if errors := check_weights(body.weights, gateway.config.upstreams):
            raise InvalidFieldsError(errors)
        stamp = Stamp(call.principal.name, utc_now(), body.reason)
        return {name: set_weights(gateway.state(name), body.weights, fingerprint(route), stamp)}

    outcome = await call.context.gateway.change(plan, call.intent("weights", body.reason, dry_run=query.dry_run))
    return _one(outcome, name, WeightsAnswer)


async def post_cutback(call: Call) -> Reply:
    name, query = call.context.gateway.known(call.route), call.parameters(ChangeQuery)
    body = await call.body(CutbackBody)

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        return _cutback_of(gateway, [gateway.known(name)], body, call.principal.name)

    intent = call.intent("cutback", body.reason, dry_run=query.dry_run)
    outcome = await call.context.gateway.change(plan, intent, InFlight(body.in_flight))
    return _one(outcome, name, CutbackAnswer)


async def delete_cutback(call: Call) -> Reply:
    name, query = call.context.gateway.known(call.route), call.parameters(ChangeQuery)
    body = await call.body(RestoreBody)

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        try:
            return {name: restore(gateway.state(gateway.known(name)))}
        except NotCutBackError as error:
            raise NothingToRestoreError(name) from error

    outcome = await call.context.gateway.change(plan, call.intent("restore", body.reason, dry_run=query.dry_run))
    return _one(outcome, name, CutbackAnswer)


async def post_cutback_all(call: Call) -> Reply:
    query = call.parameters(ChangeQuery)
    body = await call.body(CutbackBody)

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        return _cutback_of(gateway, list(gateway.config.routes), body, call.principal.name)

    intent = call.intent("cutback", body.reason, dry_run=query.dry_run)
    return _all(await call.context.gateway.change(plan, intent, InFlight(body.in_flight)))


async def delete_cutback_all(call: Call) -> Reply:
    """Ends every cutback there is."""
    query = call.parameters(ChangeQuery)
    body = await call.body(RestoreBody)

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        states = {name: state for name, state in gateway.laid.states.items() if state.cutback is not None}
        if not states:
            raise NothingToRestoreError
        return {name: restore(state) for name, state in states.items()}

    return _all(await call.context.gateway.change(plan, call.intent("restore", body.reason, dry_run=query.dry_run)))


def _cutback_of(gateway: Gateway, names: list[str], body: CutbackBody, who: str) -> dict[str, RouteState]:
    mode = CutbackMode(body.mode)
    if mode is CutbackMode.DRAIN:
        errors = []
        for name in names:
            route = gateway.snapshot.route_named(name)
            if route is not None and route.sticky is not None and route.sticky.by is not StickyBy.COOKIE:
                where = "" if len(names) == 1 else f"route {name}: "
                errors.append(FieldError("mode", where + _NO_DRAIN.format(by=route.sticky.by.value)))
        if errors:
            raise InvalidFieldsError(errors)
    stamp = Stamp(who, utc_now(), body.reason)
    return {name: cut_back(gateway.state(name), mode, stamp) for name in names}


def _one(outcome: Outcome, name: str, model: type[WeightsAnswer]) -> Reply:
    receipt = outcome.receipt
    answer = model(
        revision=outcome.revision,
        route=name,
        weights=weights_in(outcome.laid, name),
        effective=effective_in(outcome.laid, name),
        cutback=cutback_of(outcome.laid.states[name].cutback),
        receipt=receipt_of(receipt),
        dry_run=receipt is None,
        persisted=receipt is not None and receipt.persisted,
        warnings=list(outcome.warnings),
    )
    return Reply(answer, revision=outcome.revision)


def _all(outcome: Outcome) -> Reply:
    receipt = outcome.receipt
    answer = CutbackAllAnswer(
        revision=outcome.revision,
        routes=list(outcome.changed),
        receipt=receipt_of(receipt),
        dry_run=receipt is None,
        persisted=receipt is not None and receipt.persisted,
        warnings=list(outcome.warnings),
    )
    return Reply(answer, revision=outcome.revision)
