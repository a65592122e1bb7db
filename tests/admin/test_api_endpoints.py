"""Endpoints set, drained and enabled through the API, with the workers' end and the disk looked at."""

from __future__ import annotations

from typing import Any

import pytest

from admin.endpoints import AS_LISTED, UpstreamState, carry_over, fingerprint, of_overlay, put
from admin.live import Stamp
from proxy.control import InForce, Publish, Stats
from routing.config_upstreams import HealthCheck, Upstream
from routing.notation import endpoint
from routing.snapshot import Endpoints
from tests.admin.conftest import Plane, Start, edit
from tests.support.fake_supervisor import FakeSupervisor

BLUE = "/v1/upstreams/blue/endpoints"
ONE, TWO, NEW = "http://127.0.0.1:9001", "http://127.0.0.1:9011", "http://127.0.0.1:9021"
STAMP = Stamp("ann", "2026-01-01T00:00:00Z", "why")


def states(answer: Any) -> dict[str, str]:
    return {each["endpoint"]: each["state"] for each in answer["endpoints"]}


async def upstream(plane: Plane, name: str = "blue") -> Any:
    found = (await plane.call("GET", "/v1/upstreams")).json["upstreams"]
    return next(each for each in found if each["upstream"] == name)


async def drain(plane: Plane, url: str = ONE, **options: Any) -> Any:
    return await plane.call("POST", f"{BLUE}/drain", json={"endpoint": url, "reason": "deploy"}, **options)


async def test_drain_is_published_stored_and_answered(plane: Plane) -> None:
    before = plane.supervisor.revision
    answer = await drain(plane)
    assert (answer.status, answer.json["revision"], answer.headers["ETag"]) == (200, before + 1, f'"{before + 1}"')
    assert answer.json["receipt"]["applied"]
    assert answer.json["receipt"]["persisted"]
    assert states(answer.json) == {ONE: "drained", TWO: "in"}
    overlay = {"blue": Endpoints(drained=frozenset({ONE}))}
    assert plane.supervisor.published[-1] == Publish(before + 1, {}, endpoints=overlay)
    shown = await upstream(plane)
    assert (shown["healthy"], shown["live"], shown["revision"]) == (True, None, before + 1)
    assert shown["endpoints"][0]["drained"] | {"at": ""} == {"by": "admin", "reason": "deploy", "at": ""}
    [entry] = (await plane.call("GET", "/v1/audit?limit=1")).json["entries"]
    assert (entry["action"], entry["route"], entry["reason"]) == ("endpoint_drain", None, "deploy")
    assert (entry["before"]["drained"], list(entry["after"]["drained"])) == ({}, [ONE])


async def test_drained_endpoint_with_requests_out_is_draining(plane: Plane) -> None:
    plane.supervisor.send(Stats(0, [], {}, {f"endpoint_in_flight blue {ONE}": 2.0}))
    await drain(plane)
    shown = await upstream(plane)
    assert [(each["state"], each["in_flight"]) for each in shown["endpoints"]] == [("draining", 2), ("in", 0)]


async def test_circuit_breaker_shows_limits_and_what_workers_count(plane: Plane) -> None:
    assert (await upstream(plane))["circuit_breaker"] is None
    edit(plane.config, '"http://127.0.0.1:9011"]', '"http://127.0.0.1:9011"], circuit_breaker: {requests: 9}')
    changed = await plane.call(
        "PUT", "/v1/config", data=plane.config.read_text(), headers={"Content-Type": "text/yaml"}
    )
    assert changed.status == 200, changed.text
    for worker in range(2):
        gauges = {"circuit_requests blue": 3.0, "circuit_waiting blue": 1.0}
        plane.supervisor.send(Stats(worker, [], {("circuit_overflow", "blue"): 2}, gauges))
    shown = {"requests": {"now": 6, "limit": 9}, "waiting": {"now": 2, "limit": None}}
    assert (await upstream(plane))["circuit_breaker"] == shown
    text = (await plane.call("GET", "/metrics")).text
    assert 'headgate_circuit_overflow_total{upstream="blue"} 4.0' in text
    assert 'headgate_circuit_requests{upstream="blue"} 6.0' in text
    assert 'headgate_circuit_waiting{upstream="blue"} 2.0' in text


