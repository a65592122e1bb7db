"""Calls about tokens: list, create, revoke."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from admin.api.call import Call, Reply
from admin.api.models import ChangeQuery, NoQuery, RestoreBody
from admin.api.token_models import TokenAnswer, TokenBody, TokenCreatedAnswer, TokenRevokedAnswer, TokensAnswer
from admin.auth import Role
from admin.clock import utc_now
from admin.state.store import Token
from admin.tokens import Issuer


async def get_tokens(call: Call) -> Reply:
    call.parameters(NoQuery)
    now = utc_now()
    return Reply(TokensAnswer(tokens=[TokenAnswer(**_shown(token, now)) for token in call.context.tokens]))


async def post_token(call: Call) -> Reply:
    query, body = call.parameters(ChangeQuery), await call.body(TokenBody)
    intent = call.intent("token_create", body.reason, dry_run=query.dry_run)
    issuer = Issuer(call.context.gateway, call.context.tokens)
    token, secret, persisted = await issuer.create(
        body.name, Role[body.role.upper()], body.expires, intent, datetime.now(UTC)
    )
    answer = TokenCreatedAnswer(
        **_shown(token, utc_now()),
        token=None if query.dry_run else secret,
        dry_run=query.dry_run,
        persisted=persisted,
        warnings=_warnings(
            persisted, query, "in force, but not yet stored: a restart would end it; storing is tried again"
        ),
    )
    return Reply(answer, status=200 if query.dry_run else 201)


async def delete_token(call: Call) -> Reply:
    query, body = call.parameters(ChangeQuery), await call.body(RestoreBody)
    name = call.request.match_info["name"]
    intent = call.intent("token_revoke", body.reason, dry_run=query.dry_run)
    persisted = await Issuer(call.context.gateway, call.context.tokens).revoke(name, intent)
    warning = "revoked, but that is not yet stored: after a restart it would hold again; storing is tried again"
    answer = TokenRevokedAnswer(
        name=name, dry_run=query.dry_run, persisted=persisted, warnings=_warnings(persisted, query, warning)
    )
    return Reply(answer)


def _warnings(persisted: bool, query: ChangeQuery, text: str) -> list[str]:
    return [] if persisted or query.dry_run else [text]


def _shown(token: Token, now: str) -> dict[str, Any]:
    return {
        "name": token.name,
        "role": token.role,
        "created_at": token.created_at,
        "created_by": token.created_by,
        "expires_at": token.expires_at,
        "expired": token.has_expired(now),
        "last_used": token.last_used,
    }
