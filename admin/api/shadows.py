"""A route's shadow: setting it live, and back to what is declared."""

from __future__ import annotations

from admin.api.call import Call, Reply
from admin.api.models import ChangeQuery, RestoreBody
from admin.api.shadow_models import ShadowAnswer, ShadowBody
from admin.api.views import receipt_of, shadow_in
from admin.clock import utc_now
from admin.gateway import Gateway, Outcome
from admin.live import FieldError, NotShadowedLiveError, RouteState, Stamp, set_shadow, unset_shadow
from admin.refusals import InvalidFieldsError, NothingLiveError
from routing.document import ConfigError


async def put_shadow(call: Call) -> Reply:
    name, query = call.context.gateway.known(call.route), call.parameters(ChangeQuery)
    body = await call.body(ShadowBody)
    given = {key: getattr(body, key) for key in ShadowBody.model_fields if key in body.model_fields_set - {"reason"}}
    if not given:
        raise InvalidFieldsError([FieldError("", "names no key of a shadow")])

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        route, upstreams = gateway.config.routes[gateway.known(name)], gateway.config.upstreams
        stamp = Stamp(call.principal.name, utc_now(), body.reason)
        try:
            return {name: set_shadow(gateway.state(name), given, route, upstreams, stamp, gateway.next_revision)}
        except ConfigError as error:
            raise InvalidFieldsError(FieldError(each.path, each.message) for each in error.problems) from error

    return _answer(
        await call.context.gateway.change(plan, call.intent("shadow", body.reason, dry_run=query.dry_run)), name
    )


async def delete_shadow(call: Call) -> Reply:
    name, query = call.context.gateway.known(call.route), call.parameters(ChangeQuery)
    body = await call.body(RestoreBody)

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        route = gateway.config.routes[gateway.known(name)]
        try:
            return {name: unset_shadow(gateway.state(name), route, gateway.next_revision)}
        except NotShadowedLiveError as error:
            raise NothingLiveError(name) from error

    intent = call.intent("shadow_as_declared", body.reason, dry_run=query.dry_run)
    return _answer(await call.context.gateway.change(plan, intent), name)


def _answer(outcome: Outcome, name: str) -> Reply:
    receipt = outcome.receipt
    answer = ShadowAnswer(
        revision=outcome.revision,
        route=name,
        shadow=shadow_in(outcome.laid, name),
        receipt=receipt_of(receipt),
        dry_run=receipt is None,
        persisted=receipt is not None and receipt.persisted,
        warnings=list(outcome.warnings),
    )
    return Reply(answer, revision=outcome.revision)
