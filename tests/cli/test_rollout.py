"""`rollout`: what it asks of the API, what it prints, and the exit codes that pipelines go by."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from admin.commands import rollout_watch
from tests.cli.conftest import Headgate
from tests.cli.fake_admin import FakeAdmin, problem, route
from tests.support.wire import PATIENCE

PATH = "/v1/routes/shop/rollout"
ROOT = Path(__file__).parents[2]
REASON = "canary errors 50 % against 0.1 %: 500×, sure at 99 %; cut back 1 s after the step began"


def rollout(state: str = "running", step: int = 1, **more: Any) -> dict[str, Any]:
    arm = {"requests": 1200, "bad": 1, "counted": 1, "rate": 0.000833, "low": 0.0001, "high": 0.004}
    return {
        "number": 1,
        "route": "shop",
        "state": state,
        "pattern": "canary",
        "to": ["canary"],
        "stable": "blue",
        "step": step,
        "steps": 2,
        "plan": [{"title": "weight 5 %", "hold": 60.0}, {"title": "weight 100 %", "hold": 60.0}],
        "phase": "holding",
        "held": 15.0,
        "weight": 5.0,
        "verdict": "ok",
        "sentence": "canary errors 0.083 % against 0.083 % in 2,400 requests: no sign of a regression",
        "evidence": {"canary": arm, "stable": arm, "evidence": {"errors": {"value": 0.5, "needed": 400.0}}},
        "gates": {"webhook load": {"passed": None, "failures": 0, "message": ""}},
        "failed": 1,
        "reason": "",
        "started_at": "t",
        "started_by": "ann",
        "ended_at": None,
        "revision": 8,
        "receipt": None,
        "dry_run": False,
        "warnings": [],
        **more,
    }


def looks(admin: FakeAdmin, *answers: tuple[int, Any]) -> None:
    """What look after look is answered; the last one stays."""
    admin.in_turn[f"GET {PATH}"] = list(answers)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_watch, "LOOK_SECONDS", 0.001)


@pytest.mark.parametrize(
    ("typed", "line", "body"),
    [
        (["start", "shop"], f"POST {PATH}", None),
        (["start", "shop", "--reason", "2.1.0"], f"POST {PATH}", {"reason": "2.1.0"}),
        (["start", "shop", "--dry-run"], f"POST {PATH}?dry_run=true", None),
        (["status", "shop"], f"GET {PATH}", None),
        (["pause", "shop", "--reason", "lunch"], f"POST {PATH}/pause", {"reason": "lunch"}),
        (["promote", "shop", "--upstream", "next"], f"POST {PATH}/promote", {"upstream": "next"}),
        (["skip", "shop"], f"POST {PATH}/skip", None),
        (["abort", "shop"], f"POST {PATH}/abort", None),
    ],
)
def test_rollout_asks_for_what_was_typed(
    headgate: Headgate, admin: FakeAdmin, state: Path, typed: list[str], line: str, body: Any
) -> None:
    admin.answers[line.partition("?")[0]] = 200, rollout()
    assert headgate("rollout", *typed, "--state", str(state)).code == 0
    assert [(call.line, call.body) for call in admin.calls] == [(line, body)]


def test_a_plan_comes_from_a_file(headgate: Headgate, admin: FakeAdmin, state: Path, tmp_path: Path) -> None:
    admin.answers[f"POST {PATH}"] = 200, rollout()
    plan = tmp_path / "plan.yaml"
    plan.write_text("to: canary\nsteps: [{weight: 5, hold: 1m}]\n")
    assert headgate("rollout", "start", "shop", "--plan", str(plan), "--state", str(state)).code == 0
    assert admin.calls[0].body == {"to": "canary", "steps": [{"weight": 5, "hold": "1m"}]}


@pytest.mark.parametrize(
    "typed",
    [
        ["status", "shop", "--plan", "x"],
        ["abort", "shop", "--upstream", "x"],
        ["start", "shop", "--watch", "--dry-run"],
        ["begin", "shop"],
        ["start"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    headgate: Headgate, admin: FakeAdmin, state: Path, typed: list[str]
) -> None:
    assert headgate("rollout", *typed, "--state", str(state)).code == 2
    assert admin.calls == []


@pytest.mark.parametrize("text", ["- a\n", "to: [\n", None])
def test_a_plan_that_cannot_be_read_is_an_error(
    headgate: Headgate, admin: FakeAdmin, state: Path, tmp_path: Path, text: str | None
) -> None:
    plan = tmp_path / "plan.yaml"
    if text is not None:
        plan.write_text(text)
    result = headgate("rollout", "start", "shop", "--plan", str(plan), "--state", str(state))
    assert (result.code, admin.calls) == (1, [])
    assert str(plan) in result.err


def test_a_refusal_is_said_and_exit_code_1(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers[f"POST {PATH}"] = problem(409, "route 'shop' has a rollout under way: rollout shop#1, running")
    result = headgate("rollout", "start", "shop", "--watch", "--state", str(state))
    assert result.code == 1
    assert result.err == "headgate: refused (409): route 'shop' has a rollout under way: rollout shop#1, running\n"


# Watched


@pytest.mark.parametrize(("state_", "code"), [("promoted", 0), ("cut_back", 2), ("aborted", 1)])
def test_the_exit_code_says_how_it_ended(
    headgate: Headgate, admin: FakeAdmin, state: Path, state_: str, code: int
) -> None:
    looks(admin, (200, rollout(state_, reason="as it says")))
    result = headgate("rollout", "status", "shop", "--watch", "--state", str(state))
    assert (result.code, result.out) == (code, f"shop  {state_.replace('_', ' ')}: as it says\n")


def test_what_a_webhook_answers_commands_no_terminal(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    said = "http://hook answers 500: \x1b[2J\nshop  promoted"
    gates = {"webhook load": {"passed": False, "failures": 1, "message": said}}
    admin.answers[f"GET {PATH}"] = 200, rollout(reason=said, gates=gates)
    result = headgate("rollout", "status", "shop", "--state", str(state))
    assert "\x1b" not in result.out
    assert "shop  promoted" not in result.out.splitlines()
    assert result.out.count("http://hook answers 500: ?[2J?shop  promoted") == 2


def test_off_a_terminal_each_change_is_a_line_and_other_figures_are_none(
    headgate: Headgate, admin: FakeAdmin, state: Path
) -> None:
    admin.answers[f"POST {PATH}"] = 200, rollout(verdict="unknown")
    holding = [rollout(verdict="unknown", reason=f"holding: {n} of 20 requests", held=n) for n in (1, 2, 3)]
    looks(
        admin,
        *((200, answer) for answer in holding),
        (200, rollout()),
        (200, rollout(held=16.0)),
        (200, rollout(step=2)),
        (200, rollout("cut_back", step=2, reason=REASON)),
    )
    result = headgate("rollout", "start", "shop", "--watch", "--state", str(state))
    assert result.out.splitlines() == [
        "shop  step 1/2 weight 5 %  running, unknown",
        "shop  step 1/2 weight 5 %  running, unknown: holding: 1 of 20 requests",
        "shop  step 1/2 weight 5 %  running, ok",
        "shop  step 2/2 weight 100 %  running, ok",
        f"shop  cut back: {REASON}",
    ]
    assert (result.code, result.err, len(admin.calls)) == (2, "", 8)


def test_with_json_each_line_is_the_rollout(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    looks(admin, (200, rollout()), (200, rollout("promoted")))
    result = headgate("rollout", "status", "shop", "--watch", "--json", "--state", str(state))
    assert [json.loads(line)["state"] for line in result.out.splitlines()] == ["running", "promoted"]
    assert result.code == 0


def test_a_gateway_that_is_away_for_a_moment_is_waited_for(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    looks(admin, (200, rollout()), (503, b"<html>"), (502, b""), (200, b"no JSON"), (200, rollout("promoted")))
    result = headgate("rollout", "status", "shop", "--watch", "--state", str(state))
    assert (result.code, len(result.out.splitlines())) == (0, 2)


def test_a_gateway_that_stays_away_is_an_error(
    headgate: Headgate, admin: FakeAdmin, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_watch, "PATIENCE", 0.0)
    looks(admin, (200, rollout()), (503, b""))
    result = headgate("rollout", "status", "shop", "--watch", "--state", str(state))
    assert (result.code, result.err) == (1, "headgate: the gateway answers 503\n")


@pytest.mark.parametrize("answer", [problem(404, "there is no route 'shop'"), problem(401, "the token was revoked")])
def test_what_is_refused_is_not_waited_for(
    headgate: Headgate, admin: FakeAdmin, state: Path, answer: tuple[int, Any]
) -> None:
    looks(admin, (200, rollout()), answer)
    result = headgate("rollout", "status", "shop", "--watch", "--state", str(state))
    assert result.code == 1
    assert answer[1]["detail"] in result.err


def test_another_rollout_is_not_taken_for_the_watched_one(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    looks(admin, (200, rollout()), (200, rollout(number=2)))
    result = headgate("rollout", "status", "shop", "--watch", "--state", str(state))
    assert (result.code, result.err) == (
        1,
        "headgate: rollout #1 of route 'shop' has ended, and another one has begun\n",
    )


# As a process


def command(state: Path, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "admin.cli",
        "rollout",
        "status",
        "shop",
        "--watch",
        "--state",
        str(state),
        *arguments,
    ]


def test_ctrl_c_leaves_the_rollout_running_and_says_so(admin: FakeAdmin, state: Path) -> None:
    looks(admin, (200, rollout()))
    with subprocess.Popen(
        command(state), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "shop  step 1/2 weight 5 %  running, ok\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert said == (
        "headgate: the rollout of shop goes on: `headgate rollout status shop` shows it, `headgate rollout abort shop` ends it\n"
    )
    assert {call.method for call in admin.calls} == {"GET"}


def drawn(output: str, columns: int, rows: int) -> list[str]:
    """What a terminal of that size shows after it, by the sequences that are used here. Scrolled lines fail."""
    screen = [""] * rows
    row = column = 0
    for part in re.findall(r"\x1b\[\d*[A-Za-z]|\r\n|\r|\n|[^\x1b\r\n]+", output):
        if part in ("\r\n", "\n"):
            row, column = row + 1, 0
            assert row < rows, "scrolled"
        elif part == "\r":
            column = 0
        elif part == "\x1b[J":
            screen[row] = screen[row][:column]
            screen[row + 1 :] = [""] * (rows - row - 1)
        elif part.endswith("F"):
            row, column = row - int(part[2:-1]), 0
            assert row >= 0
        else:
            assert not part.startswith("\x1b"), part
            screen[row] = screen[row][:column] + part + screen[row][column + len(part) :]
            column += len(part)
            assert column < columns, "wrapped"
    return [line for line in screen if line]


@pytest.mark.parametrize(("columns", "rows"), [(100, 24), (40, 24), (60, 5)])
def test_on_a_terminal_it_is_drawn_in_place(admin: FakeAdmin, state: Path, columns: int, rows: int) -> None:
    frames_drawn = 6
    looks(
        admin,
        *((200, rollout(held=10.0 * look)) for look in range(frames_drawn)),
        (200, rollout("cut_back", reason=REASON, gates={}, evidence={}, sentence="")),
    )
    leader, follower = pty.openpty()
    environ = {**os.environ, "COLUMNS": str(columns), "LINES": str(rows), "TERM": "xterm"}
    said = bytearray()

    def read() -> None:
        while True:
            try:
                said.extend(os.read(leader, 65536))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=read)
    with subprocess.Popen(command(state), cwd=ROOT, env=environ, stdout=follower, stderr=follower) as process:
        os.close(follower)
        reader.start()
        assert process.wait(PATIENCE) == 2
    reader.join(PATIENCE)
    os.close(leader)
    assert len(admin.calls) == frames_drawn + 1
    output = said.decode()
    frames = output.split("\x1b[J")
    assert len(frames) == frames_drawn + 2
    whole = drawn(output.partition("\r\n" + f"shop  cut back: {REASON}")[0], columns, rows)
    assert whole[0] == f"shop  cut back: {REASON}"[: columns - 1]
    assert f"shop  cut back: {REASON}" in output  # in full, however narrow it is
    running = drawn("\x1b[J".join(frames[:3]), columns, rows)
    assert len(running) == min(7, rows - 1)
    assert running[1].startswith("  held      ")


def test_status_has_a_line_for_a_rollout_under_way(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    worries = {"config": {"error": None, "needs_restart": []}, "store": {"pending": 0}, "shadow": None, "workers": []}
    admin.answers["GET /v1/status"] = 200, {"version": "1", "node": "a", "uptime": 1.0, "revision": 8, **worries}
    found: list[tuple[dict[str, Any], str]] = [
        (
            {"reason": "holding: 3 of 20 requests"},
            "running, step 1 of 2 (weight 5 %), verdict ok: holding: 3 of 20 requests",
        ),
        (
            {"state": "awaiting_approval", "sentence": "fine"},
            "awaiting approval, step 1 of 2 (weight 5 %), verdict ok: fine",
        ),
    ]
    for more, line in found:
        admin.answers["GET /v1/routes"] = 200, {"routes": [route(rollout=rollout(**more))]}
        assert f"shop: rollout {line}\n" in headgate("status", "--state", str(state)).out
    admin.answers["GET /v1/routes"] = 200, {"routes": [route(rollout=rollout("promoted", ended_at="t"))]}
    assert "rollout" not in headgate("status", "--state", str(state)).out
