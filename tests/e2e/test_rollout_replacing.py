"""Rolling and recreate: endpoints of one upstream replaced by real processes of the next version, under load."""

from __future__ import annotations

import pytest

from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.rollouts import begin, kill_admin, shown, tell, until, until_state
from tests.support.stage import Stage
from tests.support.versions import Deployer, Endpoint

MAINTENANCE = {"body": "back soon", "status": 503, "content_type": "text/plain", "retry_after": 5}


class Service:
    def __init__(self, stage: Stage) -> None:
        self.endpoints = [Endpoint() for _ in range(3)]
        for endpoint in self.endpoints:
            stage.closing.callback(endpoint.close)
        self.deployer = Deployer(self.endpoints)
        stage.closing.callback(self.deployer.close)
        self.urls = [endpoint.url for endpoint in self.endpoints]
        upstream = {"endpoints": self.urls}
        self.gateway: Gateway = stage.running({"blue": upstream}, {"maintenance": MAINTENANCE}, workers=2)

    def versions(self) -> set[str]:
        return {self.gateway.get()[1]["X-Version"] for _ in range(12)}

    def drained(self) -> set[str]:
        (blue,) = self.gateway.call("GET", "/v1/upstreams")["upstreams"]
        return {each["endpoint"] for each in blue["endpoints"] if each["state"] != "in"}


@pytest.mark.timeout(300)
def test_rolling_replaces_each_endpoint_under_load_and_no_request_fails(stage: Stage) -> None:
    service = Service(stage)
    with Load(service.gateway, [{} for _ in range(6)]) as load:
        load.wait(50)
        begin(service.gateway, pattern="rolling", to="blue", watch=0.2, update={"url": service.deployer.url})
        ended = until_state(service.gateway, "promoted")
        load.wait(50)
    assert (set(load.statuses), load.broken) == ({200}, 0)
    assert (ended["steps"], ended["failed"]) == (3, 0)
    assert service.deployer.calls == [[url] for url in service.urls]
    assert (service.versions(), service.drained()) == ({"2"}, set())


@pytest.mark.timeout(300)
def test_an_update_that_fails_pauses_with_the_rest_serving_and_a_resume_calls_again(stage: Stage) -> None:
    service = Service(stage)
    service.deployer.broken = True
    with Load(service.gateway, [{} for _ in range(4)]) as load:
        begin(service.gateway, pattern="rolling", to="blue", watch=0, update={"url": service.deployer.url})
        paused = until_state(service.gateway, "paused")
        assert paused["reason"] == f"update: {service.deployer.url.removesuffix('/deploy')} answers 500"
        assert service.drained() == {service.urls[0]}
        load.wait(50)
        service.deployer.broken = False
        tell(service.gateway, "resume")
        until_state(service.gateway, "promoted")
    assert (set(load.statuses), load.broken) == ({200}, 0)
    assert service.deployer.calls == [[url] for url in (service.urls[0], *service.urls)]


@pytest.mark.timeout(300)
def test_recreate_answers_the_maintenance_page_while_nothing_is_up(stage: Stage) -> None:
    service = Service(stage)
    begin(service.gateway, pattern="recreate", to="blue", watch=0)
    waiting = until_state(service.gateway, "awaiting_approval")
    assert waiting["reason"].endswith("drained; approve when the new version is there")
    status, fields, body = service.gateway.get()
    assert (status, fields["Retry-After"], body) == (503, "5", b"back soon")
    for endpoint in service.endpoints:
        endpoint.replace()
    tell(service.gateway, "approve")
    until(service.gateway, lambda each: each["phase"] == "holding", "the new version")
    assert service.versions() == {"2"}
    with Load(service.gateway, [{} for _ in range(4)]):
        until_state(service.gateway, "promoted")


@pytest.mark.timeout(300)
def test_an_abort_in_the_middle_leaves_every_endpoint_in_rotation(stage: Stage) -> None:
    service = Service(stage)
    begin(service.gateway, pattern="rolling", to="blue", watch="1h")
    until_state(service.gateway, "awaiting_approval")
    assert service.drained() == {service.urls[0]}
    assert tell(service.gateway, "abort")["state"] == "aborted"
    assert (service.drained(), shown(service.gateway)["state"]) == (set(), "aborted")


@pytest.mark.timeout(300)
def test_a_control_plane_that_is_killed_while_endpoints_are_out_goes_on_with_them(stage: Stage) -> None:
    service = Service(stage)
    begin(service.gateway, pattern="rolling", to="blue", watch="1h")
    until_state(service.gateway, "awaiting_approval")
    kill_admin(service.gateway)
    assert until_state(service.gateway, "awaiting_approval")["phase"] == "updating"
    assert service.drained() == {service.urls[0]}
    service.endpoints[0].replace()
    tell(service.gateway, "approve")
    until(service.gateway, lambda each: each["phase"] == "holding", "the new version")
    assert (service.versions(), service.drained()) == ({"1", "2"}, set())
