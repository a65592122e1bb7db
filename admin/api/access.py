"""Who calls, and what those learn who are nobody: one answer, whatever the path, that tells nothing of what exists."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from aiohttp import web

from admin.api.problems import ProblemError
from admin.auth import Principal, Role, token_of
from admin.clock import today, utc_now
from admin.context import Context
from admin.jwks import NoKeysError
from admin.oidc import NoRoleError, NotOursError, Provider, may_be_jwt
from admin.state.store import Token
from proxy.tasks import spawn

SAFE = frozenset({"GET", "HEAD"})


WHO = web.RequestKey("who", str)
"""Whose call it is, as soon as that is known: also of those who have no role."""


async def authenticate(request: web.Request, context: Context) -> Principal:
    """Raises ProblemError."""
    secret = token_of(request.headers.get("Authorization"), safe=request.method in SAFE)
    if secret is None:
        raise _unauthorized(request)
    token = context.tokens.find(secret)
    if token is not None:
        if token.has_expired(utc_now()):
            raise _unauthorized(request, f'the token "{token.name}" expired on {token.expires_at}')
        _note_use(context, token)
        principal = Principal(token.name, Role[token.role.upper()])
    elif context.provider is not None and may_be_jwt(secret):
        principal = await _of_provider(request, context, context.provider, secret)
    else:
        raise _failed(request, context)
    request[WHO] = principal.name
    return principal


async def _of_provider(request: web.Request, context: Context, provider: Provider, secret: str) -> Principal:
    try:
        return await provider.principal(secret)
    except NotOursError as error:
        raise (
            _failed(request, context, error.detail) if error.guess else _unauthorized(request, error.detail)
        ) from error
    except NoRoleError as error:
        request[WHO] = error.name
        raise ProblemError(403, error.detail) from error
    except NoKeysError as error:
        raise ProblemError(503, "the identity provider's keys cannot be had, so its tokens cannot be judged") from error


def _failed(request: web.Request, context: Context, why: str = "") -> ProblemError:
    address = request.remote or ""
    wait = context.throttle.failed(address, asyncio.get_running_loop().time())
    if wait.begins:
        context.log.warning("many tokens that are not known: from this address they have to wait", address=address)
    if wait.seconds:
        seconds = str(math.ceil(wait.seconds))
        detail = (
            f"too many tokens that are not known came from this address; a known one is taken, others in {seconds} s"
        )
        return ProblemError(429, detail, headers={"Retry-After": seconds})
    return _unauthorized(request, why)


def _unauthorized(request: web.Request, why: str = "") -> ProblemError:
    # A browser that navigates here gets a way to give the token: as the password, with any name.
    browser = "text/html" in request.headers.get("Accept", "")
    challenge = 'Bearer realm="headgate", Basic realm="headgate"' if browser else 'Bearer realm="headgate"'
    detail = why or "this call needs `Authorization: Bearer` with a token"
    return ProblemError(401, detail, headers={"WWW-Authenticate": challenge})


def _note_use(context: Context, token: Token) -> None:
    """By the day, so that it costs one write a day."""
    day = today().isoformat()
    if token.last_used == day:
        return
    used = replace(token, last_used=day)
    context.tokens.put(used)
    log = context.log
    writing = spawn(
        context.store.token_used(used),
        "token used",
        lambda error: log.warning(
            "the day of a token's last use could not be stored", token=used.name, error=str(error)
        ),
    )
    context.writing.add(writing)
    writing.add_done_callback(context.writing.discard)
