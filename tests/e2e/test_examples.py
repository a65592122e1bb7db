"""Each example as a new user runs it: the file as it stands, a real gateway before small services, and the commands that it names.

Ports, folders and how long steps are held come from the environment, as the examples themselves have it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from admin.rollout.schedule import closed
from routing.load import load_file
from tests.support.gateway import Gateway
from tests.support.origin import Conversation, Script
from tests.support.stage import Stage

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
# Under a load of one client, on a busy machine.
PATIENCE = 120.0


def service(name: str, broken: Callable[[], bool] = lambda: False) -> Script:
    """As those of `headgate demo`: ready, and signs its answers. While it is broken it passes its smoke tests all the same."""

    def script(connection: Conversation) -> None:
        while True:
            arrival = connection.receive()
            body = json.dumps({"status": "ready", "served_by": name}).encode()
            status = "500 Broken" if broken() and arrival.target == "/" else "200 OK"
            connection.answer(body, status, X_Served_By=name, Content_Type="application/json")

    return script


@dataclass
class Shop:
    """An example that runs. Commands are those of the shell."""

    gateway: Gateway
    environ: dict[str, str]
    watchers: list[subprocess.Popen[str]] = field(default_factory=list)

    def begin(self, *command: str) -> subprocess.Popen[str]:
        self.watchers.append(
            subprocess.Popen(
                command,
                cwd=self.gateway.folder,
                env=self.environ,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        return self.watchers[-1]

    def run(self, *command: str) -> tuple[int, str]:
        """Exit code, and what it said."""
        process = self.begin(*command)
        said, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, said

    def rollout(self, *arguments: str) -> str:
        code, said = self.run("headgate", "rollout", *arguments)
        assert code == 0, said
        return said

    def shown(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.rollout("status", "shop", "--json"))
        return answer

    def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        seen: list[dict[str, Any]] = []

        def look() -> bool:
            seen[:] = [self.gateway.call("GET", "/v1/routes/shop/rollout")]
            return holds(seen[0])

        try:
            self.gateway.until(look, what, PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen}") from None
        return seen[0]

    def awaiting(self, step: int) -> dict[str, Any]:
        return self.until(
            f"step {step} waits for a person",
            lambda shown: shown["state"] == "awaiting_approval" and shown["step"] == step,
        )

    def ended(self) -> str:
        shown = self.until("it ends", lambda shown: shown["ended_at"] is not None)
        return str(shown["state"])


Open = Callable[..., Shop]


@pytest.fixture
def example(stage: Stage, tmp_path: Path) -> Iterator[Open]:
    """Starts an example with these upstreams, by their variables; other variables as they are."""
    shops: list[Shop] = []
    command = tmp_path / "headgate"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m admin.cli "$@"\n')
    command.chmod(0o755)

    def start(name: str, **variables: str) -> Shop:
        state = tmp_path / "state"
        environ = {
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PORT": "0",
            "ADMIN_PORT": "0",
            "STATE": str(state),
            "HEADGATE_STATE": str(state),
            "HOLD": "0",
            **variables,
        }
        gateway = stage.gateway({}, environ)
        gateway.state = state
        gateway.config = gateway.folder / name
        gateway.config.write_text((EXAMPLES / name).read_text())
        shops.append(Shop(gateway.start(), environ))
        return shops[-1]

    yield start
    for shop in shops:
        for watcher in shop.watchers:
            if watcher.poll() is None:
                watcher.kill()
            watcher.communicate()


@contextmanager
def traffic(shop: Shop) -> Iterator[None]:
    """Some 200 requests a second: what is held waits for them, and the machine is not theirs alone."""
    enough = threading.Event()

    def run() -> None:
        while not enough.wait(0.005):
            shop.gateway.get("/")

    thread = threading.Thread(target=run, name="traffic", daemon=True)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join(PATIENCE)


def services(stage: Stage, *names: str) -> dict[str, str]:
    return {name.upper(): stage.origin(service(name.rstrip("23"))).url for name in names}


def test_canary_is_promoted_step_by_step(stage: Stage, example: Open) -> None:
    shop = example("canary.yaml", **services(stage, "blue", "canary"))
    with traffic(shop):
        code, said = shop.run("headgate", "rollout", "start", "shop", "--watch")
    assert code == 0, said
    for title in ("smoke tests", "weight 5 %", "weight 25 %", "weight 50 %", "weight 100 %"):
        assert title in said
    assert said.endswith("promoted: every step has held\n")
    assert shop.gateway.route()["weights"] == {"canary": 100}


def test_blue_green_waits_for_a_person_between_smoke_tests_and_switch(stage: Stage, example: Open) -> None:
    shop = example("blue-green.yaml", **services(stage, "blue", "green"))
    with traffic(shop):
        shop.rollout("start", "shop")
        watcher = shop.begin("headgate", "rollout", "status", "shop", "--watch")
        shop.awaiting(2)
        assert shop.gateway.get("/")[1]["X-Served-By"] == "blue"
        assert shop.gateway.get("/", X_Preview="1")[1]["X-Served-By"] == "green"
        shop.rollout("approve", "shop")
        said, _ = watcher.communicate(timeout=PATIENCE)
    assert watcher.returncode == 0, said
    assert shop.gateway.get("/")[1]["X-Served-By"] == "green"


def test_blue_green_switches_back_by_itself_and_stays_so_until_a_person_restores(stage: Stage, example: Open) -> None:
    broken = stage.event()
    green = stage.origin(service("green", broken.is_set))
    shop = example("blue-green.yaml", HOLD="10m", GREEN=green.url, **services(stage, "blue"))
    with traffic(shop):
        shop.rollout("start", "shop")
        shop.awaiting(2)
        shop.rollout("approve", "shop")
        shop.until("it has switched", lambda shown: shown["weight"] == 100)
        broken.set()
        assert shop.ended() == "cut_back"
        assert shop.gateway.get("/")[1]["X-Served-By"] == "blue"
    code, said = shop.run("headgate", "rollout", "start", "shop")
    assert (code, "is cut back by rollout shop#1" in said) == (1, True), said
    assert shop.run("headgate", "restore", "shop")[0] == 0
    shop.rollout("start", "shop", "--dry-run")


def test_ab_has_both_cohorts_with_intervals_and_ends_when_somebody_says_so(stage: Stage, example: Open) -> None:
    shop = example("ab.yaml", **services(stage, "blue", "green"))
    with traffic(shop):
        shop.rollout("start", "shop")
        shown = shop.awaiting(2)
        for cohort in ("stable", "canary"):
            found = shown["evidence"][cohort]
            assert found["requests"] > 0
            assert found["low"] <= found["rate"] <= found["high"]
    shop.rollout("promote", "shop")
    assert shop.ended() == "promoted"


def test_shadow_first_compares_before_anybody_is_served(stage: Stage, example: Open) -> None:
    shop = example("shadow-first.yaml", PAIRS="30", **services(stage, "blue", "green"))
    with traffic(shop):
        code, said = shop.run("headgate", "rollout", "start", "shop", "--watch")
    assert code == 0, said
    assert said.index("shadow 20 %") < said.index("weight 10 %")
    assert shop.gateway.call("GET", "/v1/routes/shop/diffs")["compared"] >= 30


def test_rolling_has_one_endpoint_out_at_a_time(stage: Stage, example: Open) -> None:
    origins = [stage.origin(service("blue")) for _ in range(3)]
    shop = example("rolling.yaml", **dict(zip(("BLUE", "BLUE2", "BLUE3"), (each.url for each in origins), strict=True)))
    with traffic(shop):
        shop.rollout("start", "shop")
        for step, origin in enumerate(origins, 1):
            shop.awaiting(step)
            (found,) = shop.gateway.call("GET", "/v1/upstreams")["upstreams"]
            assert {each["endpoint"] for each in found["endpoints"] if each["state"] != "in"} == {origin.url}
            shop.rollout("approve", "shop")
        assert shop.ended() == "promoted"


def test_recreate_answers_the_maintenance_page_while_nothing_is_up(stage: Stage, example: Open) -> None:
    shop = example("recreate.yaml", **services(stage, "blue", "blue2"))
    with traffic(shop):
        shop.rollout("start", "shop")
        shop.awaiting(1)
        status, fields, body = shop.gateway.get("/")
        assert (status, fields["Retry-After"]) == (503, "60")
        assert b"back in a few minutes" in body
        shop.rollout("approve", "shop")
        assert shop.ended() == "promoted"
    assert shop.gateway.get("/")[0] == 200


def test_several_canaries_end_with_the_one_that_a_person_promotes(stage: Stage, example: Open) -> None:
    shop = example("canaries.yaml", **services(stage, "blue", "green", "canary"))
    with traffic(shop):
        shop.rollout("start", "shop")
        shop.awaiting(3)
    assert shop.gateway.route()["effective"] == {"blue": 40, "green": 30, "canary": 30}
    shop.rollout("promote", "shop", "--upstream", "green")
    assert shop.gateway.route()["effective"]["green"] == 100


def test_windows_let_a_rollout_wait_and_freezes_refuse_it(stage: Stage, example: Open) -> None:
    shop = example(
        "windows.yaml", FREEZE_FROM="2020-01-01", FREEZE_UNTIL="2099-12-31", **services(stage, "blue", "canary")
    )
    code, said = shop.run("headgate", "rollout", "start", "shop")
    assert code == 1
    assert "no rollout may begin: frozen until the end of 2099-12-31 (christmas)" in said
    text, mark = shop.gateway.config.read_text(), shop.gateway.mark
    shop.gateway.config.write_text(text.replace("${FREEZE_UNTIL:-2027-01-03}", "2020-01-02"))
    shop.gateway.signal(signal.SIGHUP)
    shop.gateway.logged("config", after=mark)
    windows = load_file(EXAMPLES / "windows.yaml", {}).routes["shop"].rollout
    assert windows is not None
    before = closed(datetime.now(UTC), windows.windows, ())
    shop.rollout("start", "shop")
    shown = shop.until("it has begun, or waits", lambda shown: shown["weight"] == 10 or shown["reason"] != "")
    after = closed(datetime.now(UTC), windows.windows, ())
    if before == after:  # else a window has opened or closed meanwhile
        assert shown["weight"] == (0 if before else 10)
        assert before in shown["reason"]


def test_gates_are_asked_as_documented(stage: Stage, example: Open) -> None:
    receiver = [sys.executable, str(EXAMPLES / "pipelines" / "receiver.py"), "--port", "0"]
    with subprocess.Popen(receiver, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            hosts = services(stage, "blue", "canary")
            shop = example("gates.yaml", PROMETHEUS=url, WEBHOOK=f"{url}/gate", **hosts)
            with traffic(shop):
                shop.rollout("start", "shop")
                watcher = shop.begin("headgate", "rollout", "status", "shop", "--watch")
                shop.awaiting(2)
                shop.rollout("approve", "shop")
                said, _ = watcher.communicate(timeout=PATIENCE)
            assert watcher.returncode == 0, said
        finally:
            process.terminate()
        asked = [json.loads(line.removeprefix("/gate ")) for line in process.stdout]
    assert [(each["step"], each["weight"]) for each in asked] == [(1, 10), (2, 50), (3, 100)]
    page = (ROOT / "docs" / "rollouts.md").read_text()
    (documented,) = (block.partition("```")[0] for block in page.split("```json\n")[1:])
    assert {**json.loads(documented), "rollout": 1} == asked[0]


def test_flags_reach_the_service_for_those_they_are_for(stage: Stage, example: Open) -> None:
    blue = stage.origin(service("blue"))
    shop = example("flags.yaml", BLUE=blue.url, CHECKOUT="100")
    shop.gateway.get("/", X_User_Id="7")
    shop.gateway.get("/", X_User_Id="7", X_Group="staff")
    assert [each.get("X-Headgate-Flags") for each in blue.wait(2)] == ["new-checkout", "new-checkout, staff-tools"]


def test_deploy_script_has_an_exit_code_for_each_end(stage: Stage, example: Open) -> None:
    broken = stage.event()
    blue, canary = stage.origin(service("blue")), stage.origin(service("canary", broken.is_set))
    shop = example("canary.yaml", BLUE=blue.url, CANARY=canary.url)
    deploy = str(EXAMPLES / "pipelines" / "deploy.sh")
    assert shop.run(deploy)[0] == 3
    assert shop.run(deploy, "nowhere")[0] == 3
    # Without traffic it holds, until somebody cancels the pipeline.
    watcher = shop.begin(deploy, "shop", "2.1.0")
    assert watcher.stdout is not None
    assert any("weight 5 %" in line for line in watcher.stdout)
    watcher.terminate()
    watcher.communicate(timeout=PATIENCE)
    assert watcher.returncode == 4
    assert shop.ended() == "aborted"
    assert shop.gateway.route()["effective"] == {"blue": 100}
    broken.set()
    with traffic(shop):
        code, said = shop.run(deploy, "shop")
        assert (code, "cut back" in said) == (2, True), said
        broken.clear()
        code, said = shop.run(deploy, "shop")
        assert (code, "is cut back" in said) == (3, True), said
        code, said = shop.run(deploy, "--restore", "shop", "mended")
        assert code == 0, said


def test_every_example_with_a_rollout_is_run_here() -> None:
    here = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.yaml"):
        if any(route.rollout is not None for route in load_file(path, {}).routes.values()):
            assert f'"{path.name}"' in here
