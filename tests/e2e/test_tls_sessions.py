"""Sessions resumed: within a worker, never across, and not where clients prove who they are."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.certificates import secured, trusting, write
from tests.support.gateway import Gateway
from tests.support.stage import Stage
from tests.support.wire import request

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def started(stage: Stage, authority: trustme.CA, workers: int = 1, **tls: Any) -> Gateway:
    own = {**write(authority.issue_cert("localhost"), stage.folder), **tls}
    listen = [{"address": "127.0.0.1:0", "tls": own}]
    return stage.running({"blue": stage.origin().url}, listen=listen, workers=workers)


def visit(
    gateway: Gateway, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[bool, ssl.SSLSession]:
    """Whether the session was resumed, and the session to resume next. In TLS 1.3 it comes with the first answer."""
    with secured(gateway, context, session=session) as client:
        client.send(request())
        assert client.response().status == 200
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.session is not None
        assert client.sock.session_reused is not None
        return client.sock.session_reused, client.sock.session


def of_version(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = version
    return context


@VERSIONS
def test_session_is_resumed_by_the_worker_that_made_it(
    stage: Stage, authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    gateway, context = started(stage, authority), of_version(trusting(authority), version)
    resumed, session = visit(gateway, context)
    assert not resumed
    for _ in range(3):
        resumed, session = visit(gateway, context, session)
        assert resumed


@VERSIONS
def test_session_offered_to_another_worker_is_made_anew(
    stage: Stage, authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    """The kernel deals connections out by their ports: within a few both workers have had one."""
    gateway, context = started(stage, authority, workers=2), of_version(trusting(authority), version)
    _, session = visit(gateway, context)
    outcomes: set[bool] = set()

    def both() -> bool:
        outcomes.add(visit(gateway, context, session)[0])
        return len(outcomes) == 2

    gateway.until(both, "both have had one")


def test_replaced_certificate_leaves_sessions_as_they_are(stage: Stage, authority: trustme.CA) -> None:
    gateway, context = started(stage, authority), trusting(authority)
    _, session = visit(gateway, context)

    def serial() -> object:
        with secured(gateway, context) as client:
            assert isinstance(client.sock, ssl.SSLSocket)
            certificate = client.sock.getpeercert()
        assert certificate is not None
        return certificate["serialNumber"]

    before = serial()
    write(authority.issue_cert("localhost"), stage.folder)
    gateway.until(lambda: serial() != before, "the new certificate is served")
    assert visit(gateway, context, session)[0]


def test_client_that_proves_who_it_is_is_verified_each_time(
    stage: Stage, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    gateway = started(stage, authority, client_ca=str(tmp_path / "ca.pem"))
    context = of_version(trusting(authority, authority.issue_cert("client.example")), ssl.TLSVersion.TLSv1_3)
    _, session = visit(gateway, context)
    assert not session.has_ticket
    assert not visit(gateway, context, session)[0]
