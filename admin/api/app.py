"""The aiohttp application: authentication before everything else, then the call, then its answer or problem."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler as WebHandler

from admin.api.access import SAFE, WHO, authenticate
from admin.api.call import HEADERS, Call
from admin.api.operations import OPERATIONS, Operation
from admin.api.problems import ProblemError, of_http, of_refusal, response
from admin.auth import Principal, Role
from admin.context import Context
from admin.refusals import RefusedError
from admin.refused_calls import RefusedCall
from admin.state.store import StoreError

CONTEXT = web.AppKey("context", Context)
_PRINCIPAL = web.RequestKey("principal", Principal)
_OPEN = frozenset(operation.path for operation in OPERATIONS if operation.role is None)
_CHANGES = frozenset(
    (operation.method, operation.path)
    for operation in OPERATIONS
    if operation.method not in SAFE and operation.role is not None and operation.role > Role.VIEWER
)
_TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})  # as pydantic reads a query
# Of changes, what the audit log has of those that were refused: who may not, and what can't be done. Not what can't be read.
_AUDITED = frozenset({403, 404, 409, 412, 422})
NOBODY = Principal("", Role.VIEWER)


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
        await _identify(request)
        answer = await handler(request)
    except ProblemError as problem:
        answer = await _refuse(request, problem)
    except (RefusedError, StoreError) as refusal:
        answer = await _refuse(request, of_refusal(refusal))
    except web.HTTPException as error:
        answer = response(of_http(error))
    except ConnectionError:
        raise
    except Exception:
        request.app[CONTEXT].log.exception("a call failed", method=request.method, path=request.path)
        answer = response(ProblemError(500, "see the gateway's log"))
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


async def _identify(request: web.Request) -> None:
    if request.path in _OPEN and request.method in SAFE:
        request[_PRINCIPAL] = NOBODY
    else:
        request[_PRINCIPAL] = await authenticate(request, request.app[CONTEXT])


async def _refuse(request: web.Request, problem: ProblemError) -> web.Response:
    """The audit log gets it where somebody tried to change something. A dry run is a question, for those who may ask it."""
    who, resource = request.get(WHO), request.match_info.route.resource
    changes = resource is not None and (request.method, resource.canonical) in _CHANGES
    asks = problem.status != 403 and request.query.get("dry_run", "").lower() in _TRUE
    if who is not None and changes and problem.status in _AUDITED and not asks:
        context = request.app[CONTEXT]
        route = request.match_info.get("route")
        call = RefusedCall(
            who,
            request.method,
            request.rel_url.raw_path,
            route if route in context.gateway.config.routes else None,
            problem.status,
            problem.detail,
        )
        await context.refused.record(call, context.gateway, context.log, asyncio.get_running_loop().time())
    return response(problem)


def _handler(operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        principal = request[_PRINCIPAL]
        if operation.role is not None and principal.role < operation.role:
            needed = operation.role.name.lower()
            raise ProblemError(
                403, f"this needs the role {needed}; the token {principal.name!r} is {principal.role.name.lower()}"
            )
        reply = await operation.handler(Call(request, request.app[CONTEXT], principal))
        return reply if isinstance(reply, web.StreamResponse) else reply.response()

    return handle
