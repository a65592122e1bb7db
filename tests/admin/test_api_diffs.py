"""Diffs through the API: what a shadow process reports at one end, what people read at the other."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.control import DiffReport, DiffsKept, DiffsWanted, ShadowState, Stats, Workers
from shadow.answer import Answer
from shadow.findings import PairFacts, RouteFindings
from shadow.verdict import Compared, Difference, Third
from tests.admin.conftest import Plane, Start, edit

SHADOW = "/v1/routes/shop/shadow"
DIFFS = "/v1/routes/shop/diffs"
DECLARED = "    shadow: {upstream: canary, percent: 10}\n"
CONTRACT = {"compared", "matched", "mismatched", "unknown", "dropped", "findings", "noise"}
FINDING = {"endpoint", "field", "kind", "count", "rate", "noise", "excess", "first_seen", "last_seen", "examples"}


@pytest.fixture
async def shadowed(config: Path, start: Start) -> Plane:
    edit(config, "  api:\n", f"{DECLARED}  api:\n")
    return await start()


def report(since: int = 0, differing: int = 20) -> DiffReport:
    """80 pairs that match, and some of which the shadow has another price, on one endpoint; 30 that match on another."""
    findings = RouteFindings("shop", since)
    for path, matched in ((b"/cart", 80), (b"/stock", 30)):
        endpoint = findings.endpoint(b"GET", path)
        for _ in range(matched):
            findings.matched(endpoint, 0.001, 0.002, third=False)
            findings.outcome("ok")
    cart, answer = findings.endpoint(b"GET", b"/cart"), Answer(200, [], b"{}", 0.001)
    for number in range(differing):
        price = Difference("$.price", "changed", "1", "2", "int", "int", 1.0, 2.0)
        pair = PairFacts(b"GET", b"/cart?a=1", b"GET /cart?a=1 HTTP/1.1\r\nX-Request-Id: r-1\r\n\r\n", answer, answer)
        compared = Compared("", (price,), (), frozenset({"$.price"}))
        findings.compared(cart, compared, Third.TRIGGERED, pair, time.time() + 60 * number)
    found = findings.take_report(time.time())
    assert found is not None
    return replace(found, state=orjson.loads(orjson.dumps(found.state)))


async def tell(plane: Plane, *messages: DiffReport | Stats | Workers) -> None:
    """Send, and wait until it has been taken: what is asked for last is answered last."""
    asked = plane.supervisor.count(DiffsKept)
    for message in messages:
        plane.supervisor.send(message)
    plane.supervisor.send(DiffsWanted())
    await plane.supervisor.until(lambda: plane.supervisor.count(DiffsKept) > asked)


async def end(plane: Plane) -> None:
    """With everything stored, as a start waits for (the writer's lock)."""
    assert await plane.context.diffs.flush()
    plane.supervisor.close()


async def test_diffs_have_every_key_of_the_contract_and_name_the_field(shadowed: Plane) -> None:
    await tell(shadowed, report(), Stats(0, [], {}, {}, {"shop": 130}, {("shop", "queue_full"): 4}))
    diffs = (await shadowed.call("GET", DIFFS)).json
    assert set(diffs) >= CONTRACT
    counts = (diffs["compared"], diffs["matched"], diffs["mismatched"], diffs["unknown"], diffs["dropped"])
    assert counts == (130, 110, 20, 0, {"queue_full": 4})
    (finding,) = diffs["findings"]
    assert set(finding) >= FINDING
    assert (finding["endpoint"], finding["field"], finding["count"], finding["rate"]) == ("/cart", "$.price", 20, 0.2)
    assert (diffs["upstream"], diffs["since"]) == ("canary", 0)
    shadow = (await shadowed.call("GET", "/v1/routes/shop")).json["shadow"]
    assert (shadow["compared"], shadow["mismatched"], shadow["findings"], shadow["dropped"]) == (130, 20, 1, 4)


async def test_an_example_brings_the_whole_diff_before_and_after_it_is_stored(shadowed: Plane) -> None:
    await tell(shadowed, report())
    (finding,) = (await shadowed.call("GET", DIFFS)).json["findings"]
    name = finding["examples"][0]["id"]
    first = await shadowed.call("GET", f"{DIFFS}/{name}")
    assert (first.status, first.json["path"], first.json["request_id"]) == (200, "/cart?a=1", "r-1")
    assert first.json["differences"] == [{"field": "$.price", "kind": "changed", "primary": "1", "shadow": "2"}]
    assert await shadowed.context.diffs.flush()
    assert (await shadowed.call("GET", f"{DIFFS}/{name}")).json == first.json
    missing = await shadowed.call("GET", f"{DIFFS}/ignore")
    assert (missing.status, missing.json["type"]) == (404, "urn:headgate:problem:not-found")


async def test_diffs_are_filtered_by_endpoint_and_limited(shadowed: Plane) -> None:
    await tell(shadowed, report())
    stock = (await shadowed.call("GET", f"{DIFFS}?endpoint=/stock")).json
    assert (stock["findings"], [each["endpoint"] for each in stock["endpoints"]]) == ([], ["/stock"])
    assert len((await shadowed.call("GET", f"{DIFFS}?limit=1")).json["endpoints"]) == 1
    assert (await shadowed.call("GET", f"{DIFFS}?limit=0")).status == 422


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/ignore")])
async def test_diffs_of_a_route_without_a_shadow_are_409_and_of_no_route_404(
    plane: Plane, method: str, path: str
) -> None:
    body = {"json": {"field": "$.at"}} if method == "POST" else {}
    refused = await plane.call(method, DIFFS + path, **body)
    assert (refused.status, "has no shadow" in refused.json["detail"]) == (409, True)
    assert (await plane.call(method, f"/v1/routes/nope/diffs{path}", **body)).status == 404


async def test_ignoring_a_field_is_live_state_and_judges_what_was_found_before_anew(shadowed: Plane) -> None:
    await tell(shadowed, report())
    for _ in range(2):
        answer = await shadowed.call("POST", f"{DIFFS}/ignore", json={"field": "$.price", "reason": "rounding"})
        assert (answer.status, answer.json["shadow"]["compare"]["ignore"]) == (200, ["$.price"])
    route = shadowed.supervisor.snapshot().route_named("shop")
    assert route is not None
    assert route.shadow is not None
    assert route.shadow.comparing.ignore == ("$.price",)
    diffs = (await shadowed.call("GET", DIFFS)).json
    assert (diffs["matched"], diffs["mismatched"], diffs["findings"]) == (130, 0, [])
    await shadowed.call("POST", f"{DIFFS}/ignore", json={"field": "$.price", "ignored": False})
    assert (await shadowed.call("GET", DIFFS)).json["mismatched"] == 20
    entries = (await shadowed.call("GET", "/v1/audit?route=shop")).json["entries"]
    assert [entry["action"] for entry in entries] == ["diffs_ignore"] * 3


@pytest.mark.parametrize("field", ["price", "header:", "$.a[", ""])
async def test_what_is_no_field_cannot_be_ignored(shadowed: Plane, field: str) -> None:
    refused = await shadowed.call("POST", f"{DIFFS}/ignore", json={"field": field})
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "field")


