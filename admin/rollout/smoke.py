"""Smoke tests: requests through the gateway itself, by a listener of its own, that reach the new upstream before anybody else does.

While they run the workers send requests that show a secret to that upstream, before every rule (`Live.smoke`); the secret is new
each time, and workers take the field off what they pass on.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from yarl import URL

from admin.audit import Intent
from admin.gateway import Gateway
from admin.live import RouteState
from admin.rates import Rates
from admin.refusals import RefusedError
from admin.rollout.gates import SMOKE
from admin.rollout.machine import Answer
from admin.rollout.plan import Smoke
from admin.rollout.reading import beginning
from admin.rollout.state import RolloutState
from proxy.tasks import spawn
from routing.config_rollout import Smoke as Check
from routing.snapshot import SMOKE_FIELD

# An answer is looked through up to here.
BODY_LIMIT = 64 * 1024


class UnreachableError(Exception):
    """No listener that a smoke test could come by."""


async def smoke(gateway: Gateway, rates: Rates, session: ClientSession, state: RolloutState, stage: Smoke) -> Answer:
    """Passed where each check of each upstream is; no answer where they can't be made now."""
    if not rates.workers.addresses:
        return Answer(SMOKE, None, "where the gateway listens is not known yet")
    try:
        origin = _own_address(gateway, rates)
        for upstream in state.plan.to:
            secret = secrets.token_hex(32).encode()
            await _open(gateway, state, (upstream, secret))
            try:
                for check in stage.checks:
                    problem = await _passes(session, origin, _host(gateway, state.route, check), secret, check)
                    if problem:
                        return Answer(SMOKE, False, f"{upstream}: GET {check.path}: {problem}")
            finally:
                await _open(gateway, state, None)
    except UnreachableError as error:
        return Answer(SMOKE, False, str(error))
    except RefusedError as error:
        return Answer(SMOKE, None, str(error))
    return Answer(SMOKE, True, f"{len(stage.checks)} passed")


async def _open(gateway: Gateway, state: RolloutState, way: tuple[str, bytes] | None) -> None:
    """Whole, even where nobody waits for the tests any more: no change of the gateway ends half made. Raises RefusedError."""

    def plan(gateway: Gateway) -> dict[str, RouteState]:
        return {state.route: replace(gateway.state(gateway.known(state.route)), smoke=way)}

    reason = f"tests may reach {way[0]}" if way else "tests are over"
    change = gateway.change(plan, Intent(state.name, "smoke", reason))
    await asyncio.shield(
        spawn(change, f"smoke tests of {state.route}", lambda error: None)
    )  # who awaits it has the error


def _own_address(gateway: Gateway, rates: Rates) -> str:
    """Plain HTTP if there is a way. Raises UnreachableError."""
    found: dict[bool, str] = {}
    for listener, address in zip(gateway.running.listen, rates.workers.addresses, strict=False):
        if listener.redirect is None and not listener.proxy_protocol:
            host, _, port = address.rpartition(":")
            host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
            needs_certificate = listener.tls is not None and listener.tls.client_certificate == "required"
            if not needs_certificate:
                found.setdefault(listener.tls is not None, f"{'https' if listener.tls else 'http'}://{host}:{port}")
    if not found:
        raise UnreachableError(
            "no listener takes plain requests: each redirects, or wants PROXY or a client's certificate"
        )
    return found.get(False) or found[True]


def _host(gateway: Gateway, route: str, check: Check) -> str:
    """What the request is to ask for, so that this route takes it."""
    if check.host is not None:
        return check.host
    hosts = gateway.config.routes[route].match.hosts
    return hosts[0].replace("*", "smoke", 1) if hosts else "smoke.invalid"


async def _passes(session: ClientSession, origin: str, host: str, secret: bytes, check: Check) -> str:
    """What is wrong, in a few words; empty where nothing is."""
    headers = {"Host": host, SMOKE_FIELD.decode(): secret.decode(), "User-Agent": "headgate-smoke-test"}
    try:
        async with session.get(
            URL(f"{origin}{check.path}", encoded=True),
            headers=headers,
            timeout=ClientTimeout(total=check.timeout),
            allow_redirects=False,
            ssl=False,  # to ourselves
        ) as response:
            return await _judged(response, check)
    except TimeoutError:
        return f"no answer within {check.timeout:g} s"
    except (ClientError, OSError) as error:
        return " ".join(str(error).split()) or type(error).__name__


async def _judged(response: ClientResponse, check: Check) -> str:
    kind = response.headers.get("X-Headgate-Error")
    if response.status != check.status:
        by_us = f", the gateway says {kind}" if kind else ""
        return f"{response.status}{by_us}, not {check.status}"
    if check.contains is not None:
        body = await beginning(response.content, BODY_LIMIT)
        if check.contains.encode() not in body:
            return f"the answer does not contain {check.contains!r}"
    return ""
