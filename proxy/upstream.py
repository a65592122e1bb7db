"""One connection to an endpoint: sends what its caller gives it, collects the response, and knows if it may be reused."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING

from proxy.response_parser import ResponseParser

if TYPE_CHECKING:
    from proxy.pool import Pool
    from proxy.tunnel import Tunnel


class Caller:
    """Who leases a connection: an exchange, or a call to a shadow. mypy refuses one that lacks a method; abc.ABC would too, and
    with it mypyc gives each exchange a dict."""

    __slots__ = ()

    @abstractmethod
    def response_arrived(self, response: ResponseParser) -> None:
        """The upstream sent bytes."""

    @abstractmethod
    def upstream_lost(self) -> None:
        """The upstream's connection ended."""

    @abstractmethod
    def hold(self) -> None:
        """What was written is not taken: write no more until `let_go`."""

    @abstractmethod
    def let_go(self) -> None:
        """It was taken."""


class UpstreamConnection:
    __slots__ = (
        "caller",
        "closed",
        "idle_since",
        "pool",
        "reading",
        "response",
        "transport",
        "tunnel",
        "used",
    )

    def __init__(self, pool: Pool, response: ResponseParser) -> None:
        # connection
        self.pool = pool
        self.response = response
        self.transport: asyncio.Transport
        self.closed = False
        self.reading = True
        self.used = False
        """Whether a response has come over it: an error before any byte of the next then only says that it was stale."""
        self.idle_since = 0.0
        # current request
        self.caller: Caller | None = None
        self.tunnel: Tunnel | None = None

    # Driven by the caller

    def begin(self, caller: Caller, data: bytes, head_request: bool) -> None:
        """Send the head (and what of the body is there already) and expect the response; one to HEAD has no body."""
        self.caller = caller
        self.response.begin(head_request)
        self.transport.write(data)

    def end(self, reusable: bool, now: float) -> None:
        """The caller is through with the connection. Only what was framed cleanly and has left us whole is used again: behind
        bytes that the upstream does not take, the next request would count as sent and wait here, beyond any cutback."""
        self.caller = None
        self.tunnel = None
        if reusable and not (self.closed or self.pool.retired or self.transport.get_write_buffer_size()):
            self.used = True
            self.idle_since = now
            if not self.reading:
                self.resume()
            self.pool.give_back(self)
        else:
            self.close()
            self.response.release()
            self.pool.lost()

    def close(self) -> None:
        """At once: nothing that is still to be sent matters."""
        if not self.closed:
            self.closed = True
            self.transport.abort()

    def pause(self) -> None:
        if self.reading and not self.closed:
            self.reading = False
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.reading and not self.closed:
            self.reading = True
            self.transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.from_upstream(data)
            return
        caller = self.caller
        if caller is None:
            self._surplus()
            return
        self.response.feed(data)
        caller.response_arrived(self.response)

    def _surplus(self) -> None:
        """Bytes that no request asked for: whatever they are, the connection is out of step."""
        if not self.closed:
            self.pool.forget(self)
            self.close()

    def eof_received(self) -> bool:
        if self.caller is None:
            self._surplus()  # an end that no request asked for: not to be leased again until `connection_lost` comes
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        was_closed, self.closed = self.closed, True
        if self.caller is None:
            self.response.release()
        if self.tunnel is not None:
            self.tunnel.upstream_lost()
        elif self.caller is not None:
            if exc is not None:
                self.response.until_close = False  # a reset completes nothing, not even what the connection's end would
            self.caller.upstream_lost()
        elif not was_closed:
            self.pool.forget(self)

    def pause_writing(self) -> None:
        if self.caller is not None:
            self.caller.hold()

    def resume_writing(self) -> None:
        if self.caller is not None:
            self.caller.let_go()