async def test_a_fresh_start_is_a_change_and_what_was_reported_before_it_is_void(
    config: Path, start: Start, shadowed: Plane
) -> None:
    await tell(shadowed, report())
    answer = await shadowed.call("DELETE", DIFFS, json={"reason": "new build"})
    since = answer.json["revision"]
    assert (answer.status, answer.json["shadow"]["since"], answer.json["shadow"]["compared"]) == (200, since, 0)
    route = shadowed.supervisor.snapshot().route_named("shop")
    assert route is not None
    assert route.shadow is not None
    assert (route.shadow.since, route.shadow.percent) == (since, 10)
    await tell(shadowed, report())
    assert (await shadowed.call("GET", DIFFS)).json["compared"] == 0
    await tell(shadowed, report(since, differing=1))
    assert (await shadowed.call("GET", DIFFS)).json["compared"] == 111
    await end(shadowed)
    again = await start()
    diffs = (await again.call("GET", DIFFS)).json
    assert (diffs["since"], diffs["compared"]) == (since, 111)


async def test_another_shadow_in_the_document_starts_the_diffs_afresh(shadowed: Plane) -> None:
    await tell(shadowed, report())
    tree = shadowed.context.gateway.laid.document.tree()
    tree["routes"]["shop"]["shadow"]["percent"] = 20
    await shadowed.call("PUT", "/v1/config", json=tree)
    assert (await shadowed.call("GET", DIFFS)).json["compared"] == 130
    tree["routes"]["shop"]["shadow"]["upstream"] = "green"
    answer = await shadowed.call("PUT", "/v1/config", json=tree)
    diffs = (await shadowed.call("GET", DIFFS)).json
    assert (diffs["compared"], diffs["since"], diffs["upstream"]) == (0, answer.json["revision"], "green")


