"""SIGUSR2: the whole gateway anew, on the same sockets, and nobody notices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest

from tests.chaos.load import Load
from tests.chaos.scene import Scene
from tests.support.gateway import START_PATIENCE, Gateway
from tests.support.origin import Conversation
from tests.support.processes import all_end, descendants, watched
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, ClosedError, request

# A trial of the new code and then a start, while clients use all the processors.
UPGRADE_PATIENCE = 2 * START_PATIENCE


def upgrade(gateway: Gateway) -> None:
    mark, before = gateway.mark, descendants(gateway.pid)
    with watched(*before) as ends:
        gateway.signal(signal.SIGUSR2)
        gateway.logged("serving", after=mark, patience=UPGRADE_PATIENCE)
        assert all_end(ends, UPGRADE_PATIENCE)


@pytest.mark.timeout(480)
def test_upgrades_under_load_cost_no_request(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Scene(tmp_path_factory.mktemp("upgrade")) as scene:
        newcomers = Load(lambda: scene.gateway.addresses[0], 4, 1)
        scene.closing.callback(newcomers.close)
        pid = scene.gateway.pid
        scene.gateway.weights(blue=3, canary=1)
        for _ in range(2):
            scene.answers(200)
            upgrade(scene.gateway)
            scene.whole()
            scene.answers(200)
        assert Counter(each.kind for load in (scene.load, newcomers) for each in load.failures) == {}
        assert scene.load.refused == newcomers.refused == 0
        assert scene.gateway.pid == pid
        assert scene.gateway.route()["weights"] == {"blue": 3, "canary": 1}


def test_answer_under_way_is_completed_by_the_old_worker_and_cut_by_a_cutback(stage: Stage) -> None:
    """No worker that can't be told of a cutback outlives it."""
    go_on = stage.event()

    def script(connection: Conversation) -> None:
        while True:
            if connection.receive().target == "/held":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
                assert go_on.wait(PATIENCE)
                connection.send(b"rest")
            else:
                connection.answer(b"quick")

    gateway = stage.running(
        {"blue": stage.origin("blue").url, "canary": stage.origin(script).url}, {"weights": {"canary": 1}}
    )
    for cut in (False, True):
        old = gateway.worker()
        go_on.clear()
        with gateway.connect() as client:
            client.send(request("/held"))
            client.head()
            mark = gateway.mark
            gateway.signal(signal.SIGUSR2)
            gateway.logged("serving", after=mark)
            assert gateway.get()[2] == b"quick"
            assert os.path.exists(f"/proc/{old}")
            if cut:
                with watched(old) as ends:
                    gateway.cutback(reason="after the upgrade")
                    assert all_end(ends, 0)
                with pytest.raises(ClosedError):
                    client.exactly(8)
            else:
                go_on.set()
                assert client.exactly(8) == b"halfrest"


@pytest.mark.parametrize("change", ["broken", "another listener"])
def test_upgrade_that_could_not_run_is_not_begun(stage: Stage, change: str) -> None:
    gateway = stage.running({"blue": stage.origin().url})
    before = gateway.by_title()
    if change == "broken":
        gateway.config.write_text("routes: [")
    else:
        settings = json.loads(gateway.config.read_text())
        settings["listen"].append({"address": "127.0.0.1:0"})
        gateway.config.write_text(json.dumps(settings))
    mark = gateway.mark
    gateway.signal(signal.SIGUSR2)
    gateway.logged("not upgraded: the new version or its configuration cannot run", after=mark)
    assert gateway.get()[0] == 200
    assert gateway.by_title() == before


