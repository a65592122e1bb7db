"""SIGUSR2: the whole gateway anew, on the same sockets, and nobody notices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from tests.chaos.load import Load
from tests.chaos.scene import Scene
from tests.support.gateway import Gateway
from tests.support.origin import Conversation
from tests.support.processes import all_end, descendants, watched
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, ClosedError, request


def upgrade(gateway: Gateway) -> None:
    mark, before = gateway.mark, descendants(gateway.pid)
    with watched(*before) as ends:
        gateway.signal(signal.SIGUSR2)
        gateway.logged("serving", after=mark)
        assert all_end(ends)


def test_upgrades_under_load_cost_no_request(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Scene(tmp_path_factory.mktemp("upgrade")) as scene:
        newcomers = Load(lambda: scene.gateway.addresses[0], 4, 1)
        scene.closing.callback(newcomers.close)
        pid = scene.gateway.pid
        scene.gateway.weights(blue=3, canary=1)
        for _ in range(3):
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