async def test_enable_puts_it_back(plane: Plane) -> None:
    await drain(plane)
    answer = await plane.call("POST", f"{BLUE}/enable", json={"endpoint": ONE})
    assert states(answer.json) == {ONE: "in", TWO: "in"}
    assert plane.supervisor.published[-1].endpoints == {"blue": Endpoints()}


async def test_list_is_replaced_and_the_declared_list_ends_it(plane: Plane) -> None:
    await drain(plane)
    answer = await plane.call("PUT", BLUE, json={"endpoints": [TWO, NEW + "/"], "reason": "roll"})
    assert (states(answer.json), answer.json["declared"]) == ({TWO: "in", NEW: "in"}, [ONE, TWO])
    published = plane.supervisor.published[-1].endpoints
    assert published == {"blue": Endpoints((endpoint(TWO), endpoint(NEW)))}
    shown = await upstream(plane)
    assert (shown["live"]["by"], shown["live"]["reason"]) == ("admin", "roll")
    route = (await plane.call("GET", "/v1/routes/shop")).json
    assert route["upstreams"]["blue"]["endpoints"] == [TWO, NEW]
    await plane.call("PUT", BLUE, json={"endpoints": [ONE, TWO]})
    assert plane.supervisor.published[-1].endpoints == {"blue": Endpoints()}  # the one that had gone is not drained
    assert (await upstream(plane))["live"] is None


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "fields"),
    [
        ("PUT", BLUE, {"endpoints": []}, 422, ["endpoints"]),
        ("PUT", BLUE, {"endpoints": ["ftp://x", ONE, ONE + "/"]}, 422, ["endpoints.0", "endpoints.2"]),
        ("PUT", BLUE, {"endpoints": ONE}, 422, ["endpoints"]),
        ("POST", f"{BLUE}/drain", {"endpoint": NEW}, 422, ["endpoint"]),
        ("POST", f"{BLUE}/enable", {"endpoint": "127.0.0.1:9001"}, 422, ["endpoint"]),
        ("POST", f"{BLUE}/drain", {}, 422, ["endpoint"]),
        ("PUT", "/v1/upstreams/nope/endpoints", {"endpoints": [ONE]}, 404, None),
        ("POST", "/v1/upstreams/nope/endpoints/drain", {"endpoint": ONE}, 404, None),
    ],
)
async def test_change_that_is_not_valid_changes_nothing(
    plane: Plane, method: str, path: str, body: Any, status: int, fields: list[str] | None
) -> None:
    answer = await plane.call(method, path, json=body)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    if fields is not None:
        assert [error["field"] for error in answer.json["errors"]] == fields
    assert len(plane.supervisor.published) == 1


async def test_dry_run_says_what_would_be_and_changes_nothing(plane: Plane) -> None:
    answer = await plane.call("POST", f"{BLUE}/drain?dry_run=true", json={"endpoint": ONE})
    assert (states(answer.json)[ONE], answer.json["receipt"], answer.json["dry_run"]) == ("drained", None, True)
    assert len(plane.supervisor.published) == 1
    assert states(await upstream(plane)) == {ONE: "in", TWO: "in"}


async def test_if_match_from_before_the_last_change_of_that_upstream_is_412(plane: Plane) -> None:
    seen = (await upstream(plane))["revision"]
    await plane.call("POST", "/v1/upstreams/green/endpoints/drain", json={"endpoint": "http://127.0.0.1:9002"})
    assert (await drain(plane, headers={"If-Match": f'"{seen}"'})).status == 200
    assert (await drain(plane, TWO, headers={"If-Match": f'"{seen}"'})).status == 412


async def test_changes_survive_a_restart_and_the_list_goes_when_the_file_changes_it(start: Start, plane: Plane) -> None:
    await plane.call("PUT", BLUE, json={"endpoints": [ONE, NEW]})
    await drain(plane)
    plane.supervisor.close()
    again = await start()
    assert states(await upstream(again)) == {ONE: "drained", NEW: "in"}
    edit(again.config, '"http://127.0.0.1:9011"]', '"http://127.0.0.1:9012"]')
    answer = await again.call("PUT", "/v1/config", data=again.config.read_text(), headers={"Content-Type": "text/yaml"})
    assert answer.status == 200, answer.text
    assert states(await upstream(again)) == {ONE: "drained", "http://127.0.0.1:9012": "in"}
    entries = (await again.call("GET", "/v1/audit?limit=5")).json["entries"]
    assert "live_endpoints_dropped" in {entry["action"] for entry in entries}


