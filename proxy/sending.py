"""The request on its way out: its head built anew, its body re-framed, its client held back while the upstream is slower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.errors import ErrorKind
from proxy.fields import chunks, last_chunk
from proxy.request_head import upstream_head
from routing.snapshot import HostPolicy

if TYPE_CHECKING:
    from proxy.exchange import Exchange
    from proxy.upstream import UpstreamConnection

# A request body up to this size that came at once with its head is kept until the answer begins, so that it can be replayed.
REPLAYED_BODY = 64 * 1024


def send(exchange: Exchange, connection: UpstreamConnection) -> None:
    """Begin an attempt over a leased connection: the head, and what there is of the body."""
    plane, message, client = exchange.plane, exchange.message, exchange.client
    exchange.connection = connection
    exchange.attempts += 1
    exchange.request_done = exchange.replayable = False
    data = _head(exchange)
    decision = exchange.decision
    if decision is not None and decision.route.shadow is not None and not exchange.offered:
        exchange.offered = True
        exchange.capture = plane.tap.offer(exchange, data)
    if not message.complete:
        client.resume()  # before anything is written: a full buffer has the last word
        connection.begin(exchange, data, message.method == b"HEAD")
        body_arrived(exchange)
        return
    body = message.body
    if body or message.chunked:
        exchange.body_sent = size = sum(map(len, body))
        data += chunks(body) + last_chunk(message.trailers) if message.chunked else b"".join(body)
        if size > REPLAYED_BODY:
            message.body = []
        client.resume()
    exchange.request_done = True
    exchange.replayable = exchange.body_sent <= REPLAYED_BODY
    connection.begin(exchange, data, message.method == b"HEAD")
    client.deadline = plane.now + plane.timeouts.response


def _head(exchange: Exchange) -> bytes:
    decision, pool, snapshot = exchange.decision, exchange.pool, exchange.snapshot
    message, client = exchange.message, exchange.client
    assert decision is not None
    assert pool is not None
    upstream = snapshot.upstreams[exchange.upstream]
    host = message.fields[b"host"]
    if upstream.host_policy is HostPolicy.LITERAL:
        host = upstream.host_literal
    elif upstream.host_policy is HostPolicy.UPSTREAM or not host:
        host = pool.endpoint.authority
    trusted_peer = client.peer if snapshot.trusted and snapshot.trusted.contain(client.peer) else ""
    return upstream_head(message, host, client.forwarding, trusted_peer, decision.flags)


def body_arrived(exchange: Exchange) -> None:
    """More of the request's body is in `message.body`, or it is complete."""
    connection, message, plane = exchange.connection, exchange.message, exchange.plane
    if connection is None:
        if 0 < exchange.snapshot.limits.body < sum(map(len, message.body)):
            exchange.fail(ErrorKind.BODY_TOO_LARGE)
            return
        exchange.client.pause()  # not leased yet; what came with the last read is kept, no more is taken
        return
    if exchange.request_done or exchange.ended:
        return
    body, message.body = message.body, []
    if body:
        exchange.body_sent += sum(map(len, body))
        limit = exchange.snapshot.limits.body
        if 0 < limit < exchange.body_sent:
            exchange.fail(ErrorKind.BODY_TOO_LARGE)
            return
    if exchange.capture is not None:  # not before: what is refused is not copied
        plane.tap.request_body(exchange.capture, exchange, body)
    if body:
        if message.chunked:
            connection.transport.write(chunks(body))
        else:
            for part in body:
                connection.transport.write(part)
    if message.complete:
        exchange.request_done = True
        if message.chunked:
            connection.transport.write(last_chunk(message.trailers))
        exchange.client.deadline = plane.now + plane.timeouts.response
    else:
        exchange.client.deadline = plane.now + plane.timeouts.request_body
