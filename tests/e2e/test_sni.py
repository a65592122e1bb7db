"""Several certificates on one listener, chosen by the name that a client asks for."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from tests.support.certificates import secured, trusting, write
from tests.support.gateway import Gateway, NotServingError
from tests.support.stage import Stage
from tests.support.wire import request


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def context(authority: trustme.CA) -> ssl.SSLContext:
    return trusting(authority)


def started(stage: Stage, authority: trustme.CA, *names: str) -> Gateway:
    """A certificate for each name, `certificate0.pem` on."""
    pairs = [
        write(authority.issue_cert(name), stage.folder, f"certificate{number}") for number, name in enumerate(names)
    ]
    listen = [{"address": "127.0.0.1:0", "tls": {"certificates": pairs}}]
    return stage.running({"blue": stage.origin().url}, listen=listen)


def served(gateway: Gateway, context: ssl.SSLContext, name: str) -> str:
    """The serial number of the certificate that a client gets who asks for the name and verifies it."""
    with secured(gateway, context, name=name) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        certificate = client.sock.getpeercert()
        client.send(request())
        assert client.response().status == 200
    assert certificate is not None
    return str(certificate["serialNumber"])


@pytest.fixture(scope="module")
def gateway(shared: Stage, authority: trustme.CA) -> Gateway:
    return started(shared, authority, "localhost", "*.shop.example", "www.shop.example")


def test_client_gets_the_certificate_of_the_name_it_asks_for(gateway: Gateway, context: ssl.SSLContext) -> None:
    names = ("localhost", "a.shop.example", "b.shop.example", "www.shop.example")
    first, a, b, www = (served(gateway, context, name) for name in names)
    assert a == b
    assert len({first, a, www}) == 3


def test_client_of_an_unknown_name_gets_the_first(gateway: Gateway, authority: trustme.CA) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"other\.example"):
        secured(gateway, trusting(authority), name="other.example")
    careless = trusting(authority)
    careless.check_hostname = False
    with secured(gateway, careless, name="other.example") as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        certificate = client.sock.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", "localhost"),)


def test_name_that_is_not_ascii_gets_no_handshake_and_no_line_in_the_log(
    gateway: Gateway, context: ssl.SSLContext
) -> None:
    mark, outgoing = gateway.mark, ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="ee.shop.example").do_handshake()
    with gateway.connect() as client:
        client.send(outgoing.read().replace(b"ee.shop", b"\xc3\xa9.shop"))
        client.wait_closed()
    assert served(gateway, context, "localhost")
    assert [line for line in gateway.lines[mark:] if "Error" in line or "Traceback" in line] == []


def test_curl_verifies_each(gateway: Gateway, authority: trustme.CA, curl: str, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = gateway.addresses[0][1]
    for name in ("localhost", "x.shop.example", "www.shop.example"):
        command = [curl, "-sS", "--noproxy", "*", "--cacert", str(tmp_path / "ca.pem")]
        command += ["--resolve", f"{name}:{port}:127.0.0.1", f"https://{name}:{port}/"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_each_is_picked_up_when_replaced_and_a_connection_stays(
    stage: Stage, authority: trustme.CA, context: ssl.SSLContext
) -> None:
    gateway = started(stage, authority, "localhost", "b.example")
    first, second = served(gateway, context, "localhost"), served(gateway, context, "b.example")
    with secured(gateway, context, name="b.example") as kept:
        write(authority.issue_cert("b.example", "c.example"), stage.folder, "certificate1")
        gateway.until(lambda: served(gateway, context, "b.example") != second, "the new certificate is served")
        assert served(gateway, context, "c.example") == served(gateway, context, "b.example")
        assert served(gateway, context, "localhost") == first
        kept.send(request())
        assert kept.response().status == 200


def test_broken_one_is_reported_and_the_old_one_stays(
    stage: Stage, authority: trustme.CA, context: ssl.SSLContext
) -> None:
    gateway = started(stage, authority, "localhost", "b.example")
    second = served(gateway, context, "b.example")
    (stage.folder / "certificate1.pem").write_text("no certificate")
    entry = gateway.logged("certificate not reloaded")
    assert "certificate1.pem" in entry["detail"]
    assert served(gateway, context, "b.example") == second
    first = served(gateway, context, "localhost")
    write(authority.issue_cert("localhost"), stage.folder, "certificate0")
    gateway.until(lambda: served(gateway, context, "localhost") != first, "the others go on being looked at")


def test_certificate_that_nobody_could_be_given_stops_the_start(stage: Stage, authority: trustme.CA) -> None:
    with pytest.raises(NotServingError, match=r"listen\[0\].tls.certificates\[1\]: .* names no host"):
        started(stage, authority, "localhost", "127.0.0.1")


def test_file_that_cannot_be_used_stops_the_start_and_is_named(stage: Stage, authority: trustme.CA) -> None:
    good = write(authority.issue_cert("localhost"), stage.folder)
    bad = {**good, "key": str(stage.folder / "missing.key")}
    listen = [{"address": "127.0.0.1:0", "tls": {"certificates": [good, bad]}}]
    with pytest.raises(NotServingError, match=r"listen\[0\].tls.certificates\[1\]: cannot use certificate"):
        stage.running({"blue": stage.origin().url}, listen=listen)
