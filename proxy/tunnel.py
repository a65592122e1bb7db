"""After a 101: bytes pass both ways as they come, each side waiting for the other when its buffer is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.client import ClientConnection
    from proxy.exchange import Exchange
    from proxy.upstream import UpstreamConnection

# What Envoy allows an idle TCP proxy session.
IDLE_SECONDS = 3600.0


class Tunnel:
    """Ends when either side does, after what that side sent has been passed on."""

    __slots__ = ("_client", "_exchange", "_upstream")

    def __init__(self, exchange: Exchange, client: ClientConnection, upstream: UpstreamConnection) -> None:
        self._exchange = exchange
        self._client = client
        self._upstream = upstream

    def open(self, from_upstream: bytes) -> None:
        """`from_upstream` is what came behind the 101. What the client sent behind its request goes now, not before."""
        self._upstream.tunnel = self
        early = self._client.open_tunnel(self)
        self._touch()
        if from_upstream:
            self.from_upstream(from_upstream)
        if early:
            self.from_client(early)

    def _touch(self) -> None:
        self._client.deadline = self._exchange.plane.now + IDLE_SECONDS

    def from_client(self, data: bytes) -> None:
        self._touch()
        self._exchange.body_sent += len(data)
        if not self._upstream.closed:
            self._upstream.transport.write(data)

    def from_upstream(self, data: bytes) -> None:
        self._touch()
        self._exchange.bytes_out += len(data)
        self._client.write(data)

    def client_lost(self) -> None:
        self._end()

    def upstream_lost(self) -> None:
        self._end()

    def _end(self) -> None:
        """A tunnel's exchange ends with it. Both transports are closed, not aborted, so what is queued still goes out."""
        if self._exchange.ended:
            return
        upstream = self._upstream
        upstream.tunnel = None
        if not upstream.closed:
            upstream.transport.close()
            upstream.closed = True
            if upstream.transport.get_write_buffer_size():
                self._exchange.plane.part(upstream.transport)  # it may never read what is left
        self._exchange.tunnel_ended()
