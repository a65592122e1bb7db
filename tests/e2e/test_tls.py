"""A TLS listener with certificates of an authority made for the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
from pathlib import Path

import httpx
import pytest
import trustme

from tests.support.gateway import Gateway
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, Wire, request


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def client_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def write(certificate: trustme.LeafCert, folder: Path) -> dict[str, str]:
    """The files that a listener's `tls` names."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return {"certificate": str(chain), "key": str(key)}


@pytest.fixture(scope="module")
def gateway(shared: Stage, authority: trustme.CA) -> Gateway:
    """Plain first, then TLS 1.2 with HSTS, then TLS 1.3 alone."""
    files = write(authority.issue_cert("localhost", "127.0.0.1"), shared.folder)
    address = {"address": "127.0.0.1:0"}
    secure = [{**files, "hsts": 31536000}, {**files, "min_version": "1.3"}]
    listen = [address, *({**address, "tls": tls} for tls in secure)]
    return shared.running({"blue": shared.origin().url}, listen=listen)


def secured(gateway: Gateway, context: ssl.SSLContext, listener: int = 1) -> Wire:
    sock = socket.create_connection(gateway.addresses[listener], PATIENCE)
    return Wire(context.wrap_socket(sock, server_hostname="localhost"))


def test_request_over_tls_says_so_to_the_upstream(gateway: Gateway, client_side: ssl.SSLContext) -> None:
    with secured(gateway, client_side) as client:
        client.send(request())
        answer = client.response()
    fields = dict(json.loads(answer.body)["fields"])
    assert fields["X-Forwarded-Proto"] == "https"
    assert answer.get("strict-transport-security") == "max-age=31536000"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(method="TRACE"), 405),
        (request(fields={"X-Long": "x" * 40_000}), 431),
        (request("*", method="OPTIONS", fields={"Max-Forwards": "0"}), 204),
    ],
)
def test_answers_of_the_gateways_own_carry_hsts_too(
    gateway: Gateway, client_side: ssl.SSLContext, raw: bytes, status: int
) -> None:
    """RFC 6797 section 7.1. A client may come to know the host by an error. Failed: they had none."""
    with secured(gateway, client_side) as client:
        client.send(raw)
        answer = client.response()
    assert (answer.status, answer.get("strict-transport-security")) == (status, "max-age=31536000")


def test_listeners_without_hsts_send_none(gateway: Gateway, client_side: ssl.SSLContext) -> None:
    for client in (gateway.connect(), secured(gateway, client_side, 2)):
        with client:
            client.send(request())
            assert client.response().get("strict-transport-security") is None


def test_httpx_verifies_the_certificate_and_moves_a_big_body(gateway: Gateway, client_side: ssl.SSLContext) -> None:
    url = f"https://127.0.0.1:{gateway.addresses[1][1]}"
    with httpx.Client(base_url=url, verify=client_side, trust_env=False, timeout=PATIENCE) as client:
        for _ in range(3):
            body = "ab" * 1_000_000
            assert client.post("/", content=body).json()["body"] == body


def test_websocket_over_tls_reaches_the_upstream(gateway: Gateway, client_side: ssl.SSLContext) -> None:
    """The upstream refuses it, and the refusal comes back: the tunnel itself is the same as over plain TCP."""
    fields = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    with secured(gateway, client_side) as client:
        client.send(request("/socket", fields=fields))
        seen = dict(json.loads(client.response().body)["fields"])
    assert (seen["Upgrade"], seen["X-Forwarded-Proto"]) == ("websocket", "https")


def test_client_that_does_not_know_the_authority_refuses(gateway: Gateway) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        secured(gateway, ssl.create_default_context()).close()


def test_older_protocol_than_the_listener_takes_is_refused(gateway: Gateway, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with secured(gateway, context) as client:
        client.send(request())
        assert client.response().status == 200
    with pytest.raises(ssl.SSLError):
        secured(gateway, context, 2).close()


def test_http_1_1_is_what_is_negotiated(gateway: Gateway, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with secured(gateway, context) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.selected_alpn_protocol() == "http/1.1"


def test_plain_request_to_a_tls_listener_gets_no_answer_from_the_upstream(gateway: Gateway) -> None:
    with gateway.connect(1) as client:
        client.send(request())
        client.wait_closed()
    assert gateway.get()[0] == 200


def test_rotated_certificate_is_picked_up_without_a_restart(
    stage: Stage, authority: trustme.CA, client_side: ssl.SSLContext
) -> None:
    files = write(authority.issue_cert("localhost"), stage.folder)
    listen = [{"address": "127.0.0.1:0", "tls": files}]
    gateway = stage.running({"blue": stage.origin().url}, listen=listen)

    def serial() -> object:
        with secured(gateway, client_side, 0) as client:
            assert isinstance(client.sock, ssl.SSLSocket)
            certificate = client.sock.getpeercert()
            assert certificate is not None
            return certificate["serialNumber"]

    first = serial()
    write(authority.issue_cert("localhost"), stage.folder)
    gateway.until(lambda: serial() != first, "the new certificate is served")
    second = serial()
    (stage.folder / "chain.pem").write_text("no certificate")
    gateway.logged("certificate not reloaded")
    assert serial() == second


def test_worker_that_starts_while_the_certificate_is_broken_serves_with_the_one_from_the_start(
    stage: Stage, authority: trustme.CA, client_side: ssl.SSLContext
) -> None:
    files = write(authority.issue_cert("localhost"), stage.folder)
    listen = [{"address": "127.0.0.1:0", "tls": files}]
    gateway = stage.running({"blue": stage.origin().url}, listen=listen, workers=1)
    (stage.folder / "chain.pem").write_text("no certificate")
    killed, mark = gateway.worker(0), gateway.mark
    os.kill(killed, signal.SIGKILL)
    gateway.logged("certificate not reloaded", after=mark)
    with secured(gateway, client_side, 0) as client:
        client.send(request("/"))
        assert client.response().status == 200
    assert killed not in gateway.workers()


def test_connections_that_never_end_their_handshake_count_among_the_connections(
    stage: Stage, authority: trustme.CA, client_side: ssl.SSLContext
) -> None:
    """Else anybody could open as many as there are file descriptors."""
    tls = write(authority.issue_cert("localhost"), stage.folder)
    listen = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": tls}]
    gateway = stage.running(
        {"blue": stage.origin().url}, listen=listen, limits={"connections": 3}, timeouts={"request_head": "1h"}
    )
    silent = [Wire(socket.create_connection(gateway.addresses[1], PATIENCE)) for _ in range(3)]
    with socket.create_connection(gateway.addresses[1], PATIENCE) as beyond:
        assert beyond.recv(1) == b""  # closed, where a handshake had been waited for
    for wire in silent:
        wire.close()

    def served() -> bool:
        try:
            with secured(gateway, client_side) as client:
                client.send(request())
                return client.response().status == 200
        except OSError:
            return False

    gateway.until(served, "room for a client again")
