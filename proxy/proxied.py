"""A listener that gets PROXY headers: accepts, reads the header, and only then hands the connection to the event loop.

The header is looked at in the socket and taken byte for byte, so what is behind it is still there, be it a request or the first
message of a TLS handshake. Only a trusted proxy may say whom a connection comes from; from anybody else it is closed at once,
without an answer: what speaks next may be TLS.

A connection is in one of these states: in the listener's queue; waiting, here, with a deadline; handed over, or closed.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable

from proxy.plane import Plane
from proxy.proxy_protocol import V2_MOST, ProxyHeader, ProxyHeaderError
from proxy.tasks import spawn

# Accepted in one turn of the loop, so that those who are served have their turns too.
ACCEPTED_AT_ONCE = 64
# Out of file descriptors or memory: the queue waits so long. The listening socket stays readable, so without a pause we would spin.
PAUSE_SECONDS = 0.5
_OUT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ProxiedServer:
    """`connection` makes what speaks to a client, of its address or of an empty text for the peer's own. `on_error` hears of what
    nobody foresaw."""

    def __init__(
        self,
        plane: Plane,
        sock: socket.socket,
        connection: Callable[[str], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._plane = plane
        self._sock = sock
        self._connection = connection
        self._tls = tls
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._resume()

    def close(self) -> None:
        """Accept no more. Who has been accepted goes on."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF:
                    self._loop.remove_reader(self._sock)
                    self._loop.call_later(PAUSE_SECONDS, self._resume)
                    return
                continue  # that one left the queue before its turn
            sock.setblocking(False)
            if self._plane.snapshot.trusted.contain(address[0]):
                _Waiting(self, sock)
            else:
                self.refuse(sock, "untrusted")

    @property
    def seconds(self) -> float:
        """What a header, and then a TLS handshake, may take."""
        return self._plane.timeouts.request_head

    def refuse(self, sock: socket.socket, reason: str) -> None:
        """`reason` is one of a closed set: untrusted, invalid, timeout, closed."""
        self._plane.stats.count("proxy_protocol_refused", reason)
        sock.close()

    def hand_over(self, sock: socket.socket, source: str) -> None:
        """The header has been read."""
        spawn(self._serve(sock, source), "connection with a PROXY header", self._on_error)

    async def _serve(self, sock: socket.socket, source: str) -> None:
        """From here on the loop owns the socket, and closes it whatever happens."""

        def made() -> asyncio.Protocol:
            return self._connection(source)

        try:
            if self._tls is None:
                await self._loop.connect_accepted_socket(made, sock)
            else:
                await self._loop.connect_accepted_socket(made, sock, ssl=self._tls, ssl_handshake_timeout=self.seconds)
        except OSError:
            pass  # left, or no TLS handshake came of it (ssl.SSLError and the timeout are OSErrors)


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
            self._server.hand_over(self._sock, header.source)

    def _leave(self) -> None:
        self._deadline.cancel()
        self._loop.remove_reader(self._sock)

    def _end(self, reason: str) -> None:
        self._leave()
        self._server.refuse(self._sock, reason)
