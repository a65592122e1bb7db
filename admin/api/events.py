"""`GET /v1/events`: what happens, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio

from aiohttp import web

from admin.api.access import authenticate
from admin.api.call import HEADERS, Call, Raw
from admin.api.models import NoQuery
from admin.api.problems import ProblemError
from admin.events import MOST_FOLLOWERS, Feed, Follower

TYPE = "text/event-stream"
_STALLED = 10.0
"""Seconds that a write may take."""


async def get_events(call: Call) -> Raw | web.StreamResponse:
    call.parameters(NoQuery)
    request, feed = call.request, call.context.news.feed
    if request.method == "HEAD":
        return Raw(b"", TYPE)

    def alive() -> bool:
        return request.transport is not None and not request.transport.is_closing()

    def cut() -> None:
        if request.transport is not None:
            request.transport.abort()

    follower = feed.follow(request.headers.get("Last-Event-ID"), alive, cut)
    if follower is None:
        raise ProblemError(503, f"there are {MOST_FOLLOWERS} streams of events already")
    response = web.StreamResponse(headers={**HEADERS, "Content-Type": TYPE, "X-Accel-Buffering": "no"})
    try:
        await response.prepare(request)
        await _follow(call, response, feed, follower)
    except TimeoutError:
        feed.cut(follower)
    except (ConnectionError, ProblemError):  # the client has gone, or its token holds no more
        pass
    finally:
        feed.leave(follower)
    return response


async def _follow(call: Call, response: web.StreamResponse, feed: Feed, follower: Follower) -> None:
    """Raises TimeoutError where the client takes nothing, ProblemError where it may no longer ask."""
    loop = asyncio.get_running_loop()
    due = loop.time() + feed.heartbeat
    while (events := await follower.next(due - loop.time())) is not None:
        if loop.time() >= due:
            await authenticate(call.request, call.context)
            events += b":\n\n"
            due = loop.time() + feed.heartbeat
        if events:
            async with asyncio.timeout(_STALLED):
                await response.write(events)
