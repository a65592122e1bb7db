"""Opens connections to endpoints: TCP, Unix sockets, TLS, all with a deadline; maps what the system says to an ErrorKind."""

from __future__ import annotations

import asyncio
import ssl
from time import monotonic
from typing import cast

from proxy.errors import ErrorKind
from proxy.pool import Pool
from proxy.response_parser import ResponseParser
from proxy.upstream import UpstreamConnection
from routing.snapshot import Endpoint, Upstream, UpstreamTls

_contexts: dict[UpstreamTls | None, ssl.SSLContext] = {}


def client_context(tls: UpstreamTls | None) -> ssl.SSLContext:
    """The TLS settings of an upstream, made once. Verification is on unless the configuration turns it off.

    Raises OSError for a CA file that can't be read, ssl.SSLError for one that holds no certificate.
    """
    context = _contexts.get(tls)
    if context is None:
        context = ssl.create_default_context(cafile=tls.ca if tls is not None else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls is not None and not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        _contexts[tls] = context
    return context


def _server_name(tls: UpstreamTls | None, endpoint: Endpoint) -> str:
    """What is sent as SNI, and what the certificate must be for."""
    return (tls.server_name if tls is not None else None) or endpoint.host


async def dial(pool: Pool, upstream: Upstream, response: ResponseParser, timeout: float) -> None:
    """Connect and report to the pool, exactly once. `response` will read the connection's responses."""
    endpoint = pool.endpoint
    loop = asyncio.get_running_loop()
    connection = UpstreamConnection(pool, response)
    protocol = cast(asyncio.Protocol, connection)
    try:
        async with asyncio.timeout(timeout):
            context = client_context(upstream.tls) if endpoint.tls else None
            name = _server_name(upstream.tls, endpoint) if context else None
            if endpoint.unix_path:
                await loop.create_unix_connection(
                    lambda: protocol, endpoint.unix_path, ssl=context, server_hostname=name
                )
            else:
                await loop.create_connection(
                    lambda: protocol, endpoint.host, endpoint.port, ssl=context, server_hostname=name
                )
    except TimeoutError:
        pool.failed(ErrorKind.CONNECT_TIMEOUT)
    except ssl.SSLError:  # its certificate is not accepted, or what it speaks is no TLS, or none that we take
        pool.failed(ErrorKind.TLS)
    except (OSError, UnicodeError):
        # Refused, unreachable, no such name or socket, no descriptor left; a name that is no host name fails in its encoding.
        pool.failed(ErrorKind.CONNECT)
    else:
        if connection.closed:  # it came and went before anyone could use it
            pool.failed(ErrorKind.CONNECT)
        else:
            connection.idle_since = monotonic()
            pool.dialled(connection)
