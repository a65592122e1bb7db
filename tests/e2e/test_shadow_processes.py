"""Shadow process, differ and admin that die or freeze: no client notices, and each copy is counted once all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.support.origin import Conversation
from tests.support.processes import all_end, descendants, watched
from tests.support.shadows import SHADOW, Clients, Shadowed, numbers
from tests.support.stage import Stage

DIFFER = "headgate: differ 0"
EVERYTHING = {"percent": 100, "methods": ["GET", "POST"], "noise_sample": "0%"}


def otherwise(connection: Conversation) -> None:
    """A shadow whose every answer differs from the primary's."""
    while True:
        arrival = connection.receive()
        connection.answer(b'{"other": "%b"}' % arrival.target.encode(), Content_Type="application/json")


def shadowed_by(stage: Stage, script: Callable[[Conversation], None], **top: object) -> Shadowed:
    upstreams = {"blue": stage.origin(numbers).url, "next": stage.origin(script).url}
    return Shadowed(stage, upstreams, {"shop": {"upstream": "next", **EVERYTHING}}, **top)


def killed(shadowed: Shadowed, name: str) -> None:
    pid = shadowed.gateway.by_title()[name]
    os.kill(pid, signal.SIGKILL)
    shadowed.gateway.wait_gone(pid)


@pytest.fixture(scope="module")
def shadowed(shared: Stage) -> Shadowed:
    """A route for each test, whose processes are replaced as often as need be."""
    blue, alike, unlike = shared.origin(numbers), shared.origin(numbers), shared.origin(otherwise)
    names = {"frozen": "alike", "differ": "unlike", "admin": "alike", "again": "alike"}
    routes = {name: {"upstream": upstream, **EVERYTHING} for name, upstream in names.items()}
    return Shadowed(shared, {"blue": blue.url, "alike": alike.url, "unlike": unlike.url}, routes)


def test_frozen_shadow_process_costs_clients_nothing_and_is_replaced(shadowed: Shadowed) -> None:
    with Clients(shadowed.gateway, "frozen.example") as clients:
        clients.wait(100)
        frozen = shadowed.shadow_pid
        os.kill(frozen, signal.SIGSTOP)
        shadowed.gateway.wait_gone(frozen)
        shadowed.wait_copying()
        clients.wait(100)
    assert clients.different == []
    diffs = shadowed.counted(clients.sent, "frozen")
    assert diffs["matched"] == diffs["compared"] > 0
    assert diffs["dropped"]["queue_full"] > 0  # it gave no credit


def test_killed_differ_is_replaced_and_its_pair_is_unknown(shadowed: Shadowed) -> None:
    with Clients(shadowed.gateway, "differ.example") as clients:
        for _ in range(2):
            shadowed.gateway.until(lambda: DIFFER in shadowed.gateway.by_title(), "there is a differ")
            clients.wait(100)
            killed(shadowed, DIFFER)
            clients.wait(100)
    assert clients.different == []
    diffs = shadowed.counted(clients.sent, "differ")
    assert diffs["mismatched"] > 0
    assert diffs["matched"] == 0
    assert diffs["unknown_reasons"].keys() <= {"crashed"}


def test_no_client_notices_that_admin_is_killed_and_what_was_found_stays(shadowed: Shadowed) -> None:
    with Clients(shadowed.gateway, "admin.example") as clients:
        clients.wait(100)
        mark = shadowed.gateway.mark
        killed(shadowed, "headgate: admin")
        clients.wait(100)
        shadowed.gateway.logged("the admin API serves", after=mark)
    assert clients.different == []
    shadowed.gateway.until(lambda: shadowed.diffs("admin")["compared"] > 0, "the shadow process tells it all again")
    diffs = shadowed.diffs("admin")
    assert diffs["matched"] == diffs["compared"]


def test_no_client_notices_that_the_shadow_process_is_killed_again_and_again(shadowed: Shadowed) -> None:
    before = shadowed.metrics("headgate_shadow_restarts_total")[""]
    with Clients(shadowed.gateway, "again.example") as clients:
        for _ in range(5):
            clients.wait(100)
            os.kill(shadowed.shadow_pid, signal.SIGKILL)
            clients.wait(100)
            shadowed.wait_copying()
        clients.wait(100)
    assert clients.different == []
    diffs = shadowed.counted(clients.sent, "again")
    assert diffs["matched"] == diffs["compared"] > 0
    assert diffs["dropped"]["shadow_down"] > 0
    assert shadowed.metrics("headgate_shadow_restarts_total")[""] == before + 5


def test_what_was_found_outlives_a_restart_to_the_last_copy(stage: Stage) -> None:
    """What is under way at the end is counted as dropped."""

    def slow(connection: Conversation) -> None:
        while not (arrival := connection.receive()).target.endswith("7"):
            connection.answer(b"%b in other words" % arrival.target.encode())
        connection.wait_closed()

    shadowed = shadowed_by(stage, slow)
    with Clients(shadowed.gateway, "shop.example") as clients:
        clients.wait(200)
        shadowed.gateway.until(lambda: shadowed.diffs()["compared"] > 0, "some are compared")
    assert {SHADOW, DIFFER} <= shadowed.gateway.by_title().keys()
    with watched(*descendants(shadowed.gateway.pid)) as ends:
        assert shadowed.gateway.stop() == 0
        assert all_end(ends)
    shadowed.start()
    diffs = shadowed.counted(clients.sent)
    assert diffs["mismatched"] == diffs["compared"] > 0
    assert diffs["dropped"]["shadow_down"] > 0
    assert shadowed.gateway.stop() == 0
    shadowed.start()
    assert shadowed.counted(clients.sent) == diffs


def test_processes_go_when_the_supervisor_is_killed(stage: Stage) -> None:
    shadowed = shadowed_by(stage, otherwise)
    with Clients(shadowed.gateway, "shop.example", 1):
        shadowed.gateway.until(lambda: DIFFER in shadowed.gateway.by_title(), "there is a differ")
    with watched(*descendants(shadowed.gateway.pid)) as ends:
        shadowed.gateway.signal(signal.SIGKILL)
        assert all_end(ends)
    assert shadowed.gateway.end() == -signal.SIGKILL


def test_shadow_process_starts_with_the_first_shadow_and_not_before(stage: Stage) -> None:
    blue, own = stage.origin("blue"), stage.origin("next")
    gateway = stage.running({"blue": blue.url, "next": own.url})
    assert set(gateway.by_title()) == {"headgate: supervisor", "headgate: admin", "headgate: worker 0"}
    gateway.call("PUT", "/v1/routes/shop/shadow", {"upstream": "next", "percent": 100})
    gateway.until(lambda: SHADOW in gateway.by_title(), "the shadow process is there")
    gateway.until(lambda: gateway.get()[0] == 200 and len(own.arrivals) > 0, "it takes copies")
