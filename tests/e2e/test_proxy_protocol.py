"""A listener behind a load balancer that says by a PROXY header whom each connection comes from."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.certificates import secured, trusting, write
from tests.support.gateway import Gateway
from tests.support.origin import Conversation
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, Wire, request

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n"
_ADDRESSES = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + struct.pack("!HH", 56324, 443)
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21" + (len(_ADDRESSES) + 5).to_bytes(2, "big") + _ADDRESSES + b"\x20\x00\x02ab"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
PLAIN, TLS, MUTUAL = 0, 1, 2
TO_CANARY = {"when": {"client_ip": ["192.0.2.0/24", "2001:db8::/32"]}, "send": "canary"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def listeners(stage: Stage, authority: trustme.CA) -> list[dict[str, Any]]:
    authority.cert_pem.write_to_path(str(stage.folder / "ca.pem"))
    address = {"address": "127.0.0.1:0", "proxy_protocol": True}
    files = write(authority.issue_cert("localhost"), stage.folder)
    return [
        address,
        {**address, "tls": files},
        {**address, "tls": {**files, "client_ca": str(stage.folder / "ca.pem")}},
    ]


@pytest.fixture(scope="module")
def gateway(shared: Stage, authority: trustme.CA) -> Gateway:
    upstreams = {name: shared.origin(name).url for name in ("blue", "canary")}
    return shared.running(
        upstreams, {"rules": [TO_CANARY]}, listen=listeners(shared, authority), trusted_proxies=["127.0.0.0/8"]
    )


def answer(client: Wire) -> tuple[str, str]:
    """Which upstream answered, and the X-Forwarded-For that it got."""
    seen = json.loads(client.response().body)
    return seen["upstream"], dict(seen["fields"])["X-Forwarded-For"]


@pytest.mark.parametrize(
    ("header", "upstream", "client"),
    [
        (V1, "canary", "192.0.2.7"),
        (V2, "canary", "2001:db8::7"),
        (LOCAL, "blue", "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "blue", "127.0.0.1"),
    ],
)
def test_client_is_whom_the_header_names(
    gateway: Gateway, authority: trustme.CA, header: bytes, upstream: str, client: str
) -> None:
    with gateway.connect(PLAIN) as plain:
        plain.send(header + request() + request())
        assert [answer(plain), answer(plain)] == [(upstream, client)] * 2
    with secured(gateway, trusting(authority), listener=TLS, before=header) as over_tls:
        over_tls.send(request())
        assert answer(over_tls) == (upstream, client)


@pytest.mark.parametrize("header", [V1, V2])
def test_header_may_come_byte_by_byte(gateway: Gateway, header: bytes) -> None:
    with gateway.connect(PLAIN) as client:
        for byte in header + request():
            client.send(bytes((byte,)))
        assert answer(client)[0] == "canary"


def test_header_and_the_tls_handshake_may_come_in_one_packet(gateway: Gateway, authority: trustme.CA) -> None:
    """As a proxy sends them that has both at hand."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with gateway.connect(TLS) as client:
        ahead, done = V1, False
        while not done:
            try:
                connection.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                client.send(ahead + outgoing.read())
                ahead = b""
                incoming.write(client.some())
        connection.write(request())
        client.send(outgoing.read())
        body = b""
        while b'"canary"' not in body:
            incoming.write(client.some())
            try:
                body += connection.read()
            except ssl.SSLWantReadError:
                continue


def test_client_certificate_and_address_come_together(gateway: Gateway, authority: trustme.CA) -> None:
    context = trusting(authority, authority.issue_cert("client.example"))
    with secured(gateway, context, listener=MUTUAL, before=V2) as client:
        client.send(request())
        fields = dict(json.loads(client.response().body)["fields"])
    assert fields["X-Forwarded-For"] == "2001:db8::7"
    assert fields["X-Forwarded-Client-Cert"].endswith("DNS=client.example")


