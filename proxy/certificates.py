"""A listener's certificate: loaded before it serves, and again when its files are replaced on disk."""

from __future__ import annotations

import os
import ssl

from proxy.control import ListenerSettings


def server_context(listener: ListenerSettings) -> ssl.SSLContext | None:
    """The TLS settings of a listener; None for a plain one. Raises OSError or ssl.SSLError for files that don't fit."""
    if not listener.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if listener.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(listener.certificate, listener.key or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Certificate:
    """`context` is the same for the listener's whole life; new connections get what was loaded into it last."""

    def __init__(self, listener: ListenerSettings) -> None:
        """Raises OSError or ssl.SSLError."""
        self._listener = listener
        self._seen = self._identity()
        self.context = server_context(listener)

    def refresh(self) -> str | None:
        """Loads files that were replaced. A plain sentence where they don't fit, once for each change of them."""
        if self.context is None or (now := self._identity()) == self._seen:
            return None
        self._seen = now
        listener = self._listener
        try:
            # A key that does not fit would be dropped from the context in use, so they are tried on another first.
            server_context(listener)
            self.context.load_cert_chain(listener.certificate, listener.key or None)
        except (OSError, ssl.SSLError) as error:
            return f"{listener.certificate} with {listener.key}: {error}; the one from before stays in use"
        return None

    def _identity(self) -> list[tuple[int, int, int] | None]:
        identity: list[tuple[int, int, int] | None] = []
        for path in (self._listener.certificate, self._listener.key):
            try:
                status = os.stat(path)
            except OSError:
                identity.append(None)
            else:
                identity.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return identity
