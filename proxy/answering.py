"""The response on its way back: its head built anew, its body re-framed as the client's version of HTTP needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.errors import ErrorKind
from proxy.fields import chunks, last_chunk
from proxy.response_head import client_head, interim_head
from proxy.retrying import retried_for
from proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from proxy.exchange import Exchange
    from proxy.response_parser import ResponseParser


def response_arrived(exchange: Exchange, response: ResponseParser) -> None:
    """The upstream sent bytes: whatever the parser has of interim responses, head, body and end goes to the client."""
    if response.error:
        exchange.upstream_failed(ErrorKind.BAD_RESPONSE, None)
        return
    if response.interim:
        _relay_interim(exchange, response)
    if not response.head_complete:
        return
    if exchange.response_started:
        data = b""
    else:
        if response.status >= 500:
            exchange.plane.endpoint_failed(exchange.pool)
        if retried_for(exchange, response.status):
            return
        if response.status == 101:
            _switch(exchange, response)
            return
        data = _start(exchange, response)
        if exchange.capture is not None:
            exchange.plane.tap.answer_begun(exchange.capture, response)
    body = response.body
    if body:
        response.body = []
        if exchange.capture is not None:
            exchange.plane.tap.answer_body(exchange.capture, exchange, body)
        for part in body:
            exchange.bytes_out += len(part)
        if (response.chunked or response.until_close) and exchange.message.version == "1.1":
            data += chunks(body)
        elif len(body) == 1:
            data = data + body[0] if data else body[0]
        else:
            data += b"".join(body)
    if response.complete:
        if (response.chunked or response.until_close) and exchange.message.version == "1.1":
            data += last_chunk(response.trailers)
        if data:
            exchange.client.write(data)
        if exchange.capture is not None:
            exchange.capture.answer_complete = True
        if response.status < 500:
            _served(exchange)
        exchange.finish(response.reusable)
    else:
        if data:
            exchange.client.write(data)
        exchange.client.deadline = exchange.plane.now + exchange.plane.timeouts.idle


def _served(exchange: Exchange) -> None:
    """The endpoint did what it is for: failures before this were not in a row."""
    pool = exchange.pool
    if pool is not None and pool.failures:
        pool.failures = 0


def _relay_interim(exchange: Exchange, response: ResponseParser) -> None:
    if exchange.message.version == "1.1":  # RFC 9110 section 15.2: none to HTTP/1.0
        for interim in response.interim:
            exchange.client.write(interim_head(interim))
    response.interim = []


def _start(exchange: Exchange, response: ResponseParser) -> bytes:
    """The response's head for the client. From here on the exchange can't be retried."""
    message, decision = exchange.message, exchange.decision
    assert decision is not None
    exchange.response_started = True
    exchange.status = response.status
    to_http10 = message.version != "1.1"
    unframed = to_http10 and (response.chunked or response.until_close)
    if not exchange.close_client and (
        unframed or not exchange.request_done or exchange.plane.draining or exchange.plane.ending
    ):
        exchange.close_client = True
    extra = exchange.client.extra
    route = decision.route
    if decision.fresh:
        assert route.sticky is not None
        assert decision.bucket is not None
        extra += b"Set-Cookie: %b=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%b\r\n" % (
            route.sticky.name,
            route.sticky.sign(decision.bucket),
            route.sticky.max_age,
            b"; Secure" if exchange.client.tls else b"",
        )
    if route.expose_upstream:
        extra += b"X-Headgate-Upstream: " + exchange.upstream_name.encode() + b"\r\n"
    return client_head(
        response,
        to_http10=to_http10,
        close=exchange.close_client,
        keep_alive=to_http10 and not exchange.close_client,
        extra=extra,
    )


def _switch(exchange: Exchange, response: ResponseParser) -> None:
    """101: from here on bytes pass both ways as they come, if it is what the client asked for."""
    connection = exchange.connection
    assert connection is not None
    to = next((value for name, value in response.noted if name == b"upgrade"), b"")
    if not exchange.message.upgrade or response.upgraded is None or to.lower() != b"websocket":
        exchange.upstream_failed(ErrorKind.BAD_RESPONSE, None)
        return
    exchange.close_client = True
    _served(exchange)
    exchange.client.write(_start(exchange, response))
    Tunnel(exchange, exchange.client, connection).open(response.upgraded)