def test_forwarded_fields_of_the_client_are_not_believed(gateway: Gateway) -> None:
    with gateway.connect(PLAIN) as client:
        client.send(V1 + request(fields={"X-Forwarded-For": "203.0.113.9"}))
        assert answer(client) == ("canary", "192.0.2.7")


@pytest.mark.parametrize(
    "raw",
    [request(), b"\x16\x03\x01\x02\x00", V1.replace(b"TCP4", b"TCP6") + request(), V2[:12] + b"\x31" + V2[13:], b""],
)
def test_connection_without_a_valid_header_is_closed_without_an_answer(gateway: Gateway, raw: bytes) -> None:
    for listener in (PLAIN, TLS):
        with gateway.connect(listener) as client:
            with contextlib.suppress(OSError):  # closed already
                client.send(raw)
                client.sock.shutdown(socket.SHUT_WR)
            assert silence(client) == b""


def silence(client: Wire) -> bytes:
    """What comes until the end, whether it is in order or a reset."""
    try:
        return client.sock.recv(1)
    except ConnectionError:
        return b""


def test_no_tls_behind_the_header_leaves_others_alone(gateway: Gateway, authority: trustme.CA) -> None:
    for behind in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00"):
        with gateway.connect(TLS) as client:
            client.send(V1 + behind)
            client.sock.shutdown(socket.SHUT_WR)
            client.wait_closed()
    with secured(gateway, trusting(authority), listener=TLS, before=V1) as client:
        client.send(request())
        assert answer(client)[0] == "canary"


def test_only_trusted_proxies_are_let_in(stage: Stage) -> None:
    gateway = stage.running(
        {"blue": stage.origin().url},
        listen=[{"address": "127.0.0.1:0", "proxy_protocol": True}],
        trusted_proxies=["127.0.0.2"],
    )
    with gateway.connect() as client:
        assert silence(client) == b""
    trusted = socket.create_connection(gateway.addresses[0], 30, source_address=("127.0.0.2", 0))
    with Wire(trusted) as client:
        client.send(V1 + request())
        assert answer(client) == ("blue", "192.0.2.7")

    def refused() -> bool:
        with gateway.admin() as client:
            text = client.exchange("GET", "/metrics")[1].decode()
        return 'headgate_proxy_protocol_refused_total{kind="untrusted"} 1.0' in text

    gateway.until(refused, "it is counted")


def test_header_that_does_not_end_is_waited_for_as_long_as_a_head(stage: Stage) -> None:
    gateway = stage.running(
        {"blue": stage.origin().url},
        listen=[{"address": "127.0.0.1:0", "proxy_protocol": True}],
        trusted_proxies=["127.0.0.1"],
        timeouts={"request_head": "200ms"},
    )
    for begun in (b"", V1[:20], V2[:20]):
        with gateway.connect() as client:
            client.send(begun)
            assert silence(client) == b""


def test_curl_with_its_own_header_is_served(gateway: Gateway, authority: trustme.CA, curl: str, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    command = [curl, "-sS4", "--noproxy", "*", "--haproxy-protocol", "--cacert", str(tmp_path / "ca.pem")]
    for url in (f"http://localhost:{gateway.addresses[PLAIN][1]}/", f"https://localhost:{gateway.addresses[TLS][1]}/"):
        done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["upstream"] == "blue"


def test_request_under_way_is_answered_when_the_gateway_stops(stage: Stage) -> None:
    answered, begun = stage.event(), stage.event()

    def slow(connection: Conversation) -> None:
        connection.receive()
        begun.set()
        assert answered.wait(PATIENCE)
        connection.answer(b"late")

    gateway = stage.running(
        {"blue": stage.origin(slow).url},
        listen=[{"address": "127.0.0.1:0", "proxy_protocol": True}],
        trusted_proxies=["127.0.0.1"],
    )
    with gateway.connect() as client, gateway.connect() as waiting:
        client.send(V1 + request())
        waiting.send(V1[:10])
        assert begun.wait(PATIENCE)
        gateway.signal(signal.SIGTERM)
        gateway.logged("draining")
        answered.set()
        assert client.response().body == b"late"
        assert gateway.end() == 0
