"""Every call of the API in one table: the router and openapi.json are both made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

from admin.api import (
    changes,
    configuration,
    deployment_models,
    deployments,
    endpoint_models,
    endpoints,
    events,
    explaining,
    models,
    pages,
    reading,
    rollout_models,
    rollouts,
    shadow_models,
    shadows,
    token_models,
    tokens,
)
from admin.api.call import Call, Raw, Reply
from admin.auth import Role
from admin.rollout.commands import Command

Handler = Callable[[Call], Awaitable[Reply | Raw | web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Operation:
    """`role` None needs no token; `answer` None is no JSON of a model; `takes` are the media types of a body that is none.
    `refusals` are the statuses beyond those that every call can have."""

    method: str
    path: str
    handler: Handler
    summary: str
    answer: type[BaseModel] | None
    role: Role | None = Role.VIEWER
    query: type[models.Query] = models.NoQuery
    body: type[models.Body] | None = None
    statuses: tuple[int, ...] = (200,)
    refusals: tuple[int, ...] = ()
    conditional: bool = False
    takes: frozenset[str] = frozenset()
    content: str = "application/json"


def _change(
    method: str,
    path: str,
    handler: Handler,
    summary: str,
    answer: type[BaseModel],
    body: type[models.Body],
    refusals: tuple[int, ...],
) -> Operation:
    return Operation(
        method,
        path,
        handler,
        summary,
        answer,
        Role.OPERATOR,
        models.ChangeQuery,
        body,
        refusals=(412, 503, *refusals),
        conditional=True,
    )


ONE_CUTBACK = "/v1/routes/{route}/cutback"
SHADOW = "/v1/routes/{route}/shadow"
DIFFS = "/v1/routes/{route}/diffs"
ROLLOUT = "/v1/routes/{route}/rollout"
EVENTS = "/v1/events"
ENDPOINTS = "/v1/upstreams/{upstream}/endpoints"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "/health", reading.get_health, "whether it serves", models.HealthAnswer, None, statuses=(200, 503)
    ),
    Operation("GET", "/health/live", reading.get_live, "whether the control plane lives", models.HealthAnswer, None),
    Operation(
        "GET",
        "/health/ready",
        reading.get_ready,
        "whether a worker serves",
        models.HealthAnswer,
        None,
        statuses=(200, 503),
    ),
    Operation(
        "GET",
        "/health/detailed",
        reading.get_detailed_health,
        "every check by name",
        models.DetailedHealthAnswer,
        statuses=(200, 503),
    ),
    Operation("GET", "/v1/status", reading.get_status, "version, node, uptime, workers, revision", models.StatusAnswer),
    Operation(
        "GET", "/v1/routes", reading.get_routes, "all routes with weights, cutback and rates", models.RoutesAnswer
    ),
    Operation("GET", "/v1/routes/{route}", reading.get_route, "one route", models.RouteAnswer, refusals=(404,)),
    _change(
        "PUT",
        "/v1/routes/{route}/weights",
        changes.put_weights,
        "set a route's weights",
        models.WeightsAnswer,
        models.WeightsBody,
        (404,),
    ),
    _change(
        "POST",
        ONE_CUTBACK,
        changes.post_cutback,
        "send all of a route's traffic to stable",
        models.CutbackAnswer,
        models.CutbackBody,
        (404,),
    ),
    _change(
        "DELETE",
        ONE_CUTBACK,
        changes.delete_cutback,
        "end a cutback",
        models.CutbackAnswer,
        models.RestoreBody,
        (404, 409),
    ),
    _change(
        "POST",
        "/v1/cutback",
        changes.post_cutback_all,
        "cut back all routes",
        models.CutbackAllAnswer,
        models.CutbackBody,
        (),
    ),
    _change(
        "DELETE",
        "/v1/cutback",
        changes.delete_cutback_all,
        "end all cutbacks",
        models.CutbackAllAnswer,
        models.RestoreBody,
        (409,),
    ),
    _change(
        "PUT",
        SHADOW,
        shadows.put_shadow,
        "set keys of a route's shadow",
        shadow_models.ShadowAnswer,
        shadow_models.ShadowBody,
        (404,),
    ),
    _change(
        "DELETE",
        SHADOW,
        shadows.delete_shadow,
        "the shadow as declared again",
        shadow_models.ShadowAnswer,
        models.RestoreBody,
        (404, 409),
    ),
    Operation(
        "GET",
        DIFFS,
        shadows.get_diffs,
        "fields by mismatch rate, noise told from news",
        shadow_models.DiffsAnswer,
        query=shadow_models.DiffsQuery,
        refusals=(404, 409),
    ),
    Operation(
        "GET", DIFFS + "/{id}", shadows.get_diff, "one diff whole", shadow_models.DiffAnswer, refusals=(404, 503)
    ),
    _change(
        "DELETE",
        DIFFS,
        shadows.delete_diffs,
        "start the diffs afresh",
        shadow_models.ShadowAnswer,
        models.RestoreBody,
        (404, 409),
    ),
    _change(
        "POST",
        DIFFS + "/ignore",
        shadows.post_ignore,
        "ignore a field, in what was found before too",
        shadow_models.ShadowAnswer,
        shadow_models.IgnoreBody,
        (404, 409),
    ),
    Operation(
        "GET",
        ROLLOUT,
        rollouts.get_rollout,
        "the rollout under way, or the last one",
        rollout_models.RolloutAnswer,
        refusals=(404,),
    ),
    _change(
        "POST",
        ROLLOUT,
        rollouts.post_rollout,
        "begin the route's own rollout, or another",
        rollout_models.RolloutAnswer,
        rollout_models.RolloutBody,
        (404, 409),
    ),
    *(
        _change(
            "POST",
            f"{ROLLOUT}/{what.value}",
            rollouts.telling(what),
            f"{what.value} the rollout",
            rollout_models.RolloutAnswer,
            rollout_models.PromoteBody if what is Command.PROMOTE else rollout_models.CommandBody,
            (404, 409),
        )
        for what in Command
    ),
    Operation(
        "GET", "/v1/upstreams", endpoints.get_upstreams, "upstreams, endpoints, health", endpoint_models.UpstreamsAnswer
    ),
    _change(
        "PUT",
        ENDPOINTS,
        endpoints.put_endpoints,
        "set an upstream's endpoints",
        endpoint_models.EndpointsAnswer,
        endpoint_models.EndpointsBody,
        (404,),
    ),
    _change(
        "POST",
        ENDPOINTS + "/drain",
        endpoints.post_drain,
        "take an endpoint out of rotation",
        endpoint_models.EndpointsAnswer,
        endpoint_models.EndpointBody,
        (404,),
    ),
    _change(
        "POST",
        ENDPOINTS + "/enable",
        endpoints.post_enable,
        "take an endpoint back into rotation",
        endpoint_models.EndpointsAnswer,
        endpoint_models.EndpointBody,
        (404,),
    ),
    Operation(
        "GET",
        "/v1/audit",
        reading.get_audit,
        "who changed what, newest first",
        models.AuditAnswer,
        query=models.AuditQuery,
        refusals=(503,),
    ),
    Operation(
        "GET",
        "/v1/audit/verify",
        reading.get_verify,
        "whether anything in the audit log was changed, removed or inserted",
        models.VerifyAnswer,
        query=models.VerifyQuery,
        refusals=(503,),
    ),
    Operation(
        "GET",
        EVENTS,
        events.get_events,
        "what happens, as it happens: server-sent events",
        None,
        content="text/event-stream",
    ),
    Operation(
        "GET",
        "/v1/deployments",
        deployments.get_deployments,
        "rollouts with their outcome; frequency, duration, success rate, time to recover",
        deployment_models.DeploymentsAnswer,
        query=deployment_models.DeploymentsQuery,
        refusals=(503,),
    ),
    Operation("GET", "/v1/config", configuration.get_config, "the declared document, as JSON or YAML", None),
    Operation(
        "PUT",
        "/v1/config",
        configuration.put_config,
        "replace the declared document",
        models.ConfigAnswer,
        Role.ADMIN,
        models.ConfigQuery,
        refusals=(412, 503),
        conditional=True,
        takes=configuration.TYPES,
    ),
    Operation(
        "POST",
        "/v1/explain",
        explaining.post_explain,
        "where a request would go, and why",
        models.ExplainAnswer,
        body=models.ExplainBody,
    ),
    Operation("GET", "/v1/tokens", tokens.get_tokens, "who may call", token_models.TokensAnswer, Role.ADMIN),
    Operation(
        "POST",
        "/v1/tokens",
        tokens.post_token,
        "create a token",
        token_models.TokenCreatedAnswer,
        Role.ADMIN,
        models.ChangeQuery,
        token_models.TokenBody,
        statuses=(200, 201),
        refusals=(409,),
    ),
    Operation(
        "DELETE",
        "/v1/tokens/{name}",
        tokens.delete_token,
        "revoke a token",
        token_models.TokenRevokedAnswer,
        Role.ADMIN,
        models.ChangeQuery,
        models.RestoreBody,
        refusals=(404, 409),
    ),
    Operation("GET", "/metrics", pages.get_metrics, "for Prometheus", None, content="text/plain"),
    Operation("GET", "/openapi.json", pages.get_openapi, "this description", None),
    Operation("GET", "/docs", pages.get_docs, "this description, for people", None, content="text/html"),
    Operation("GET", "/docs/docs.js", pages.get_docs_script, "the page's script", None, content="text/javascript"),
    Operation("GET", "/docs/docs.css", pages.get_docs_style, "the page's style", None, content="text/css"),
)
