"""Where a request would go, and why: decided by the snapshot that the workers have."""

from __future__ import annotations

from admin.api.call import Call, Reply
from admin.api.models import ExplainAnswer, ExplainBody, NoQuery
from admin.live import FieldError
from admin.refusals import InvalidFieldsError
from routing.addresses import parse_address
from routing.explain import explain, request_of
from routing.request import ClientCertificate
from routing.weights import Draws


async def post_explain(call: Call) -> Reply:
    call.parameters(NoQuery)
    body = await call.body(ExplainBody)
    if body.client_ip and parse_address(body.client_ip) is None:
        raise InvalidFieldsError([FieldError("client_ip", "not an IP address")])
    fields = [(name, value) for name, values in body.headers.items() for value in _listed(values)]
    context = call.context
    try:
        request = request_of(body.method, body.url, fields, body.client_ip, context.geo())
    except ValueError as error:
        raise InvalidFieldsError([FieldError("url", str(error))]) from error
    if body.client_certificate is not None:
        request.certificate = ClientCertificate(body.client_certificate.subject, tuple(body.client_certificate.san))
    answer = explain(context.gateway.snapshot, request, Draws())
    return Reply(ExplainAnswer.model_validate(answer))


def _listed(values: str | list[str]) -> list[str]:
    return [values] if isinstance(values, str) else values
