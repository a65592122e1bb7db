"""The demo from start to end: real processes on free ports, changes seen from outside, and nothing left behind."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from admin.client import AdminClient, find_target
from tests.support.processes import watched

ROOT = Path(__file__).parents[2]
# For a process to come or to go on a busy machine; an event is waited for, this only ends a wait that is in vain.
PATIENCE = 60.0


@dataclass(slots=True)
class Demo:
    process: subprocess.Popen[bytes]
    said: dict[str, Any]

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str, bytes]:
        """Status, who answered, and the body."""
        connection = http.client.HTTPConnection(urlsplit(self.said["gateway"]).netloc, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.headers["X-Served-By"] or "", response.read()
        finally:
            connection.close()

    def counted(self, number: int) -> Counter[str]:
        """Who answered that many new clients."""
        return Counter(self.get("/")[1] for _ in range(number))

    def diffs(self) -> dict[str, Any]:
        with AdminClient(find_target(self.said["admin"], None, self.said["state"], {})) as api:
            answer: dict[str, Any] = api.get("/v1/routes/shop/diffs")
        return answer

    def change(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        with AdminClient(find_target(self.said["admin"], None, self.said["state"], {})) as api:
            answer: dict[str, Any] = api.call(method, path, body)
        assert answer["receipt"]["applied"]
        return answer


def started(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "admin.cli", "demo", "--port", "0", "--admin-port", "0", "--json", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def line_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read().decode()
    said: dict[str, Any] = json.loads(line)
    return said


def all_end(descriptors: list[int]) -> bool:
    """Waits for the end of each."""
    return all(select.select([descriptor], [], [], PATIENCE)[0] for descriptor in descriptors)


def descendants(pid: int) -> list[int]:
    """The process's children, theirs, and so on."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    process = started("--no-traffic", "--state", str(tmp_path_factory.mktemp("demo") / "state"))
    with process:
        yield Demo(process, line_of(process))
        process.terminate()
        process.communicate()


def test_demo_serves_each_version_and_each_rule(demo: Demo) -> None:
    assert demo.get("/", {"X-Canary": "true"})[1] == "canary"
    assert demo.get("/", {"Cookie": "beta=yes"})[1] == "canary"
    assert demo.get("/?preview=green")[1] == "green"
    assert demo.get("/new/things")[1] == "green"
    assert demo.get("/", {"User-Agent": "somebot/1.0"})[1] == "blue"
    assert demo.get("/", {"X-Forwarded-For": "203.0.113.200"})[1] == "canary"
    assert demo.get("/", {"Host": "next.localhost"})[1] == "next"
    assert demo.get("/nowhere")[0] == 200


def test_demo_echo_shows_the_headers_that_the_gateway_adds(demo: Demo) -> None:
    echo = json.loads(demo.get("/echo", {"X-Headgate-Flags": "forged", "X-Canary": "true"})[2])
    names = {name.lower(): value for name, value in echo["headers"]}
    assert names["x-forwarded-for"].endswith("127.0.0.1")
    assert names["x-forwarded-proto"] == "http"
    assert "x-request-id" in names
    assert names.get("x-headgate-flags") != "forged"


def test_demo_weights_and_cutback_take_effect_with_the_answer(demo: Demo) -> None:
    demo.change("PUT", "/v1/routes/shop/weights", {"weights": {"green": 100}})
    assert demo.counted(40) == {"green": 40}
    demo.change("POST", "/v1/routes/shop/cutback", {"reason": "test"})
    assert demo.counted(40) == {"blue": 40}
    assert demo.get("/", {"X-Canary": "true"})[1] == "blue"
    demo.change("DELETE", "/v1/routes/shop/cutback")
    assert demo.counted(40) == {"green": 40}
    assert demo.get("/", {"X-Canary": "true"})[1] == "canary"


def headgate(demo: Demo, *arguments: str, code: int = 0) -> str:
    """What the command prints when it is pointed at the demo."""
    command = [sys.executable, "-m", "admin.cli", *arguments, "--state", demo.said["state"]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == code, done.stderr
    return done.stdout or done.stderr


def test_commands_that_move_traffic_do_so_on_the_real_gateway(demo: Demo) -> None:
    line = headgate(demo, "weights", "shop", "blue=90", "canary=10")
    assert re.fullmatch(r"shop: blue 90 %, canary 10 %: 2 of 2 workers in [\d.]+ ms\n", line)
    assert headgate(demo, "weights", "shop", "canary=30").startswith("shop: blue 70 %, canary 30 %: 2 of 2 workers")
    assert headgate(demo, "cutback", "shop", "--reason", "test").startswith("cut back shop to blue: 2 of 2 workers in ")
    assert demo.counted(20) == {"blue": 20}
    assert "it is cut back to blue" in headgate(demo, "weights", "shop", "canary=20")
    assert headgate(demo, "restore", "shop").startswith("restored shop: 2 of 2 workers in ")
    assert headgate(demo, "cutback", "--all").startswith("cut back shop, preview, each to its stable upstream: 2 of 2")
    assert headgate(demo, "restore", "--all").startswith("restored shop, preview: 2 of 2 workers in ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("restore", "shop"), "refused (409): "),
        (("weights", "shop", "canry=10"), "refused (422): weights.canry: "),
        (("cutback", "shp"), "refused (404): "),
        (("explain", "shop.example.com"), "refused (422): url"),
    ],
)
def test_command_refused_by_the_real_gateway_says_why_in_one_line(
    demo: Demo, arguments: tuple[str, ...], said: str
) -> None:
    line = headgate(demo, *arguments, code=1)
    assert line.startswith(f"headgate: {said}")
    assert line.count("\n") == 1


