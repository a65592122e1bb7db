"""Kinds of endpoints: several of them, a Unix socket, TLS that is verified and TLS that is refused, and nginx."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections import Counter

import pytest
import trustme

from tests.support.gateway import Gateway
from tests.support.origin import Origin
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, connect, request


def server_side(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(shared: Stage, authority: trustme.CA) -> Origin:
    return shared.origin("secure", tls=server_side(authority.issue_cert("127.0.0.1", "inside.example")))


@pytest.fixture(scope="module")
def ca(shared: Stage, authority: trustme.CA) -> str:
    path = shared.folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def several(shared: Stage) -> list[Origin]:
    return [shared.origin("many") for _ in range(3)]


@pytest.fixture(scope="module")
def gateway(shared: Stage, several: list[Origin], secure: Origin, ca: str) -> Gateway:
    """An upstream for each case, chosen by path."""
    stranger = shared.origin("stranger", tls=server_side(trustme.CA().issue_cert("127.0.0.1")))
    upstreams = {
        "many": {"endpoints": [origin.url for origin in several]},
        "unix": shared.origin("unix", unix=shared.folder / "app.sock").url,
        "gone": f"unix://{shared.folder / 'nobody.sock'}",
        "verified": {"endpoints": [secure.url], "tls": {"ca": ca}},
        "named": {"endpoints": [secure.url], "tls": {"ca": ca, "server_name": "inside.example"}},
        "misnamed": {"endpoints": [secure.url], "tls": {"ca": ca, "server_name": "outside.example"}},
        "stranger": {"endpoints": [stranger.url], "tls": {"ca": ca}},
        "unverified": {"endpoints": [stranger.url], "tls": {"verify": False}},
        "untrusted": secure.url,
    }
    rules = [{"when": {"path": f"/{name}"}, "send": name} for name in upstreams]
    return shared.running(upstreams, {"rules": rules}, timeouts={"connect": "5s"})


@pytest.mark.parametrize("name", ["unix", "verified", "named", "unverified"])
def test_endpoint_of_this_kind_is_reached(gateway: Gateway, name: str) -> None:
    with gateway.connect() as client:
        for _ in range(2):
            client.send(request(f"/{name}", method="POST", body=b"x" * 100_000))
            answer = client.response()
            assert (answer.status, len(answer.body) > 100_000) == (200, True)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("gone", "connect"), ("misnamed", "tls"), ("stranger", "tls"), ("untrusted", "tls")],
)
def test_endpoint_that_cannot_be_trusted_or_reached_gets_nothing(
    gateway: Gateway, secure: Origin, name: str, kind: str
) -> None:
    arrived = len(secure.arrivals)
    with gateway.connect() as client:
        client.send(request(f"/{name}", fields={"Authorization": "Basic c2VjcmV0"}))
        answer = client.response()
    assert (answer.status, answer.get("x-headgate-error")) == (502, kind)
    assert len(secure.arrivals) == arrived


def test_requests_are_shared_between_all_endpoints(gateway: Gateway, several: list[Origin]) -> None:
    with gateway.connect() as client:
        for _ in range(90):
            client.send(request("/many"))
            assert client.response().status == 200
    assert min(len(origin.arrivals) for origin in several) > 5


NGINX = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 1m;
    gzip on;
    gzip_proxied any;
    gzip_types text/plain;
    gzip_min_length 1;
    server {{
        listen unix:{folder}/nginx.sock;
        root {folder}/files;
        location = /moved {{ return 302 /file.txt; }}
        location = /echo {{ return 200 "$request_method $http_x_forwarded_for $http_x_request_id"; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def before_nginx(shared: Stage, nginx: str) -> Gateway:
    """On a Unix socket, since nginx can't be given port 0."""
    folder = shared.folder / "nginx"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "file.txt").write_text("line\n" * 100_000)
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers could not read the test's files
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user))
    log = shared.closing.enter_context((folder / "log").open("wb"))
    process = subprocess.Popen([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=log)
    shared.closing.callback(process.wait, PATIENCE)
    shared.closing.callback(process.terminate)
    gateway = shared.running({"nginx": f"unix://{folder}/nginx.sock"})
    gateway.until(lambda: gateway.get("/echo")[0] == 200, "nginx answers")
    return gateway


def test_nginx_serves_files_ranges_and_conditions_through_the_gateway(before_nginx: Gateway) -> None:
    status, fields, body = before_nginx.get("/file.txt")
    assert (status, body, fields["Accept-Ranges"]) == (200, b"line\n" * 100_000, "bytes")
    status, _, part = before_nginx.get("/file.txt", Range="bytes=5-9")
    assert (status, part) == (206, b"line\n")
    status, _, body = before_nginx.get("/file.txt", If_None_Match=fields["ETag"])
    assert (status, body) == (304, b"")


def test_nginx_answers_for_itself_through_the_gateway(before_nginx: Gateway) -> None:
    assert before_nginx.get("/moved")[1]["Location"].endswith("/file.txt")
    assert before_nginx.get("/nothing")[0] == 404
    status, fields, _ = before_nginx.get("/file.txt", Accept_Encoding="gzip")
    assert (status, fields["Content-Encoding"]) == (200, "gzip")
    assert before_nginx.get("/echo", X_Request_Id="abc")[2] == b"GET 127.0.0.1 abc"


def test_nginx_that_refuses_a_body_early_is_heard(before_nginx: Gateway) -> None:
    with before_nginx.connect() as client:
        client.send(request("/file.txt", method="POST", fields={"Content-Length": "10000000"}) + b"x" * 10_000)
        assert client.response().status == 413


def test_nginx_connections_are_kept(before_nginx: Gateway) -> None:
    statuses = Counter[int]()
    with connect(before_nginx.addresses[0]) as client:
        for _ in range(200):
            client.send(request("/echo"))
            statuses[client.response().status] += 1
    assert statuses == {200: 200}
