"""A listener in a worker: what its connections have in common, and the server that accepts them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from proxy.accepting import Acceptor, Starter
from proxy.certificates import Certificates
from proxy.client import ClientConnection
from proxy.control import LISTEN_BACKLOG, ListenerSettings
from proxy.plane import Plane
from proxy.proxied import ProxiedServer


class Listener:
    """Made once, opened once, closed once. `certificates` is None for a plain one."""

    def __init__(self, plane: Plane, settings: ListenerSettings, on_error: Callable[[BaseException], None]) -> None:
        """Raises OSError or ssl.SSLError where a certificate can't be used. `on_error` hears of what nobody foresaw."""
        tls = settings.tls
        self._plane = plane
        self._settings = settings
        self._on_error = on_error
        self._extra = b"Strict-Transport-Security: max-age=%d\r\n" % tls.hsts if tls is not None and tls.hsts else b""
        self._server: asyncio.Server | Acceptor | ProxiedServer | None = None
        self.certificates = None if tls is None else Certificates(tls)

    def connection(self, source: str = "") -> ClientConnection:
        """What speaks to the client of a connection that was accepted; `source`: see ClientConnection."""
        settings = self._settings
        return ClientConnection(self._plane, settings.tls is not None, self._extra, settings.redirect, source)

    async def open(self, sock: socket.socket) -> None:
        """Accept from now on."""
        tls = None if self.certificates is None else self.certificates.context
        start = Starter(self._plane, self.connection, tls, self._on_error).start
        if self._settings.proxied:
            self._server = ProxiedServer(self._plane, sock, start)
        elif tls is not None:
            self._server = Acceptor(sock, start)
        else:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: cast(asyncio.Protocol, self.connection()), sock=sock, backlog=LISTEN_BACKLOG
            )

    def refresh(self) -> list[str]:
        """See `Certificates.refresh`."""
        return [] if self.certificates is None else self.certificates.refresh()

    def close(self) -> None:
        """Accept no more."""
        if self._server is not None:
            self._server.close()
