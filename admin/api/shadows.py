"""A route's shadow: setting it live, back to what is declared, and what was found of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admin.api.call import Call, Reply
from admin.api.models import ChangeQuery, NoQuery, RestoreBody
from admin.api.problems import ProblemError
from admin.api.shadow_models import DiffAnswer, DiffsAnswer, DiffsQuery, IgnoreBody, ShadowAnswer, ShadowBody
from admin.api.views import receipt_of, shadow_in
from admin.clock import iso_of, utc_now
from admin.gateway import Gateway, Outcome
from admin.live import (
    FieldError,
    NotShadowedLiveError,
    RouteState,
    Stamp,
    afresh,
    set_shadow,
    shadow_in_force,
    unset_shadow,
)
from admin.refusals import InvalidFieldsError, NoShadowError, NothingLiveError
from routing.config import Shadow
from routing.document import ConfigError
from routing.json_path import field_path


async def put_shadow(call: Call) -> Reply:
    name, query = call.context.gateway.known(call.route), call.parameters(ChangeQuery)
    body = await call.body(ShadowBody)
    given = {key: getattr(body, key) for key in ShadowBody.model_fields if key in body.model_fields_set - {"reason"}}
    if not given:
        raise InvalidFieldsError([FieldError("", "names no key of a shadow")])

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        return {name: _with(gateway, name, given, Stamp(call.principal.name, utc_now(), body.reason))}

    intent = call.intent("shadow", body.reason, dry_run=query.dry_run)
    return _answer(call, await call.context.gateway.change(plan, intent), name)


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
    return _answer(call, await call.context.gateway.change(plan, intent), name)


async def delete_diffs(call: Call) -> Reply:
    """Starts them afresh. What the shadow process still says of before is void."""
    name, query = call.context.gateway.known(call.route), call.parameters(ChangeQuery)
    body = await call.body(RestoreBody)

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        _shadow(gateway, name)
        return {name: afresh(gateway.state(name), gateway.next_revision)}

    intent = call.intent("diffs_afresh", body.reason, dry_run=query.dry_run)
    return _answer(call, await call.context.gateway.change(plan, intent), name)


async def post_ignore(call: Call) -> Reply:
    """Diffs are judged by what is ignored when somebody asks, so this holds for what was found before, too."""
    name, query = call.context.gateway.known(call.route), call.parameters(ChangeQuery)
    body = await call.body(IgnoreBody)
    try:
        field = field_path(body.field)
    except ValueError as error:
        raise InvalidFieldsError([FieldError("field", str(error))]) from error

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        others = [each for each in _shadow(gateway, name).compare.ignore if each != field]
        given = {"compare": {"ignore": [*others, field] if body.ignored else others}}
        return {name: _with(gateway, name, given, Stamp(call.principal.name, utc_now(), body.reason))}

    intent = call.intent("diffs_ignore", body.reason, dry_run=query.dry_run)
    return _answer(call, await call.context.gateway.change(plan, intent), name)


async def get_diffs(call: Call) -> Reply:
    gateway, query = call.context.gateway, call.parameters(DiffsQuery)
    name = gateway.known(call.route)
    shadow, judged = _shadow(gateway, name), call.context.diffs.judged(name)

    def some(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in found if query.endpoint in (None, each["endpoint"])][: query.limit]

    lists = {key: some(judged[key]) for key in ("findings", "noise", "watching", "endpoints", "latency", "notes")}
    about = {"route": name, "upstream": shadow.upstream, "since": gateway.state(name).since}
    return Reply(DiffsAnswer.model_validate({**judged, **lists, **about}), revision=gateway.route_revision(name))


async def get_diff(call: Call) -> Reply:
    call.parameters(NoQuery)
    name, number = call.context.gateway.known(call.route), call.request.match_info["id"]
    example = await call.context.diffs.example(name, number)
    if example is None:
        raise ProblemError(404, f"route {name!r} has no diff {number!r}: the newest are kept, for a week at most")
    return Reply(DiffAnswer.model_validate({**example, "at": iso_of(example["at"])}))


def _shadow(gateway: Gateway, name: str) -> Shadow:
    """That in force. Raises UnknownRouteError or NoShadowError."""
    shadow = shadow_in_force(gateway.state(name), gateway.config.routes[gateway.known(name)])
    if shadow is None:
        raise NoShadowError(name)
    return shadow


def _with(gateway: Gateway, name: str, given: Mapping[str, Any], stamp: Stamp) -> RouteState:
    """Raises UnknownRouteError or InvalidFieldsError."""
    route, upstreams = gateway.config.routes[gateway.known(name)], gateway.config.upstreams
    try:
        return set_shadow(gateway.state(name), given, route, upstreams, stamp, gateway.next_revision)
    except ConfigError as error:
        raise InvalidFieldsError(FieldError(each.path, each.message) for each in error.problems) from error


def _answer(call: Call, outcome: Outcome, name: str) -> Reply:
    receipt = outcome.receipt
    answer = ShadowAnswer(
        revision=outcome.revision,
        route=name,
        shadow=shadow_in(outcome.laid, name, call.context.diffs),
        receipt=receipt_of(receipt),
        dry_run=receipt is None,
        persisted=receipt is not None and receipt.persisted,
        warnings=list(outcome.warnings),
    )
    return Reply(answer, revision=outcome.revision)
