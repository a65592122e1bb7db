"""Workers and admin that die or freeze: who notices, what fails, and what goes on as if nothing had happened."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.support.gateway import Gateway
from tests.support.load import Load, Meter
from tests.support.origin import Conversation
from tests.support.processes import all_end, children, descendants, watched
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, ClosedError, request


@pytest.fixture
def gateway(stage: Stage) -> Gateway:
    return stage.running({"blue": stage.origin("blue").url, "canary": stage.origin("canary").url}, workers=2)


def answers(gateway: Gateway, number: int = 20) -> Counter[str | None]:
    """Who served so many requests, each over a connection of its own."""
    served = Counter[str | None]()
    for _ in range(number):
        status, fields, _ = gateway.get()
        assert status == 200
        served[fields["X-Served-By"]] += 1
    return served


def test_each_process_is_titled_by_its_role(gateway: Gateway) -> None:
    titles = {"headgate: supervisor", "headgate: admin", "headgate: worker 0", "headgate: worker 1"}
    assert set(gateway.by_title()) == titles
    assert [worker["pid"] for worker in gateway.status()["workers"]] == [gateway.worker(0), gateway.worker(1)]


def test_killed_worker_takes_only_its_own_requests_with_it(stage: Stage) -> None:
    go_on = stage.event()

    def script(connection: Conversation) -> None:
        while True:
            if connection.receive().target == "/held":
                assert go_on.wait(PATIENCE)
            connection.answer(b"done")

    origin = stage.origin(script)
    gateway = stage.running({"blue": origin.url}, workers=2)
    killed = gateway.worker(0)
    with ExitStack() as closing:
        held = [closing.enter_context(gateway.connect()) for _ in range(24)]
        for client in held:
            client.send(request("/held"))
        origin.wait(24)
        os.kill(killed, signal.SIGKILL)
        for _ in range(24):  # at once: some are accepted by the other worker, some wait for the new one
            with gateway.connect() as client:
                client.send(request("/new"))
                assert client.response().status == 200
        go_on.set()
        outcomes = Counter[str]()
        for client in held:
            try:
                outcomes[str(client.response().status)] += 1
            except ClosedError:
                outcomes["closed"] += 1
    assert set(outcomes) == {"200", "closed"}
    gateway.until(lambda: len(gateway.workers()) == 2 and gateway.worker(0) != killed, "worker 0 is replaced")
    gateway.until(lambda: all(worker["ready"] for worker in gateway.status()["workers"]), "it is ready")
    assert gateway.status()["worker_restarts"] == 1


def test_new_connections_do_not_notice_that_workers_are_killed_under_load(stage: Stage) -> None:
    blue = Meter("blue")
    stage.closing.callback(blue.close)
    gateway = stage.running({"blue": blue.url}, workers=2)
    clients = 8
    with Load(gateway, [{}] * clients) as load:
        for number in range(2):
            load.wait(200)
            killed = gateway.worker(number)
            os.kill(killed, signal.SIGKILL)
            load.wait(200)
            gateway.until(
                lambda killed=killed: len(gateway.workers()) == 2 and killed not in gateway.workers(),  # type: ignore[misc]
                "the killed worker is replaced",
            )
    assert set(load.statuses) == {200}
    assert load.broken <= 2 * clients  # each had at most one request under way at each kill


def test_frozen_worker_is_noticed_and_replaced(gateway: Gateway) -> None:
    frozen = gateway.worker(1)
    os.kill(frozen, signal.SIGSTOP)
    gateway.wait_gone(frozen)
    gateway.until(lambda: len(gateway.workers()) == 2, "the frozen worker is replaced")
    assert answers(gateway) == {"blue": 20}


def test_frozen_admin_is_noticed_and_replaced(gateway: Gateway) -> None:
    mark, frozen = gateway.mark, gateway.admin_pid
    os.kill(frozen, signal.SIGSTOP)
    assert answers(gateway) == {"blue": 20}
    gateway.wait_gone(frozen)
    gateway.logged("the admin API serves", after=mark)
    assert gateway.status()["revision"]


def test_traffic_goes_on_while_admin_is_dead_and_it_comes_back_as_it_was(gateway: Gateway) -> None:
    gateway.weights(blue=1, canary=1)
    before = gateway.route()
    mark, killed = gateway.mark, gateway.admin_pid
    os.kill(killed, signal.SIGKILL)
    gateway.wait_gone(killed)
    assert answers(gateway, 40).keys() == {"blue", "canary"}
    gateway.logged("the admin API serves", after=mark)
    after = gateway.route()
    assert (after["weights"], after["live"], after["revision"]) == (
        before["weights"],
        before["live"],
        before["revision"],
    )
    gateway.weights(canary=1)
    assert answers(gateway) == {"canary": 20}


def test_cutback_made_just_before_admin_is_killed_stays_in_force(gateway: Gateway) -> None:
    gateway.weights(canary=1)
    mark, killed = gateway.mark, gateway.admin_pid
    gateway.cutback(reason="last words")
    os.kill(killed, signal.SIGKILL)
    assert answers(gateway) == {"blue": 20}
    gateway.logged("the admin API serves", after=mark)
    assert gateway.route()["cutback"]["reason"] == "last words"
    assert answers(gateway) == {"blue": 20}
    os.kill(gateway.worker(0), signal.SIGKILL)  # whoever starts now knows of it too
    assert answers(gateway) == {"blue": 20}
    gateway.restore()
    assert answers(gateway) == {"canary": 20}


def test_worker_that_dies_while_admin_is_dead_comes_back_with_the_state_in_force(gateway: Gateway) -> None:
    gateway.weights(canary=1)
    workers = gateway.workers()
    os.kill(gateway.admin_pid, signal.SIGSTOP)  # dead to the others, and not replaced for two seconds
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert answers(gateway) == {"canary": 20}


def test_state_outlives_kill_9_of_everything(gateway: Gateway) -> None:
    gateway.weights(blue=25, canary=75)
    gateway.cutback(reason="before the crash")
    gateway.kill()
    gateway.start()
    route = gateway.route()
    assert route["weights"] == {"blue": 25, "canary": 75}
    assert route["cutback"]["reason"] == "before the crash"
    assert answers(gateway) == {"blue": 20}
    gateway.restore()
    gateway.weights(canary=1)
    gateway.kill()
    gateway.start()
    assert answers(gateway) == {"canary": 20}
    assert gateway.route()["cutback"] is None


def test_children_go_when_the_supervisor_is_killed(gateway: Gateway) -> None:
    own = children(gateway.pid)
    assert len(own) == 3
    with watched(*own) as ends:
        gateway.signal(signal.SIGKILL)
        assert all_end(ends)
    assert gateway.end() == -signal.SIGKILL
    gateway.start()  # nothing is left that would hold its state or its token
    assert answers(gateway) == {"blue": 20}


def test_gateway_leaves_no_process_and_no_token_behind_that_others_can_read(gateway: Gateway) -> None:
    assert (gateway.state / "admin.token").stat().st_mode & 0o077 == 0
    assert gateway.state.stat().st_mode & 0o077 == 0
    with watched(gateway.pid, *descendants(gateway.pid)) as ends:
        assert gateway.stop() == 0
        assert all_end(ends)


def test_worker_that_dies_again_and_again_is_shown_as_such(gateway: Gateway) -> None:
    """Killed as soon as there is a process, before it is anything."""
    kept = {pid for pid in children(gateway.pid) if pid != gateway.worker(0)}

    def crashing() -> dict[str, int]:
        for pid in set(children(gateway.pid)) - kept:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        found: dict[str, int] = gateway.status()["crashing"]
        return found

    gateway.until(lambda: crashing().get("worker 0", 0) > 2, "the crash loop is told")
    with gateway.admin() as client:
        assert 'headgate_crash_loop{process="worker 0"}' in client.exchange("GET", "/metrics")[1].decode()
    assert answers(gateway) == {"blue": 20}
    gateway.until(lambda: gateway.status()["crashing"] == {}, "the worker that lives ends it")
