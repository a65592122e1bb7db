"""An admin API behind TLS: verified, save at the address that the state folder itself gives on this machine."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.cli.conftest import Headgate
from tests.cli.fake_admin import TOKEN, FakeAdmin

AUDIT = {"GET /v1/audit": (200, {"entries": [], "next": None}), "GET /health/ready": (200, {"status": "ok"})}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[FakeAdmin]:
    """Its certificate names localhost and nothing else."""
    fake = FakeAdmin(answers=dict(AUDIT))
    server = fake.serving()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    fake.url = f"https://localhost:{server.server_port}"
    yield fake
    server.shutdown()
    server.server_close()


def test_certificate_of_a_trusted_authority_is_accepted(
    headgate: Headgate, secure: FakeAdmin, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert headgate("audit", "--admin", secure.url, "--token", TOKEN).code == 0


def test_certificate_of_a_stranger_is_refused_before_the_token_is_sent(headgate: Headgate, secure: FakeAdmin) -> None:
    result = headgate("audit", "--admin", secure.url, "--token", TOKEN)
    assert result.code == 1
    assert result.err.startswith(f"headgate: no TLS connection to {secure.url} (from --admin): ")
    assert result.err.endswith("SSL_CERT_FILE names a CA file\n")
    assert secure.calls == []


def test_certificate_at_the_folders_own_loopback_address_may_name_anything(
    headgate: Headgate, secure: FakeAdmin, tmp_path: Path
) -> None:
    (tmp_path / "admin.url").write_text(secure.url.replace("localhost", "127.0.0.1"))
    (tmp_path / "admin.token").write_text(TOKEN)
    assert headgate("audit", "--state", str(tmp_path)).code == 0


def test_health_takes_any_certificate_since_it_sends_no_token(headgate: Headgate, secure: FakeAdmin) -> None:
    assert headgate("health", "--admin", secure.url).code == 0
    assert [call.token for call in secure.calls] == [None]