def test_commands_that_read_understand_the_real_gateway(demo: Demo) -> None:
    headgate(demo, "weights", "shop", "blue=70", "green=20", "canary=10", "--reason", "as declared")
    table = headgate(demo, "status").splitlines()
    assert "2 of 2 workers ready" in table[0]
    assert table[3].split()[:7] == ["shop", "blue", "(stable)", "70", "%", "70", "%"]
    assert any(line.startswith("shop: weights set by ") and line.endswith(": as declared") for line in table)
    audit = headgate(demo, "audit", "--route", "shop", "--limit", "1").splitlines()
    assert len(audit) == 2
    assert "blue=70 green=20 canary=10  2/2      as declared" in audit[1]
    lines = headgate(demo, "explain", "-H", "x-canary: true", f"{demo.said['gateway']}/").splitlines()
    assert lines[0] == "shop: canary, by rule"
    assert len(lines) > 1
    assert "blue 70 %, green 20 %, canary 10 %" in headgate(demo, "explain", f"{demo.said['gateway']}/").splitlines()[0]
    assert headgate(demo, "health") == "ready\n"


def test_demo_whose_own_traffic_shows_the_fault_of_next_names_it_and_not_the_noise_beside_it() -> None:
    with started() as process, watched(process.pid) as ends:
        demo = Demo(process, line_of(process))
        deadline = time.monotonic() + PATIENCE
        while not (answer := demo.diffs())["findings"]:
            assert time.monotonic() < deadline, answer
            assert not select.select(ends, [], [], 0.2)[0], "the demo has ended"
        assert [(each["endpoint"], each["field"]) for each in answer["findings"]] == [
            ("/api/products", "$.items[*].price")
        ]
        table = headgate(demo, "diffs", "shop", "--fail-over", "1%", code=1).splitlines()
        assert table[2] == "1 finding:"
        assert table[4].split()[:3] == ["/api/products", "$.items[*].price", "changed"]
        assert "/api/products $.request_id" in table[-1]
        assert ", 1 finding" in headgate(demo, "status")
        process.terminate()
        process.communicate()


def test_demo_keeps_what_it_wrote_in_a_state_folder_that_was_named(demo: Demo) -> None:
    state = Path(demo.said["state"])
    assert (state / "demo.yaml").read_text().startswith("# The configuration of `headgate demo`")
    assert (state / "admin.token").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_demo_told_to_stop_ends_every_process_it_started(number: signal.Signals) -> None:
    with started() as process:
        said = line_of(process)
        pids = descendants(process.pid)
        assert len(pids) >= 4 + 1 + 1 + 1  # services, supervisor, admin, at least one worker
        with watched(process.pid, *pids) as ends:
            process.send_signal(number)
            assert all_end(ends)
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, b"")
        assert not Path(said["state"]).exists()


@pytest.mark.parametrize("name", ["canary", "gateway"])
def test_demo_of_which_one_process_dies_says_which_and_ends_the_others(name: str) -> None:
    with started("--no-traffic") as process:
        said = line_of(process)
        pids = descendants(process.pid)
        with watched(process.pid, *pids) as ends:
            os.kill(said["pids"][name], signal.SIGKILL)
            assert all_end(ends)
        _, errors = process.communicate()
        assert process.returncode == 1
        assert errors.decode().startswith(f"headgate: {name} (process {said['pids'][name]}) was ended by SIGKILL")
        assert errors.count(b"\n") == 1


def test_demo_killed_outright_takes_its_processes_along() -> None:
    with started("--no-traffic") as process:
        said = line_of(process)
        pids = descendants(process.pid)
        with watched(process.pid, *pids) as ends:
            process.kill()
            assert all_end(ends)
        for file in Path(said["state"]).iterdir():
            file.unlink()
        Path(said["state"]).rmdir()


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
def test_demo_on_a_port_in_use_is_one_clear_line(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started(option, str(port)) as process:
            out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, b"")
    assert errors.decode() == f"headgate: port {port} is in use; {option} takes another\n"


def test_demo_with_a_state_folder_of_another_leaves_that_alone(demo: Demo) -> None:
    state = Path(demo.said["state"])
    before = {name: (state / name).read_text() for name in ("demo.yaml", "admin.url", "admin.token")}
    with started("--no-traffic", "--state", str(state)) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors.decode()) == (
        1,
        f"headgate: the state folder {state} is in use by another demo\n",
    )
    assert {name: (state / name).read_text() for name in before} == before


def test_demo_whose_gateway_cannot_start_says_what_the_gateway_said(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a gateway that uses this folder holds it
        with started("--no-traffic", "--state", str(tmp_path)) as process:
            _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.decode().startswith("headgate: gateway (process ")
    assert errors.decode().endswith(f"{tmp_path} is in use by another gateway\n")
