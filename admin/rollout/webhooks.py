"""Webhooks as gates: a POST of JSON, and any 2xx passes (the contract of Flagger's webhooks, whose receivers can be used)."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from admin.rollout.gates import UPDATE
from admin.rollout.machine import Answer
from admin.rollout.plan import Replace
from admin.rollout.reading import failure_of, origin_of
from admin.rollout.state import RolloutState
from routing.config_rollout import Update, Webhook

_LONGEST_WORD = 300
"""Of what the receiver says, in a reason that people read."""


def about(state: RolloutState, **more: Any) -> dict[str, Any]:
    """Flagger's fields, and ours beside them."""
    return {
        "name": state.plan.to[0],
        "namespace": state.route,
        "phase": "Progressing",
        "metadata": {"eventType": "gate"},
        "route": state.route,
        "rollout": state.number,
        "to": list(state.plan.to),
        "step": state.stage + 1,
        "steps": len(state.plan.stages),
        "weight": state.weight,
        **more,
    }


async def call(session: ClientSession, gate: str, hook: Webhook, state: RolloutState) -> Answer:
    return await _post(session, gate, hook.url, hook.timeout, about(state))


async def update(session: ClientSession, hook: Update, state: RolloutState, stage: Replace) -> Answer:
    """Answered when the endpoints have their new version."""
    payload = about(state, upstream=stage.upstream, endpoints=list(stage.endpoints))
    return await _post(session, UPDATE, hook.url, hook.timeout, payload)


async def _post(session: ClientSession, gate: str, url: str, seconds: float, payload: dict[str, Any]) -> Answer:
    try:
        async with session.post(
            url, json=payload, timeout=ClientTimeout(total=seconds), allow_redirects=False
        ) as response:
            if 200 <= response.status < 300:
                return Answer(gate, True, f"{response.status}")
            said = (await response.content.read(_LONGEST_WORD)).decode(errors="replace")
            return Answer(
                gate, False, f"{origin_of(url)} answers {response.status}{': ' if said.strip() else ''}{said.strip()}"
            )
    except TimeoutError:
        return Answer(gate, False, f"{origin_of(url)}: no answer within {seconds:g} s")
    except (ClientError, OSError) as error:
        return Answer(gate, False, f"{origin_of(url)}: {failure_of(error)}")