async def test_what_the_workers_have_and_the_store_has_not_is_taken_over(start: Start) -> None:
    supervisor = FakeSupervisor()
    live = {"blue": Endpoints((endpoint(ONE), endpoint(NEW)), frozenset({ONE}))}
    supervisor.in_force = InForce(7, {}, live)
    plane = await start(supervisor)
    assert states(await upstream(plane)) == {ONE: "drained", NEW: "in"}
    assert plane.supervisor.published[0].endpoints == live


async def test_endpoint_out_of_rotation_shows_in_the_metrics(plane: Plane) -> None:
    workers = [Stats(n, [], {("failovers", "shop"): 2}, {f"endpoint_ejected blue {ONE}": 1.0}) for n in range(2)]
    for stats in workers:
        plane.supervisor.send(stats)
    await drain(plane, TWO)
    text = (await plane.call("GET", "/metrics")).text
    assert f'headgate_upstream_healthy{{endpoint="{ONE}",upstream="blue"}} 0.0' in text
    assert f'headgate_upstream_healthy{{endpoint="{TWO}",upstream="blue"}} 1.0' in text
    assert 'headgate_failovers_total{route="shop"} 4.0' in text
    shown = await upstream(plane)
    assert (states(shown), shown["healthy"]) == ({ONE: "ejected", TWO: "drained"}, False)
    route = (await plane.call("GET", "/v1/routes/shop")).json
    assert [route["upstreams"][name]["healthy"] for name in ("blue", "canary")] == [False, True]


# What a change does to the state, without anything around it

CHECKED = Upstream(endpoints=(ONE, TWO), health_check=HealthCheck(path="/up"))
PLAIN = Upstream(endpoints=(ONE, TWO))


def test_endpoint_added_to_an_upstream_that_is_checked_is_unhealthy_until_it_has_passed() -> None:
    assert put(AS_LISTED, (ONE, NEW), CHECKED, STAMP).unhealthy == {NEW}
    assert put(AS_LISTED, (ONE, NEW), PLAIN, STAMP).unhealthy == frozenset()


@pytest.mark.parametrize(
    ("known", "upstream", "unhealthy"),
    [
        (None, CHECKED, {ONE}),  # a start: what was unhealthy still is, the others count as healthy
        (frozenset({ONE}), CHECKED, {ONE, TWO}),
        (frozenset({ONE, TWO}), CHECKED, {ONE}),
        (frozenset(), PLAIN, set()),
    ],
)
def test_health_under_another_configuration(known: frozenset[str] | None, upstream: Upstream, unhealthy: Any) -> None:
    state = UpstreamState(unhealthy=frozenset({ONE, NEW}))
    assert carry_over(state, upstream, known)[0].unhealthy == unhealthy


def test_drain_outlasts_a_new_list_in_the_file_while_the_endpoint_is_there() -> None:
    state = UpstreamState(drained={ONE: STAMP, NEW: STAMP})
    assert carry_over(put(state, (ONE, NEW), PLAIN, STAMP), CHECKED, None)[0].drained == {ONE: STAMP, NEW: STAMP}
    other = Upstream(endpoints=(ONE,))
    state, why = carry_over(put(state, (ONE, NEW), PLAIN, STAMP), other, None)
    assert (state.listed, dict(state.drained)) == (None, {ONE: STAMP})
    assert why


def test_state_taken_over_from_the_workers_gets_the_fingerprint_that_holds() -> None:
    state = of_overlay(AS_LISTED, Endpoints((endpoint(NEW),)), STAMP)
    state, why = carry_over(state, PLAIN, None)
    assert state.listed is not None
    assert (state.listed.declared, why) == (fingerprint(PLAIN), "")


def test_state_is_the_same_after_it_was_kept_but_for_what_checks_found() -> None:
    state = UpstreamState(put(AS_LISTED, (NEW,), PLAIN, STAMP).listed, {NEW: STAMP}, frozenset({NEW}))
    kept = UpstreamState.from_json(state.to_json())
    assert kept == UpstreamState(state.listed, state.drained)
