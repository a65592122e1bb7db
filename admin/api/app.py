"""The aiohttp application: authentication before everything else, then the call, then its answer or problem."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler as WebHandler

from admin.api.call import Call
from admin.api.operations import OPERATIONS, Operation
from admin.api.problems import ProblemError, of_http, of_refusal, response
from admin.auth import Principal, Role, token_of
from admin.context import Context
from admin.refusals import RefusedError
from admin.state.store import StoreError

CONTEXT = web.AppKey("context", Context)
_PRINCIPAL = web.RequestKey("principal", Principal)
_SAFE = frozenset({"GET", "HEAD"})
_OPEN = frozenset(operation.path for operation in OPERATIONS if operation.role is None)
NOBODY = Principal("", Role.VIEWER)

_HEADERS = {
    "Server": "headgate",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def make_app(context: Context) -> web.Application:
    app = web.Application(middlewares=[_answer], client_max_size=0)
    app[CONTEXT] = context
    for operation in OPERATIONS:
        app.router.add_route(operation.method, operation.path, _handler(operation))
        if operation.method == "GET":
            app.router.add_route("HEAD", operation.path, _handler(operation))
    return app


@web.middleware
async def _answer(request: web.Request, handler: WebHandler) -> web.StreamResponse:
    answer: web.StreamResponse
    try:
        _authenticate(request)
        answer = await handler(request)
    except ProblemError as problem:
        answer = response(problem)
    except (RefusedError, StoreError) as refusal:
        answer = response(of_refusal(refusal))
    except web.HTTPException as error:
        answer = response(of_http(error))
    except ConnectionError:
        raise
    except Exception:
        request.app[CONTEXT].log.exception("a call failed", method=request.method, path=request.path)
        answer = response(ProblemError(500, "see the gateway's log"))
    for name, value in _HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def _authenticate(request: web.Request) -> None:
    """One answer to every caller without a token of ours, whatever the path: it tells nothing of what exists."""
    if request.path in _OPEN and request.method in _SAFE:
        request[_PRINCIPAL] = NOBODY
        return
    token = token_of(request.headers.get("Authorization"), safe=request.method in _SAFE)
    principal = request.app[CONTEXT].tokens.principal(token) if token else None
    if principal is None:
        # A browser that navigates here gets a way to give the token: as the password, with any name.
        browser = "text/html" in request.headers.get("Accept", "")
        challenge = 'Bearer realm="headgate", Basic realm="headgate"' if browser else 'Bearer realm="headgate"'
        raise ProblemError(
            401, "this call needs `Authorization: Bearer` with a token", headers={"WWW-Authenticate": challenge}
        )
    request[_PRINCIPAL] = principal


def _handler(operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        principal = request[_PRINCIPAL]
        if operation.role is not None and principal.role < operation.role:
            needed = operation.role.name.lower()
            raise ProblemError(
                403, f"this needs the role {needed}; the token {principal.name!r} is {principal.role.name.lower()}"
            )
        reply = await operation.handler(Call(request, request.app[CONTEXT], principal))
        return reply.response()

    return handle
