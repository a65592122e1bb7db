"""Every refusal and failure as problem+json (RFC 9457), and the one table of which status it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from admin.live import FieldError
from admin.refusals import (
    BadConfigError,
    BusyError,
    InvalidFieldsError,
    NoShadowError,
    NothingLiveError,
    NothingToRestoreError,
    OutOfTurnError,
    RefusedError,
    StaleMatchError,
    TokenStandsError,
    UnadoptableError,
    UnknownRouteError,
    UnknownTokenError,
    UnknownUpstreamError,
    UnpublishableError,
)
from admin.state.store import StoreError, UnreadableEntryError

CONTENT_TYPE = "application/problem+json"

_TITLES = {
    400: ("bad-request", "The request cannot be read"),
    401: ("unauthorized", "A token is needed"),
    403: ("forbidden", "The role of this token is too low"),
    404: ("not-found", "There is nothing here"),
    405: ("method-not-allowed", "This method is not for this path"),
    408: ("body-timeout", "The body did not come in time"),
    409: ("conflict", "The present state does not allow this"),
    412: ("stale-revision", "It has changed meanwhile"),
    413: ("body-too-large", "The body is too large"),
    415: ("unsupported-media-type", "The body is in a format that is not taken here"),
    417: ("expectation-failed", "The expectation cannot be met"),
    422: ("invalid", "The request is not valid"),
    429: ("too-many-failures", "Too many tokens that are not known"),
    500: ("internal", "Something went wrong inside the gateway's control plane"),
    503: ("unavailable", "This cannot be done at present"),
}

_REFUSALS: dict[type[Exception], int] = {
    UnknownRouteError: 404,
    UnknownTokenError: 404,
    UnknownUpstreamError: 404,
    NothingToRestoreError: 409,
    NothingLiveError: 409,
    NoShadowError: 409,
    BusyError: 409,
    OutOfTurnError: 409,
    TokenStandsError: 409,
    StaleMatchError: 412,
    InvalidFieldsError: 422,
    BadConfigError: 422,
    UnadoptableError: 422,
    UnpublishableError: 503,
    StoreError: 503,
    UnreadableEntryError: 503,
}


@dataclass
class ProblemError(Exception):
    """What a handler raises to answer with a problem."""

    status: int
    detail: str
    errors: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


def response(problem: ProblemError) -> web.Response:
    slug, title = _TITLES.get(problem.status, ("refused", "The request was refused"))
    body: dict[str, Any] = {
        "type": f"urn:headgate:problem:{slug}",
        "title": title,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = problem.errors
    headers = {"Retry-After": "1", **problem.headers} if problem.status == 503 else problem.headers
    return web.Response(status=problem.status, body=orjson.dumps(body), content_type=CONTENT_TYPE, headers=headers)


def of_refusal(refusal: RefusedError | StoreError) -> ProblemError:
    status = _REFUSALS[type(refusal)]
    if isinstance(refusal, InvalidFieldsError):
        return ProblemError(status, refusal.detail, [_field(error) for error in refusal.errors])
    if isinstance(refusal, BadConfigError):
        errors = [
            {"field": problem.path, "path": problem.path, "line": problem.line, "message": problem.message}
            for problem in refusal.problems
        ]
        return ProblemError(status, refusal.detail, errors)
    if isinstance(refusal, StaleMatchError):
        return ProblemError(status, refusal.detail, headers={"ETag": f'"{refusal.current}"'})
    if isinstance(refusal, StoreError):
        return ProblemError(status, f"the store does not answer: {refusal}")
    return ProblemError(status, refusal.detail)


def of_validation(error: ValidationError) -> ProblemError:
    """Pydantic's findings, by field; the input itself is not repeated."""
    errors = [
        {"field": ".".join(map(str, found["loc"])), "message": found["msg"]}
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return ProblemError(422, "; ".join(f"{e['field']}: {e['message']}" for e in errors), errors)


def of_http(error: web.HTTPException) -> ProblemError:
    """What aiohttp itself raises: no such path, not this method, …"""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return ProblemError(405, f"{error.method} is not for this path; {allowed} are", headers={"Allow": allowed})
    if error.status == 404:
        return ProblemError(404, "no such path; /openapi.json lists them all")
    return ProblemError(error.status, error.reason)


def _field(error: FieldError) -> dict[str, Any]:
    return {"field": error.field, "message": error.message}
