"""Dials: whatever the system says, the pool hears of it exactly once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

import pytest

from proxy import dial as dialling
from proxy.dial import client_context, dial
from proxy.errors import ErrorKind
from proxy.pool import Pool
from proxy.response_head import response_table
from proxy.response_parser import ResponseParser
from proxy.tasks import spawn
from proxy.upstream import UpstreamConnection
from routing.snapshot import Upstream, UpstreamTls
from tests.proxy.fakes import Transport, snapshot_of


class Loop(asyncio.SelectorEventLoop):
    """A loop whose connections are what `connects` makes of them; `asked` keeps what they were asked with."""

    connects: Callable[[asyncio.Protocol], None]
    asked: dict[str, Any]

    async def create_connection(self, factory: Any, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        self.asked = {"to": args, **options}
        self.connects(factory())

    async def create_unix_connection(self, factory: Any, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        await self.create_connection(factory, *args, **options)


class Heard(Pool):
    """A pool that only listens."""

    __slots__ = ("heard",)

    def __init__(self, upstream: Upstream) -> None:
        super().__init__(upstream.endpoints[0], 1, lambda pool: None)
        self.heard: list[object] = []

    def dialled(self, connection: UpstreamConnection) -> None:
        self.heard.append(connection)

    def failed(self, kind: ErrorKind) -> None:
        self.heard.append(kind)


def upstream_of(url: str = "http://10.0.0.1:81", **section: Any) -> Upstream:
    return snapshot_of(upstreams={"blue": {"endpoints": [url], **section}}).upstreams[0]


def dialled(connects: Callable[[asyncio.Protocol], None], upstream: Upstream) -> tuple[list[object], dict[str, Any]]:
    pool = Heard(upstream)
    with asyncio.Runner(loop_factory=Loop) as runner:
        loop = cast(Loop, runner.get_loop())
        loop.connects, loop.asked = connects, {}
        runner.run(dial(pool, upstream, ResponseParser(response_table(), 1000, 10), 5.0))
        return pool.heard, loop.asked


def connect(protocol: asyncio.Protocol) -> None:
    protocol.connection_made(Transport(lambda call: None, ("10.0.0.1", 81)))


def connect_and_lose(protocol: asyncio.Protocol) -> None:
    connect(protocol)
    protocol.connection_lost(None)


def speak_first(protocol: asyncio.Protocol) -> None:
    connect(protocol)
    protocol.data_received(b"220 mail")


def raising(error: Exception) -> Callable[[asyncio.Protocol], None]:
    def connects(protocol: asyncio.Protocol) -> None:
        raise error

    return connects


@pytest.mark.parametrize(
    ("connects", "kind"),
    [
        (raising(ConnectionRefusedError()), ErrorKind.CONNECT),
        (raising(OSError(24, "no descriptor")), ErrorKind.CONNECT),
        (raising(ssl.SSLCertVerificationError()), ErrorKind.TLS),
        (raising(ssl.SSLError(1, "wrong version number")), ErrorKind.TLS),
        (raising(UnicodeError("label too long")), ErrorKind.CONNECT),
        (raising(TimeoutError()), ErrorKind.CONNECT_TIMEOUT),
        (connect_and_lose, ErrorKind.CONNECT),
        (speak_first, ErrorKind.CONNECT),
    ],
)
def test_dial_that_fails_tells_the_pool_how(connects: Callable[[asyncio.Protocol], None], kind: ErrorKind) -> None:
    assert dialled(connects, upstream_of())[0] == [kind]


@pytest.mark.parametrize(
    ("url", "section", "to", "name"),
    [
        ("http://10.0.0.1:81", {}, ("10.0.0.1", 81), None),
        ("https://a.example", {}, ("a.example", 443), "a.example"),
        ("https://a.example", {"tls": {"server_name": "b.example"}}, ("a.example", 443), "b.example"),
    ],
)
def test_dial_that_succeeds_hands_over_a_connection_that_is_fresh(
    url: str, section: dict[str, Any], to: tuple[str, int], name: str | None
) -> None:
    [connection], asked = dialled(connect, upstream_of(url, **section))
    assert isinstance(connection, UpstreamConnection)
    assert connection.idle_since > 0
    assert (asked["to"], asked["server_hostname"], asked["ssl"] is not None) == (to, name, name is not None)


def test_verification_is_on_unless_turned_off() -> None:
    assert client_context(None).verify_mode is ssl.CERT_REQUIRED
    assert client_context(UpstreamTls(verify=False, ca=None, server_name=None)).verify_mode is ssl.CERT_NONE
    assert client_context(None) is client_context(None)
    assert dialling.client_context(None).minimum_version is ssl.TLSVersion.TLSv1_2


async def test_failure_of_a_task_reaches_its_owner_and_its_cancellation_does_not() -> None:
    heard: list[BaseException] = []
    error = RuntimeError("no")

    async def fails() -> None:
        raise error

    await asyncio.wait([spawn(fails(), "fails", heard.append)])
    waits = spawn(asyncio.Event().wait(), "waits", heard.append)
    waits.cancel()
    await asyncio.wait([waits])
    assert heard == [error]
