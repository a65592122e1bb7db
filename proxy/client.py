"""One connection from a client: bytes to requests, one exchange at a time in order, deadlines, and the way it ends."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from proxy import errors
from proxy.client_certificate import forwarded_line, identity_of
from proxy.errors import ErrorKind
from proxy.exchange import NEVER, Exchange
from proxy.request_head import forwarding_lines
from proxy.request_parser import RequestMessage, RequestParser
from routing.request import ClientCertificate

if TYPE_CHECKING:
    from proxy.plane import Plane
    from proxy.tunnel import Tunnel

# A body that nobody wants any more is read for this long and this far before the connection closes: closing with unread
# bytes makes the kernel send a reset, which can destroy the answer on its way (RFC 9112 section 9.6).
LINGER_SECONDS = 1.0
LINGER_BYTES = 16 * 1024 * 1024
HIGH_WATER = 64 * 1024
LOW_WATER = 16 * 1024
# How long a body may come more slowly than `limits.body_rate`, from its first bytes behind the head on; no longer than it may
# stand still.
BODY_GRACE = 10.0
# An IPv4 address, as a socket of IPv6 or a PROXY header may write it (RFC 4291 section 2.5.5.2).
_MAPPED = "::ffff:"
# Of TLS nothing is read before a record is whole: so much may be here and unseen (RFC 8446 section 5.2).
TLS_RECORD = 16 * 1024


class ClientConnection:
    __slots__ = (
        "_advancing",
        "_closing",
        "_held",
        "_left",
        "_lingered",
        "_message",
        "_parser",
        "_plane",
        "_reading",
        "_transport",
        "_tunnel",
        "_unsent",
        "_writable",
        "admitted",
        "body_due",
        "certificate",
        "deadline",
        "exchange",
        "extra",
        "forwarding",
        "peer",
        "place",
        "redirect",
        "tls",
    )

    def __init__(self, plane: Plane, tls: bool, extra: bytes, redirect: int = 0, source: str = "") -> None:
        """`source` is the client's address where a PROXY header has named it; else it is the peer's."""
        # connection
        self._plane = plane
        self.tls = tls
        self._transport: asyncio.Transport
        self._parser: RequestParser
        self._reading = True
        self._writable = True
        self._closing = False
        self._lingered = 0
        self._unsent = 0
        self._left = -1
        """Requests that it may still bring; negative for any number."""
        self._advancing = False
        self.extra = extra
        """Lines that every response over this listener carries (HSTS), each ended by CRLF."""
        self.redirect = redirect
        """The port of HTTPS to send every request to; 0 for none."""
        self.peer = source.removeprefix(_MAPPED)
        self.admitted = False
        """Whether it was counted before its TLS handshake."""
        self.place = -1
        """Where `Plane.admit` has counted this connection for its client's address; -1 for nowhere."""
        self.forwarding = b""
        self.certificate: ClientCertificate | None = None
        self.deadline = NEVER
        """When `expire` is to be called, in `Plane.now` time: one for whatever this connection waits for."""
        # current exchange
        self.exchange: Exchange | None = None
        self._message: RequestMessage | None = None
        self._tunnel: Tunnel | None = None
        self.body_due = NEVER
        """When its request's body will have come too slowly, if nothing more of it comes."""
        self._held = NEVER
        """Since when nothing is read."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plane = self._plane
        self._transport = transport  # type: ignore[assignment]
        if not self.peer:
            peer = transport.get_extra_info("peername")
            self.peer = peer[0].removeprefix(_MAPPED) if isinstance(peer, tuple) else ""
        self.forwarding = forwarding_lines(self.peer, b"https" if self.tls else b"http")
        if self.tls:
            self._identify()
        limits = plane.snapshot.limits
        self._left = limits.requests_per_connection or -1
        self._parser = RequestParser(plane.request_table, limits.request_line, limits.request_head, limits.headers)
        self._transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        refusal = plane.admit(self)
        if refusal is not None:
            self.write(errors.response(refusal, close=True, head_only=False, listener=self.extra))
            plane.stats.count("gateway_errors", refusal.label)
            self._close()
            return
        self.deadline = plane.now + plane.timeouts.idle

    def _identify(self) -> None:
        """Who the client has proved to be, if the listener asks for certificates."""
        verified = self._transport.get_extra_info("peercert")
        if verified:
            der = self._transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            self.certificate = identity_of(verified)
            self.forwarding = b"\r\n".join((self.forwarding, forwarded_line(verified, der)))

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.from_client(data)
            return
        if self._closing:
            self._linger(len(data))
            return
        parser, message = self._parser, self._message
        in_head = parser.in_head
        parser.feed(data)
        if message is not None and self.exchange is not None and not self.exchange.request_done:
            if parser.error is not None and not message.complete:
                self.exchange.bad_body(parser.error)
                return
            self.exchange.body_arrived()
            if not message.complete:
                self._body_read(len(data))
        if self.exchange is None:
            self._advance()
        if parser.backlog and (self.exchange is not None or not self._writable):
            self.pause()
        if self.exchange is None and not in_head and parser.in_head:
            self.deadline = monotonic() + self._plane.timeouts.request_head

    def eof_received(self) -> bool:
        return False  # a client that stops sending has left: who waits for an answer keeps its side open

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._plane.dismiss(self)
        self._parser.release()
        if self._tunnel is not None:
            self._tunnel.client_lost()
        elif self.exchange is not None:
            self.exchange.client_lost()

    def pause_writing(self) -> None:
        self._writable = False
        if self.exchange is not None and self.exchange.connection is not None:
            self.exchange.connection.pause()

    def resume_writing(self) -> None:
        self._writable = True
        self._unsent = 0
        if self.exchange is not None:
            if self.exchange.connection is not None:
                self.exchange.connection.resume()
        else:
            self._advance()

    # Requests in order

    def _advance(self) -> None:
        """Begin the next request, as long as the one before has ended and its response has room."""
        if self._advancing:
            return
        self._advancing = True
        parser = self._parser
        while self.exchange is None and not self._closing and self._writable:
            if parser.requests:
                self._message = message = parser.take()
                if parser.error is not None and not message.complete:
                    self._refuse(parser.error)  # its body is broken, and nothing of it has been forwarded yet
                    break
                self.exchange = exchange = Exchange(self._plane, self, message, monotonic())
                self._left -= 1
                if not self._left:
                    exchange.close_client = True
                exchange.begin()
            elif parser.upgraded is not None:
                parser.resume()
            elif parser.error is not None:
                self._refuse(parser.error)
            else:
                self.resume()
                break
        self._advancing = False

    def _refuse(self, kind: ErrorKind) -> None:
        """Bytes that are no request: answered and closed, never forwarded."""
        self._plane.stats.count("gateway_errors", kind.label)
        self._plane.stats.named("", "").add(kind.status, 0.0)
        self.write(errors.response(kind, close=True, head_only=False, listener=self.extra))
        self._close(unread=kind in (ErrorKind.HEAD_TOO_LARGE, ErrorKind.TARGET_TOO_LONG))

    # A body's time

    def _body_read(self, size: int) -> None:
        """So much came of a body whose end did not. Each `body_rate` bytes are worth a second, and of those a client keeps no
        more than it may stand still anyway. `Plane.now` is exact enough."""
        rate, exchange = self._plane.snapshot.limits.body_rate, self.exchange
        if not rate or exchange is None or exchange.connection is None:
            self.body_due = NEVER
            return  # what stands in line has no clock
        now, most = self._plane.now, self._plane.timeouts.request_body
        unseen = TLS_RECORD / rate if self.tls else 0.0
        due = self.body_due
        if due == NEVER:
            due = now + min(BODY_GRACE, most) + unseen
        self.body_due = due = min(due + size / rate, now + most + unseen)
        if not self._reading:
            return
        if due <= now:
            exchange.timed_out()  # not left to the sweep: until then, a response under way may set another deadline
        else:
            self.deadline = min(self.deadline, due)

    def _body_under_way(self) -> bool:
        exchange = self.exchange
        return exchange is not None and exchange.connection is not None and not exchange.request_done

    # For the exchange

    def write(self, data: bytes) -> None:
        if not self._closing:
            self._transport.write(data)

    def pause(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._held = self._plane.now
            self._transport.pause_reading()
            if self._body_under_way():
                self.deadline = self._held + self._plane.timeouts.request_body

    def resume(self) -> None:
        """Reads on, unless enough is kept for later: each request sent would let in another read's worth of requests."""
        if not self._reading and not self._transport.is_closing() and (self._closing or not self._parser.backlog):
            self._reading = True
            self._transport.resume_reading()
            if self._body_under_way():  # the time in which it was not read doesn't count against the client
                now = self._plane.now
                self.body_due += now - self._held
                self.deadline = min(now + self._plane.timeouts.request_body, self.body_due)

    @property
    def reading(self) -> bool:
        return self._reading

    def open_tunnel(self, tunnel: Tunnel) -> bytes:
        """From here on bytes are the tunnel's. Returns those that came behind the request."""
        self._tunnel = tunnel
        early, self._parser.upgraded = self._parser.upgraded or b"", None
        self.resume()
        return early

    def exchange_ended(self, exchange: Exchange, now: float) -> None:
        self.exchange = None
        self._message = None
        self._tunnel = None
        self.body_due = NEVER
        if exchange.close_client or self._plane.draining:
            # Behind the last that may be, more can be on its way: the client has not said that it ends.
            self._close(unread=not exchange.message.complete or not self._left)
            return
        timeouts = self._plane.timeouts
        self.deadline = now + (timeouts.request_head if self._parser.in_head else timeouts.idle)
        if not self._advancing:
            self._advance()

    # The end

    def _close(self, unread: bool = False) -> None:
        """Close when what is written has gone out; `unread`: the client may be sending still, so linger."""
        if self._closing:
            return
        self._closing = True
        if unread and not self._transport.is_closing():
            self.deadline = self._plane.now + LINGER_SECONDS
            if not self.tls:  # which has no half-closed state
                self._transport.write_eof()
            self.resume()
        else:
            self.deadline = self._plane.now + self._plane.timeouts.idle
            self._transport.close()

    def _linger(self, size: int) -> None:
        self._lingered += size
        if self._lingered > LINGER_BYTES:
            self.abort()

    def abort(self) -> None:
        """Cut at once, so that an incomplete response is seen to be incomplete."""
        self._closing = True
        self._transport.abort()

    def drain(self) -> None:
        """The gateway is shutting down: close between requests; during one, its end closes."""
        if self.exchange is None and not self._parser.in_head:
            self._close()

    def expire(self, now: float) -> None:
        """The deadline passed."""
        unsent = self._transport.get_write_buffer_size()
        if 0 < unsent < self._unsent or (unsent and not self._unsent):
            self._unsent = unsent  # a slow reader, but one that reads: once more
            self.deadline = now + self._plane.timeouts.idle
            return
        if self._closing or unsent or self._tunnel is not None:
            self.abort()
        elif self.exchange is not None:
            self.exchange.timed_out()
        elif self._parser.in_head:
            self._refuse(ErrorKind.REQUEST_TIMEOUT)
        else:
            self._close()
