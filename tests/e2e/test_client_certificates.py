"""Clients that prove who they are."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.certificates import secured, trusting, write
from tests.support.gateway import Gateway
from tests.support.stage import Stage
from tests.support.wire import ClosedError, request

BY_SUBJECT = {"when": {"client_certificate": {"subject": "orders"}}, "send": "canary"}
BY_SAN = {"when": {"client_certificate": {"san": {"prefix": "spiffe://"}}}, "send": "canary"}
BY_NAME = {"when": {"client_certificate": {"san": ["a.client.example", "b.client.example"]}}, "send": "canary"}
NOBODY = {"when": {"client_certificate": {"san": {"present": False}}}, "send": "green"}
RULES = [BY_SUBJECT, BY_SAN, BY_NAME, NOBODY]


@pytest.fixture(scope="module")
def servers() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def clients() -> trustme.CA:
    return trustme.CA()


def listener(stage: Stage, servers: trustme.CA, clients: trustme.CA, mode: str, **tls: Any) -> dict[str, Any]:
    clients.cert_pem.write_to_path(str(stage.folder / "clients.pem"))
    files = write(servers.issue_cert("localhost"), stage.folder)
    own = {**files, "client_ca": str(stage.folder / "clients.pem"), "client_certificate": mode, **tls}
    return {"address": "127.0.0.1:0", "tls": own}


@pytest.fixture(scope="module")
def gateway(shared: Stage, servers: trustme.CA, clients: trustme.CA) -> Gateway:
    """Required, optional, required with TLS 1.2 at most asked for by the client; then plain."""
    upstreams = {name: shared.origin(name).url for name in ("blue", "canary", "green")}
    listen = [listener(shared, servers, clients, mode) for mode in ("required", "optional")]
    listen.append({"address": "127.0.0.1:0"})
    return shared.running(upstreams, {"rules": RULES}, listen=listen, trusted_proxies=["127.0.0.0/8"])


def asked(gateway: Gateway, context: ssl.SSLContext, listener: int = 0, **fields: str) -> tuple[str, dict[str, str]]:
    """Which upstream answered, and the fields that it got."""
    with secured(gateway, context, listener=listener) as client:
        client.send(request(fields={name.replace("_", "-"): value for name, value in fields.items()}))
        answer = json.loads(client.response().body)
    return answer["upstream"], dict(answer["fields"])


@pytest.mark.parametrize(
    ("certificate", "upstream"),
    [
        ({"common_name": "orders"}, "canary"),
        ({"common_name": "others"}, "green"),
        ({"identities": ["b.client.example"]}, "canary"),
        ({"identities": ["c.client.example"]}, "blue"),
    ],
)
def test_rules_see_what_was_verified(
    gateway: Gateway, servers: trustme.CA, clients: trustme.CA, certificate: dict[str, Any], upstream: str
) -> None:
    own = clients.issue_cert(*certificate.get("identities", ()), common_name=certificate.get("common_name"))
    assert asked(gateway, trusting(servers, own))[0] == upstream
    assert asked(gateway, trusting(servers, own), 1)[0] == upstream


def test_upstream_is_told_what_was_verified_and_nothing_else(
    gateway: Gateway, servers: trustme.CA, clients: trustme.CA
) -> None:
    own = clients.issue_cert("a.client.example", common_name='or"ders', organization_name="Shop")
    forged = 'Hash=00;Subject="CN=admin"'
    _, fields = asked(gateway, trusting(servers, own), X_Forwarded_Client_Cert=forged, x_forwarded_extra="kept")
    der = ssl.PEM_cert_to_DER_cert(own.cert_chain_pems[0].bytes().decode())
    value = fields["X-Forwarded-Client-Cert"]
    assert value.startswith(f'Hash={hashlib.sha256(der).hexdigest()};Subject="CN=or\\"ders,')
    assert value.endswith('";DNS=a.client.example')
    assert "x-forwarded-client-cert" not in {name for name in fields if name != "X-Forwarded-Client-Cert"}
    assert fields["X-Forwarded-Extra"] == "kept"  # of a trusted proxy, which our peer is here


def test_client_that_proves_nothing_is_nobody_where_it_is_optional(gateway: Gateway, servers: trustme.CA) -> None:
    upstream, fields = asked(gateway, trusting(servers), 1, X_Forwarded_Client_Cert="Hash=00")
    assert upstream == "green"
    assert "x-forwarded-client-cert" not in {name.lower() for name in fields}


def test_plain_listener_passes_on_no_claim(gateway: Gateway) -> None:
    with gateway.connect(2) as client:
        client.send(request(fields={"X-Forwarded-Client-Cert": "Hash=00", "X_Forwarded_Client-Cert": "Hash=00"}))
        answer = json.loads(client.response().body)
    assert answer["upstream"] == "green"
    assert "x-forwarded-client-cert" not in {name.lower().replace("_", "-") for name in dict(answer["fields"])}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_without_a_valid_certificate_gets_nothing(
    gateway: Gateway, servers: trustme.CA, version: ssl.TLSVersion
) -> None:
    stranger = trusting(servers, trustme.CA().issue_cert("a.client.example", common_name="orders"))
    nobody = trusting(servers)
    for context, number in ((nobody, 0), (stranger, 0), (stranger, 1)):
        context.minimum_version = context.maximum_version = version
        with pytest.raises((ssl.SSLError, ConnectionError, ClosedError)):
            asked(gateway, context, number)  # in TLS 1.3 a client hears of the refusal only when it reads


def test_explain_shows_what_was_proved(gateway: Gateway) -> None:
    body = {
        "url": "/",
        "headers": {"host": "shop.example"},
        "client_certificate": {"subject": "x", "san": ["spiffe://a"]},
    }
    answer = gateway.call("POST", "/v1/explain", body)
    assert answer["upstream"] == "canary"
    assert "rules[0]: client_certificate subject is 'x': does not hold" in answer["reasons"]
    assert "rules[1]: client_certificate san is 'spiffe://a': holds" in answer["reasons"]
    assert answer["client_certificate"] == {"subject": "x", "san": ["spiffe://a"]}
    assert gateway.call("POST", "/v1/explain", {"url": "/", "headers": {"host": "a"}})["upstream"] == "green"


def test_replaced_authorities_are_picked_up(stage: Stage, servers: trustme.CA, clients: trustme.CA) -> None:
    gateway = stage.running(
        {"blue": stage.origin().url}, listen=[listener(stage, servers, clients, "required")], workers=1
    )
    others = trustme.CA()
    old, new = (trusting(servers, authority.issue_cert("a.example")) for authority in (clients, others))
    assert asked(gateway, old)[0] == "blue"

    def served(context: ssl.SSLContext) -> bool:
        try:
            return asked(gateway, context)[0] == "blue"
        except (ssl.SSLError, ConnectionError, ClosedError):
            return False

    assert not served(new)
    others.cert_pem.write_to_path(str(stage.folder / "clients.pem"))
    gateway.until(lambda: served(new), "the new authority counts")
    assert not served(old)
    (stage.folder / "clients.pem").write_text("nothing")
    assert "client_ca" in gateway.logged("certificate not reloaded")["detail"]
    assert served(new)


def test_curl_is_let_in_with_a_certificate(
    gateway: Gateway, servers: trustme.CA, clients: trustme.CA, curl: str, tmp_path: Path
) -> None:
    files = write(clients.issue_cert("a.client.example"), tmp_path, "client")
    servers.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    command = [curl, "-sS4", "--noproxy", "*", "--cacert", str(tmp_path / "ca.pem"), "--cert", files["certificate"]]
    command += ["--key", files["key"], f"https://localhost:{gateway.addresses[0][1]}/"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["upstream"] == "canary"
