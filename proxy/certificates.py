"""A listener's certificates: loaded before it serves, chosen by the name that a client asks for, loaded again when their files
are replaced on disk.

The context that the listener is opened with stays for its whole life, and with it the keys of session tickets. It serves nobody
by itself: at each handshake `Certificates.choose` puts the newest context of the right certificate in its place. So a
replaced file takes effect as a whole or not at all, and no connection notices.
"""

from __future__ import annotations

import os
import ssl
import sys
from dataclasses import replace
from pathlib import Path

from proxy.certificate_names import names_of_pem
from proxy.control import CertificateFiles, TlsSettings


def server_context(files: CertificateFiles, tls: TlsSettings) -> ssl.SSLContext:
    """A listener's TLS with one of its certificates. Raises OSError or ssl.SSLError for files that don't fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    context.set_alpn_protocols(["http/1.1"])
    if tls.client_ca:
        _ask_clients(context, tls)
    return context


def _ask_clients(context: ssl.SSLContext, tls: TlsSettings) -> None:
    """No tickets: who resumes a session is not verified again, so an authority that was taken out would count on."""
    try:
        context.load_verify_locations(tls.client_ca)
    except (OSError, ssl.SSLError) as error:
        raise OSError(f"client_ca {tls.client_ca}: {error}") from error
    context.verify_mode = ssl.CERT_REQUIRED if tls.client_required else ssl.CERT_OPTIONAL
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0


def pass_over_bad_names(event: sys.UnraisableHookArgs) -> None:
    """A `sys.unraisablehook`. A client that asks for a name that is not ASCII (RFC 6066 section 3) gets no handshake; the library
    would write a traceback for each."""
    if not isinstance(event.exc_value, UnicodeDecodeError):
        sys.__unraisablehook__(event)


def names_in(files: CertificateFiles) -> tuple[str, ...]:
    """The host names that the certificate is for; none where they can't be read. Raises OSError."""
    try:
        return names_of_pem(Path(files.certificate).read_text("ascii", "replace"))
    except ValueError:
        return ()


def _lent(pem: bytes) -> int:
    """OpenSSL reads files only, so it is lent one in memory. The descriptor is the caller's to close."""
    fd = os.memfd_create("headgate-certificate", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(pem)
    return fd


class Certificate:
    """One certificate with its key. `context` is what was loaded last, `names` the hosts it is for. A worker that starts while the
    files are broken serves with what they held when the gateway started."""

    def __init__(self, files: CertificateFiles, tls: TlsSettings) -> None:
        """Raises OSError or ssl.SSLError where neither will do."""
        self._files = files
        self._tls = tls
        self._seen = self._identity()
        self._fault: str | None = None
        try:
            self._load(files, tls)
        except (OSError, ssl.SSLError) as error:
            self._fault = f"{self._what()}: {error}; the one from the start is in use"
            self._load_kept()

    def _load(self, files: CertificateFiles, tls: TlsSettings) -> None:
        context, names = server_context(files, tls), names_in(files)
        self.context, self.names = context, names

    def _load_kept(self) -> None:
        fds: list[int] = []
        try:
            fds.append(_lent(self._files.certificate_pem))
            fds.append(_lent(self._files.key_pem))
            fds.append(_lent(self._tls.client_ca_pem))
            certificate, key, client_ca = (f"/proc/self/fd/{fd}" for fd in fds)
            tls = replace(self._tls, client_ca=client_ca) if self._tls.client_ca else self._tls
            self._load(replace(self._files, certificate=certificate, key=key), tls)
        finally:
            for fd in fds:
                os.close(fd)

    def refresh(self) -> str | None:
        """Loads files that were replaced. A plain sentence where they don't fit, once for each change of them."""
        if self._fault is not None:
            fault, self._fault = self._fault, None
            return fault
        if (now := self._identity()) == self._seen:
            return None
        self._seen = now
        try:
            self._load(self._files, self._tls)
        except (OSError, ssl.SSLError) as error:
            return f"{self._what()}: {error}; the one from before stays in use"
        return None

    def _what(self) -> str:
        return f"{self._files.certificate} with {self._files.key}"

    def _identity(self) -> list[tuple[int, int, int] | None]:
        identity: list[tuple[int, int, int] | None] = []
        for path in filter(None, (self._files.certificate, self._files.key, self._tls.client_ca)):
            try:
                status = os.stat(path)
            except OSError:
                identity.append(None)
            else:
                identity.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return identity


class Certificates:
    """All of a listener. The first is for clients that name no host, or one that no certificate is for."""

    def __init__(self, tls: TlsSettings) -> None:
        """Raises OSError or ssl.SSLError where one can't be used."""
        self._all = [Certificate(files, tls) for files in tls.certificates]
        self._by_name: dict[str, Certificate] = {}
        self._index()
        self.context = self._all[0].context
        """The one that the listener is opened with."""
        self.context.sni_callback = self._choose

    def find(self, name: str | None) -> Certificate:
        """By the name whole, then with `*` for its first label (RFC 9525 section 6.3)."""
        if name is None:
            return self._all[0]
        name = name.lower()
        found = self._by_name.get(name)
        if found is None:
            found = self._by_name.get("*." + name.partition(".")[2], self._all[0])
        return found

    def refresh(self) -> list[str]:
        """Loads files that were replaced. A plain sentence for each pair that doesn't fit, once for each change of it."""
        problems = [problem for certificate in self._all if (problem := certificate.refresh()) is not None]
        self._index()
        return problems

    def _index(self) -> None:
        """Where two are for one name, the first one serves it."""
        self._by_name = {name: one for one in reversed(self._all) for name in one.names}

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self.find(name).context
