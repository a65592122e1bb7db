"""What real workers tell of a judged route: each request once, and the same clients by the same keys."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.control import Arm, Decoder, ListenerSettings, Message, Publish, Ready, Stats, WorkerSettings, encode
from routing.pickling import dumps
from routing.snapshot import Live, Snapshot
from tests.proxy.fakes import snapshot_of
from tests.support.origin import Origin, serving
from tests.support.wire import PATIENCE, Wire

ROOT = Path(__file__).parents[2]
USERS = 40
ROUTE = {
    "weights": {"blue": 1, "canary": 1},
    "sticky": {"header": "X-User"},
    "retry": {"attempts": 1, "on": [503], "budget": "100%"},
}


class RealWorker:
    """A worker process with a listener of its own, and the supervisor's end of its control socket."""

    def __init__(self, number: int, snapshot: Snapshot, live: dict[str, Live]) -> None:
        self._control, theirs = socket.socketpair()
        self._control.settimeout(PATIENCE)
        self._decoder = Decoder()
        self._heard: list[Message] = []
        with theirs, socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            fds = (theirs.fileno(), listener.fileno())
            command = [sys.executable, "-m", "proxy.worker", "--control-fd", str(fds[0])]
            self.process = subprocess.Popen(command, pass_fds=fds, cwd=ROOT)
            settings = ListenerSettings(fds[1], f"127.0.0.1:{self.port}")
            self._control.sendall(encode(WorkerSettings(number, (settings,), workers=2)))
            self._control.sendall(encode(Publish(1, live, dumps(snapshot))))
            self._until(Ready)

    def _until(self, kind: type) -> None:
        while not any(isinstance(message, kind) for message in self._heard):
            self._hear()

    def _hear(self) -> None:
        received = self._control.recv(65536)
        assert received, "the worker is gone"
        self._heard += self._decoder.feed(received)

    def ask(self, user: int) -> int:
        with Wire(socket.create_connection(("127.0.0.1", self.port))) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-User: %d\r\n\r\n" % user)
            return client.response().status

    def arms(self, requests: int) -> list[Arm]:
        """What it has told, once it is of so many requests."""
        while True:
            arms = [arm for message in self._heard if isinstance(message, Stats) for arm in message.arms]
            if sum(arm.requests for arm in arms) >= requests:
                return arms
            self._hear()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        self._control.close()


@pytest.fixture
def upstreams() -> Iterator[dict[str, Origin]]:
    origins = {"blue": Origin(serving("blue")), "canary": Origin(serving("canary", "503 No"))}
    yield origins
    for origin in origins.values():
        origin.close()


@pytest.fixture
def workers(upstreams: dict[str, Origin]) -> Iterator[list[RealWorker]]:
    snapshot = snapshot_of(ROUTE, {name: {"endpoints": [origin.url]} for name, origin in upstreams.items()})
    running: list[RealWorker] = []
    with ExitStack() as ending:
        for number in range(2):
            worker = RealWorker(number, snapshot, {"shop": Live(judged=True)})
            ending.callback(worker.close)
            running.append(worker)
        yield running


def test_workers_tell_of_each_request_once_and_of_the_same_clients_by_the_same_keys(
    workers: list[RealWorker], upstreams: dict[str, Origin]
) -> None:
    for worker in workers:
        assert [worker.ask(user) for user in range(USERS)] == [200] * USERS  # stable's answer, where the canary failed
    told = [worker.arms(USERS) for worker in workers]
    failed = len(upstreams["canary"].arrivals)
    assert 0 < failed < 2 * USERS
    assert sum(arm.requests for arms in told for arm in arms) == 2 * USERS
    canary = [[arm for arm in arms if arm.upstream == "canary"] for arms in told]
    assert sum(arm.requests for arms in canary for arm in arms) == failed
    assert sum(arm.bad for arms in canary for arm in arms) == failed
    first, second = ({key for arm in arms for key in arm.keys} for arms in canary)
    assert first == second
    assert len(first) == failed / 2
    stable = [arm for arms in told for arm in arms if arm.upstream == "blue"]
    assert sum(arm.bad for arm in stable) == 0
    assert sum(sum(arm.buckets.values()) for arm in stable) == 2 * USERS - failed
