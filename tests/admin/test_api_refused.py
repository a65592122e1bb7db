"""Changes that were refused are in the audit log: who tried what, and why not; a flood of them is counted instead."""

from __future__ import annotations

from typing import Any

import pytest

from admin import refused_calls as refused_module
from admin.auth import digest_of
from admin.refused_calls import RefusedCalls
from admin.state.store import Token
from tests.admin.conftest import Plane

WEIGHTS = "/v1/routes/shop/weights"


async def refusals(plane: Plane) -> list[dict[str, Any]]:
    """The oldest first."""
    entries = (await plane.call("GET", "/v1/audit?limit=1000")).json["entries"]
    return [entry for entry in reversed(entries) if entry["action"] == "refused"]


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "route"),
    [
        ("PUT", WEIGHTS, {"json": {"weights": {"blu": 1}}}, 422, "shop"),
        ("PUT", WEIGHTS, {"json": {"weights": {"blue": 1}}, "headers": {"If-Match": '"0"'}}, 412, "shop"),
        ("DELETE", "/v1/routes/shop/cutback", {}, 409, "shop"),
        ("POST", "/v1/routes/nowhere/cutback", {}, 404, None),
        ("PUT", "/v1/config", {"json": {"listen": []}}, 422, None),
    ],
)
async def test_a_change_that_was_refused_is_in_the_audit_log(
    plane: Plane, method: str, path: str, options: dict[str, Any], status: int, route: str | None
) -> None:
    revision = plane.context.gateway.revision
    answer = await plane.call(method, path, **options)
    (entry,) = await refusals(plane)
    assert (answer.status, entry["after"], entry["before"]) == (
        status, {"call": f"{method} {path}", "status": status}, None,
    )  # fmt: skip
    assert (entry["who"], entry["route"], entry["reason"]) == ("admin", route, answer.json["detail"])
    assert (entry["revision"], plane.context.gateway.revision) == (revision, revision)
    assert f'headgate_admin_refused_total{{code="{status}"}} 1.0' in (await plane.call("GET", "/metrics")).text


async def test_a_viewer_that_changes_is_in_it_under_their_name(plane: Plane) -> None:
    plane.context.tokens.put(Token("ann", digest_of("hers"), "viewer", "t"))
    for path in ("/v1/routes/shop/cutback", "/v1/routes/shop/cutback?dry_run=true"):
        answer = await plane.bare("POST", path, headers={"Authorization": "Bearer hers"})
        assert answer.status == 403
    assert [(entry["who"], entry["after"]["status"]) for entry in await refusals(plane)] == [("ann", 403)] * 2


@pytest.mark.parametrize(
    ("said", "entries"), [("0", 1), ("no", 1), ("False", 1), ("1", 0), ("yes", 0), ("TRUE", 0), ("maybe", 1)]
)
async def test_only_what_is_a_dry_run_counts_as_one(plane: Plane, said: str, entries: int) -> None:
    assert (await plane.call("DELETE", f"/v1/cutback?dry_run={said}")).status in (409, 422)
    assert len(await refusals(plane)) == entries


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("PUT", WEIGHTS + "?dry_run=true", {"json": {"weights": {"blu": 1}}}),  # a question
        ("GET", "/v1/routes/nowhere", {}),  # no change
        ("POST", "/v1/explain", {"json": {}}),  # no change
        ("PUT", WEIGHTS, {"data": "{"}),  # not readable
        ("PUT", "/v1/nothing", {}),  # no such call
        ("POST", "/v1/routes/shop/cutback", {"headers": {"Authorization": "Bearer wrong"}}),  # nobody
    ],
)
async def test_what_changes_nothing_or_comes_from_nobody_is_not(
    plane: Plane, method: str, path: str, options: dict[str, Any]
) -> None:
    assert (await plane.call(method, path, **options)).status >= 400
    assert await refusals(plane) == []


async def test_a_flood_of_refusals_is_counted_and_the_next_entry_says_how_many(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused_module, "_BURST_OF_ONE", 3)
    plane.context.tokens.put(Token("ann", digest_of("hers"), "viewer", "t"))
    for token in (plane.token,) * 5 + ("hers",):
        await plane.bare("DELETE", "/v1/cutback", headers={"Authorization": f"Bearer {token}"})
    found = await refusals(plane)
    assert [entry["who"] for entry in found] == ["admin"] * 3 + ["ann"]
    assert [entry["after"].get("unrecorded_before") for entry in found] == [None] * 3 + [2]
    metrics = (await plane.call("GET", "/metrics")).text
    assert "headgate_admin_refused_unrecorded_total 2.0" in metrics
    assert 'headgate_admin_refused_total{code="409"} 5.0' in metrics


def test_many_callers_together_are_bounded_too() -> None:
    refused = RefusedCalls()
    admitted = [refused._admitted(f"caller {number}", 0.0) for number in range(2 * refused_module._CALLERS)]
    assert admitted.count(True) == refused_module._BURST
    assert refused._admitted("caller", refused_module._SECONDS_EACH)
    assert len(refused._by_caller) == refused_module._CALLERS
