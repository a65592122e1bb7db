"""Weights, cutback and restore through the API, with the workers' end and the disk looked at."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from admin import publisher
from admin.state import journal
from admin.state.store import Change
from proxy.control import InFlight, Publish, Published
from proxy.tasks import spawn
from routing.snapshot import AS_DECLARED, CutbackMode, Live
from tests.admin.conftest import Plane, Start
from tests.support.fake_supervisor import FakeSupervisor

SHOP = "/v1/routes/shop"


async def test_weights_are_published_stored_and_answered(plane: Plane) -> None:
    before = plane.supervisor.revision
    answer = await plane.call("PUT", f"{SHOP}/weights", json={"weights": {"blue": 90, "canary": 10}, "reason": "try"})
    assert answer.status == 200
    assert answer.json["revision"] == before + 1
    assert answer.headers["ETag"] == f'"{before + 1}"'
    assert answer.json["weights"] == answer.json["effective"] == {"blue": 90, "canary": 10}
    receipt = answer.json["receipt"]
    assert receipt["applied"]
    assert receipt["persisted"]
    assert receipt["workers"] == {"acked": 2, "total": 2, "replaced": 0}
    assert [(node["acked"], node["ms"]) for node in receipt["nodes"]] == [(True, receipt["ms"])]
    assert plane.supervisor.published[-1] == Publish(before + 1, {"shop": Live((("blue", 90), ("canary", 10)))})
    route = (await plane.call("GET", SHOP)).json
    assert (route["weights"], route["declared"]) == ({"blue": 90, "canary": 10}, {"blue": 95, "canary": 5})
    assert (route["live"]["by"], route["live"]["reason"], route["revision"]) == ("admin", "try", before + 1)


async def test_a_weight_of_zero_closes_the_upstream_to_rules_too(plane: Plane) -> None:
    await plane.call("PUT", f"{SHOP}/weights", json={"weights": {"blue": 1, "canary": 0}})
    snapshot = plane.supervisor.snapshot()
    route = snapshot.route_named("shop")
    assert route is not None
    assert route.rules == ()
    explained = await plane.call(
        "POST",
        "/v1/explain",
        json={"url": "http://shop.example.com/", "headers": {"x-canary": "true"}, "client_ip": "192.0.2.1"},
    )
    assert explained.json["upstream"] == "blue"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ('{"weights": {"canray": 10}}', ["weights.canray"]),
        ('{"weights": {"blue": -1, "canary": NaN}}', ["weights.blue", "weights.canary"]),
        ('{"weights": {"canary": Infinity}}', ["weights.canary"]),
        ('{"weights": {"canary": 1e999}}', ["weights.canary"]),
        ('{"weights": {"blue": 0, "canary": 0}}', ["weights"]),
        ('{"weights": {}}', ["weights"]),
        ('{"weights": {"blue": "90"}}', ["weights.blue"]),
        ('{"weights": {"blue": true}}', ["weights.blue"]),
        ('{"weights": {"blue": 0.0000001}}', ["weights.blue"]),
        ('{"weights": [1]}', ["weights"]),
        ('{"weight": {"blue": 1}}', ["weights", "weight"]),
        ("{}", ["weights"]),
        ("", ["weights"]),
    ],
)
async def test_weights_that_are_not_valid_are_422_naming_the_field(plane: Plane, body: str, fields: list[str]) -> None:
    answer = await plane.call("PUT", f"{SHOP}/weights", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in answer.json["errors"]] == fields
    assert len(plane.supervisor.published) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("\ufeff{}", 400),
        (b"\xff\xfe", 400),
        ('{"weights": {"blue": 1, "blue": 2}}', 400),
        ("[" * 100_000, 400),
        ("[]", 422),
        ("9" * 5000, 400),
        (r'{"weights": {"\ud800": 1}}', 400),
        (r'["\udc00"]', 400),
        (r'{"weights": {"\ud83d\ude00": 1}}', 422),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_and_changes_nothing(
    plane: Plane, body: str | bytes, status: int
) -> None:
    answer = await plane.call("PUT", f"{SHOP}/weights", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.json["status"]) == (status, status)
    assert len(plane.supervisor.published) == 1


async def test_a_body_that_is_not_encoded_as_it_says_is_refused(plane: Plane) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await plane.call("PUT", f"{SHOP}/weights", data=b'{"weights": {"blue": 1}}', headers=headers)
    assert (answer.status, answer.json["detail"]) == (400, "the body is not encoded as its header says")
    assert len(plane.supervisor.published) == 1


async def test_a_body_above_the_limit_is_413_with_and_without_a_length(plane: Plane) -> None:
    large = b'{"reason": "' + b"x" * 1024 * 1024 + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        yield large

    for body in (io.BytesIO(large), chunks()):
        answer = await plane.call("PUT", f"{SHOP}/weights", data=body, headers={"Content-Type": "application/json"})
        assert answer.status == 413


async def test_a_body_of_another_type_is_415(plane: Plane) -> None:
    headers = {"Content-Type": "text/plain"}
    answer = await plane.call("PUT", f"{SHOP}/weights", data=b'{"weights": {"blue": 1}}', headers=headers)
    assert (answer.status, answer.headers["Accept"]) == (415, "application/json")


@pytest.mark.parametrize("said", ["application/x-www-form-urlencoded", "application/octet-stream"])
async def test_a_body_sent_by_curl_without_a_type_is_taken_for_json(plane: Plane, said: str) -> None:
    body = b'{"weights": {"blue": 60, "canary": 40}}'
    answer = await plane.call("PUT", f"{SHOP}/weights", data=body, headers={"Content-Type": said})
    assert (answer.status, answer.json["weights"]) == (200, {"blue": 60.0, "canary": 40.0})


@pytest.mark.parametrize(("method", "path"), [("PUT", "weights"), ("POST", "cutback"), ("DELETE", "cutback")])
async def test_an_unknown_route_is_404(plane: Plane, method: str, path: str) -> None:
    answer = await plane.call(method, f"/v1/routes/nope/{path}", json={})
    assert (answer.status, answer.json["type"]) == (404, "urn:headgate:problem:not-found")


async def test_a_misspelt_query_is_refused_rather_than_ignored(plane: Plane) -> None:
    answer = await plane.call("POST", f"{SHOP}/cutback?dryrun=true")
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "dryrun")
    assert len(plane.supervisor.published) == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", f"{SHOP}/weights", {"weights": {"green": 1}}),
        ("POST", f"{SHOP}/cutback", {"mode": "drain"}),
        ("POST", "/v1/cutback", None),
    ],
)
async def test_a_dry_run_answers_what_would_be_and_changes_nothing(
    plane: Plane, method: str, path: str, body: Any
) -> None:
    before = await plane.call("GET", "/v1/routes")
    answer = await plane.call(method, f"{path}?dry_run=true", json=body)
    assert (answer.status, answer.json["dry_run"], answer.json["receipt"]) == (200, True, None)
    assert len(plane.supervisor.published) == 1
    assert (await plane.call("GET", "/v1/routes")).json == before.json
    if "weights" in answer.json:
        assert answer.json["effective"] != before.json["routes"][0]["effective"]


async def test_cutback_sends_everything_to_stable_and_restore_brings_it_back(plane: Plane) -> None:
    body = {"mode": "cut", "in_flight": "abort", "reason": "errors"}
    answer = await plane.call("POST", f"{SHOP}/cutback", json=body)
    assert (answer.status, answer.json["effective"]) == (200, {"blue": 100, "canary": 0})
    assert answer.json["cutback"] | {"at": ""} == {"mode": "cut", "by": "admin", "reason": "errors", "at": ""}
    assert plane.supervisor.published[-1].in_flight is InFlight.ABORT
    assert plane.supervisor.published[-1].live == {"shop": Live(None, CutbackMode.CUT)}
    answer = await plane.call("DELETE", f"{SHOP}/cutback")
    assert (answer.status, answer.json["cutback"], answer.json["effective"]) == (200, None, {"blue": 95, "canary": 5})
    assert plane.supervisor.published[-1].live == {"shop": AS_DECLARED}


async def test_cutback_needs_no_body_at_all(plane: Plane) -> None:
    answer = await plane.call("POST", f"{SHOP}/cutback")
    assert (answer.status, answer.json["cutback"]["mode"]) == (200, "cut")


async def test_cutback_again_gets_a_receipt_of_its_own_and_keeps_who_began_it(plane: Plane) -> None:
    first = (await plane.call("POST", f"{SHOP}/cutback", json={"reason": "first"})).json
    again = (await plane.call("POST", f"{SHOP}/cutback", json={"reason": "again"})).json
    assert again["cutback"] == first["cutback"]
    assert again["revision"] == plane.supervisor.revision == first["revision"] + 1
    assert again["receipt"]["applied"]


async def test_restore_of_a_route_that_is_not_cut_back_is_409(plane: Plane) -> None:
    assert (await plane.call("DELETE", f"{SHOP}/cutback")).status == 409
    assert (await plane.call("DELETE", "/v1/cutback")).status == 409


async def test_drain_is_refused_where_new_clients_cannot_be_told_from_old(plane: Plane) -> None:
    answer = await plane.call("POST", "/v1/routes/api/cutback", json={"mode": "drain"})
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "mode")
    assert "header" in answer.json["detail"]
    answer = await plane.call("POST", "/v1/cutback", json={"mode": "drain"})
    assert "route api" in answer.json["detail"]
    assert (await plane.call("POST", f"{SHOP}/cutback", json={"mode": "drain"})).status == 200


async def test_weights_on_a_cut_back_route_are_accepted_and_the_cutback_stays(plane: Plane) -> None:
    await plane.call("POST", f"{SHOP}/cutback")
    answer = await plane.call("PUT", f"{SHOP}/weights", json={"weights": {"blue": 50, "canary": 50}})
    assert answer.json["cutback"]["mode"] == "cut"
    assert answer.json["weights"] == {"blue": 50, "canary": 50}
    assert answer.json["effective"] == {"blue": 100, "canary": 0}


async def test_all_routes_are_cut_back_by_one_publish_and_restored_by_one(plane: Plane) -> None:
    answer = await plane.call("POST", "/v1/cutback", json={"reason": "storm"})
    assert answer.json["routes"] == ["shop", "api", "rest"]
    assert len(plane.supervisor.published) == 2
    assert set(plane.supervisor.published[-1].live.values()) == {Live(None, CutbackMode.CUT)}
    assert answer.json["receipt"]["applied"]
    entries = (await plane.call("GET", "/v1/audit?route=api")).json["entries"]
    assert [(entry["action"], entry["reason"]) for entry in entries] == [("cutback", "storm")]
    answer = await plane.call("DELETE", "/v1/cutback")
    assert sorted(answer.json["routes"]) == ["api", "rest", "shop"]
    assert len(plane.supervisor.published) == 3


@pytest.mark.parametrize(
    ("published", "applied"),
    [
        (lambda p: Published(p.revision, 2, 2, 0, 0.1, {"canary": 3}), True),
        (lambda p: Published(p.revision, 1, 2, 1, 1.0, {}), True),
        (lambda p: Published(p.revision, 1, 2, 0, 0.1, {}, ("worker 1: out of memory",)), False),
        (lambda p: Published(p.revision, 1, 2, 0, 0.1, {}), False),
        (lambda p: Published(p.revision, 1, 2, 1, 0.1, {}, ("worker 1: refused",)), False),
    ],
)
async def test_a_receipt_is_applied_only_if_every_worker_has_it(plane: Plane, published: Any, applied: bool) -> None:
    plane.supervisor.answer = published
    receipt = (await plane.call("POST", f"{SHOP}/cutback")).json["receipt"]
    assert receipt["applied"] is applied
    assert receipt["in_flight"] == published(Publish(1, {})).in_flight


async def test_a_supervisor_that_does_not_confirm_gives_a_receipt_that_says_so(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "DEADLINE", 0.01)
    plane.supervisor.answer = lambda publish: None
    receipt = (await plane.call("POST", f"{SHOP}/cutback")).json["receipt"]
    assert not receipt["applied"]
    assert receipt["errors"]


async def test_if_match_takes_what_has_not_changed_since_and_refuses_the_rest(plane: Plane) -> None:
    etag = (await plane.call("GET", SHOP)).headers["ETag"]
    body = {"weights": {"blue": 80, "canary": 20}}
    first = await plane.call("PUT", f"{SHOP}/weights", json=body, headers={"If-Match": etag})
    assert first.status == 200
    stale = await plane.call("PUT", f"{SHOP}/weights", json=body, headers={"If-Match": etag})
    assert (stale.status, stale.headers["ETag"]) == (412, first.headers["ETag"])
    assert stale.json["type"] == "urn:headgate:problem:stale-revision"
    # another route's change is no change of this one
    await plane.call("POST", "/v1/routes/api/cutback")
    for seen in (first.headers["ETag"], f'"{plane.supervisor.revision}"', '"1", ' + first.headers["ETag"], "*"):
        ok = await plane.call("PUT", f"{SHOP}/weights?dry_run=true", json=body, headers={"If-Match": seen})
        assert ok.status == 200
    for unseen in ('"999"', '"abc"', 'W/"2"', '"0"'):
        refused = await plane.call("PUT", f"{SHOP}/weights", json=body, headers={"If-Match": unseen})
        assert refused.status == 412


async def test_changes_at_the_same_time_are_made_one_after_the_other(plane: Plane) -> None:
    bodies = [{"weights": {"blue": 100 - n, "canary": n}} for n in range(1, 21)]
    answers = await asyncio.gather(*(plane.call("PUT", f"{SHOP}/weights", json=body) for body in bodies))
    revisions = sorted(answer.json["revision"] for answer in answers)
    assert revisions == list(range(2, 22))
    assert [publish.revision for publish in plane.supervisor.published] == list(range(1, 22))
    last = next(answer for answer in answers if answer.json["revision"] == 21)
    assert (await plane.call("GET", SHOP)).json["weights"] == last.json["weights"]


async def test_a_change_stands_when_the_store_fails(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.process._patience = 0.0  # it will not be stored at the end of the test either
    await plane.context.store.close()  # what the journal does next opens it anew, and finds it gone
    for file in plane.folder.glob("state.sqlite3*"):
        file.write_bytes(b"scribbled over " * 1000)
    answer = await plane.call("POST", f"{SHOP}/cutback")
    assert answer.status == 200
    assert (answer.json["receipt"]["applied"], answer.json["persisted"]) == (True, False)
    assert answer.json["warnings"]
    assert plane.supervisor.published[-1].live == {"shop": Live(None, CutbackMode.CUT)}
    assert (await plane.call("GET", SHOP)).json["cutback"]
    assert (await plane.call("GET", "/v1/status")).json["store"]["pending"] == 1
    audit = await plane.call("GET", "/v1/audit")
    assert (audit.status, audit.headers["Retry-After"]) == (503, "1")


async def test_a_change_while_the_supervisor_is_gone_is_503(start: Start) -> None:
    plane = await start(FakeSupervisor())
    plane.process._started.publisher.lost()  # type: ignore[union-attr]
    answer = await plane.call("POST", f"{SHOP}/cutback")
    assert (answer.status, "nothing was changed" in answer.json["detail"]) == (503, True)


async def test_every_change_is_in_the_audit_log_with_who_what_why_and_the_receipt(plane: Plane) -> None:
    await plane.call("PUT", f"{SHOP}/weights", json={"weights": {"canary": 1}, "reason": "all in"})
    await plane.call("POST", f"{SHOP}/cutback", json={"reason": "too early"})
    await plane.call("DELETE", f"{SHOP}/cutback")
    page = (await plane.call("GET", "/v1/audit?limit=2")).json
    assert [entry["action"] for entry in page["entries"]] == ["restore", "cutback"]
    entry = page["entries"][1]
    assert (entry["who"], entry["route"], entry["reason"], entry["receipt"]["applied"]) == (
        "admin",
        "shop",
        "too early",
        True,
    )
    assert (entry["before"]["cutback"], entry["after"]["cutback"]["mode"]) == (None, "cut")
    assert entry["at"].endswith("Z")
    older = (await plane.call("GET", f"/v1/audit?before={page['next']}")).json
    assert [entry["action"] for entry in older["entries"]] == ["weights", "config"]
    assert older["next"] is None


async def test_a_cutback_does_not_wait_for_the_disk_of_the_change_before_it(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PATIENCE", 60.0)
    go_on, store = asyncio.Event(), plane.context.store
    errors: list[BaseException] = []
    commit = store.commit

    async def slow(expected: int, change: Change) -> None:
        await go_on.wait()
        await commit(expected, change)

    monkeypatch.setattr(store, "commit", slow)
    before = plane.supervisor.revision
    weights = spawn(plane.call("PUT", f"{SHOP}/weights", json={"weights": {"blue": 1}}), "weights", errors.append)
    await plane.supervisor.published_after(before)
    cutback = spawn(plane.call("POST", f"{SHOP}/cutback"), "cutback", errors.append)
    await plane.supervisor.published_after(before + 1)
    go_on.set()
    assert [(await each).json["receipt"]["persisted"] for each in (weights, cutback)] == [True, True]
    assert not errors
    assert (await store.open()).revision == before + 2
