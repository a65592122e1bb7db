"""A listener's certificate: loaded before it serves, and again when its files are replaced on disk."""

from __future__ import annotations

import os
import ssl
from dataclasses import replace

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


def _kept_context(listener: ListenerSettings) -> ssl.SSLContext | None:
    """The same, of what the files held when the gateway started. OpenSSL reads files only, so they are lent two in memory."""
    files = []
    try:
        for kept in (listener.certificate_pem, listener.key_pem):
            files.append(fd := os.memfd_create("headgate-certificate", os.MFD_CLOEXEC))
            with open(fd, "wb", closefd=False) as file:
                file.write(kept)
        certificate, key = (f"/proc/self/fd/{fd}" for fd in files)
        return server_context(replace(listener, certificate=certificate, key=key))
    finally:
        for fd in files:
            os.close(fd)


class Certificate:
    """`context` is the same for the listener's whole life; new connections get what was loaded into it last. A worker that
    starts while the files are broken serves with what they held when the gateway started."""

    def __init__(self, listener: ListenerSettings) -> None:
        """Raises OSError or ssl.SSLError where neither will do."""
        self._listener = listener
        self._seen = self._identity()
        self._fault: str | None = None
        try:
            self.context = server_context(listener)
        except (OSError, ssl.SSLError) as error:
            self.context = _kept_context(listener)
            self._fault = f"{listener.certificate} with {listener.key}: {error}; the one from the start is in use"

    def refresh(self) -> str | None:
        """Loads files that were replaced. A plain sentence where they don't fit, once for each change of them."""
        if self._fault is not None:
            fault, self._fault = self._fault, None
            return fault
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
