"""One active check of one endpoint: a request, or with `tcp` a connection, over a connection of its own."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass

import aiohttp
from yarl import URL

from proxy.dial import client_context
from routing.config_upstreams import HealthCheck
from routing.snapshot import Endpoint, HostPolicy, Upstream, UpstreamTls

USER_AGENT = "headgate-health-check"
# What `body` is looked for in. An endpoint that streams without end must not fill the admin process.
BODY_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """What a check depends on: with another of these, it is another check."""

    upstream: str
    endpoint: Endpoint
    check: HealthCheck
    tls: UpstreamTls | None
    host: str

    @classmethod
    def of(cls, upstream: Upstream, endpoint: Endpoint, check: HealthCheck) -> Target:
        literal = upstream.host_policy is HostPolicy.LITERAL
        host = (upstream.host_literal if literal else endpoint.authority).decode()
        return cls(upstream.name, endpoint, check, upstream.tls, host)


async def probe(target: Target) -> str | None:
    """What is wrong with the endpoint, in a few words; None where the check passes."""
    try:
        async with asyncio.timeout(target.check.timeout):
            return await (_connects(target) if target.check.tcp else _answers(target))
    except TimeoutError:
        return f"no answer within {target.check.timeout:g} s"
    except (OSError, UnicodeError, aiohttp.ClientError) as error:  # a TLS handshake that fails is an OSError
        return " ".join(str(error).split()) or type(error).__name__


async def _connects(target: Target) -> None:
    endpoint, context = target.endpoint, _context(target)
    name = _server_name(target) if context else None
    if endpoint.unix_path:
        _, writer = await asyncio.open_unix_connection(endpoint.unix_path)
    else:
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context, server_hostname=name)
    writer.transport.abort()


async def _answers(target: Target) -> str | None:
    endpoint, check = target.endpoint, target.check
    connector: aiohttp.BaseConnector
    if endpoint.unix_path:
        connector = aiohttp.UnixConnector(endpoint.unix_path, force_close=True)
        url = f"http://localhost{check.path}"
    else:
        connector = aiohttp.TCPConnector(force_close=True, use_dns_cache=False)
        url = f"{endpoint.url}{check.path}"
    async with (
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
        session.get(
            URL(url, encoded=True),
            headers={"Host": target.host, "User-Agent": USER_AGENT},
            allow_redirects=False,
            ssl=_context(target) or True,
            server_hostname=_server_name(target) if endpoint.tls else None,
        ) as response,
    ):
        if not (response.status in check.status if check.status else 200 <= response.status < 300):
            return f"status {response.status}"
        return None if check.body is None else await _wrong_body(response, check)


async def _wrong_body(response: aiohttp.ClientResponse, check: HealthCheck) -> str | None:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) >= BODY_LIMIT:
            break
    wanted, found = check.body, bytes(body[:BODY_LIMIT])
    assert wanted is not None
    if wanted.contains is not None and wanted.contains.encode() not in found:
        return f"the body does not contain {wanted.contains!r}"
    if wanted.regex is not None and not re.search(wanted.regex.encode(), found):
        return f"the body does not match {wanted.regex!r}"
    return None


def _context(target: Target) -> ssl.SSLContext | None:
    """Raises OSError for a CA file that can't be used."""
    return client_context(target.tls) if target.endpoint.tls else None


def _server_name(target: Target) -> str:
    return (target.tls.server_name if target.tls is not None else None) or target.endpoint.host
