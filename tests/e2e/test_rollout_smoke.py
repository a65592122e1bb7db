"""Smoke tests of a rollout: through the gateway's own listeners, to an upstream that nobody else can reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trustme

from tests.support.certificates import write
from tests.support.gateway import Gateway
from tests.support.origin import Conversation
from tests.support.rollouts import Turning, begin, kill_admin, shown, tell, until_state, until_step
from tests.support.stage import Stage
from tests.support.wire import PATIENCE

STEPS = [{"weight": 0, "hold": "1h"}]
PLAIN = {"address": "127.0.0.1:0"}


def smoke(**check: Any) -> dict[str, Any]:
    return {"to": "canary", "smoke": [{"path": "/ready", **check}], "steps": STEPS}


class Shop:
    def __init__(self, stage: Stage, listen: list[dict[str, Any]] | None = None, **route: Any) -> None:
        top = {"listen": listen or [PLAIN], "trusted_proxies": ["192.0.2.0/24"]}
        self.blue, self.canary = Turning("blue"), Turning("canary")
        upstreams = {"blue": stage.origin(self.blue).url, "canary": stage.origin(self.canary).url}
        self.gateway = stage.running(upstreams, route, workers=2, **top)

    def passed(self) -> None:
        until_step(self.gateway, 2)
        assert len(self.canary.smoked) == 1
        assert self.blue.smoked == []


def test_smoke_tests_reach_the_canary_while_it_has_no_weight_and_nobody_else_does(stage: Stage) -> None:
    shop = Shop(stage, weights={"blue": 1, "canary": 0})
    begin(shop.gateway, **smoke())
    shop.passed()
    (fields,) = shop.canary.smoked
    assert not [name for name in fields if "smoke" in name]
    assert {shop.gateway.get(X_Headgate_Smoke="a" * 64)[1]["X-Served-By"] for _ in range(20)} == {"blue"}
    assert shop.canary.answered == 1


@pytest.mark.parametrize(
    "match", [{"hosts": ["shop.example.com"]}, {"hosts": ["*.example.com"]}, {"path_prefix": "/ready"}]
)
def test_they_ask_for_the_routes_own_host(stage: Stage, match: dict[str, Any]) -> None:
    shop = Shop(stage, match=match)
    begin(shop.gateway, **smoke())
    shop.passed()
    expected = {"shop.example.com": "shop.example.com", "*.example.com": "smoke.example.com"}
    assert shop.canary.smoked[0]["host"] == expected.get(match.get("hosts", [""])[0], "smoke.invalid")


def test_they_ask_for_the_host_that_the_plan_names(stage: Stage) -> None:
    shop = Shop(stage)
    begin(shop.gateway, **smoke(host="other.example"))
    shop.passed()
    assert shop.canary.smoked[0]["host"] == "other.example"


def broken(body: bytes = b"", status: str = "200 OK", *, chunks: int = 1) -> Callable[[Conversation], None]:
    """The body comes in so many parts, each after the one before has been sent."""

    def script(connection: Conversation) -> None:
        while True:
            connection.receive()
            connection.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            size = -(-len(body) // chunks)
            for start in range(0, len(body), size or 1):
                connection.send(body[start : start + size])

    return script


@pytest.mark.parametrize(
    ("script", "check", "why"),
    [
        (broken(status="503 No"), {}, "GET /ready: 503, not 200"),
        (broken(b"warming up"), {"contains": "ready"}, "GET /ready: the answer does not contain 'ready'"),
        (broken(status="204 No"), {"status": 200}, "GET /ready: 204, not 200"),
        (None, {}, "GET /ready: 502, the gateway says connect, not 200"),
    ],
)
def test_one_that_fails_ends_the_rollout_and_moves_nobody(
    stage: Stage, script: Callable[[Conversation], None] | None, check: dict[str, Any], why: str
) -> None:
    canary = stage.refusing().url if script is None else stage.origin(script).url
    route = {"retry": {"attempts": 0}}
    gateway = stage.running({"blue": stage.origin().url, "canary": canary}, route, workers=2)
    begin(gateway, **smoke(**check))
    assert until_state(gateway, "cut_back")["reason"] == f"smoke test: canary: {why}"
    route_now = gateway.route()
    assert (route_now["cutback"], route_now["effective"]) == (None, {"blue": 100.0})
    assert begin(gateway, **smoke(**check))["number"] == 2  # no latch: nobody was served by it


def test_a_text_is_found_wherever_in_the_answer_it_is(stage: Stage) -> None:
    canary = stage.origin(broken(b"x" * 30_000 + b"ready", chunks=7)).url
    gateway = stage.running({"blue": stage.origin().url, "canary": canary}, workers=2)
    begin(gateway, **smoke(contains="ready"))
    until_step(gateway, 2)


# Listeners


@pytest.fixture(scope="module")
def tls(shared: Stage) -> dict[str, Any]:
    return dict(write(trustme.CA().issue_cert("localhost"), shared.folder))


def test_a_tls_listener_will_do_where_the_plain_one_redirects(stage: Stage, tls: dict[str, Any]) -> None:
    shop = Shop(stage, [{**PLAIN, "redirect": "https"}, {**PLAIN, "tls": tls}], match={"hosts": ["shop.example.com"]})
    begin(shop.gateway, **smoke())
    shop.passed()
    assert shop.canary.smoked[0]["x-forwarded-proto"] == "https"


def test_a_listener_for_everybody_is_found_beside_one_behind_a_balancer(stage: Stage) -> None:
    shop = Shop(stage, [{**PLAIN, "proxy_protocol": True}, PLAIN])
    begin(shop.gateway, **smoke())
    shop.passed()


def test_without_a_listener_to_come_by_the_reason_says_so(stage: Stage) -> None:
    shop = Shop(stage, [{**PLAIN, "proxy_protocol": True}])
    begin(shop.gateway, **smoke())
    why = "smoke test: no listener takes plain requests: each redirects, or wants PROXY or a client's certificate"
    assert until_state(shop.gateway, "cut_back")["reason"] == why


# Life


def test_a_person_may_abort_while_a_smoke_test_hangs_and_traffic_can_be_changed_after(stage: Stage) -> None:
    go_on = stage.event()

    def hanging(connection: Conversation) -> None:
        connection.receive()
        go_on.wait()

    upstreams: dict[str, str] = {"blue": stage.origin().url, "canary": stage.origin(hanging).url}
    gateway: Gateway = stage.running(upstreams, workers=2)
    begin(gateway, **smoke(timeout="1h"))
    gateway.until(lambda: "smoke" in shown(gateway)["gates"], "the test")
    assert tell(gateway, "abort")["state"] == "aborted"
    gateway.weights(blue=1)
    assert begin(gateway, **smoke(timeout="1h"))["number"] == 2


@pytest.mark.timeout(300)
def test_a_control_plane_that_is_killed_in_the_middle_tests_again_and_closes_the_way(stage: Stage) -> None:
    go_on = stage.event()
    arrived = stage.event()

    def script(connection: Conversation) -> None:
        while True:
            connection.receive()
            if not arrived.is_set():
                arrived.set()
                go_on.wait()
                return
            connection.answer(b"ready")

    gateway = stage.running({"blue": stage.origin().url, "canary": stage.origin(script).url}, workers=2)
    begin(gateway, **smoke(timeout="1h"))
    assert arrived.wait(PATIENCE)
    kill_admin(gateway)
    until_step(gateway, 2)
    assert {gateway.get()[1]["X-Served-By"] for _ in range(10)} == {"blue"}
    assert tell(gateway, "abort")["state"] == "aborted"
