"""What the connections of a worker share: state taken over whole or not at all, deadlines, and counts."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.client import ClientConnection
from proxy.exchange import NEVER, Exchange
from proxy.plane import EXPIRED_AT_ONCE, EXPIRY_PAUSE
from proxy.request_parser import RequestMessage
from proxy.upstream import UpstreamConnection
from routing.snapshot import CutbackMode, Live
from tests.proxy.fakes import BLUE, CANARY, GET, OK, Scene, request, snapshot_of, status

CUT = Live(cutback=CutbackMode.CUT)
STICKY = {"weights": {"blue": 1, "canary": 1}, "sticky": {"cookie": "hg"}}


def test_state_that_cannot_be_adopted_changes_nothing(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    scene = Scene(access_log={"path": str(log)})
    client, origin = scene.ask()
    origin.send(OK)
    with pytest.raises(OSError, match="access"):
        scene.adopt(
            access_log={"path": str(tmp_path / "no" / "access.log")}, upstreams={"blue": {"endpoints": [CANARY]}}
        )
    client.send(GET)
    assert scene.origins == [origin]
    origin.send(OK)
    assert client.received().count(b"HTTP/1.1 200 ") == 2
    assert scene.plane.access_log is not None
    scene.plane.access_log.flush()
    assert log.read_text().count('"status":200') == 2


def test_worker_that_starts_while_its_log_cannot_be_opened_serves_without_it(tmp_path: Path) -> None:
    scene = Scene(access_log={"path": str(tmp_path / "no" / "access.log")})
    assert scene.plane.fault is not None
    client, origin = scene.ask()
    origin.send(OK)
    assert status(client.received()) == 200
    scene.adopt(access_log={"path": str(tmp_path / "access.log")})
    assert scene.plane.access_log is not None


def test_log_that_is_replaced_is_closed_and_the_new_one_used(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    scene = Scene(access_log={"path": str(tmp_path / "1")})
    for name in ("2", "3"):
        scene.adopt(access_log={"path": str(tmp_path / name)})
    scene.ask()[1].send(OK)
    scene.adopt(access_log={"sample": 0})
    assert [len((tmp_path / name).read_text().splitlines()) for name in "123"] == [0, 0, 1]
    assert len(os.listdir("/proc/self/fd")) == before


def test_live_state_is_in_force_for_the_next_request() -> None:
    scene = Scene(route={"weights": {"canary": 1}})
    client, origin = scene.ask()
    assert origin.url == CANARY
    origin.send(OK)
    scene.publish(CUT)
    client.send(GET)
    assert scene.origin.url == BLUE
    scene.origin.send(OK)
    scene.publish(Live())
    client.send(GET)
    origin.send(OK)
    assert client.received().count(b" 200 ") == 3


def test_live_state_of_an_adopted_snapshot_is_in_force_at_once() -> None:
    scene = Scene(route={"weights": {"canary": 1}}, hold=True)
    scene.client().send(GET)
    scene.adopt({"shop": CUT})
    assert scene.dialled == [CANARY, BLUE]


def test_drain_of_an_upstream_keeps_clients_that_show_its_cookie() -> None:
    scene = Scene(route=STICKY)
    cookies: dict[str, bytes] = {}
    while len(cookies) < 2:
        client, origin = scene.ask()
        origin.send(OK)
        cookies[origin.url] = (client.head().get("Set-Cookie") or "").partition(";")[0].encode()
        origin.received()
    scene.publish(Live(cutback=CutbackMode.DRAIN))
    for line, url in ((cookies[CANARY], CANARY), (cookies[BLUE], BLUE), (b"x=y", BLUE)):
        client = scene.client().send(request(b"Cookie: " + line))
        [asked] = [origin for origin in scene.origins if origin.received()]
        assert asked.url == url
        asked.send(OK)
        assert client.head().get("Set-Cookie") is None


def test_limit_of_connections_to_an_endpoint_is_shared_among_workers() -> None:
    scene = Scene(limits={"per_endpoint": 1}, hold=True)
    first, second = scene.client().send(GET), scene.client().send(GET)
    assert len(scene.dialled) == 1
    scene.connect()
    scene.origin.send(OK)
    assert (status(first.received()), second.received()) == (200, b"")
    scene.origin.send(OK)
    assert status(second.received()) == 200
    scene.adopt(limits={"per_endpoint": 3})
    assert [pool.limit for pool in scene.plane.upstreams.all()] == [3, 3]


def test_request_is_counted_once_under_its_route_its_upstream_and_its_status() -> None:
    scene = Scene(route={"match": {"path_prefix": "/shop"}})
    for raw, response in (
        (request(target=b"/shop/a"), OK),
        (request(target=b"/shop/b"), b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        (request(target=b"/shop/c"), b"broken\r\n"),
    ):
        scene.ask(raw)[1].send(response)
    scene.client().send(request(target=b"/elsewhere"))
    scene.client().send(request(b"Host: a b"))
    assert scene.codes() == {("shop", "blue"): {200: 1, 404: 1, 502: 1}, ("", ""): {404: 1, 400: 1}}
    assert scene.codes() == {}


def test_request_that_ends_under_another_state_is_counted_by_name() -> None:
    scene = Scene(route={"weights": {"canary": 1}})
    _, origin = scene.ask()
    scene.publish(CUT)
    origin.send(OK)
    assert scene.codes() == {("shop", "canary"): {200: 1}}


def test_requests_leave_nothing_for_the_collector() -> None:
    """Workers look for cycles rarely (worker.py), so that a cycle per request would be a leak."""
    scene = Scene(route={"retry": {"attempts": 1, "on": ["reset"]}})
    gc.collect()
    gc.disable()
    before = _alive()
    try:
        client, origin = scene.ask()
        for _ in range(20):
            origin.send(OK)
            client.send(GET, request(b"Content-Length: 1", method=b"PUT", body=b"x"))
            origin.send(OK)
            scene.origin.reset()
            scene.origin.send(OK)
            origin = scene.origin
            client.send(GET)
        client.reset()
        del client, origin
        scene.origins.clear()
        assert _alive() <= before
    finally:
        gc.enable()


def _alive() -> set[int]:
    kinds = (Exchange, RequestMessage, ClientConnection, UpstreamConnection)
    return {id(thing) for thing in gc.get_objects() if isinstance(thing, kinds)}


def test_snapshot_without_a_log_writes_none() -> None:
    assert Scene(snapshot_of()).plane.access_log is None


class Turns:
    """A loop that keeps what is to be done a moment later."""

    def __init__(self) -> None:
        self.soon: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """The next sweep is the test's to make."""
        if delay <= EXPIRY_PAUSE:
            self.soon.append((callback, args))

    def turn(self) -> None:
        turns, self.soon = self.soon, []
        for callback, args in turns:
            callback(*args)


def test_slow_clients_that_end_together_are_cut_in_turns() -> None:
    """Failed: a thousand of them at once, and every other client waited so long."""
    scene, loop = Scene(), Turns()
    clients = [scene.client().send(GET[:10]) for _ in range(3 * EXPIRED_AT_ONCE)]
    for client in clients:
        client.transport.protocol.deadline = scene.began  # type: ignore[attr-defined]

    def cut() -> int:
        scene.settle()
        return sum(client.closed for client in clients)

    def sweep() -> None:
        scene.plane.sweep(cast(asyncio.AbstractEventLoop, loop))

    sweep()
    seen = [cut()]
    sweep()  # the next comes before all had their turn
    goes_on = next(client for client in clients if not client.closed)
    goes_on.transport.protocol.deadline = NEVER  # type: ignore[attr-defined]
    while loop.soon:
        assert len(loop.soon) == 1
        loop.turn()
        seen.append(cut())
    assert all(0 <= after - before <= EXPIRED_AT_ONCE for before, after in pairwise([0, *seen]))
    assert [client for client in clients if not client.closed] == [goes_on]
    assert scene.count("gateway_errors", "request_timeout") == len(clients) - 1
