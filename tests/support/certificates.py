"""Certificates of authorities made for a test, as files that a configuration names, and clients that hold them."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import trustme

from tests.support.gateway import Gateway
from tests.support.wire import PATIENCE, Wire


def write(certificate: trustme.LeafCert, folder: Path, name: str = "server") -> dict[str, str]:
    """The files that a listener's `tls` names."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return {"certificate": str(chain), "key": str(key)}


def trusting(authority: trustme.CA, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A client's context, with a certificate of its own where one is given."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


def secured(
    gateway: Gateway,
    context: ssl.SSLContext,
    *,
    listener: int = 0,
    name: str = "localhost",
    before: bytes = b"",
    session: ssl.SSLSession | None = None,
) -> Wire:
    """A connection over TLS that asks for a host; `before` is sent ahead of the handshake."""
    sock = socket.create_connection(gateway.addresses[listener], PATIENCE)
    try:
        sock.sendall(before)
        return Wire(context.wrap_socket(sock, server_hostname=name, session=session))
    except BaseException:
        sock.close()
        raise
