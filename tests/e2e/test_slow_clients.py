"""Slow loris: heads and bodies that come byte by byte cost the others nothing, and each is cut when its time is over.

`HEADGATE_SLOW_CLIENTS=10000` in the environment makes it as many; that wants 25,000 open files.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.gateway import Gateway
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, request

SLOW_CLIENTS = int(os.environ.get("HEADGATE_SLOW_CLIENTS", "1000"))
BEGINNING = b"GET /slow HTTP/1.1\r\nHost: shop.example\r\nX-Long: "


class Drippers:
    """Connections that have sent the beginning of a head and add a byte to it at each `drip`."""

    def __init__(self, gateway: Gateway, number: int) -> None:
        self._poll = select.epoll()
        self.open: dict[int, socket.socket] = {}
        self.answers: Counter[bytes] = Counter()
        """How those ended that are closed: the status line, empty where a reset took it."""
        for _ in range(number):
            sock = socket.create_connection(gateway.addresses[0], PATIENCE)
            sock.setblocking(False)
            sock.send(BEGINNING)
            self.open[sock.fileno()] = sock
            self._poll.register(sock, select.EPOLLIN)

    def drip(self) -> None:
        for fd, _ in self._poll.poll(0, max(1, len(self.open))):
            self._end(fd)
        for sock in self.open.values():
            with contextlib.suppress(OSError):  # the end of it is told by the next poll
                sock.send(b"x")

    def _end(self, fd: int) -> None:
        sock = self.open.pop(fd)
        self._poll.unregister(fd)
        said = b""
        with contextlib.suppress(OSError):
            said = sock.recv(4096)
        self.answers[said.partition(b"\r\n")[0]] += 1
        sock.close()

    def close(self) -> None:
        for sock in self.open.values():
            sock.close()
        self._poll.close()


@pytest.fixture
def files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SLOW_CLIENTS + 500:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("files")
def test_dripping_heads_are_all_cut_and_everybody_else_is_served(stage: Stage) -> None:
    """By counts: a head may have 32 KiB, so whoever was not cut would end with 431, long after the last assertion."""
    origin = stage.origin()
    gateway = stage.running({"blue": origin.url}, timeouts={"request_head": "2s"}, limits={"connections": 0})
    drippers = Drippers(gateway, SLOW_CLIENTS)
    served = 0
    try:
        while drippers.open:
            drippers.drip()
            assert gateway.get("/other")[0] == 200
            served += 1
    finally:
        drippers.close()
    assert drippers.answers.total() == SLOW_CLIENTS
    assert drippers.answers.keys() <= {b"HTTP/1.1 408 Request Timeout", b""}
    assert [arrival.target for arrival in origin.arrivals] == ["/other"] * served
    with gateway.connect() as client:
        client.send(b"GET /other HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert client.response().status == 200


def test_body_that_drips_gets_408_and_is_counted(stage: Stage) -> None:
    """Each byte is in time for `request_body`; all of them together are too few."""
    origin = stage.origin()
    gateway = stage.running({"blue": origin.url}, timeouts={"request_body": "1s"}, limits={"body_rate": "1MiB"})
    with gateway.connect() as client:
        client.send(request(method="POST", fields={"Content-Length": "1000000"}))
        while not select.select([client.sock], [], [], 0.05)[0]:
            client.send(b"b")
        answer = client.response()
        assert (answer.status, answer.get("X-Headgate-Error")) == (408, "slow_body")
        client.wait_closed()
    assert gateway.get()[0] == 200
    gateway.until(lambda: b'headgate_gateway_errors_total{kind="slow_body"} 1.0' in metrics(gateway), "the count")


def metrics(gateway: Gateway) -> bytes:
    with gateway.admin() as client:
        return client.exchange("GET", "/metrics")[1]
