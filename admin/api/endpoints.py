"""Upstreams and their endpoints: what is in rotation, and changing it."""

from __future__ import annotations

from collections.abc import Mapping

from admin.api.call import Call, Reply
from admin.api.endpoint_models import (
    CircuitBreakerAnswer,
    CircuitLimit,
    EndpointAnswer,
    EndpointBody,
    EndpointsAnswer,
    EndpointsBody,
    UpstreamAnswer,
    UpstreamsAnswer,
)
from admin.api.models import ChangedBy, ChangeQuery, NoQuery
from admin.api.views import receipt_of
from admin.clock import utc_now
from admin.context import Context
from admin.endpoints import AS_LISTED, UpstreamState, drain, enable, in_force, put, read_endpoints
from admin.gateway import EndpointPlan
from admin.laid import Laid
from admin.live import FieldError, Stamp
from admin.refusals import InvalidFieldsError
from routing.config_upstreams import Upstream
from routing.notation import endpoint
from routing.snapshot import Upstream as CompiledUpstream


async def get_upstreams(call: Call) -> Reply:
    call.parameters(NoQuery)
    context = call.context
    gateway, rates, in_flight = context.gateway, context.rates.by_upstream(), context.rates.in_flight()
    gauges = context.rates.gauges()
    answers = []
    for upstream in gateway.snapshot.upstreams:
        name, listed = upstream.name, gateway.upstream_state(upstream.name).listed
        endpoints = endpoint_answers(context, gateway.laid, name, gauges)
        answers.append(
            UpstreamAnswer(
                upstream=name,
                healthy=any(each.state == "in" for each in endpoints),
                in_flight=in_flight.get(name, 0),
                rps=rates[name].rps if name in rates else 0.0,
                error_rate=rates[name].error_rate if name in rates else None,
                endpoints=endpoints,
                circuit_breaker=_circuit_breaker(upstream, gauges),
                declared=[each.url for each in upstream.declared],
                live=None if listed is None else _changed_by(listed.stamp),
                revision=gateway.upstream_revision(name),
            )
        )
    return Reply(UpstreamsAnswer(revision=gateway.revision, upstreams=answers), revision=gateway.revision)


async def put_endpoints(call: Call) -> Reply:
    body = await call.body(EndpointsBody)
    urls, errors = read_endpoints(body.endpoints)

    def plan(state: UpstreamState, upstream: Upstream) -> UpstreamState:
        if errors:
            raise InvalidFieldsError(errors)
        return put(state, urls, upstream, Stamp(call.principal.name, utc_now(), body.reason))

    return await _change(call, plan, "endpoints", body.reason)


async def post_drain(call: Call) -> Reply:
    body = await call.body(EndpointBody)

    def plan(state: UpstreamState, upstream: Upstream) -> UpstreamState:
        stamp = Stamp(call.principal.name, utc_now(), body.reason)
        return drain(state, _known(body.endpoint, state, upstream), stamp)

    return await _change(call, plan, "endpoint_drain", body.reason)


async def post_enable(call: Call) -> Reply:
    body = await call.body(EndpointBody)

    def plan(state: UpstreamState, upstream: Upstream) -> UpstreamState:
        return enable(state, _known(body.endpoint, state, upstream))

    return await _change(call, plan, "endpoint_enable", body.reason)


def _known(text: str, state: UpstreamState, upstream: Upstream) -> str:
    """Its URL. Raises InvalidFieldsError."""
    try:
        url = endpoint(text).url
    except ValueError as error:
        raise InvalidFieldsError([FieldError("endpoint", str(error))]) from error
    if url not in in_force(state, upstream):
        raise InvalidFieldsError([FieldError("endpoint", f"{url} is no endpoint of this upstream")])
    return url


async def _change(call: Call, plan: EndpointPlan, action: str, reason: str) -> Reply:
    context, name = call.context, call.request.match_info["upstream"]
    query = call.parameters(ChangeQuery)
    outcome = await context.gateway.change_endpoints(name, plan, call.intent(action, reason, dry_run=query.dry_run))
    receipt = outcome.receipt
    upstream = outcome.laid.snapshot.upstream_named(name)
    assert upstream is not None
    answer = EndpointsAnswer(
        revision=outcome.revision,
        upstream=name,
        endpoints=endpoint_answers(context, outcome.laid, name, context.rates.gauges()),
        declared=[each.url for each in upstream.declared],
        receipt=receipt_of(receipt),
        dry_run=receipt is None,
        persisted=receipt is not None and receipt.persisted,
        warnings=list(outcome.warnings),
    )
    return Reply(answer, revision=outcome.revision)


def endpoint_answers(context: Context, laid: Laid, name: str, gauges: Mapping[str, float]) -> list[EndpointAnswer]:
    """By `laid`, and by what the workers last said (`Rates.gauges`)."""
    upstream = laid.snapshot.upstream_named(name)
    assert upstream is not None
    drained = laid.upstreams.get(name, AS_LISTED).drained
    answers = []
    for url in (each.url for each in upstream.endpoints):
        in_flight = int(gauges.get(f"endpoint_in_flight {name} {url}", 0))
        ejected_by = int(gauges.get(f"endpoint_ejected {name} {url}", 0))
        ejected = ejected_by >= len(context.rates.workers.workers) > 0
        stamp = drained.get(url)
        answers.append(
            EndpointAnswer(
                endpoint=url,
                state=("draining" if in_flight else "drained")
                if stamp is not None
                else "unhealthy"
                if url in upstream.unhealthy
                else "ejected"
                if ejected
                else "in",
                healthy=not ejected and url not in upstream.unhealthy,
                in_flight=in_flight,
                ejected_by=ejected_by,
                problem=context.gateway.problems.get((name, url)),
                drained=None if stamp is None else _changed_by(stamp),
            )
        )
    return answers


def _circuit_breaker(upstream: CompiledUpstream, gauges: Mapping[str, float]) -> CircuitBreakerAnswer | None:
    limits = upstream.circuit_breaker
    if limits is None:
        return None

    def limit(name: str, most: int) -> CircuitLimit:
        return CircuitLimit(now=int(gauges.get(f"circuit_{name} {upstream.name}", 0)), limit=most or None)

    return CircuitBreakerAnswer(requests=limit("requests", limits.requests), waiting=limit("waiting", limits.waiting))


def _changed_by(stamp: Stamp) -> ChangedBy:
    return ChangedBy(by=stamp.by, at=stamp.at, reason=stamp.reason)
