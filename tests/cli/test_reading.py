"""`status`, `explain`, `audit`: what people and machines get to read."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Headgate
from tests.cli.fake_admin import RECEIPT, FakeAdmin, route, seen

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "node": "a",
    "uptime": 11520.4,
    "revision": 7,
    "workers": [{"worker": 0, "ready": True}, {"worker": 1, "ready": True}],
    "config": {"error": None, "needs_restart": []},
    "store": {"pending": 0},
    "shadow": None,
}


def answers(admin: FakeAdmin, status: dict[str, Any], *routes: dict[str, Any]) -> None:
    admin.answers = {
        "GET /v1/status": (200, status),
        "GET /v1/routes": (200, {"revision": 7, "routes": list(routes)}),
    }


def test_status_shows_weights_set_and_in_force(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    cutback = {"mode": "cut", "by": "token:admin", "at": "2026-01-01T00:00:00Z", "reason": "orders fail"}
    upstreams = {"blue": seen(12.5, 0.0, 3.25), "canary": seen(1.0, 0.5, 250.0) | {"healthy": False}}
    cut = route(effective={"blue": 100, "canary": 0}, cutback=cutback, upstreams=upstreams)
    answers(admin, STATUS, cut)
    result = headgate("status", "--state", str(state))
    assert result.code == 0
    assert result.out.splitlines() == [
        "headgate 0.1.0 on a, up 3 h 12 min, 2 of 2 workers ready, revision 7",
        "",
        "route  upstream       weight  now    req/s  errors   p95     healthy",
        "shop   blue (stable)  95 %    100 %  12.5   0.00 %   3.2 ms  yes",
        "       canary         5 %     0 %    1.0    50.00 %  250 ms  NO",
        "shop: cut back (cut) by token:admin at 2026-01-01T00:00:00Z: orders fail",
    ]


def test_status_shows_what_is_copied_and_that_nothing_can_be(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    shadow = {"upstream": "next", "percent": 10, "compared": 200, "mismatched": 3, "findings": 1, "dropped": 4}
    answers(admin, STATUS | {"shadow": {"pid": 7, "ready": False, "restarts": 1}}, route(shadow=shadow))
    lines = headgate("status", "--state", str(state)).out.splitlines()
    assert lines[1] == "the shadow process is away, so nothing is compared"
    assert lines[-1] == "shop: 10 % copied to next, 200 pairs compared, 3 mismatched, 1 finding, 4 dropped"


def test_status_without_traffic_shows_no_rates(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    answers(admin, STATUS, route(upstreams={"blue": seen()}))
    assert "-       -    yes" in headgate("status", "--state", str(state)).out


def test_status_says_what_an_operator_should_worry_about(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    worried = STATUS | {
        "config": {"error": "line 3: unknown key", "needs_restart": ["listen"]},
        "store": {"pending": 2},
        "workers": [{"worker": 0, "ready": True}, {"worker": 1, "ready": False}],
    }
    answers(admin, worried, route())
    lines = headgate("status", "--state", str(state)).out.splitlines()
    assert "1 of 2 workers ready" in lines[0]
    assert lines[1:4] == [
        "the last reload was refused: line 3: unknown key",
        "in the configuration, but only after a restart: listen",
        "2 changes are in force but not yet stored",
    ]


def test_status_with_json_is_what_the_api_answers(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    answers(admin, STATUS, route())
    result = headgate("status", "--json", "--state", str(state))
    assert json.loads(result.out) == {"status": STATUS, "routes": [route()]}


def test_status_on_a_terminal_is_drawn_in_colour(admin: FakeAdmin, state: Path) -> None:
    answers(admin, STATUS, route(upstreams={"blue": seen() | {"healthy": False}}))
    controlling, terminal = pty.openpty()
    with open(controlling, "rb", buffering=0) as screen:
        command = [sys.executable, "-m", "admin.cli", "status", "--state", str(state)]
        environ = {**os.environ, "TERM": "xterm-256color"}
        environ.pop("NO_COLOR", None)
        process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], env=environ, stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        shown = b""
        while chunk := _read(screen):
            shown += chunk
        assert process.wait() == 0
    assert b"\x1b[1;31mNO" in shown
    assert "───".encode() in shown


def _read(screen: io.RawIOBase) -> bytes:
    try:
        return screen.read(4096) or b""
    except OSError:  # EIO: the last program has closed the terminal
        return b""


EXPLAINED = {
    "route": "shop",
    "upstream": "canary",
    "random": False,
    "shares": {"canary": 1.0},
    "reason": "rule",
    "reasons": ["route 'shop' takes path / (path_prefix /)", "rules[0] holds and sends to canary"],
}


def test_explain_prints_outcome_and_reasons(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"POST /v1/explain": (200, EXPLAINED)}
    url = "http://shop.example.com/"
    options = ("-X", "POST", "-H", "x-canary: true", "-H", "A: 1", "-H", "A: 2", "--client-ip", "81.2.69.142")
    result = headgate("explain", *options, url, "--state", str(state))
    assert result.out.splitlines() == [
        "shop: canary, by rule",
        "  route 'shop' takes path / (path_prefix /)",
        "  rules[0] holds and sends to canary",
    ]
    headers = {"x-canary": "true", "A": ["1", "2"]}
    assert admin.calls[-1].body == {"method": "POST", "url": url, "headers": headers, "client_ip": "81.2.69.142"}


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (EXPLAINED | {"random": True, "shares": {"blue": 0.9, "canary": 0.1}, "reason": "weight"},
         "shop: drawn by weight: blue 90 %, canary 10 %"),
        ({"route": None, "upstream": None, "reasons": []}, "no route takes it: the gateway would answer 404"),
    ],
)  # fmt: skip
def test_explain_of_what_is_not_certain_says_so(
    headgate: Headgate, admin: FakeAdmin, state: Path, answer: dict[str, Any], line: str
) -> None:
    admin.answers = {"POST /v1/explain": (200, answer)}
    assert headgate("explain", "/", "--state", str(state)).out.splitlines()[0] == line


def test_explain_of_a_client_with_a_certificate(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"POST /v1/explain": (200, EXPLAINED)}
    options = ("--client-subject", "orders", "--client-san", "a.example", "--client-san", "spiffe://a")
    assert headgate("explain", *options, "/", "--state", str(state)).code == 0
    proved = {"subject": "orders", "san": ["a.example", "spiffe://a"]}
    assert admin.calls[-1].body == {"method": "GET", "url": "/", "headers": {}, "client_certificate": proved}


def test_explain_with_a_header_that_is_none_is_a_usage_error(headgate: Headgate, state: Path) -> None:
    assert headgate("explain", "-H", "x-canary", "/", "--state", str(state)).code == 2


def test_a_reason_begins_no_line_of_its_own_and_commands_no_terminal(
    headgate: Headgate, admin: FakeAdmin, state: Path
) -> None:
    reason = "x\n2026-01-01T00:00:00Z  ann  cutback  shop\x1b[2J"
    entry: dict[str, Any] = {"at": "t", "who": "bob", "action": "config", "route": None, "reason": reason, "after": {}}
    admin.answers = {"GET /v1/audit": (200, {"entries": [entry | {"receipt": None}], "next": None})}
    _, line = headgate("audit", "--state", str(state)).out.splitlines()
    assert line.endswith("x?2026-01-01T00:00:00Z  ann  cutback  shop?[2J")


def test_audit_shows_who_did_what_and_why(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    at = "2026-01-01T00:00:00Z"
    weights = {"weights": {"weights": {"blue": 90, "canary": 10}}, "cutback": None}
    cutback = {"weights": None, "cutback": {"mode": "cut"}}
    entries = [
        {"at": at, "who": "token:admin", "action": "cutback", "route": "shop", "reason": "orders fail",
         "after": cutback, "receipt": RECEIPT | {"applied": False}},
        {"at": at, "who": "token:admin", "action": "weights", "route": "shop", "reason": "",
         "after": weights, "receipt": RECEIPT},
        {"at": at, "who": "file", "action": "config", "route": None, "reason": "", "after": {}, "receipt": None},
    ]  # fmt: skip
    admin.answers = {"GET /v1/audit": (200, {"entries": entries, "next": None})}
    result = headgate("audit", "--route", "shop", "--limit", "3", "--state", str(state))
    assert admin.calls[-1].path == "/v1/audit?limit=3&route=shop"
    assert result.out.splitlines() == [
        "when                  who          what     route  to                 workers          reason",
        "2026-01-01T00:00:00Z  token:admin  cutback  shop   cut                4/4 NOT APPLIED  orders fail",
        "2026-01-01T00:00:00Z  token:admin  weights  shop   blue=90 canary=10  4/4",
        "2026-01-01T00:00:00Z  file         config   -      -                  -",
    ]
