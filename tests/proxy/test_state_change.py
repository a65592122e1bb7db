"""Requests that were decided by one state and are sent, or sent again, under the next."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.control import InFlight
from routing.snapshot import CutbackMode, Live
from tests.proxy.fakes import BLUE, CANARY, GET, OK, Scene, request, snapshot_of, status

CUT, DRAIN = Live(cutback=CutbackMode.CUT), Live(cutback=CutbackMode.DRAIN)
TO_CANARY: dict[str, Any] = {"weights": {"canary": 1}}
BY_RULE: dict[str, Any] = {"rules": [{"when": {"header": {"x-test": "1"}}, "send": "canary"}]}
STICKY: dict[str, Any] = {"weights": {"canary": 1, "blue": 1}, "sticky": {"cookie": "hg"}}
TESTER = request(b"X-Test: 1")
TWO = {"blue": {"endpoints": [BLUE]}, "canary": {"endpoints": [CANARY, "http://10.0.0.3:8003"]}}


def cookie_of_canary() -> bytes:
    """A client's that has been there before."""
    scene = Scene(route=STICKY)
    while True:
        client, origin = scene.ask()
        origin.send(OK)
        if origin.url == CANARY:
            return (client.head().get("Set-Cookie") or "").partition(";")[0].encode()


@pytest.mark.parametrize(("route", "raw"), [(TO_CANARY, GET), (BY_RULE, TESTER)])
def test_drain_admits_no_new_client_that_stood_in_line(route: dict[str, Any], raw: bytes) -> None:
    scene = Scene(route={**route, "sticky": {"cookie": "hg"}}, hold=True)
    scene.client().send(raw)
    assert scene.publish(DRAIN) == {}
    assert scene.dialled == [CANARY, BLUE]


def test_drain_leaves_an_old_client_in_line() -> None:
    scene = Scene(route=STICKY, hold=True)
    scene.client().send(request(b"Cookie: " + cookie_of_canary()))
    scene.publish(DRAIN)
    assert scene.dialled == [CANARY]
    scene.publish(CUT)
    assert scene.dialled == [CANARY, BLUE]


def test_retry_during_a_drain_is_no_new_admission() -> None:
    retry = {"attempts": 1, "on": ["reset"], "budget": "100%"}
    scene = Scene(route={**BY_RULE, "sticky": {"cookie": "hg"}, "retry": retry}, upstreams=TWO)
    client, origin = scene.ask(TESTER)
    scene.publish(DRAIN)
    origin.reset()
    assert scene.origin.url == BLUE
    scene.origin.send(OK)
    assert status(client.received()) == 200


def test_stable_is_open_to_a_drain_whatever_its_weight() -> None:
    scene = Scene(route={"sticky": {"cookie": "hg"}})
    client, origin = scene.ask()
    shut = Live((("blue", 0), ("canary", 1)), CutbackMode.DRAIN)
    assert scene.publish(shut, InFlight.ABORT) == {}
    origin.send(OK)
    assert status(client.received()) == 200


def test_request_in_line_by_a_weight_that_a_reload_takes_away_is_decided_again() -> None:
    scene = Scene(route=TO_CANARY, hold=True)
    scene.client().send(GET)
    scene.adopt(route={})
    assert scene.dialled == [CANARY, BLUE]


def test_request_in_line_by_a_rule_that_stays_keeps_its_place_over_a_reload() -> None:
    scene = Scene(route=BY_RULE, hold=True)
    scene.client().send(TESTER)
    scene.adopt(timeouts={"response": "9s"})
    assert scene.dialled == [CANARY]


def test_cutback_finds_a_request_in_line_whose_route_was_renamed() -> None:
    scene = Scene(route=TO_CANARY, hold=True)
    client = scene.client().send(GET)
    renamed = snapshot_of(routes={"store": {"stable": "blue", **TO_CANARY}})
    scene.plane.adopt(renamed, {"store": Live()})
    scene.publish(CUT, route="store")
    for _ in list(scene.dials):
        scene.connect()
    [asked] = [origin for origin in scene.origins if origin.received()]
    assert asked.url == BLUE
    asked.send(OK)
    assert status(client.received()) == 200
