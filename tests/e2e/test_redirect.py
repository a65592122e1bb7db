"""A plain listener that leads to HTTPS."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trustme

from tests.support.certificates import write
from tests.support.gateway import Gateway
from tests.support.stage import Stage
from tests.support.wire import request


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def gateway(shared: Stage, authority: trustme.CA) -> Gateway:
    """Redirecting to 443, redirecting to 8443, TLS."""
    address = {"address": "127.0.0.1:0"}
    tls = {**write(authority.issue_cert("localhost"), shared.folder), "hsts": 60}
    listen = [{**address, "redirect": "https"}, {**address, "redirect": "https:8443"}, {**address, "tls": tls}]
    return shared.running({"blue": shared.origin().url}, listen=listen)


@pytest.mark.parametrize(
    ("host", "target", "to"),
    [
        ("shop.example", "/", "https://shop.example/"),
        ("Shop.Example:8080", "/a/b?c=d&e=%2F", "https://shop.example/a/b?c=d&e=%2F"),
        ("[::1]:8080", "/", "https://[::1]/"),
        ("shop.example", "//other.example/x", "https://shop.example//other.example/x"),
        ("shop.example", "http://named.example:80/x?y", "https://named.example/x?y"),
        ("shop.example", "/.well-known/acme-challenge/t", "https://shop.example/.well-known/acme-challenge/t"),
    ],
)
def test_every_request_is_sent_to_the_same_place_over_https(gateway: Gateway, host: str, target: str, to: str) -> None:
    with gateway.connect() as client:
        client.send(request(target, fields={"Host": host}))
        answer = client.response()
    assert (answer.status, answer.get("location"), answer.body) == (308, to, b"")
    assert answer.get("strict-transport-security") is None  # RFC 6797 section 7.2: never over plain HTTP
    assert answer.get("connection") is None


def test_port_other_than_443_is_named(gateway: Gateway) -> None:
    with gateway.connect(1) as client:
        client.send(request("/a", fields={"Host": "shop.example:8080"}))
        assert client.response().get("location") == "https://shop.example:8443/a"


def test_connection_is_kept_and_head_and_bodies_are_framed(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.send(request(method="HEAD") + request(method="POST", body=b"abc") + request("*", method="OPTIONS"))
        answers = [client.response(head_request=True), client.response(), client.response()]
    assert [answer.status for answer in answers] == [308, 308, 308]
    assert answers[-1].get("location") == "https://shop.example/"


def test_body_that_is_not_whole_closes_the_connection(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.send(request(method="POST", fields={"Content-Length": "5"}))
        answer = client.response()
        assert (answer.status, answer.get("connection")) == (308, "close")
        client.wait_closed()


def test_request_that_leads_nowhere_is_refused(gateway: Gateway) -> None:
    for raw in (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"):
        with gateway.connect() as client:
            client.send(raw)
            assert client.response().status == 400


def test_redirects_are_counted(gateway: Gateway) -> None:
    def counted() -> int:
        with gateway.admin() as client:
            lines = client.exchange("GET", "/metrics")[1].decode().splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith("headgate_redirects_total"))

    with gateway.connect() as client:
        client.send(request())
        client.response()
    before = counted()
    with gateway.connect() as client:
        client.send(request())
        client.response()
    gateway.until(lambda: counted() > before, "it is counted")


def test_curl_follows_to_the_tls_listener(stage: Stage, authority: trustme.CA, curl: str, tmp_path: Path) -> None:
    address, tls = {"address": "127.0.0.1:0"}, write(authority.issue_cert("localhost"), stage.folder)
    secure = stage.running({"blue": stage.origin().url}, listen=[{**address, "tls": tls}])
    listen = [{**address, "redirect": f"https:{secure.addresses[0][1]}"}]
    plain = stage.running({"blue": stage.origin().url}, listen=listen)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    url = f"http://localhost:{plain.addresses[0][1]}/a?b"
    command = [curl, "-sSL4", "--noproxy", "*", "--cacert", str(tmp_path / "ca.pem"), "--data", "x=1", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"x=1"' in done.stdout
