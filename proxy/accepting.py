"""From a listening socket to a connection that the event loop serves, where something has to come before that: a TLS handshake, or
a PROXY header. A plain listener has the loop's own server.

A connection in its handshake has been accepted, holds a file descriptor and may never end it: it counts among the connections from
here on (`Plane.admit_early`). What is refused is closed without an answer, since nobody could read one yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from typing import cast

from proxy.client import ClientConnection
from proxy.plane import Plane
from proxy.tasks import spawn

# Accepted in one turn of the loop, so that those who are served have their turns too.
ACCEPTED_AT_ONCE = 64
# Out of file descriptors or memory: the queue waits so long. The listening socket stays readable, so without a pause we would spin.
PAUSE_SECONDS = 0.5
_OUT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Gives `taken` each connection of a listening socket, with its peer's address."""

    def __init__(self, sock: socket.socket, taken: Callable[[socket.socket, str], None]) -> None:
        self._sock = sock
        self._taken = taken
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
            self._taken(sock, address[0])


class Starter:
    """Makes accepted sockets connections of the loop, with a TLS handshake where there is a context. `connection` makes what speaks
    to a client, of its address or of an empty text for the peer's own. `on_error` hears of what nobody foresaw."""

    def __init__(
        self,
        plane: Plane,
        connection: Callable[[str], ClientConnection],
        tls: ssl.SSLContext | None,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._plane = plane
        self._connection = connection
        self._tls = tls
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()

    def start(self, sock: socket.socket, source: str) -> None:
        spawn(self._start(sock, source), "accepted connection", self._on_error)

    async def _start(self, sock: socket.socket, source: str) -> None:
        """From here on the loop owns the socket, and closes it whatever happens."""
        client = self._connection(source)
        if self._tls is None:
            with contextlib.suppress(OSError):  # left
                await self._loop.connect_accepted_socket(lambda: cast(asyncio.Protocol, client), sock)
            return
        plane = self._plane
        refusal = plane.admit_early(client)
        try:
            if refusal is None:
                await self._shake_hands(sock, client, self._tls)
            else:
                plane.stats.count("gateway_errors", refusal.label)
                sock.close()
        finally:
            plane.began(client)

    async def _shake_hands(self, sock: socket.socket, client: ClientConnection, tls: ssl.SSLContext) -> None:
        """As long as a request's head may take."""
        seconds = self._plane.timeouts.request_head
        with contextlib.suppress(
            OSError
        ):  # left, or no handshake came of it: ssl.SSLError and the timeout are OSErrors
            await self._loop.connect_accepted_socket(
                lambda: cast(asyncio.Protocol, client), sock, ssl=tls, ssl_handshake_timeout=seconds
            )
