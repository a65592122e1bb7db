"""A route's rollout: begun, told what to do, and shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from admin.api.call import Call, Reply
from admin.api.models import ChangeQuery, NoQuery
from admin.api.problems import ProblemError
from admin.api.rollout_models import CommandBody, PromoteBody, RolloutAnswer, RolloutBody
from admin.api.rollout_shape import rollout_of
from admin.api.views import receipt_of
from admin.context import Context
from admin.live import FieldError
from admin.publisher import Receipt
from admin.refusals import InvalidFieldsError
from admin.rollout.commands import Command
from admin.rollout.state import RolloutState
from routing.check import stable_of
from routing.config_rollout import Rollout
from routing.document import ConfigError
from routing.load import load_rollout


async def post_rollout(call: Call) -> Reply:
    context, query = call.context, call.parameters(ChangeQuery)
    name, body = context.gateway.known(call.route), await call.body(RolloutBody)
    keys = RolloutBody.model_fields.keys() & (body.model_fields_set - {"reason"})
    brought = _plan(call, name, {key: getattr(body, key) for key in keys}) if keys else None
    begun = await context.rollouts.begin(name, brought, call.intent("rollout", body.reason, dry_run=query.dry_run))
    outcome = begun.outcome
    return _answer(context, name, begun.state, outcome.receipt, outcome.warnings, dry_run=query.dry_run)


def _plan(call: Call, name: str, given: dict[str, Any]) -> Rollout:
    """Raises InvalidFieldsError."""
    config = call.context.gateway.config
    route = config.routes[name]
    try:
        return load_rollout(given, stable_of(route), config.upstreams, sticky=route.sticky is not None)
    except ConfigError as error:
        raise InvalidFieldsError(FieldError(each.path, each.message) for each in error.problems) from error


async def get_rollout(call: Call) -> Reply:
    call.parameters(NoQuery)
    name = call.context.gateway.known(call.route)
    state = call.context.rollouts.of(name)
    if state is None:
        raise ProblemError(404, f"route {name!r} has had no rollout")
    return _answer(call.context, name, state, None, (), dry_run=False)


def telling(what: Command) -> Callable[[Call], Awaitable[Reply]]:
    """The handler of `POST …/rollout/{what}`."""

    async def post(call: Call) -> Reply:
        context, query = call.context, call.parameters(ChangeQuery)
        name = context.gateway.known(call.route)
        body = await call.body(PromoteBody if what is Command.PROMOTE else CommandBody)
        upstream = body.upstream if isinstance(body, PromoteBody) else ""
        intent = call.intent(f"rollout_{what.value}", body.reason, dry_run=query.dry_run)
        taken = await context.rollouts.tell(name, what, intent, upstream)
        warnings = (taken.trouble,) if taken.trouble else ()
        return _answer(context, name, taken.state, taken.receipt, warnings, dry_run=query.dry_run)

    return post


def _answer(
    context: Context,
    name: str,
    state: RolloutState,
    receipt: Receipt | None,
    warnings: tuple[str, ...],
    *,
    dry_run: bool,
) -> Reply:
    revision = context.gateway.route_revision(name)
    answer = RolloutAnswer(
        **rollout_of(state).model_dump(),
        route=name,
        revision=revision,
        receipt=receipt_of(receipt),
        dry_run=dry_run,
        warnings=list(warnings),
    )
    return Reply(answer, revision=revision)
