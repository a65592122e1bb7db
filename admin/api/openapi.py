"""openapi.json, from the table of operations and the models that check and build every body."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from admin.api import models
from admin.api.operations import OPERATIONS, Operation
from admin.auth import Role
from routing.config import Config

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}}
_MEANING = {
    200: "done",
    201: "made",
    400: "the body cannot be read",
    401: "no token, an unknown one, or one that has expired",
    403: "the token's role is too low, or it gives none",
    404: "no such route, or nothing of that name or id",
    408: "the body did not come in time",
    409: "the present state does not allow it",
    412: "it has changed since the revision in If-Match",
    413: "the body is too large",
    415: "the body's type is not taken here",
    422: "not valid; `errors` names the fields",
    429: "too many unknown tokens from this address",
    503: "not at present",
}
_ROLES = {
    None: "No token needed.",
    Role.VIEWER: "Role: viewer.",
    Role.OPERATOR: "Role: operator.",
    Role.ADMIN: "Role: admin.",
}


def openapi(version: str) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headgate admin API",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "a token of this gateway's, or with `admin.oidc` a JWT of the identity provider's",
                },
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "the token as password; for GET and HEAD only",
                },
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.handler.__name__,
        "summary": operation.summary,
        "description": _ROLES[operation.role],
        "parameters": _parameters(operation),
        "responses": _responses(operation),
        "security": []
        if operation.role is None
        else [{"bearer": []}, *([{"basic": []}] if operation.method == "GET" else [])],
    }
    if operation.takes:
        schema = {"type": "object", "required": sorted(n for n, f in Config.model_fields.items() if f.is_required())}
        found["requestBody"] = {
            "required": True,
            "content": {each: {"schema": schema} for each in sorted(operation.takes)},
        }
    elif operation.body is not None:
        required = any(each.is_required() for each in operation.body.model_fields.values())
        found["requestBody"] = {"required": required, "content": {"application/json": {"schema": _ref(operation.body)}}}
    return found


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    schema = operation.query.model_json_schema()
    for name, of_name in schema.get("properties", {}).items():
        found.append(
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": of_name,
                "description": of_name.pop("description", ""),
            }
        )
    if operation.conditional:
        text = 'a revision in quotes, such as "7": refuse where it has changed since'
        found.append(
            {"name": "If-Match", "in": "header", "required": False, "schema": {"type": "string"}, "description": text}
        )
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {}} if operation.answer is None else {"schema": _ref(operation.answer)}
    found: dict[str, Any] = {
        str(status): {"description": _MEANING[status], "content": {operation.content: content}}
        for status in operation.statuses
    }
    refusals = set(operation.refusals)
    if operation.role is not None:
        refusals |= {401, 403, 422, 429, 503}
    if operation.body is not None or operation.takes:
        refusals |= {400, 408, 413, 415}
    for status in sorted(refusals):
        found[str(status)] = {"description": _MEANING[status], "content": _PROBLEM}
    return found


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _schemas() -> dict[str, Any]:
    used = {each.answer for each in OPERATIONS if each.answer} | {each.body for each in OPERATIONS if each.body}
    every = sorted(used | {models.ProblemAnswer}, key=lambda model: model.__name__)
    _, schema = models_json_schema(
        [(model, "validation") for model in every], ref_template="#/components/schemas/{model}"
    )
    return dict(schema["$defs"])