def test_command_upgrades_the_gateway_of_a_state_folder_and_waits_for_it(stage: Stage) -> None:
    gateway = stage.running({"blue": stage.origin().url})
    before = gateway.worker()
    command = [sys.executable, "-P", "-m", "admin.cli", "upgrade", "--state", str(gateway.state)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "upgraded\n"
    assert gateway.worker() != before
    assert gateway.get()[0] == 200
    gateway.stop()
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "no gateway runs" in refused.stderr


def test_upgraded_gateway_can_be_stopped_and_upgraded_again(stage: Stage) -> None:
    gateway = stage.running({"blue": stage.origin().url}, workers=2)
    for _ in range(2):
        upgrade(gateway)
        assert gateway.get()[0] == 200
    assert gateway.stop() == 0


def test_endpoint_that_checks_have_found_ill_gets_nothing_after_the_upgrade(stage: Stage) -> None:
    """Not even until the first check of the new admin process, which here never ends."""
    told = threading.Event()

    def ill(connection: Conversation) -> None:
        while True:
            target = connection.receive().target
            if target == "/up" and told.is_set():
                stage.event().wait(PATIENCE)
            connection.answer(b"ill", "503 No" if target == "/up" else "200 OK", X_Served_By="ill")

    origin, drained = stage.origin(ill), stage.origin("drained")
    blue = {
        "endpoints": [origin.url, drained.url, stage.origin("good").url],
        "health_check": {"path": "/up", "interval": "50ms", "timeout": "60s", "healthy": 1, "unhealthy": 1},
    }
    gateway = stage.running({"blue": blue})
    gateway.call("POST", "/v1/upstreams/blue/endpoints/drain", {"endpoint": drained.url})
    before = {each["endpoint"]: each["state"] for each in endpoints(gateway)}
    gateway.logged("endpoint unhealthy", upstream="blue")
    told.set()
    upgrade(gateway)
    assert {gateway.get()[1]["X-Served-By"] for _ in range(20)} == {"good"}
    after = {each["endpoint"]: each["state"] for each in endpoints(gateway)}
    assert after[origin.url] == "unhealthy"
    assert after[drained.url] == before[drained.url] == "drained"


def endpoints(gateway: Gateway) -> list[dict[str, str]]:
    [upstream] = gateway.call("GET", "/v1/upstreams")["upstreams"]
    found: list[dict[str, str]] = upstream["endpoints"]
    return found


def test_health_checks_go_on_after_the_upgrade_where_they_were(stage: Stage) -> None:
    """One failed check of an endpoint that was well says little before an upgrade, and says as little after it."""
    failing, asked = threading.Event(), threading.Event()

    def script(connection: Conversation) -> None:
        while True:
            up = connection.receive().target == "/up"
            if up and failing.is_set():
                asked.set()
            connection.answer(b"", "503 No" if up and failing.is_set() else "200 OK", X_Served_By="blue")

    check = {"path": "/up", "interval": "1h", "timeout": "5s", "healthy": 2, "unhealthy": 3}
    url = stage.origin(script).url
    gateway = stage.running({"blue": {"endpoints": [url], "health_check": check, "no_endpoints": "unavailable"}})
    assert gateway.get()[0] == 200
    failing.set()
    upgrade(gateway)
    assert asked.wait(PATIENCE)
    gateway.until(lambda: endpoints(gateway)[0].get("problem") is not None, "the check has failed")
    assert endpoints(gateway)[0]["state"] == "in"
    assert gateway.get()[0] == 200


def test_live_weights_and_a_cutback_are_in_force_after_the_upgrade(stage: Stage) -> None:
    gateway = stage.running({"blue": stage.origin("blue").url, "canary": stage.origin("canary").url})
    gateway.weights(canary=1)
    upgrade(gateway)
    assert {gateway.get()[1]["X-Served-By"] for _ in range(10)} == {"canary"}
    gateway.cutback(reason="before an upgrade")
    upgrade(gateway)
    assert {gateway.get()[1]["X-Served-By"] for _ in range(10)} == {"blue"}
    assert gateway.route()["cutback"]["reason"] == "before an upgrade"


def test_stop_during_the_trial_of_the_new_code_is_a_stop(stage: Stage) -> None:
    """The trial takes a second, in which SIGTERM may come; the delay keeps the gateway up until it is over."""
    gateway = stage.running({"blue": stage.origin().url}, timeouts={"drain_delay": "1h"})
    mark, before = gateway.mark, gateway.by_title()
    gateway.signal(signal.SIGUSR2)
    gateway.until(lambda: len(descendants(gateway.pid)) > len(before) - 1, "the trial has begun")
    gateway.signal(signal.SIGTERM)
    gateway.logged("leaving", after=mark)
    gateway.until(lambda: gateway.by_title() == before, "the trial is over")
    assert gateway.get()[0] == 200
    assert not any('"upgrading"' in line for line in gateway.lines[mark:])
    gateway.signal(signal.SIGTERM)
    gateway.end()
