"""A listener that gets PROXY headers: accepts, reads the header, and only then hands the connection to the event loop.

The header is looked at in the socket and taken byte for byte, so what is behind it is still there, be it a request or the first
message of a TLS handshake. Only a trusted proxy may say whom a connection comes from; from anybody else it is closed at once,
without an answer: what speaks next may be TLS.

A connection is in one of these states: in the listener's queue; waiting, here, with a deadline; handed over, or closed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from proxy.accepting import Acceptor
from proxy.plane import Plane
from proxy.proxy_protocol import V2_MOST, ProxyHeader, ProxyHeaderError


class ProxiedServer:
    """`start` is given a connection whose header has been read, with the address that it names."""

    def __init__(self, plane: Plane, sock: socket.socket, start: Callable[[socket.socket, str], None]) -> None:
        self._plane = plane
        self.start = start
        self._acceptor = Acceptor(sock, self._taken)

    def close(self) -> None:
        """Accept no more. Who has been accepted goes on."""
        self._acceptor.close()

    def _taken(self, sock: socket.socket, peer: str) -> None:
        if self._plane.snapshot.trusted.contain(peer):
            _Waiting(self, sock)
        else:
            self.refuse(sock, "untrusted")

    @property
    def seconds(self) -> float:
        """What a header may take."""
        return self._plane.timeouts.request_head

    def refuse(self, sock: socket.socket, reason: str) -> None:
        """`reason` is one of a closed set: untrusted, invalid, timeout, closed."""
        self._plane.stats.count("proxy_protocol_refused", reason)
        sock.close()


class _Waiting:
    """An accepted connection whose header has not all come."""

    __slots__ = ("_deadline", "_header", "_loop", "_server", "_sock")

    def __init__(self, server: ProxiedServer, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._header = ProxyHeader()
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.call_later(server.seconds, self._end, "timeout")
        self._loop.add_reader(sock, self._readable)

    def _readable(self) -> None:
        header = self._header
        try:
            data = self._sock.recv(V2_MOST, socket.MSG_PEEK)
            used = header.feed(data)
            self._sock.recv(used)
        except (BlockingIOError, InterruptedError):
            return
        except ProxyHeaderError:
            self._end("invalid")
            return
        except OSError:
            self._end("closed")
            return
        if not data:
            self._end("closed")
        elif header.complete:
            self._leave()
            self._server.start(self._sock, header.source)

    def _leave(self) -> None:
        self._deadline.cancel()
        self._loop.remove_reader(self._sock)

    def _end(self, reason: str) -> None:
        self._leave()
        self._server.refuse(self._sock, reason)
