"""What the API tells: routes, upstreams, status, health, metrics, explain."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.control import Stats, Workers
from proxy.stats import WorkerStats
from tests.admin.conftest import Plane

ROUTE_KEYS = {
    "route",
    "stable",
    "weights",
    "effective",
    "cutback",
    "sticky",
    "rules",
    "shadow",
    "rollout",
    "upstreams",
    "revision",
}
UPSTREAM_KEYS = {"rps", "error_rate", "p50_ms", "p95_ms", "p99_ms", "healthy", "endpoints"}


async def traffic(plane: Plane) -> None:
    stats = WorkerStats()
    for _ in range(90):
        stats.named("shop", "blue").add(200, 0.010)
    for _ in range(10):
        stats.named("shop", "canary").add(502, 0.100)
    stats.named("", "").add(404, 0.0005)
    stats.count("gateway_errors", "connect", 10)
    stats.count("access_log_dropped", by=3)
    cells, counters = stats.take()
    plane.supervisor.send(
        Stats(0, cells, counters, {"connections": 7.0, "endpoint_in_flight blue http://127.0.0.1:9001": 2.0})
    )
    await heard(plane)


async def heard(plane: Plane) -> None:
    """The process has taken everything sent before: a notice is answered by nothing, so a publish is asked for."""
    await plane.call("PUT", "/v1/routes/rest/weights", json={"weights": {"green": 1}})


async def test_a_route_has_every_key_of_the_contract(plane: Plane) -> None:
    route = (await plane.call("GET", "/v1/routes/shop")).json
    assert set(route) >= ROUTE_KEYS
    assert set(route["upstreams"]) == {"blue", "canary"}
    assert all(set(upstream) >= UPSTREAM_KEYS for upstream in route["upstreams"].values())
    assert route["sticky"] == {"cookie": "hg_bucket", "max_age": 2592000}
    assert route["rules"] == [{"when": {"header": {"x-canary": "true"}}, "send": "canary"}]
    assert (route["shadow"], route["rollout"], route["cutback"]) == ({}, None, None)
    rest = (await plane.call("GET", "/v1/routes/rest")).json
    assert (rest["stable"], rest["weights"], rest["effective"], rest["sticky"]) == (
        "green",
        {"green": 100},
        {"green": 100},
        None,
    )


async def test_routes_come_in_the_order_of_the_file(plane: Plane) -> None:
    answer = await plane.call("GET", "/v1/routes")
    assert [route["route"] for route in answer.json["routes"]] == ["shop", "api", "rest"]
    assert answer.json["routes"][0] == (await plane.call("GET", "/v1/routes/shop")).json


async def test_rates_are_those_of_each_upstream(plane: Plane) -> None:
    await traffic(plane)
    upstreams = (await plane.call("GET", "/v1/routes/shop")).json["upstreams"]
    assert (upstreams["blue"]["error_rate"], upstreams["canary"]["error_rate"]) == (0.0, 1.0)
    assert upstreams["blue"]["rps"] == pytest.approx(9 * upstreams["canary"]["rps"], rel=0.01)
    assert upstreams["canary"]["p99_ms"] == pytest.approx(100, rel=0.046)
    blue = (await plane.call("GET", "/v1/upstreams")).json["upstreams"][0]
    assert (blue["upstream"], blue["in_flight"], blue["healthy"]) == ("blue", 2, True)
    assert [each["endpoint"] for each in blue["endpoints"]] == ["http://127.0.0.1:9001", "http://127.0.0.1:9011"]


async def test_metrics_have_the_names_and_labels_of_the_contract(plane: Plane) -> None:
    await traffic(plane)
    await plane.call("POST", "/v1/routes/shop/cutback")
    plane.supervisor.tell_workers(restarts=4)
    await heard(plane)
    answer = await plane.call("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.text))
    found = {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}

    def value(name: str, **labels: str) -> float:
        return found[(name, *sorted(labels.items()))]

    assert value("headgate_requests_total", route="shop", upstream="blue", code="200") == 90
    assert value("headgate_requests_total", route="", upstream="", code="404") == 1
    assert value("headgate_request_duration_seconds_count", route="shop", upstream="canary") == 10
    assert value("headgate_request_duration_seconds_sum", route="shop", upstream="canary") == pytest.approx(1.0)
    assert value("headgate_request_duration_seconds_bucket", route="shop", upstream="blue", le="0.025") == 90
    assert value("headgate_request_duration_seconds_bucket", route="shop", upstream="blue", le="0.005") == 0
    assert value("headgate_weight", route="shop", upstream="canary") == 0
    assert value("headgate_weight", route="shop", upstream="blue") == 100
    assert value("headgate_cutbacks_total", route="shop") == 1
    assert value("headgate_cutbacks_total", route="api") == 0
    assert value("headgate_upstream_healthy", upstream="blue", endpoint="http://127.0.0.1:9011") == 1
    assert value("headgate_worker_restarts_total") == 4
    assert value("headgate_gateway_errors_total", kind="connect") == 10
    assert value("headgate_access_log_dropped_total") == 3
    assert value("headgate_connections") == 7
    assert value("headgate_endpoint_in_flight", upstream="blue", endpoint="http://127.0.0.1:9001") == 2
    assert value("headgate_revision") == plane.supervisor.revision
    assert len(families) == len({family.name for family in families})


async def test_status_tells_version_node_uptime_workers_and_revision(plane: Plane) -> None:
    status = (await plane.call("GET", "/v1/status")).json
    assert {"version", "node", "uptime", "workers", "revision"} <= set(status)
    assert [(worker["worker"], worker["ready"]) for worker in status["workers"]] == [(0, True), (1, True)]
    assert (status["config"]["source"], status["config"]["error"], status["store"]["pending"]) == ("file", None, 0)
    assert status["uptime"] >= 0


async def test_health_fails_when_no_worker_serves(plane: Plane) -> None:
    plane.supervisor.send(Workers((), 2))
    await heard(plane)
    assert [(await plane.bare("GET", path)).status for path in ("/health", "/health/ready", "/health/live")] == [
        503,
        503,
        200,
    ]
    detailed = await plane.call("GET", "/health/detailed")
    assert (detailed.status, detailed.json["checks"]["workers"]) == (503, False)


async def test_explain_gives_the_decision_and_its_reasons(plane: Plane) -> None:
    body = {
        "method": "GET",
        "url": "http://shop.example.com/cart",
        "headers": {"X-Canary": "true"},
        "client_ip": "192.0.2.1",
    }
    answer = (await plane.call("POST", "/v1/explain", json=body)).json
    assert (answer["route"], answer["upstream"], answer["reason"]) == ("shop", "canary", "rule")
    assert answer["reasons"]
    await plane.call("POST", "/v1/routes/shop/cutback")
    answer = (await plane.call("POST", "/v1/explain", json=body)).json
    assert (answer["upstream"], answer["reason"]) == ("blue", "cutback")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "shop"}, "url"),
        ({"url": "http://x/", "client_ip": "here"}, "client_ip"),
        ({"url": "http://x/", "method": "G E T"}, "method"),
        ({"url": "http://x/", "headers": {"a": 1}}, "headers.a.str"),
        ({"url": "http://[x/"}, "url"),
        ({"url": "http://x/", "header": {}}, "header"),
    ],
)
async def test_explain_of_what_is_no_request_names_the_field(plane: Plane, body: dict[str, object], field: str) -> None:
    answer = await plane.call("POST", "/v1/explain", json=body)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, field)


async def test_head_is_get_without_the_body(plane: Plane) -> None:
    answer = await plane.call("HEAD", "/v1/routes/shop")
    assert (answer.status, answer.text, answer.headers["ETag"]) == (200, "", '"1"')