async def test_another_shadow_in_the_file_at_a_start_starts_them_afresh_too(
    config: Path, start: Start, shadowed: Plane
) -> None:
    await tell(shadowed, report())
    await end(shadowed)
    edit(config, "upstream: canary, percent", "upstream: green, percent")
    again = await start()
    diffs = (await again.call("GET", DIFFS)).json
    assert (diffs["compared"], diffs["upstream"], diffs["since"] > 0) == (0, "green", True)


async def test_the_shadow_process_is_told_what_was_kept(config: Path, start: Start, shadowed: Plane) -> None:
    told = report()
    await tell(shadowed, told)
    await end(shadowed)
    again = await start()
    again.supervisor.send(DiffsWanted())
    assert await again.supervisor.first(DiffsKept) == DiffsKept({"shop": told.state})


async def test_status_and_health_tell_of_the_shadow_process(shadowed: Plane) -> None:
    assert (await shadowed.call("GET", "/v1/status")).json["shadow"] is None
    assert (await shadowed.call("GET", "/health/detailed")).json["checks"]["shadow"] is False
    await tell(shadowed, Workers(shadowed.context.rates.workers.workers, 0, ShadowState(71, True, 2)))
    status = (await shadowed.call("GET", "/v1/status")).json["shadow"]
    assert status == {"pid": 71, "ready": True, "restarts": 2}
    assert (await shadowed.call("GET", "/health/detailed")).json["checks"]["shadow"] is True
    assert (await shadowed.bare("GET", "/health/ready")).status == 200


async def test_metrics_tell_of_copies_drops_and_verdicts_and_never_fall(shadowed: Plane) -> None:
    await tell(shadowed, report(), Stats(0, [], {}, {}, {"shop": 130}, {("shop", "queue_full"): 4}))
    await metrics(shadowed)
    answer = await shadowed.call("DELETE", DIFFS)
    await tell(shadowed, report(answer.json["revision"], differing=1))
    found = await metrics(shadowed)
    route = ("route", "shop")
    assert found["headgate_diffs_total", (route, ("verdict", "mismatched"))] == 21
    assert found["headgate_diffs_total", (route, ("verdict", "matched"))] == 220
    assert found["headgate_shadow_requests_total", (("outcome", "ok"), route)] == 220
    assert found["headgate_shadow_dropped_total", (("reason", "queue_full"), route)] == 4
    assert found["headgate_shadow_copied_total", (route,)] == 130
    assert found["headgate_shadow_percent", (route,)] == 10
    assert found["headgate_shadow_up", ()] == 0


async def metrics(plane: Plane) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = (await plane.call("GET", "/metrics")).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
